"""Which names become one thing, why, and how that is undone."""

from __future__ import annotations

import numpy as np
import pytest

from callpipeline.graph.build import build
from callpipeline.graph.decisions import Decision
from callpipeline.knowledge import Entity, KnowledgeGraph, Merge
from callpipeline_tests.graph.telling import Chunk, Thing, Told, naming, told


def named(graph: KnowledgeGraph, kind: str | None = None) -> list[Entity]:
    """Things that somebody named, without recordings, quotes and unnamed speakers."""
    found = [e for e in graph.entities if e.type not in ("Episode", "Quote")]
    return sorted((e for e in found if kind in (None, e.type)), key=lambda e: e.name.casefold())


def undone(*merges: Merge) -> list[Decision]:
    return [Decision(merge=merge.id, apart=True, at="2026-01-01T00:00:00+00:00") for merge in merges]


def test_one_name_in_two_recordings_is_one_thing() -> None:
    graph = build([naming("a", "sleep cycles", "Sleep cycle"), naming("b", "the sleep cycle")])
    [entity] = named(graph)
    assert (entity.mentions, entity.recordings) == (3, 2)
    assert {entity.name, *entity.aliases} == {"Sleep cycle", "sleep cycles", "the sleep cycle"}
    assert {merge.reason for merge in graph.merges} == {"same_name"}
    assert all(merge.entity == entity.id for merge in graph.merges)


def test_people_with_like_names_in_different_recordings_stay_two() -> None:
    graph = build(
        [naming("a", "John Smith", type="Person"), naming("b", "Jon Smyth", "Jonn Smith", type="Person")]
    )
    assert [e.name for e in named(graph)] == ["John Smith", "Jon Smyth", "Jonn Smith"]
    assert not graph.merges


def test_the_same_person_s_name_in_two_recordings_is_a_guess_that_says_so() -> None:
    graph = build([naming("a", "Sarah", type="Person"), naming("b", "Sarah", type="Person")])
    [merge] = graph.merges
    assert merge.reason == "same_name"
    assert merge.score < 0.7
    assert "may well be several people" in merge.explanation
    apart = build([naming("a", "Sarah", type="Person"), naming("b", "Sarah", type="Person")], undone(merge))
    assert [(e.name, e.recordings) for e in named(apart)] == [("Sarah", 1), ("Sarah", 1)]
    assert len({e.id for e in named(apart)}) == 2
    assert (apart.summary.merges, apart.summary.undone) == (0, 1)


def test_a_first_name_is_the_one_person_of_its_recording_who_has_it() -> None:
    graph = build(
        [
            naming("a", "Sarah Connor", "Sarah", "Kyle Reese", type="Person"),
            naming("b", "Sarah", type="Person"),
            naming("c", "Sarah Miller", "Sarah Lee", "Sarah", type="Person"),
        ]
    )
    assert [(e.name, e.mentions) for e in named(graph)] == [
        ("Kyle Reese", 1),
        ("Sarah", 2),
        ("Sarah Connor", 2),
        ("Sarah Lee", 1),
        ("Sarah Miller", 1),
    ]
    [alias] = [merge for merge in graph.merges if merge.reason == "alias"]
    assert (alias.name, alias.other) == ("Sarah Connor", "Sarah")


def test_nicknames_titles_and_abbreviations_are_other_names() -> None:
    graph = build(
        [
            naming("a", "Robert Miller", "Dr. Robert Miller", type="Person"),
            naming("b", "Bob Miller", type="Person"),
            naming("c", "Federal Housing Agency", "FHA", type="Organization"),
            naming("d", "FBI", type="Organization"),
            naming("e", "Federal Bureau of Investigation", type="Organization"),
        ]
    )
    assert [e.name for e in named(graph, "Person")] == ["Robert Miller"]
    # Only where a recording uses both: elsewhere the initials may stand for something else.
    assert [e.name for e in named(graph, "Organization")] == [
        "FBI",
        "Federal Bureau of Investigation",
        "Federal Housing Agency",
    ]


def test_misheard_proper_names_need_a_recording_in_common() -> None:
    together = build([naming("a", "Andrew Huberman", "Andrew Huderman", type="Person")])
    assert len(named(together)) == 1
    assert together.merges[0].reason == "similar_name"
    assert len(named(build([naming("a", "Maria Lopez", "Mario Lopez", type="Person")]))) == 2
    assert len(named(build([naming("a", "Flight 801", "Flight 802", type="Event")]))) == 2


@pytest.mark.parametrize(("one", "other"), [("meditation", "medication"), ("morality", "mortality")])
def test_ideas_that_differ_by_a_letter_are_two(one: str, other: str) -> None:
    assert len(named(build([naming("a", one, other), naming("b", one, other)]))) == 2


def test_ideas_of_several_types_are_one_and_the_conflict_is_kept() -> None:
    graph = build([naming("a", Thing("cold plunge", "Practice")), naming("b", "cold plunge", "cold plunge")])
    [entity] = named(graph)
    assert entity.type == "Concept"
    [conflict] = graph.conflicts
    assert (conflict.entity, conflict.field) == (entity.id, "type")
    assert conflict.values == (("Concept", "b:0#e0"), ("Practice", "a:0#e0"))
    split = build(
        [naming("a", Thing("cold plunge", "Practice")), naming("b", "cold plunge", "cold plunge")],
        undone(*graph.merges),
    )
    assert [e.type for e in named(split)] == ["Concept", "Practice"]


def test_a_person_and_a_place_of_one_name_stay_two_and_the_conflict_is_kept() -> None:
    graph = build([naming("a", Thing("Jordan", "Person")), naming("b", Thing("Jordan", "Place"))])
    assert {e.type for e in named(graph)} == {"Person", "Place"}
    [conflict] = graph.conflicts
    assert [kind for kind, _ in conflict.values] == ["Person", "Place"]


def test_sources_that_contradict_each_other_are_kept() -> None:
    def one(key: str, about: str, kind: str) -> Told:
        things = [Thing("Caffeine", description=about), Thing("memory")]
        return told(key, Chunk("Caffeine does something to memory.", things, [(kind, 0, 1)]))

    graph = build(
        [
            one("a", "A stimulant that raises blood pressure", "CAUSES"),
            one("b", "A stimulant that lowers blood pressure", "REDUCES"),
        ]
    )
    by_field = {conflict.field: conflict for conflict in graph.conflicts}
    assert {said for said, _ in by_field["description"].values} == {
        "A stimulant that raises blood pressure",
        "A stimulant that lowers blood pressure",
    }
    assert by_field["relation"].values == (("CAUSES memory", "a:0#r0"), ("REDUCES memory", "b:0#r0"))


def test_vectors_join_wordings_but_no_opposites_and_no_chains() -> None:
    vectors = {
        name: np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)
        for name, angle in (
            ("sleep deprivation", 0.0),
            ("lack of sleep", 0.3),
            ("sleep loss", 0.6),
            ("more dopamine", 2.0),
            ("less dopamine", 2.05),
        )
    }
    recordings = [naming("a", *vectors), naming("b", "lack of sleep")]
    graph = build(recordings, vectors=vectors)
    # The middle one is as near to either end; the ends are not near each other, so only one of them joins it.
    assert len(named(graph)) == 4
    [merge] = graph.merges
    assert merge.reason == "embedding"
    assert merge.score > 0.92
    assert len(named(build(recordings))) == 5


def test_what_was_undone_does_not_come_together_by_way_of_a_third() -> None:
    ways = ["Federal Reserve", "the Federal Reserve", "Federal Reserve Inc"]
    recordings = [naming("a", *ways, type="Organization")]
    joined = build(recordings)
    assert len(named(joined)) == 1
    [apart] = [m for m in joined.merges if {m.name, m.other} == set(ways[:2])]
    graph = build(recordings, undone(apart))
    assert len(named(graph)) == 2
    held = [{e.name, *e.aliases} for e in named(graph)]
    assert not any(set(ways[:2]) <= names for names in held)


def test_an_undone_merge_can_be_taken_back() -> None:
    recordings = [naming("a", "sleep cycles"), naming("b", "sleep cycle")]
    [merge] = build(recordings).merges
    decisions = [*undone(merge), undone(merge)[0].model_copy(update={"apart": False})]
    assert len(named(build(recordings, undone(merge)))) == 2
    assert len(named(build(recordings, decisions))) == 1
