"""How good the graph is on written conversations whose facts are known, and that all of it leads back to where it is said.

Once through the language-model path with a model that knows the facts and also makes mistakes, once with the embedded
extractor. The limits of the latter are a little below what it reached when it was made (relations: all found, none wrong).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from callpipeline.graph.build import build
from callpipeline.graph.extractors import extractor
from callpipeline.graph.extractors.base import GraphTools
from callpipeline.knowledge import FoundEntity, FoundRelation, KgExtraction, KnowledgeGraph
from callpipeline.limits.supplies import Supplies
from callpipeline.settings import Settings
from callpipeline_tests.graph.knowing import answer
from callpipeline_tests.graph.openai_house import settings_for
from callpipeline_tests.graph.remote import Threads, extracting
from callpipeline_tests.graph.written import NAMES, Written, plain_words, written
from callpipeline_tests.simulators import OpenAISimulator

NAMED = {"Person", "Place", "Organization"}
STATED = {"CAUSES", "INFLUENCES", "OPTIMIZES", "ENABLES", "REDUCES", "LEADS_TO", "REQUIRES", "IS_PART_OF"}

Results = dict[str, KgExtraction]
Triple = tuple[str, str, str]


@pytest.fixture(scope="module")
def by_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    async def found(settings: Settings) -> list[KgExtraction]:
        async with extracting(settings) as running:
            return await running.extract(*(written(name).chunks for name in NAMES))

    with OpenAISimulator(responder=answer) as sim:
        settings = settings_for(sim, tmp_path_factory.mktemp("quality") / "store")
        yield dict(zip(NAMES, asyncio.run(found(settings)), strict=True))


@pytest.fixture(scope="module")
def by_rules(tmp_path_factory: pytest.TempPathFactory) -> Results:
    def nothing_paid() -> Supplies:
        raise AssertionError("the embedded extractor asks no provider")

    settings = Settings(store_dir=Path(tmp_path_factory.mktemp("quality"), "store"))
    free = extractor(settings, GraphTools(cpu=Threads(), thread=Threads(), supplies=nothing_paid))
    return {name: asyncio.run(free.extract(written(name).chunks)) for name in NAMES}


@pytest.fixture(scope="module", params=["by_model", "by_rules"])
def results(request: pytest.FixtureRequest) -> Results:
    found: Results = request.getfixturevalue(request.param)
    return found


# --- facts --------------------------------------------------------------------------------------------


def same(name: str, other: str) -> bool:
    """Tell whether two names are one but for a plural, or one word of detail: "naps", "short naps"."""
    one, two = ({word.removesuffix("s") for word in plain_words(text)} for text in (name, other))
    return (one <= two or two <= one) and len(one ^ two) <= 2


def entities(found: KgExtraction) -> list[FoundEntity]:
    return [entity for chunk in found.chunks for entity in chunk.entities]


def triples(found: KgExtraction) -> list[Triple]:
    names = {entity.id: entity.name for entity in entities(found)}
    relations: Iterable[FoundRelation] = (one for chunk in found.chunks for one in chunk.relations)
    return [(names[one.source], one.type, names[one.target]) for one in relations if one.type in STATED]


def facts(text: Written) -> list[Triple]:
    return [(fact["source"], fact["type"], fact["target"]) for fact in text.relations]


def agrees(one: Triple, other: Triple) -> bool:
    return one[1] == other[1] and same(one[0], other[0]) and same(one[2], other[2])


def share(hits: Iterable[bool]) -> float:
    counted = list(hits)
    return sum(counted) / len(counted)


def recall(results: Results) -> float:
    """Return the share of the known relations that were found."""
    return share(
        any(agrees(fact, one) for one in triples(results[name]))
        for name in NAMES
        for fact in facts(written(name))
    )


def precision(results: Results) -> float:
    """Return the share of the relations found that are known."""
    return share(
        any(agrees(fact, one) for fact in facts(written(name)))
        for name in NAMES
        for one in triples(results[name])
    )


def things_recalled(results: Results, kinds: set[str] | None = None) -> float:
    return share(
        any(same(fact["name"], one.name) for one in entities(results[name]))
        for name in NAMES
        for fact in written(name).entities
        if kinds is None or fact["type"] in kinds
    )


def names_right(results: Results) -> float:
    """Return the share of people, places and organisations found that are known under that type."""
    return share(
        any(same(fact["name"], one.name) and fact["type"] == one.type for fact in written(name).entities)
        for name in NAMES
        for one in entities(results[name])
        if one.type in NAMED
    )


def graph(results: Results) -> KnowledgeGraph:
    return build((written(name).episode, written(name).chunks, results[name]) for name in NAMES)


# --- tests --------------------------------------------------------------------------------------------


def test_all_that_a_knowing_model_says_is_kept_and_nothing_that_it_makes_up(by_model: Results) -> None:
    assert recall(by_model) == 1.0
    assert precision(by_model) == 1.0
    assert things_recalled(by_model) == 1.0
    assert names_right(by_model) == 1.0
    invented = sum(chunk.dropped.not_in_text for found in by_model.values() for chunk in found.chunks)
    assert invented >= sum(len(found.chunks) for found in by_model.values())


def test_the_embedded_extractor_says_little_that_is_wrong(by_rules: Results) -> None:
    assert precision(by_rules) >= 0.95
    assert names_right(by_rules) >= 0.95


def test_the_embedded_extractor_finds_most_of_what_is_said_plainly(by_rules: Results) -> None:
    assert recall(by_rules) >= 0.9
    assert things_recalled(by_rules, NAMED) >= 0.9
    assert things_recalled(by_rules) >= 0.85


def test_one_thing_is_one_node(results: Results) -> None:
    """Names that differ in nothing but case and plural."""
    kept = [
        (entity.type, " ".join(word.removesuffix("s") for word in plain_words(entity.name)))
        for entity in graph(results).entities
        if entity.type not in {"Quote", "Episode"}
    ]
    assert len(set(kept)) >= 0.98 * len(kept)


def test_everything_found_leads_back_to_its_words_second_and_speaker(results: Results) -> None:
    for name in NAMES:
        chunks = {chunk.id: chunk for chunk in written(name).chunks.chunks}
        for result in results[name].chunks:
            for item in (*result.entities, *result.relations):
                chunk = chunks[item.chunk]
                assert chunk.text[item.span.begin : item.span.finish] == item.span.quote
                assert written(name).says(item.span.quote, item.span.start, item.span.speaker), item
                assert item.span.start < item.span.end <= chunk.end


def test_every_node_and_edge_of_the_graph_is_heard_where_it_says(results: Results) -> None:
    made = graph(results)
    mentions = {mention.of for mention in made.mentions}
    assert mentions == {one.id for one in (*made.entities, *made.relations)}
    for mention in made.mentions:
        text = written(mention.recording)
        assert mention.chunk in {chunk.id for chunk in text.chunks.chunks}
        assert text.says(mention.span.quote, mention.span.start, mention.span.speaker), mention
