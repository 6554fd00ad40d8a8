"""The economy mode: text chunks go to the Batch API, and their answers come when it is done, once and for half."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from callpipeline.failures import BudgetExceeded, Busy, CallFailed
from callpipeline.graph.extractors.openai import economy
from callpipeline.knowledge import ChunkState, KgExtraction
from callpipeline.limits.costs import Grouping
from callpipeline.settings import Settings
from callpipeline_tests.graph.openai_house import ROUTE, sent_blocks, settings_for
from callpipeline_tests.graph.remote import Running, chunks_of, claim, extracting, recording
from callpipeline_tests.graph.responding import spoilt
from callpipeline_tests.simulators import OpenAISimulator

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def sim() -> Iterator[OpenAISimulator]:
    with OpenAISimulator(responder=spoilt, batch_seconds=0.1) as running:
        yield running


@pytest.fixture
def settings(sim: OpenAISimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(economy, "LINGER_SECONDS", 0.05)
    return settings_for(sim, tmp_path / "store", graph_economy=True)


async def ordered(settings: Settings, *numbers: int) -> None:
    """Extract recordings that are ordered and not done yet."""
    async with extracting(settings) as running:
        tried = await asyncio.gather(
            *(running.extract(recording(n)) for n in numbers), return_exceptions=True
        )
    assert all(isinstance(one, Busy) for one in tried), tried


async def ended(settings: Settings, jobs: int = 1) -> dict[str, tuple[str, ...]]:
    """Wait until so many jobs have ended."""
    async with extracting(settings) as running:
        while len(found := await economy.ended(settings, running.supplies)) < jobs:
            await asyncio.sleep(0.01)
    return found


async def collected(settings: Settings, *numbers: int) -> tuple[list[KgExtraction], Running]:
    async with extracting(settings) as running:
        return await running.extract(*(recording(number) for number in numbers)), running


def jobs(sim: OpenAISimulator) -> list[openai.types.Batch]:
    return list(openai.OpenAI(api_key=sim.api_key, base_url=sim.base_url).batches.list())


def whole(found: list[KgExtraction]) -> bool:
    return all(len(chunk.relations) == 1 for one in found for chunk in one.chunks)


async def test_recordings_share_a_job_and_are_fetched_for_half_the_price(
    sim: OpenAISimulator, settings: Settings
) -> None:
    await ordered(settings, 1, 2, 3)
    assert len(jobs(sim)) == len(await ended(settings)) == 1
    async with extracting(settings) as running:
        found = await running.extract(*map(recording, (1, 2, 3)))
        settled, open_, unsure = running.spent
        shares = running.supplies.costs.by(Grouping.RECORDING)
        calls = running.supplies.ledger.calls()
    assert whole(found)
    usual = sum(
        running.supplies.prices.cost(
            "openai", call.model, tokens_in=call.tokens_in, tokens_out=call.tokens_out
        )
        for call in calls
    )
    assert (settled, open_, unsure) == (pytest.approx(usual / 2), 0, 0)
    assert [share.name for share in shares] == ["r1", "r2", "r3"]
    assert sent_blocks(sim) == []
    assert sim.stats.paid.duplicates == 0


async def test_what_is_found_is_in_its_place(sim: OpenAISimulator, settings: Settings) -> None:
    await ordered(settings, 1)
    await ended(settings)
    (found,), _ = await collected(settings, 1)
    for chunk, one in zip(recording(1).chunks, found.chunks, strict=True):
        assert one.state is ChunkState.CACHED
        (relation,) = one.relations
        assert chunk.text[relation.span.begin : relation.span.finish] == relation.span.quote


async def test_texts_do_not_stay_with_the_provider(sim: OpenAISimulator, settings: Settings) -> None:
    await ordered(settings, 1)
    await ended(settings)
    await collected(settings, 1)
    assert not list(openai.OpenAI(api_key=sim.api_key, base_url=sim.base_url).files.list())


async def test_the_recordings_of_a_job_are_told_when_it_has_ended(settings: Settings) -> None:
    async with extracting(settings) as running:
        assert await economy.ended(settings, running.supplies) == {}
    await ordered(settings, 1, 2)
    (recordings,) = (await ended(settings)).values()
    assert sorted(recordings) == ["r1", "r2"]


async def test_who_asks_meanwhile_orders_nothing(
    sim: OpenAISimulator, tmp_path: Path, settings: Settings
) -> None:
    with OpenAISimulator(responder=spoilt, batch_seconds=60) as slow:
        changed = settings.model_copy(update={"openai_base_url": slow.base_url})
        await ordered(changed, 1)
        await ordered(changed, 1)
        await ordered(changed.model_copy(update={"graph_economy": False}), 1)
        assert len(jobs(slow)) == 1
        assert slow.stats.paid.calls == 0
    assert sim.stats.all.requests == 0


async def test_a_job_whose_id_was_lost_is_found_again(sim: OpenAISimulator, settings: Settings) -> None:
    sim.faults.script("batches", "reset@after")
    await ordered(settings, 1)
    assert len(jobs(sim)) == 1


async def test_a_job_that_a_dead_process_ordered_is_found_by_the_next(
    sim: OpenAISimulator, settings: Settings
) -> None:
    sim.faults.script("batches", "reset@after", *["reset"] * 20)
    async with extracting(settings) as running:
        with pytest.raises(CallFailed):
            await running.extract(recording(1))
    sim.faults.clear()
    await ordered(settings.model_copy(update={"graph_economy": False}), 1)
    await ended(settings)
    found, _ = await collected(settings, 1)
    assert whole(found)
    assert len(jobs(sim)) == 1
    assert sim.stats.paid.duplicates == 0


async def test_a_cancelled_job_is_ordered_once_more_and_then_bought_at_once(
    sim: OpenAISimulator, settings: Settings
) -> None:
    with OpenAISimulator(responder=spoilt, batch_seconds=60) as slow:
        changed = settings.model_copy(update={"openai_base_url": slow.base_url})
        client = openai.OpenAI(api_key=slow.api_key, base_url=slow.base_url)
        for _ in range(economy.ORDERS):
            await ordered(changed, 1)
            client.batches.cancel(jobs(slow)[-1].id)
        found, running = await collected(changed, 1)
        assert whole(found)
        assert len(jobs(slow)) == economy.ORDERS
        assert sent_blocks(slow) == [4]
    assert sim.stats.all.requests == 0
    assert running.extractor.remote


async def test_a_chat_that_is_refused_is_taken_apart_at_once(
    sim: OpenAISimulator, settings: Settings
) -> None:
    spoiling = chunks_of("r9", [claim(1), "poison-request " + claim(2), claim(3)])
    async with extracting(settings) as running:
        with pytest.raises(Busy):
            await running.extractor.extract(spoiling)
    await ended(settings)
    async with extracting(settings) as running:
        found = await running.extractor.extract(spoiling)
    assert len(jobs(sim)) == 1
    assert [chunk.state for chunk in found.chunks][1] is ChunkState.FAILED
    assert [len(chunk.relations) for chunk in found.chunks] == [1, 0, 1]


async def test_a_budget_stops_an_order(sim: OpenAISimulator, settings: Settings) -> None:
    async with extracting(settings.model_copy(update={"budget_per_run": 0.0})) as running:
        with pytest.raises(BudgetExceeded):
            await running.extractor.extract(recording(1))
    assert not jobs(sim)
    assert ROUTE not in sim.stats.routes


async def test_a_plan_tells_half_the_price_and_no_minutes(settings: Settings) -> None:
    async with extracting(settings) as running:
        cheap = running.extractor.planned([recording(1)])
    async with extracting(settings.model_copy(update={"graph_economy": False})) as running:
        usual = running.extractor.planned([recording(1)])
    assert cheap.cost == pytest.approx(usual.cost / 2)
    assert cheap.minutes == 0 < usual.minutes
