"""The graph as files: what other programs read back is the graph, with everything that leads to what was said."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import networkx
import pytest
from pyld import jsonld

from callpipeline.graph.exports import FILES, GraphFormat, write_exports
from callpipeline.knowledge import KnowledgeGraph
from callpipeline_tests.graph.graphs import CLOSING, HOSTILE, large_graph, small_graph

GRAPH = small_graph()


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[GraphFormat, Path]:
    return write_exports(GRAPH, tmp_path_factory.mktemp("exports"))


def test_every_format_has_its_file_and_only_what_is_asked_for_is_written(
    paths: dict[GraphFormat, Path], tmp_path: Path
) -> None:
    assert {name: path.name for name, path in paths.items()} == dict(FILES)
    write_exports(GRAPH, tmp_path / "one", [GraphFormat.GRAPHML])
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["knowledge_graph.graphml"]


# --- GraphML ----------------------------------------------------------------------------------------------


def test_graphml_is_read_back_with_all_nodes_edges_and_where_they_are_said(
    paths: dict[GraphFormat, Path],
) -> None:
    read = networkx.read_graphml(paths[GraphFormat.GRAPHML], force_multigraph=True)
    assert set(read.nodes) == {entity.id for entity in GRAPH.entities}
    assert {key for _, _, key in read.edges(keys=True)} == {edge.id for edge in GRAPH.relations}
    sleep, hostile = GRAPH.entities[0], GRAPH.entities[2]
    assert read.nodes[sleep.id]["aliases"] == "slow-wave sleep; SWS; deep"
    assert read.nodes[sleep.id]["second"] == 12.34
    assert read.nodes[sleep.id]["title"] == "On sleep"
    assert read.nodes[hostile.id]["label"] == HOSTILE
    edge = read.edges[sleep.id, GRAPH.entities[1].id, GRAPH.relations[0].id]
    assert (edge["type"], edge["weight"], edge["recording"]) == ("OPTIMIZES", 2.0, "r-one")
    assert edge["quote"] == "deep sleep helps memory"
    assert edge["structural"] is False


def test_two_edges_between_the_same_things_stay_two(paths: dict[GraphFormat, Path]) -> None:
    read = networkx.read_graphml(paths[GraphFormat.GRAPHML], force_multigraph=True)
    assert read.number_of_edges(GRAPH.entities[0].id, GRAPH.entities[1].id) == 2


# --- Neo4j ------------------------------------------------------------------------------------------------


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_neo4j_files_join_up(paths: dict[GraphFormat, Path]) -> None:
    folder = paths[GraphFormat.NEO4J]
    entities = {row["id:ID(Entity)"]: row for row in rows(folder / "entities.csv")}
    mentions = {row["id:ID(Mention)"]: row for row in rows(folder / "mentions.csv")}
    recordings = {row["recording:ID(Recording)"] for row in rows(folder / "recordings.csv")}
    relations = rows(folder / "relations.csv")
    assert len(entities) == len(GRAPH.entities)
    assert len(mentions) == len(GRAPH.mentions)
    assert {row[":TYPE"] for row in relations} == {edge.type for edge in GRAPH.relations}
    ends = {row[f":{end}_ID(Entity)"] for row in relations for end in ("START", "END")}
    assert ends <= entities.keys()
    evidence = rows(folder / "evidence.csv")
    assert {row[":START_ID(Entity)"] for row in evidence} <= entities.keys()
    assert {row[":END_ID(Mention)"] for row in evidence} <= mentions.keys()
    where = rows(folder / "in_recording.csv")
    assert {row[":START_ID(Mention)"] for row in where} == mentions.keys()
    assert {row[":END_ID(Recording)"] for row in where} == recordings
    first = entities[GRAPH.entities[0].id]
    assert first[":LABEL"] == "Entity;CognitiveState"
    assert first["aliases:string[]"].split(";") == ["slow-wave sleep", "SWS, deep"]


def test_neo4j_fields_hold_nothing_that_its_readers_misread(paths: dict[GraphFormat, Path]) -> None:
    for path in paths[GraphFormat.NEO4J].glob("*.csv"):
        for row in rows(path):
            assert not re.search(r"[\\\n\r\x00-\x1f]", "".join(row.values())), path.name


def test_the_cypher_script_names_the_files_and_their_columns(paths: dict[GraphFormat, Path]) -> None:
    folder = paths[GraphFormat.NEO4J]
    script = (folder / "load.cypher").read_text()
    loads = re.findall(r"FROM 'file:///(\S+)' AS row\n(.*?)ROWS;", script, re.DOTALL)
    assert {file for file, _ in loads} == {path.name for path in folder.glob("*.csv")}
    for file, statement in loads:
        with (folder / file).open(encoding="utf-8", newline="") as opened:
            header = next(csv.reader(opened))
        named = set(re.findall(r"row\.`([^`]+)`", statement)) | set(re.findall(r"row\.(\w+)", statement))
        assert named <= set(header), file
    for edge in GRAPH.relations:
        assert f"MERGE (a)-[r:`{edge.type}` {{id: row.id}}]->(b)" in script
    for entity in GRAPH.entities:
        assert f"SET n:`{entity.type}`;" in script


# --- JSON-LD ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def expanded(paths: dict[GraphFormat, Path]) -> dict[str, dict[str, Any]]:
    document = json.loads(paths[GraphFormat.JSONLD].read_text("utf-8"))
    return {node["@id"]: node for node in jsonld.expand(document)}


def test_json_ld_expands_without_losing_anything(
    paths: dict[GraphFormat, Path], expanded: dict[str, dict[str, Any]]
) -> None:
    nodes = json.loads(paths[GraphFormat.JSONLD].read_text("utf-8"))["@graph"]
    assert len(expanded) == len(nodes)
    assert len(nodes) == sum(map(len, (GRAPH.episodes, GRAPH.entities, GRAPH.relations, GRAPH.mentions)))
    for node in nodes:
        whole = expanded[
            jsonld.expand({"@context": _context(paths), "@id": node["@id"], "schema:name": "x"})[0]["@id"]
        ]
        assert len(whole) == len(node), node


def _context(paths: dict[GraphFormat, Path]) -> Any:
    return json.loads(paths[GraphFormat.JSONLD].read_text("utf-8"))["@context"]


def test_json_ld_links_and_statements_lead_to_the_second_of_the_recording(
    expanded: dict[str, dict[str, Any]],
) -> None:
    sleep, memory = (f"urn:callpipeline:entity:{GRAPH.entities[number].id}" for number in (0, 1))
    assert {"@id": memory} in expanded[sleep]["urn:callpipeline:relation:OPTIMIZES"]
    statement = f"urn:callpipeline:statement:{GRAPH.relations[0].id}"
    rdf = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    assert expanded[statement][f"{rdf}object"] == [{"@id": memory}]
    about = "https://schema.org/about"
    clips = [node for node in expanded.values() if node.get(about) == [{"@id": statement}]]
    starts = {node["https://schema.org/startOffset"][0]["@value"] for node in clips}
    assert starts == {12.34, 5.0}
    for clip in clips:
        [recording] = clip["https://schema.org/isPartOf"]
        assert expanded[recording["@id"]]["@type"] == ["https://schema.org/AudioObject"]


def test_json_ld_becomes_triples(paths: dict[GraphFormat, Path]) -> None:
    document = json.loads(paths[GraphFormat.JSONLD].read_text("utf-8"))
    triples = jsonld.to_rdf(document, {"format": "application/n-quads"})
    assert (
        f"<urn:callpipeline:entity:{GRAPH.entities[0].id}> <urn:callpipeline:relation:OPTIMIZES>" in triples
    )


# --- Parquet ----------------------------------------------------------------------------------------------


def test_parquet_tables_answer_questions_across_them(paths: dict[GraphFormat, Path]) -> None:
    folder = paths[GraphFormat.PARQUET]
    with duckdb.connect() as connection:
        counts = {
            path.stem: connection.execute(f"SELECT count(*) FROM '{path}'").fetchall()[0][0]
            for path in folder.glob("*.parquet")
        }
        found = connection.execute(
            f"SELECT source_name, relations.type, target_name, title, start_second, quote FROM '{folder}/relations.parquet'"
            f" AS relations JOIN '{folder}/mentions.parquet' AS mentions ON mentions.of = relations.id"
            " WHERE relations.type = 'OPTIMIZES' ORDER BY start_second DESC LIMIT 1"
        ).fetchall()
        aliases = connection.execute(f"SELECT aliases FROM '{folder}/entities.parquet' LIMIT 1").fetchall()
    assert counts == {
        "entities": 6, "relations": 6, "mentions": 12, "recordings": 2, "merges": 1, "conflicts": 2
    }  # fmt: skip
    assert found == [("deep sleep", "OPTIMIZES", "memory", "On sleep", 12.34, "deep sleep helps memory")]
    assert aliases == [(["slow-wave sleep", "SWS; deep"],)]


def test_an_empty_graph_is_written_in_every_format(tmp_path: Path) -> None:
    empty = large_graph(0, recordings=0)
    write_exports(empty, tmp_path)
    assert networkx.read_graphml(tmp_path / "knowledge_graph.graphml").number_of_nodes() == 0
    assert json.loads((tmp_path / "knowledge_graph.jsonld").read_text())["@graph"] == []


# --- the picture ------------------------------------------------------------------------------------------


def data_of(page: str) -> Any:
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def test_the_picture_holds_names_as_data_that_nothing_can_break_out_of(
    paths: dict[GraphFormat, Path],
) -> None:
    page = paths[GraphFormat.PICTURE].read_text("utf-8")
    assert HOSTILE not in page
    assert page.count("alert(2)") == page.count("alert(2)\\u003c/script>")
    assert page.count("</script>") == 3
    names = {node["n"] for node in data_of(page)["nodes"]}
    assert {HOSTILE, " ".join(CLOSING.split())} <= names


def test_the_picture_asks_no_network_and_lets_only_its_own_scripts_run(
    paths: dict[GraphFormat, Path],
) -> None:
    page = paths[GraphFormat.PICTURE].read_text("utf-8")
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert re.search(r"script-src 'sha256-[^']+' 'sha256-[^']+'$", policy[1])
    own = (Path(__file__).parents[2] / "callpipeline/graph/exports/templates/picture.js").read_text("utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", own)


def test_the_picture_leads_to_quotes_recordings_and_seconds(paths: dict[GraphFormat, Path]) -> None:
    data = data_of(paths[GraphFormat.PICTURE].read_text("utf-8"))
    edge = next(one for one in data["edges"] if data["kinds"][one["k"]] == "OPTIMIZES")
    assert data["nodes"][edge["s"]]["n"] == "deep sleep"
    said = [(data["recordings"][r]["n"], start, data["quotes"][quote]) for r, start, _, _, quote in edge["e"]]
    assert said[0] == ("On sleep", 12.3, "deep sleep helps memory")
    assert said[1][:2] == (f"A talk with {HOSTILE}", 5.0)
    assert data["recordings"][0]["file"] == "file:///talks/one.mp3"
    sleep = next(node for node in data["nodes"] if node["n"] == "deep sleep")
    assert any("taken for one" in note for note in sleep["i"])
    assert any(
        "Concept / CognitiveState" in note or "CognitiveState / Concept" in note for note in sleep["i"]
    )


def test_a_large_graph_is_cut_to_the_strongest_and_says_so(tmp_path: Path) -> None:
    from callpipeline.graph.exports.evidence import Evidence
    from callpipeline.graph.exports.picture import write_picture

    graph = large_graph(400)
    write_picture(graph, tmp_path / "page.html", Evidence(graph), most_nodes=100)
    data = data_of((tmp_path / "page.html").read_text("utf-8"))
    assert len(data["nodes"]) == 100
    assert data["left_out"]["nodes"] == 300
    shown = [node["m"] for node in data["nodes"]]
    assert sum(shown) / 100 > sum(entity.mentions for entity in graph.entities) / 400
    assert all(edge["s"] < 100 and edge["g"] < 100 for edge in data["edges"])


def test_the_same_graph_is_the_same_picture(tmp_path: Path) -> None:
    def page(graph: KnowledgeGraph, name: str) -> str:
        write_exports(graph, tmp_path / name, [GraphFormat.PICTURE])
        return (tmp_path / name / "knowledge_graph.html").read_text("utf-8")

    assert page(large_graph(60), "a") == page(large_graph(60), "b")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser chromium")
def test_a_browser_shows_hostile_names_as_text(paths: dict[GraphFormat, Path], tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={tmp_path / 'profile'}",
            ),
            *("--virtual-time-budget=4000", "--dump-dom", paths[GraphFormat.PICTURE].as_uri()),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    shown = done.stdout.partition('id="data"')[0]
    assert "<span" in shown, done.stderr[-2000:]
    assert html.escape(HOSTILE, quote=False) in shown
    assert "<img" not in shown
    assert "4 things, 3 relations shown" in shown
    assert "<canvas" in shown
