"""Vectors are bought once, packed into few requests, and charged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from callpipeline.failures import AuthenticationFailed, BadRequest, BudgetExceeded, NotConfigured
from callpipeline.graph.embeddings import MOST_INPUTS, Embedder
from callpipeline.limits.costs import Grouping
from callpipeline.limits.supplies import Supplies, open_supplies
from callpipeline.settings import Settings
from callpipeline_tests.simulators import OpenAISimulator

Open = Callable[..., Embedder]


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAISimulator]:
    with OpenAISimulator() as sim:
        for name, value in sim.environment().items():
            monkeypatch.setenv(name, value)
        yield sim


@pytest.fixture
def supplies(provider: OpenAISimulator) -> Iterator[Supplies]:
    with open_supplies(Settings(retry_delay_scale=0)) as opened:
        yield opened


@pytest.fixture
def embedder(supplies: Supplies) -> Iterator[Open]:
    opened: list[Embedder] = []

    def make(**changed: object) -> Embedder:
        settings = Settings().model_copy(update=changed)
        opened.append(Embedder(settings, lambda: supplies))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def vectors(one: Embedder, *texts: str) -> np.ndarray:
    async def ask() -> np.ndarray:
        try:
            return await one.embed(texts)
        finally:
            await one.disconnect()

    return asyncio.run(ask())


def test_texts_with_the_same_words_lie_near_each_other(embedder: Open) -> None:
    found = vectors(embedder(), "good sleep", "sleep, good", "a dam in Minot")
    assert found.dtype == np.float32
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1, 1], abs=1e-6)
    assert found[0] @ found[1] == pytest.approx(1, abs=1e-3)
    assert found[0] @ found[2] < 0.3


def test_rows_come_in_the_order_of_the_texts_and_nothing_is_sent_twice(
    embedder: Open, provider: OpenAISimulator
) -> None:
    one = embedder()
    first = vectors(one, "north", "south", "north")
    again = vectors(embedder(), "south", "east", "north")
    assert np.array_equal(first[0], first[2])
    assert np.array_equal(again[[0, 2]], first[[1, 0]])
    asked = [call.body["input"] for call in provider.calls("embeddings")]  # type: ignore[index]
    assert sorted(text for texts in asked for text in texts) == ["east", "north", "south"]


def test_many_texts_are_few_requests(embedder: Open, provider: OpenAISimulator) -> None:
    texts = [f"name {number}" for number in range(MOST_INPUTS + 200)]
    assert len(vectors(embedder(), *texts)) == len(texts)
    assert provider.stats.routes["embeddings"].requests == 2


def test_a_request_is_small_beside_what_a_minute_allows(embedder: Open, provider: OpenAISimulator) -> None:
    texts = [f"{number} " + "word " * 60 for number in range(20)]
    vectors(embedder(openai_embeddings_tokens_per_minute=2000), *texts)
    assert provider.stats.routes["embeddings"].requests > 4


def test_who_asks_the_same_at_the_same_time_pays_once(embedder: Open, provider: OpenAISimulator) -> None:
    one, other = embedder(), embedder()

    async def both() -> None:
        first, second = await asyncio.gather(one.embed(["a", "b"]), other.embed(["b", "a"]))
        assert np.array_equal(first, second[::-1])
        await one.disconnect()
        await other.disconnect()

    asyncio.run(both())
    assert provider.stats.paid.calls == 1


def test_a_text_without_a_word_is_like_nothing_and_is_not_sent(
    embedder: Open, provider: OpenAISimulator
) -> None:
    found = vectors(embedder(), " ", "words")
    assert not found[0].any()
    assert vectors(embedder(), "").shape == (1, 0)
    assert vectors(embedder()).shape[0] == 0
    assert provider.stats.paid.calls == 1


def test_a_text_that_is_too_long_is_cut(embedder: Open) -> None:
    assert vectors(embedder(), "word " * 20_000).shape[0] == 1


def test_what_was_paid_is_in_the_ledger(embedder: Open, supplies: Supplies) -> None:
    one = embedder()
    assert one.missing(["a word", "a word", "two"])[0] == 2
    vectors(one, "a word", "two")
    (call,) = supplies.ledger.calls()
    assert (call.state, call.pool, call.purpose) == ("done", "openai_embeddings", "embeddings")
    (share,) = supplies.costs.by(Grouping.MODEL)
    assert share.name == "text-embedding-3-small"
    assert share.settled == pytest.approx(call.tokens_in * 0.02 / 1e6)
    assert one.missing(["a word", "two"]) == (0, 0.0)


def test_a_lost_cache_is_bought_anew(embedder: Open, settings: Settings, provider: OpenAISimulator) -> None:
    first = vectors(embedder(), "north")
    for file in Path(settings.store).glob("embeddings.sqlite*"):
        file.unlink()
    assert np.array_equal(vectors(embedder(), "north"), first)
    assert provider.stats.paid.calls == 2


def test_a_failure_keeps_what_else_was_bought(embedder: Open, provider: OpenAISimulator) -> None:
    provider.faults.script("embeddings", "400")
    texts = [f"name {number}" for number in range(MOST_INPUTS + 1)]
    with pytest.raises(BadRequest):
        vectors(embedder(openai_embeddings_slots=1), *texts)
    vectors(embedder(), *texts)
    assert provider.stats.paid.duplicates == 0
    assert provider.stats.routes["embeddings"].requests == 3


def test_a_busy_provider_is_asked_again(embedder: Open, provider: OpenAISimulator) -> None:
    provider.faults.script("embeddings", "429:0", "500", "reset")
    assert vectors(embedder(), "north").shape == (1, 512)


def test_what_stands_in_the_way_is_said(
    embedder: Open, provider: OpenAISimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.faults.script("embeddings", "401")
    one = embedder()
    for _ in range(2):
        with pytest.raises(AuthenticationFailed):
            vectors(one, "north")
    assert provider.stats.routes["embeddings"].requests == 1
    with pytest.raises(NotConfigured, match="price"):
        vectors(embedder(graph_embedding_model="my-model"), "north")
    with pytest.raises(NotConfigured, match="OPENAI_API_KEY"):
        embedder(openai_api_key=None)


def test_a_budget_stops_before_anything_is_sent(provider: OpenAISimulator) -> None:
    settings = Settings(budget_per_run=0.0)
    with open_supplies(settings) as supplies:
        one = Embedder(settings, lambda: supplies)
        with pytest.raises(BudgetExceeded):
            vectors(one, "north")
        one.close()
    assert provider.stats.all.requests == 0


def test_hosts_that_share_postgres_share_the_cache(
    provider: OpenAISimulator, own_postgres: str, tmp_path: Path
) -> None:
    found = []
    for host in ("one", "other"):
        settings = Settings(store_dir=tmp_path / host, postgres_url=own_postgres)
        with open_supplies(settings) as supplies:
            embedder = Embedder(settings, lambda supplies=supplies: supplies)  # type: ignore[misc]
            found.append(vectors(embedder, "north", "south"))
            embedder.close()
    assert np.array_equal(*found)
    assert provider.stats.paid.calls == 1
