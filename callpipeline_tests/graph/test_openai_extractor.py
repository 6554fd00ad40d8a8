"""Extraction by a language model: what it finds, where, for how much, and what is never asked twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from callpipeline.failures import NotConfigured
from callpipeline.graph.extractors import extractor
from callpipeline.graph.extractors.base import GraphTools, RemoteGraphExtractor
from callpipeline.knowledge import ChunkState, FoundEntity, FoundRelation, KgExtraction, TextChunks
from callpipeline.limits.costs import Grouping
from callpipeline.settings import Settings
from callpipeline_tests.graph.openai_house import ROUTE, sent_blocks, settings_for
from callpipeline_tests.graph.remote import WORDS, Threads, chunks_of, claim, extracting, recording
from callpipeline_tests.graph.responding import answer, chunk_answer
from callpipeline_tests.simulators import OpenAISimulator
from callpipeline_tests.simulators.openai_api.responder import ChatRequest

pytestmark = pytest.mark.anyio

RESPONDER = answer
Json = dict[str, Any]


@pytest.fixture
def settings(sim: OpenAISimulator, tmp_path: Path) -> Settings:
    return settings_for(sim, tmp_path / "store")


def in_place(chunks: TextChunks, found: KgExtraction) -> None:
    """Check that everything that was found leads back to its own chunk's words, speaker and second."""
    assert [one.chunk for one in found.chunks] == [chunk.id for chunk in chunks.chunks]
    for chunk, one in zip(chunks.chunks, found.chunks, strict=True):
        items: list[FoundEntity | FoundRelation] = [*one.entities, *one.relations]
        for item in items:
            assert item.chunk == chunk.id
            assert item.id.startswith(f"{chunk.id}#")
            assert chunk.text[item.span.begin : item.span.finish] == item.span.quote
            line = chunk.line_at(item.span.begin)
            assert (item.span.speaker, item.span.start) == (line.speaker, chunk.second_at(item.span.begin))
            assert chunk.start <= item.span.start <= item.span.end <= chunk.end


async def test_items_of_a_shared_request_keep_their_own_chunk_speaker_and_second(
    sim: OpenAISimulator, settings: Settings
) -> None:
    """The same sentences are said in several chunks, so that an item could be put into another one's place."""
    talks = [
        chunks_of(
            f"r{number}",
            [
                [
                    ("A", "Well."),
                    (f"speaker {number}", "Stress causes fatigue."),
                    ("B", claim(10 * number + index)),
                ]
                for index in range(6)
            ],
        )
        for number in range(4)
    ]
    async with extracting(settings) as running:
        found = await running.extract(*talks)
    assert sent_blocks(sim) == [12, 12]
    for talk, one in zip(talks, found, strict=True):
        in_place(talk, one)
        for chunk in one.chunks:
            assert chunk.state is ChunkState.EXTRACTED
            assert [relation.type for relation in chunk.relations] == ["CAUSES", "CAUSES"]
            assert {entity.name for entity in chunk.entities} >= {"Stress", "fatigue"}


async def test_a_model_that_counts_wrongly_never_moves_an_item_into_another_chunk(
    tmp_path: Path,
) -> None:
    def shifted(request: ChatRequest) -> Json:
        """Answer with the numbers of the next block, unless there is one only."""
        told = answer(request)["chunks"]
        count = len(told)
        return {"chunks": [{**one, "n": one["n"] % count + 1} for one in told]}

    talk = recording(1, chunks=6)
    with OpenAISimulator(responder=shifted) as sim:
        async with extracting(settings_for(sim, tmp_path)) as running:
            (found,) = await running.extract(talk)
        assert sent_blocks(sim)[0] == 6
    in_place(talk, found)
    assert all(len(chunk.relations) == 1 for chunk in found.chunks)


async def test_chunks_that_an_answer_leaves_out_are_asked_again_and_only_they(tmp_path: Path) -> None:
    def forgetful(request: ChatRequest) -> Json:
        told = answer(request)["chunks"]
        return {"chunks": told[: max(1, len(told) - 2)]}

    with OpenAISimulator(responder=forgetful) as sim:
        async with extracting(settings_for(sim, tmp_path)) as running:
            (found,) = await running.extract(recording(1, chunks=5))
        assert sent_blocks(sim) == [5, 2, 1]
    assert all(chunk.relations for chunk in found.chunks)


async def test_what_was_answered_is_never_asked_again(sim: OpenAISimulator, settings: Settings) -> None:
    talks = [recording(number) for number in range(3)]
    async with extracting(settings) as running:
        first = await running.extract(*talks)
    paid = sim.stats.paid.calls
    async with extracting(settings) as running:
        again = await running.extract(*talks, chunks_of("other", [claim(0), "Something new causes work."]))
        assert running.spent[0] > 0
    assert sim.stats.paid.calls == paid + 1
    assert sent_blocks(sim)[-1] == 1
    for before, after in zip(first, again, strict=False):
        assert {chunk.state for chunk in after.chunks} == {ChunkState.CACHED}
        assert [chunk.entities for chunk in before.chunks] == [chunk.entities for chunk in after.chunks]
    assert [chunk.state for chunk in again[-1].chunks] == [ChunkState.CACHED, ChunkState.EXTRACTED]
    assert again[-1].chunks[0].entities[0].span.speaker == "other 0"


async def test_equal_chunks_are_sent_once_whoever_wants_them(
    sim: OpenAISimulator, settings: Settings
) -> None:
    talks = [chunks_of(f"r{number}", [claim(1), claim(2), claim(1)]) for number in range(8)]
    async with extracting(settings) as running:
        found = await running.extract(*talks)
    assert sum(sent_blocks(sim)) == 2
    states = [chunk.state for one in found for chunk in one.chunks]
    assert states.count(ChunkState.EXTRACTED) == 2
    assert states.count(ChunkState.CACHED) == len(states) - 2
    for talk, one in zip(talks, found, strict=True):
        in_place(talk, one)


async def test_nearly_equal_chunks_share_an_answer_and_say_so(
    sim: OpenAISimulator, settings: Settings
) -> None:
    text = " ".join(
        f"{word} and the {other} of the matter" for word, other in zip(WORDS, WORDS[3:], strict=False)
    )
    one, other = f"{text} so stress causes fatigue.", f"{text} so stress causes fatigue. Indeed."
    async with extracting(settings) as running:
        (first,) = await running.extract(chunks_of("a", [one]))
        (second,) = await running.extract(chunks_of("b", [other]))
    async with extracting(settings) as running:
        (third,) = await running.extract(chunks_of("c", [f"{other} Yes."]))
    assert sim.stats.paid.calls == 1
    for found in (second, third):
        (chunk,) = found.chunks
        assert chunk.state is ChunkState.SIMILAR
        assert chunk.reused_from == chunks_of("a", [one]).chunks[0].sha256
        assert 0.92 <= (chunk.similarity or 0.0) < 1
        assert len(chunk.entities) == len(first.chunks[0].entities)


async def test_filtered_chunks_cost_nothing(sim: OpenAISimulator, settings: Settings) -> None:
    talk = recording(1)
    quiet = tuple(chunk.model_copy(update={"low_value": "greeting"}) for chunk in talk.chunks)
    async with extracting(settings) as running:
        (found,) = await running.extract(talk.model_copy(update={"chunks": quiet}))
    assert sim.stats.all.requests == 0
    assert {chunk.state for chunk in found.chunks} == {ChunkState.FILTERED}


async def test_cost_is_shared_out_to_recordings(sim: OpenAISimulator, settings: Settings) -> None:
    talks = [recording(number, chunks=number) for number in (1, 2, 3)]
    async with extracting(settings) as running:
        await running.extract(*talks)
        assert sent_blocks(sim) == [6]
        shares = {share.name: share for share in running.supplies.costs.by(Grouping.RECORDING)}
        told = sum(one.cost for one in running.progress)
        settled, open_, unsure = running.spent
    assert set(shares) == {"r1", "r2", "r3"}
    assert shares["r3"].settled > shares["r2"].settled > shares["r1"].settled > 0
    assert sum(share.settled for share in shares.values()) == pytest.approx(settled)
    assert told == pytest.approx(settled)
    assert (open_, unsure) == (0.0, 0.0)


async def test_rich_chunks_go_to_the_strong_model_and_simple_ones_to_the_small_one(
    sim: OpenAISimulator, settings: Settings
) -> None:
    rich = " ".join(f"{a}{b}" for a in WORDS[:12] for b in WORDS[12:16])
    async with extracting(settings) as running:
        (found,) = await running.extract(chunks_of("r", [rich, claim(1)]))
    assert [chunk.model for chunk in found.chunks] == [settings.graph_model, settings.graph_small_model]


async def test_what_leaves_is_masked_and_names_no_recording(sim: OpenAISimulator, settings: Settings) -> None:
    talk = chunks_of("secret-name", ["Call 5551234 causes trouble."])
    async with extracting(settings, clean_text=lambda text: text.replace("5551234", "[phone]")) as running:
        await running.extract(talk)
    (call,) = sim.calls(ROUTE)
    assert "5551234" not in str(call.body)
    assert "secret-name" not in str(call.body)
    assert "### 1\nS1: Call [phone] causes trouble." in str(call.body["messages"][-1]["content"])  # type: ignore[index]


async def test_force_paid_buys_again_and_once(sim: OpenAISimulator, settings: Settings) -> None:
    talks = [recording(1), chunks_of("copy", [claim(100)])]
    async with extracting(settings) as running:
        await running.extract(*talks)
    async with extracting(settings, force_paid=True) as running:
        await running.extract(*talks)
        await running.extract(*talks)
    assert sent_blocks(sim) == [4, 4]


async def test_unknown_types_are_counted_and_what_is_not_said_is_dropped(tmp_path: Path) -> None:
    def inventive(request: ChatRequest) -> Json:
        one = chunk_answer(1, "Stress causes fatigue.")
        first, second = one["entities"]
        entities = [
            {**first, "type": "Vibe"},
            second,
            {**first, "key": "x", "quote": "Sleep restores everything."},
            {**first, "key": "y", "confidence": 0.2},
            {"key": "z"},
        ]
        (relation,) = one["relations"]
        relations = [relation, {**relation, "target": "x"}]
        return {"chunks": [{"n": 1, "entities": entities, "relations": relations}]}

    with OpenAISimulator(responder=inventive) as sim:
        async with extracting(settings_for(sim, tmp_path)) as running:
            (found,) = await running.extract(chunks_of("r", ["Stress causes fatigue."]))
    (chunk,) = found.chunks
    assert [(one.name, one.type) for one in chunk.entities] == [("Stress", "Concept"), ("fatigue", "Concept")]
    assert chunk.unknown_types == {"Vibe": 1}
    dropped = chunk.dropped
    assert (dropped.not_in_text, dropped.low_confidence, dropped.dangling, dropped.malformed) == (1, 1, 1, 1)


async def test_the_plan_says_what_a_run_will_send(sim: OpenAISimulator, settings: Settings) -> None:
    talks = [recording(number, chunks=10) for number in range(3)]
    async with extracting(settings) as running:
        await running.extract(talks[0])
        assert isinstance(running.extractor, RemoteGraphExtractor)
        planned = await asyncio.to_thread(running.extractor.planned, talks)
        before, requests = running.spent[0], sim.stats.routes[ROUTE].requests
        await running.extract(*talks)
        cost = running.spent[0] - before
    assert (planned.chunks, planned.cached, planned.to_send) == (30, 10, 20)
    assert sim.stats.routes[ROUTE].requests == requests + planned.requests
    assert cost < planned.cost
    assert planned.by_model == {settings.graph_small_model: 20}


async def test_probe_tells_of_a_wrong_key_and_costs_nothing(sim: OpenAISimulator, settings: Settings) -> None:
    async with extracting(settings) as running:
        assert [finding.passed for finding in await running.extractor.probe()] == [True, True]
    wrong = settings.model_copy(update={"graph_small_model": "gpt-9-tiny"})
    async with extracting(wrong) as running:
        (finding,) = await running.extractor.probe()
    assert not finding.passed
    assert "CALLPIPELINE_GRAPH_SMALL_MODEL" in finding.hint
    assert sim.stats.paid.calls == 0


def test_without_a_key_it_says_what_to_set() -> None:
    tools = GraphTools(cpu=Threads(), thread=Threads(), supplies=lambda: pytest.fail("nothing is needed"))
    with pytest.raises(NotConfigured, match="OPENAI_API_KEY"):
        extractor(Settings(extractor="openai"), tools)


async def test_a_server_without_schemas_is_asked_for_plain_json(tmp_path: Path) -> None:
    from callpipeline_tests.simulators.server import Refusal

    def simple(request: ChatRequest) -> Json:
        kind = (request.body.get("response_format") or {}).get("type")
        if kind == "json_schema":
            raise Refusal(400, "response_format: json_schema is not supported")
        return answer(request)

    with OpenAISimulator(responder=simple) as sim:
        async with extracting(settings_for(sim, tmp_path)) as running:
            (found,) = await running.extract(recording(1))
            await running.extract(recording(2))
        assert sim.stats.routes[ROUTE].statuses == {"400": 1, "200": 2}
    assert all(chunk.relations for chunk in found.chunks)
