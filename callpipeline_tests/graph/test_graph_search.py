"""Questions to a graph, and answers that lead to what was said."""

from __future__ import annotations

import numpy as np
import pytest

from callpipeline.failures import UsageError
from callpipeline.graph.build import build
from callpipeline.graph.search import GraphSearch, quoted
from callpipeline_tests.graph.telling import Chunk, Thing, told


@pytest.fixture(scope="module")
def search() -> GraphSearch:
    def says(text: str, one: str, kind: str, other: str) -> Chunk:
        return Chunk(text, [Thing(one), Thing(other)], [(kind, 0, 1)])

    return GraphSearch(
        build(
            [
                told(
                    "a",
                    says("We know that caffeine reduces deep sleep.", "caffeine", "REDUCES", "deep sleep"),
                    says("And deep sleep enables memory.", "deep sleep", "ENABLES", "memory"),
                    Chunk("Said Ann Lee in Boston.", [Thing("Ann Lee", "Person"), Thing("Boston", "Place")]),
                    title="On sleep",
                ),
                told("b", says("Good memory leads to grades.", "memory", "LEADS_TO", "grades")),
                told("c", says("Here, the tides cause floods.", "tides", "CAUSES", "floods")),
            ]
        )
    )


def test_names_are_found_whatever_their_case_and_with_slips(search: GraphSearch) -> None:
    assert search.find("Deep Sleep")[0].entity.name == "deep sleep"
    assert (search.find("Deep Sleep")[0].why, search.find("Deep Sleep")[0].score) == ("name", 1.0)
    assert search.find("cafeine")[0].entity.name == "caffeine"
    assert search.find("cafeine")[0].why == "similar"
    assert [hit.entity.name for hit in search.find("boston", type="person")] == []
    assert search.find("boston", type="place")[0].entity.name == "Boston"
    assert not search.find("xylophone")


def test_an_answer_says_where_it_was_said(search: GraphSearch) -> None:
    place = search.find("memory")[0].places[0]
    assert (place.quote, place.recording, place.title, place.path) == (
        "memory", "a", "On sleep", "/in/a.mp3",
    )  # fmt: skip
    assert place.start == pytest.approx(62.3)
    assert list(quoted([place])) == ['"memory" (On sleep, 1:02)']


def test_places_of_several_recordings_come_in_turn(search: GraphSearch) -> None:
    memory = search.entity("memory")
    assert [place.recording for place in search.places(memory.id)] == ["a", "b"]


def test_an_entity_by_id_or_name_or_what_is_near(search: GraphSearch) -> None:
    memory = search.entity("Memory")
    assert search.entity(memory.id) == memory
    with pytest.raises(UsageError, match=r"caffeine \(Concept\)"):
        search.entity("cafeine")


def test_what_is_around_nearest_first(search: GraphSearch) -> None:
    sleep = search.entity("deep sleep")
    links = search.neighbours(sleep.id)
    assert {(link.entity.name, link.relation.type, link.outgoing) for link in links} == {
        ("caffeine", "REDUCES", False),
        ("memory", "ENABLES", True),
    }
    assert all(link.places for link in links)
    further = search.neighbours(sleep.id, hops=2)
    assert [link.hops for link in further] == [1, 1, 2]
    assert further[2].entity.name == "grades"
    assert [link.entity.name for link in search.neighbours(sleep.id, relation="enables")] == ["memory"]
    said_in = search.neighbours(sleep.id, relation="MENTIONED_IN")
    assert [link.entity.name for link in said_in] == ["On sleep"]


def test_the_shortest_way_with_what_says_each_step(search: GraphSearch) -> None:
    way = search.path(search.entity("grades").id, search.entity("caffeine").id)
    assert way is not None
    assert [entity.name for entity in way.entities] == ["grades", "memory", "deep sleep", "caffeine"]
    assert [(link.relation.type, link.outgoing) for link in way.links] == [
        ("LEADS_TO", False),
        ("ENABLES", False),
        ("REDUCES", False),
    ]
    assert way.links[0].places[0].quote == "Good memory leads to grades."
    assert search.path(search.entity("grades").id, search.entity("floods").id) is None
    assert search.path(search.entity("grades").id, search.entity("caffeine").id, longest=2) is None
    same = search.path(way.entities[0].id, way.entities[0].id)
    assert same is not None
    assert not same.links


def test_what_means_something_like_it(search: GraphSearch) -> None:
    names = search.names_with_meaning()
    assert "deep sleep" in names
    assert "On sleep" not in names
    vectors = {name: np.eye(len(names), dtype=np.float32)[at] for at, name in enumerate(names)}
    question = 0.8 * vectors["deep sleep"] + 0.6 * vectors["memory"]
    hits = search.nearest(question, vectors)
    assert [(hit.entity.name, hit.why) for hit in hits] == [("deep sleep", "meaning"), ("memory", "meaning")]
    assert search.nearest(question, vectors, type="Person") == ()


def test_the_most_named_of_a_type(search: GraphSearch) -> None:
    assert search.by_type("concept", limit=1)[0].name == "memory"
