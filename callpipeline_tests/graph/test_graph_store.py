"""The graph's files: what is written is read, whatever happens in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from callpipeline.failures import UsageError
from callpipeline.graph import decisions, store
from callpipeline.graph.build import build
from callpipeline.knowledge import KnowledgeGraph
from callpipeline_tests.graph.telling import Chunk, Thing, naming, told


@pytest.fixture
def graph() -> KnowledgeGraph:
    said = Chunk(
        'He said "stress" – c\'est la vie – reduces sleep, 中文.\nYes.',
        [Thing("stress", "Outcome", 'a "quoted" thing; with, signs'), Thing("sleep", "Practice")],
        [("REDUCES", 0, 1)],
    )
    return build([told("a", said), naming("b", "sleep", "Sleep", Thing("stress", "Person")), told("c")])


def test_what_is_written_is_what_is_read(tmp_path: Path, graph: KnowledgeGraph) -> None:
    written = store.write(tmp_path, graph, made_from="x")
    assert graph.merges
    assert graph.conflicts
    assert store.load(tmp_path) == graph
    assert store.current(tmp_path) == written
    assert store.load(tmp_path).model_dump_json() == graph.model_dump_json()
    assert store.merges(tmp_path) == tuple(sorted(graph.merges, key=lambda m: (m.score, m.id)))
    assert [entity.name for entity in store.top(tmp_path, 1)] == ["sleep"]


def test_an_empty_graph_is_one_too(tmp_path: Path) -> None:
    store.write(tmp_path, build([]), made_from="x")
    assert store.load(tmp_path).entities == ()


def test_without_a_graph_people_are_told_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="graph build"):
        store.load(tmp_path)


def test_a_writer_that_breaks_leaves_the_graph_before(
    tmp_path: Path, graph: KnowledgeGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(tmp_path, graph, made_from="x")
    broken = graph.model_copy(update={"mentions": (*graph.mentions, object())})
    with pytest.raises(AttributeError):
        store.write(tmp_path, broken, made_from="y")
    assert store.load(tmp_path) == graph
    assert len([p for p in (tmp_path / store.FOLDER).iterdir() if p.is_dir()]) == 1


def test_old_graphs_are_removed_but_not_under_a_reader_s_hands(tmp_path: Path, graph: KnowledgeGraph) -> None:
    first = store.write(tmp_path, graph, made_from="1")
    second = store.write(tmp_path, graph, made_from="2")
    assert store.is_whole(tmp_path, first)
    store.write(tmp_path, graph, made_from="3")
    assert not store.is_whole(tmp_path, first)
    assert store.is_whole(tmp_path, second)


def test_a_damaged_graph_is_told_and_not_taken_for_none(tmp_path: Path, graph: KnowledgeGraph) -> None:
    now = store.write(tmp_path, graph, made_from="x")
    store.table_path(tmp_path, now.version, "entities").write_bytes(b"no parquet")
    with pytest.raises(UsageError, match="cannot be read"):
        store.load(tmp_path)


def test_decisions_are_kept_and_the_last_word_counts(tmp_path: Path, graph: KnowledgeGraph) -> None:
    merge = graph.merges[0]
    assert decisions.undo(tmp_path, graph, merge.id) == merge
    [decision] = decisions.read(tmp_path)
    assert (decision.merge, decision.name, decision.apart) == (merge.id, merge.name, True)
    assert decisions.apart(decisions.read(tmp_path)) == {merge.id}
    decisions.redo(tmp_path, merge.id)
    assert decisions.apart(decisions.read(tmp_path)) == frozenset()
    assert len(decisions.read(tmp_path)) == 2
    with pytest.raises(UsageError, match="was not undone"):
        decisions.redo(tmp_path, merge.id)
    with pytest.raises(UsageError, match="no merge m0"):
        decisions.undo(tmp_path, graph, "m0")


def test_decisions_survive_new_graphs(tmp_path: Path, graph: KnowledgeGraph) -> None:
    decisions.undo(tmp_path, graph, graph.merges[0].id)
    for number in range(3):
        store.write(tmp_path, graph, made_from=str(number))
    assert len(decisions.read(tmp_path)) == 1


def test_a_decision_that_cannot_be_read_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / store.FOLDER / decisions.FILE
    path.parent.mkdir(parents=True)
    path.write_text('\n{"merge": "m1"}\n')
    with pytest.raises(UsageError, match="Line 2"):
        decisions.read(tmp_path)
