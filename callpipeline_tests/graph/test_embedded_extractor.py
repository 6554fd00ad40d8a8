"""What the extractor without a model finds in calls and conversations, and what it leaves alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from callpipeline.graph.extractors import extractor
from callpipeline.graph.extractors.base import GraphTools
from callpipeline.knowledge import ChunkState, KgExtraction, TextChunks
from callpipeline.limits.supplies import Supplies
from callpipeline.settings import Settings
from callpipeline_tests.graph.remote import chunks_of

P = ParamSpec("P")
T = TypeVar("T")

Entities = dict[str, str]
Triples = set[tuple[str, str, str]]


class Workers:
    """Runs work here, and remembers that it was asked to."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self.asked += 1
        return fn(*args, **kwargs)


def no_supplies() -> Supplies:
    raise AssertionError("nothing is bought")


def extracted(chunks: TextChunks, *, cpu: Workers | None = None, **settings: object) -> KgExtraction:
    tools = GraphTools(cpu=cpu or Workers(), thread=Workers(), supplies=no_supplies)
    return asyncio.run(extractor(Settings(**settings), tools).extract(chunks))


def read(*turns: tuple[str, str] | str, **settings: object) -> tuple[Entities, Triples]:
    """Return types by name, and the relations, of one chunk."""
    spoken = [("A", turn) if isinstance(turn, str) else turn for turn in turns]
    result = extracted(chunks_of("r", [spoken]), **settings).chunks[0]
    names = {one.id: one.name for one in result.entities}
    return (
        {one.name: one.type for one in result.entities},
        {(names[one.source], one.type, names[one.target]) for one in result.relations},
    )


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("Sleep deprivation reduces attention.", ("sleep deprivation", "REDUCES", "attention")),
        ("Chronic stress leads to burnout.", ("chronic stress", "LEADS_TO", "burnout")),
        ("Short naps also improve alertness.", ("naps", "OPTIMIZES", "alertness")),
        ("The outage was caused by lightning.", ("lightning", "CAUSES", "outage")),
        ("Insomnia is often due to anxiety.", ("anxiety", "CAUSES", "insomnia")),
        ("The warning system depends on upstream gauges.", ("warning system", "REQUIRES", "upstream gauges")),
        ("I think that the lack of structure causes anxiety.", ("lack of structure", "CAUSES", "anxiety")),
        ("We measured the effect of restoration on salmon.", ("restoration", "INFLUENCES", "salmon")),
        ("Multitasking is a form of procrastination.", ("multitasking", "IS_PART_OF", "procrastination")),
        ("Poor sleep increases appetite.", ("poor sleep", "INFLUENCES", "appetite")),
        ("Working with bees lowers stress.", ("working with bees", "REDUCES", "stress")),
        ("Light from screens regulates the body clock.", ("light", "INFLUENCES", "body clock")),
        ("dredging weakens the river bank", ("dredging", "REDUCES", "river bank")),
    ],
)
def test_what_a_sentence_says_in_so_many_words_is_a_relation(
    sentence: str, said: tuple[str, str, str]
) -> None:
    assert read(sentence)[1] == {said}


@pytest.mark.parametrize(
    "sentence",
    [
        "Dredging does not reduce flood risk.",
        "Nothing reduces stress like a long walk.",
        "Nobody knows whether sugar causes acne.",
        "Does sugar cause acne?",
        "If rain causes flooding, we leave.",
        "He caused an accident and lost his licence.",
        "They miss more appointments because of bus fares.",
        "I hear that it reduces a lot.",
    ],
)
def test_what_is_denied_asked_or_supposed_is_none(sentence: str) -> None:
    assert read(sentence)[1] == set()


def test_one_subject_may_do_several_things_to_several_things() -> None:
    _, found = read("A good rota reduces stress and absenteeism and improves morale.")
    assert found == {
        ("rota", "REDUCES", "stress"),
        ("rota", "REDUCES", "absenteeism"),
        ("rota", "OPTIMIZES", "morale"),
    }


def test_what_may_be_is_less_sure_than_what_is() -> None:
    sure, unsure = (
        extracted(chunks_of("r", [f"Magnesium {verb} fatigue."])).chunks[0].relations[0].confidence
        for verb in ("reduces", "may reduce")
    )
    assert unsure < sure


def test_a_call_without_capitals_and_punctuation_tells_who_called_from_where_about_what() -> None:
    entities, relations = read(
        ("agent", "hello this is daniel with maple county homes am i speaking with brian cooper"),
        ("customer", "yes it is"),
        ("agent", "i'm calling about your house on cedar street would you like to sell the house"),
        ("customer", "i want two hundred thousand dollars for the house please call me tomorrow"),
    )
    assert entities == {
        "Daniel": "Person",
        "Maple County Homes": "Organization",
        "Brian Cooper": "Person",
        "house": "Concept",
        "Cedar Street": "Place",
        "two hundred thousand dollars": "Concept",
    }
    assert relations == {
        ("Daniel", "IS_PART_OF", "Maple County Homes"),
        ("house", "RELATES_TO", "Cedar Street"),
        ("two hundred thousand dollars", "RELATES_TO", "house"),
    }


def test_small_talk_names_nothing() -> None:
    assert read(
        "hello how are you", "i am good thank you it is a nice day", "okay have a good day goodbye"
    ) == ({}, set())


def test_names_with_capitals_have_their_types() -> None:
    entities, _ = read(
        "The Committee on Natural Resources met Dr. Lars Meinert of the Hydrology Institute in Lisbon.",
        "Senator Aldous wrote the Arden Recovery Act after the flood of 2019.",
        "He paid $4.2 million on March 3, 2021 at Mill Street.",
    )
    assert entities == {
        "Committee on Natural Resources": "Organization",
        "Lars Meinert": "Person",
        "Hydrology Institute": "Organization",
        "Lisbon": "Place",
        "Aldous": "Person",
        "Arden Recovery Act": "Concept",
        "flood of 2019": "Event",
        "$4.2 million": "Concept",
        "March 3 2021": "Event",
        "Mill Street": "Place",
    }


def test_a_short_name_is_the_person_whose_name_the_recording_has_in_full() -> None:
    found = extracted(chunks_of("r", ["Helen Ashdown is here.", "I asked Dr. Ashdown, and Helen agreed."]))
    assert [[one.name for one in chunk.entities] for chunk in found.chunks] == [
        ["Helen Ashdown"],
        ["Helen Ashdown"],
    ]


def test_a_short_name_that_two_people_could_bear_stays_short() -> None:
    entities, _ = read("Helen Ashdown met Peter Ashdown. Then Dr. Ashdown left.")
    assert set(entities) == {"Helen Ashdown", "Peter Ashdown", "Ashdown"}


def test_a_term_counts_when_a_recording_comes_back_to_it() -> None:
    entities, _ = read("We looked at the aquifer first. The aquifer is old. A tractor stood in the yard.")
    assert "aquifer" in entities
    assert "tractor" not in entities


def test_every_find_has_its_chunk_words_second_and_speaker() -> None:
    chunks = chunks_of(
        "r", [[("Ann", "Well."), ("Ben", "So stress causes fatigue.")], "Naps reduce fatigue."]
    )
    found = extracted(chunks)
    assert [(one.chunk, one.id, one.span.quote, one.span.start) for one in found.chunks[0].relations] == [
        ("r:0", "r:0#r0", "stress causes fatigue", 1.0)
    ]
    assert {one.span.speaker for one in found.chunks[0].entities} == {"Ben"}
    assert [one.id for one in found.chunks[1].entities] == ["r:1#e0", "r:1#e1"]


def test_finds_below_the_wanted_confidence_are_left_out_and_counted() -> None:
    entities, relations = read("Stress causes fatigue.", graph_min_confidence=0.95)
    assert (entities, relations) == ({}, set())
    result = extracted(chunks_of("r", ["Stress causes fatigue."]), graph_min_confidence=0.95).chunks[0]
    assert result.dropped.low_confidence > 0


def test_chunks_of_no_value_and_of_other_languages_say_why_nothing_was_looked_for() -> None:
    chunks = chunks_of("r", ["Stress causes fatigue."])
    low = chunks.chunks[0].model_copy(update={"low_value": "no words"})
    (result,) = extracted(chunks.model_copy(update={"chunks": (low,)})).chunks
    assert (result.state, result.message) == (ChunkState.FILTERED, "no words")
    (result,) = extracted(chunks.model_copy(update={"language": "de"})).chunks
    assert result.state is ChunkState.FILTERED
    assert "English" in (result.message or "")


def test_a_long_recording_does_not_hold_up_the_others() -> None:
    workers = Workers()
    extracted(chunks_of("short", ["Stress causes fatigue."]), cpu=workers)
    assert workers.asked == 0
    found = extracted(chunks_of("long", ["Stress causes fatigue. " * 90] * 12), cpu=workers)
    assert workers.asked == 1
    assert len(found.chunks) == 12


def test_types_that_an_ontology_lacks_become_its_fallback_or_are_left_out(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "nodes: {Thing: Anything.}\nrelations: {CAUSES: It makes it.}\nfallback: {node: Thing}\n", "utf-8"
    )
    chunks = chunks_of("r", ["Stress causes fatigue. Naps reduce fatigue."])
    (result,) = extracted(chunks, ontology_file=mine).chunks
    assert {one.type for one in result.entities} == {"Thing"}
    assert [one.type for one in result.relations] == ["CAUSES"]
    assert result.unknown_types["REDUCES"] == 1
