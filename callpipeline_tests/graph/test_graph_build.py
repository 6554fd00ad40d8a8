"""Nodes, edges and the places that they stand on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from callpipeline.graph.build import build
from callpipeline.knowledge import Entity, KnowledgeGraph, TextChunk
from callpipeline.model import Role
from callpipeline_tests.graph.telling import Chunk, Thing, Told, naming, told

STRESS = Chunk(
    "Chronic stress causes poor sleep in most people.",
    [Thing("Chronic stress", "Outcome", "Long-lasting strain"), Thing("poor sleep", "Outcome")],
    [("CAUSES", 0, 1)],
    speaker="Ann Lee",
)
SLEEP = Chunk(
    "Well, poor sleep leads to mistakes at work.",
    [Thing("poor sleep", "Outcome"), Thing("mistakes", "Outcome")],
    [("LEADS_TO", 0, 1)],
    speaker="B",
    role=Role.CUSTOMER,
)


def one(graph: KnowledgeGraph, name: str, kind: str | None = None) -> Entity:
    [found] = [e for e in graph.entities if e.name == name and kind in (None, e.type)]
    return found


def edges(graph: KnowledgeGraph, kind: str) -> set[tuple[str, str]]:
    names = {entity.id: entity.name for entity in graph.entities}
    return {(names[r.source], names[r.target]) for r in graph.relations if r.type == kind}


def test_what_is_said_becomes_nodes_edges_and_their_sources() -> None:
    graph = build([told("a", STRESS, title="Episode 1"), told("b", SLEEP, title="Episode 2")])
    assert edges(graph, "CAUSES") == {("Chronic stress", "poor sleep")}
    assert edges(graph, "LEADS_TO") == {("poor sleep", "mistakes")}
    assert edges(graph, "CROSS_EPISODE") == {("Episode 1", "Episode 2")}
    assert edges(graph, "SAID") == {("Ann Lee", STRESS.text), ("Customer (Episode 2)", SLEEP.text)}
    assert edges(graph, "ABOUT") >= {(STRESS.text, "Chronic stress"), (STRESS.text, "poor sleep")}
    assert {("poor sleep", "Episode 1"), ("poor sleep", "Episode 2")} <= edges(graph, "MENTIONED_IN")
    stress = one(graph, "Chronic stress")
    assert stress.description == "Long-lasting strain"
    [place] = [m for m in graph.mentions if m.of == stress.id]
    assert (place.recording, place.chunk, place.span.quote) == ("a", "a:0", "Chronic stress")
    assert one(graph, "Ann Lee").type == "Person"
    assert graph.summary.recordings == 2
    assert graph.summary.by_type["Quote"] == 2
    assert graph.summary.structural == sum(r.structural for r in graph.relations)


def test_ids_stay_whatever_else_is_found() -> None:
    """Ids are kept in other people's notes."""
    alone = one(build([told("a", STRESS)]), "Chronic stress")
    among_others = one(
        build([told("z", SLEEP, STRESS), naming("y", "chronic stress", type="Outcome")]), "chronic stress"
    )
    assert alone.id == among_others.id == "eaadc3447793ab9f"


def test_quotes_that_do_not_stand_in_their_chunk_are_left_out_and_counted() -> None:
    episode, texts, found = told("a", STRESS, SLEEP)
    [first, second] = found.chunks
    moved = first.model_copy(update={"entities": second.entities, "relations": second.relations})
    graph = build([(episode, texts, found.model_copy(update={"chunks": (moved, second)}))])
    assert graph.summary.dropped.not_in_text == 3
    assert {m.chunk for m in graph.mentions if m.type == "Outcome"} == {"a:1"}


def test_a_thing_is_not_related_to_itself() -> None:
    chunk = Chunk("Sleep cycles follow the sleep cycle.", [Thing("Sleep cycles"), Thing("sleep cycle")])
    looped = Chunk(chunk.text, chunk.things, [("LEADS_TO", 0, 1)])
    assert not edges(build([told("a", looped)]), "LEADS_TO")


def test_recordings_without_words_are_known_but_no_nodes() -> None:
    graph = build([told("a"), told("b", STRESS)])
    assert [episode.recording for episode in graph.episodes] == ["a", "b"]
    assert Counter(e.type for e in graph.entities)["Episode"] == 1


def test_no_recordings_make_an_empty_graph() -> None:
    graph = build([])
    assert (graph.entities, graph.relations, graph.mentions, graph.summary.recordings) == ((), (), (), 0)


# --- what always holds --------------------------------------------------------------------------------

NAMES = [
    *("sleep", "Sleep", "the sleep cycle", "sleep cycles", "colour", "color", "Acme Inc.", "ACME", "Ann Lee"),
    *(
        "Dr. Ann Lee",
        "Ann",
        "Anne Lee",
        "Bob Stone",
        "Robert Stone",
        "FBI",
        "Federal Bureau of Investigation",
    ),
]
things = st.builds(
    Thing,
    name=st.sampled_from(NAMES),
    type=st.sampled_from(["Concept", "Practice", "Person", "Organization", "Place"]),
    description=st.sampled_from(["", "a thing", "no thing", "the 1st of 3", "the 2nd of 4"]),
    confidence=st.sampled_from([0.5, 0.7, 0.9]),
)


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    held = draw(st.lists(things, max_size=5))
    ends = st.integers(0, len(held) - 1) if held else st.nothing()
    kinds = st.sampled_from(["CAUSES", "REDUCES", "RELATES_TO"])
    relations = draw(st.lists(st.tuples(kinds, ends, ends), max_size=4)) if held else []
    text = "So they spoke of " + " and ".join(thing.name for thing in held) + " at length."
    return Chunk(text, held, relations, speaker=draw(st.sampled_from(["A", "speaker_1", "Ann Lee", "agent"])))


@st.composite
def stories(draw: st.DrawFn) -> list[Told]:
    keys = ["r1", "r2", "r3", "r4"][: draw(st.integers(1, 4))]
    return [told(key, *draw(st.lists(chunks(), max_size=3))) for key in keys]


def comparable(graph: KnowledgeGraph) -> dict[str, object]:
    content = graph.model_dump(exclude={"summary": {"built"}})
    return dict(content)


@settings(max_examples=60, deadline=None)
@given(stories(), st.randoms(use_true_random=False))
def test_every_node_and_edge_leads_back_to_words_that_were_said(story: list[Told], random: object) -> None:
    graph = build(story)
    texts: dict[str, TextChunk] = {chunk.id: chunk for _, said, _ in story for chunk in said.chunks}
    ids = {entity.id for entity in graph.entities}
    parts = [part.id for part in (*graph.entities, *graph.relations)]
    assert len(parts) == len(set(parts))
    assert {m.of for m in graph.mentions} == set(parts)
    for mention in graph.mentions:
        chunk, span = texts[mention.chunk], mention.span
        assert mention.recording == chunk.recording
        assert span.quote
        assert chunk.text[span.begin : span.finish] == span.quote
        assert chunk.start <= span.start <= span.end <= chunk.end + 1
    for relation in graph.relations:
        assert {relation.source, relation.target} <= ids
        assert relation.source != relation.target
    assert {merge.entity for merge in graph.merges} <= ids
    assert {conflict.entity for conflict in graph.conflicts} <= ids
    assert_counts(graph.entities, graph)


def assert_counts(entities: Iterable[Entity], graph: KnowledgeGraph) -> None:
    places = Counter(m.of for m in graph.mentions)
    for entity in entities:
        assert entity.mentions == places[entity.id]
        assert entity.recordings == len({m.recording for m in graph.mentions if m.of == entity.id})
    for relation in graph.relations:
        assert relation.structural or relation.mentions == places[relation.id]


@settings(max_examples=60, deadline=None)
@given(stories(), st.randoms(use_true_random=False))
def test_the_order_of_recordings_does_not_matter(story: list[Told], random: object) -> None:
    shuffled = list(story)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert comparable(build(shuffled)) == comparable(build(story))


@settings(max_examples=40, deadline=None)
@given(stories())
def test_merges_that_are_all_undone_leave_names_as_they_are_written(story: list[Told]) -> None:
    from callpipeline_tests.graph.test_resolution import undone

    decisions = []
    graph = build(story)
    while graph.merges:
        decisions += undone(*graph.merges)
        graph = build(story, decisions)
    said = {(m.type, m.name.casefold().strip(".")) for m in graph.mentions if m.type in ("Concept", "Place")}
    held = [e for e in graph.entities if e.type in ("Concept", "Place")]
    assert len(held) == len(said)


def test_a_name_in_every_recording_joins_none() -> None:
    graph = build([naming(f"r{n:02d}", "phone") for n in range(40)])
    assert not edges(graph, "CROSS_EPISODE")
