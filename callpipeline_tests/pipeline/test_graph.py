"""The knowledge graph of a store: made when something changed, with what people decided, and as tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from callpipeline.defs.assets.knowledge_graph import build_knowledge_graph
from callpipeline.defs.resources import PipelineResource
from callpipeline.failures import UsageError
from callpipeline.graph import decisions, store
from callpipeline.graph.search import GraphSearch
from callpipeline.intake.scan import scan
from callpipeline.knowledge import KnowledgeGraph
from callpipeline.pipeline.graph import build_graph, search_by_meaning
from callpipeline.pipeline.warehouse import refresh_warehouse
from callpipeline.pipeline.workbench import Workbench
from callpipeline.settings import Settings
from callpipeline.store import warehouse
from callpipeline_tests.graph.telling import Chunk, Thing, Told, naming, told
from callpipeline_tests.simulators import OpenAISimulator


@pytest.fixture
def bench(settings: Settings) -> Iterator[Workbench]:
    with Workbench(settings) as opened:
        yield opened


def recordings(bench: Workbench, count: int) -> list[str]:
    folder: Path = bench.settings.uploads
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"talk {number}.mp3").write_bytes(f"talk {number}".encode())
    scan(bench.catalog, folder, bench.settings)
    return bench.catalog.order()


def put(bench: Workbench, story: Told) -> None:
    _, texts, found = story
    bench.store.put("text_chunks", texts.recording, texts, cache_key="c", code_version="1")
    bench.store.put("kg_extractions", texts.recording, found, cache_key="c", code_version="1")


def graph_of(bench: Workbench) -> KnowledgeGraph:
    build_graph(bench)
    return store.load(bench.settings.store)


def names(graph: KnowledgeGraph) -> list[str]:
    return sorted(e.name.casefold() for e in graph.entities if e.type not in ("Episode", "Quote"))


def test_a_graph_is_made_only_when_something_changed(bench: Workbench) -> None:
    one, other = recordings(bench, 2)
    put(bench, naming(one, "stress"))
    first = build_graph(bench)
    version = store.current(bench.settings.store)
    assert build_graph(bench) == first
    assert store.current(bench.settings.store) == version
    put(bench, naming(other, "stress", "sleep"))
    graph = graph_of(bench)
    assert names(graph) == ["sleep", "stress"]
    assert [episode.title for episode in graph.episodes] == [
        f"Recording {key}" for key in sorted((one, other))
    ]
    assert {Path(episode.path).name for episode in graph.episodes} == {"talk 0.mp3", "talk 1.mp3"}
    bench.store.remove("kg_extractions", other)
    assert names(graph_of(bench)) == ["stress"]


def test_what_was_undone_stays_undone_after_new_builds_and_new_extractions(bench: Workbench) -> None:
    one, other = recordings(bench, 2)
    put(bench, naming(one, "sleep cycles", "sleep cycle"))
    graph = graph_of(bench)
    [merge] = graph.merges
    decisions.undo(bench.settings.store, graph, merge.id)
    assert names(graph_of(bench)) == ["sleep cycle", "sleep cycles"]
    more = Thing("sleep cycle", description="now with a description", confidence=0.95)
    put(bench, naming(one, "the lucid dream", Thing("sleep cycles", "Practice"), more))
    put(bench, naming(other, "Sleep Cycles"))
    again = graph_of(bench)
    assert names(again) == ["sleep cycle", "sleep cycles", "the lucid dream"]
    assert merge.id not in {one.id for one in again.merges}
    assert again.summary.undone == 1
    decisions.redo(bench.settings.store, merge.id)
    assert len(names(graph_of(bench))) == 2


def test_the_warehouse_follows_the_graph(bench: Workbench) -> None:
    [key] = recordings(bench, 1)
    said = Chunk("Stress reduces sleep.", [Thing("Stress"), Thing("sleep")], [("REDUCES", 0, 1)])
    put(bench, told(key, said))
    refresh_warehouse(bench)
    build_graph(bench)
    refresh_warehouse(bench)
    query = (
        'SELECT source_name, r.type, target_name, m.quote, m."start", title FROM relations r'
        ' JOIN mentions m ON m."of" = r.id LEFT JOIN recordings c USING (key) WHERE NOT structural'
    )
    with warehouse.connect(bench.settings.store) as connection:
        rows = connection.execute(query).fetchall()
        assert rows == [("Stress", "REDUCES", "sleep", "Stress reduces sleep.", 0.0, None)]
        assert ("sleep", "Concept", 1) in connection.execute(
            "SELECT name, type, mentions FROM entities"
        ).fetchall()
    bench.store.remove("kg_extractions", key)
    build_graph(bench)
    refresh_warehouse(bench)
    with warehouse.connect(bench.settings.store) as connection:
        for table in ("entities", "relations", "mentions"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_with_a_model_names_are_also_compared_and_found_by_meaning(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OpenAISimulator() as provider:
        for name, value in provider.environment().items():
            monkeypatch.setenv(name, value)
        asked = Settings().model_copy(update={"extractor": "openai", "retry_delay_scale": 0})
        with Workbench(asked) as bench:
            [key] = recordings(bench, 1)
            put(bench, naming(key, "hygiene of sleep", "of sleep hygiene", "a dam in Minot"))
            graph = graph_of(bench)
            assert names(graph) == ["a dam in minot", "hygiene of sleep"]
            assert graph.merges[0].reason == "embedding"
            search = GraphSearch(graph)
            [hit] = search_by_meaning(bench, search, "sleep hygiene", limit=1)
            assert (hit.entity.name, hit.why) == ("hygiene of sleep", "meaning")
            assert not build_graph(bench).notes


def test_without_vectors_there_is_a_graph_that_says_so_and_the_next_time_tries_again(
    settings: Settings,
) -> None:
    with Workbench(settings.model_copy(update={"extractor": "openai"})) as bench:
        [key] = recordings(bench, 1)
        put(bench, naming(key, "stress"))
        [note] = build_graph(bench).notes
        assert "compared as strings only" in note
        assert "OPENAI_API_KEY" in note
        version = store.current(bench.settings.store)
        build_graph(bench)
        assert store.current(bench.settings.store) != version


def test_search_by_meaning_needs_a_model(bench: Workbench) -> None:
    with pytest.raises(UsageError, match="CALLPIPELINE_EXTRACTOR=openai"):
        search_by_meaning(bench, GraphSearch(graph_of(bench)), "sleep")


def test_the_asset_tells_what_the_graph_holds(bench: Workbench) -> None:
    [key] = recordings(bench, 1)
    put(bench, naming(key, "sleep cycles", "sleep cycle", "stress"))
    resource = PipelineResource(settings=lambda: bench.settings)
    result = dg.materialize([build_knowledge_graph()], resources={"pipeline": resource})
    [made] = result.asset_materializations_for_node("knowledge_graph")
    assert made.metadata["entities"].value == 3
    assert made.metadata["entity_types"].value == "2 Concept, 1 Episode"
    assert "sleep cycle" in str(made.metadata["top_entities"].value)
    assert "same name" in str(made.metadata["least_sure_merges"].value)
