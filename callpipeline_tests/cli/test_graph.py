"""``callpipeline graph``: from recordings to a graph that can be asked, drawn, exported and corrected."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from callpipeline.cli import app
from callpipeline.failures import CallPipelineError, UsageError
from callpipeline.graph import store as graphs
from callpipeline.settings import Settings
from callpipeline_tests.conftest import INSTANCE
from callpipeline_tests.graph.graphs import HOSTILE, small_graph
from callpipeline_tests.speech.hearings import FOLDER

Ask = Callable[..., Result]


@pytest.fixture
def ask() -> Ask:
    """Call the command in this process; what it raises is in the result."""
    return lambda *arguments: CliRunner().invoke(app, ["graph", *map(str, arguments)])


@pytest.fixture
def graph(settings: Settings) -> None:
    """A graph in the store, as a build leaves it."""
    graphs.write(settings.store, small_graph(), made_from="by hand")


def message(result: Result) -> str:
    assert isinstance(result.exception, CallPipelineError), result.output
    return str(result.exception)


# --- asking -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("graph")
def test_show_lists_what_is_named_most_often(ask: Ask) -> None:
    shown = ask("show").output
    assert "4 things, 3 relations" in shown
    assert shown.index("deep sleep") < shown.index("memory")
    people = ask("show", "--type", "people", "--json")
    assert isinstance(people.exception, UsageError)
    assert "Person" in message(people)
    assert HOSTILE in ask("show", "--type", "persons").output


@pytest.mark.usefixtures("graph")
def test_show_leads_from_a_thing_to_its_words_recordings_and_seconds(ask: Ask) -> None:
    shown = ask("show", "Deep Sleep").output
    assert "also: slow-wave sleep" in shown
    assert "deep sleep optimizes memory (2 times)" in shown
    assert "“deep sleep helps memory” On sleep, 0:12" in shown
    answer = json.loads(ask("show", "deep sleep", "--json").output)
    assert {link["relation"]["type"] for link in answer["relations"]} >= {"OPTIMIZES", "RELATES_TO"}
    assert answer["places"][0]["recording"] == "r-one"
    assert answer["places"][0]["start"] == 12.34


@pytest.mark.usefixtures("graph")
def test_markup_in_names_is_shown_as_it_is(ask: Ask) -> None:
    assert HOSTILE in ask("show", HOSTILE).output


@pytest.mark.usefixtures("graph")
def test_search_forgives_small_mistakes_and_walks_on(ask: Ask) -> None:
    assert "deep sleep  CognitiveState" in ask("search", "dep sleep").output
    around = json.loads(ask("search", "memory", "--hops", "1", "--relation", "optimizes", "--json").output)
    assert [link["relation"]["type"] for link in around["links"]] == ["OPTIMIZES"]
    way = ask("search", "deep sleep", "--path", "memory").output
    assert "deep sleep → memory" in way


@pytest.mark.usefixtures("graph")
def test_what_is_not_there_is_said_with_what_is_near(ask: Ask) -> None:
    assert "graph show" in message(ask("search", "xyzzy"))
    assert "few relations" in message(ask("search", "deep sleep", "--path", HOSTILE))
    assert "memory" in message(ask("show", "memmory lane"))
    assert "OPENAI" in message(ask("search", "rest", "--meaning")).upper()


def test_without_a_graph_every_question_says_how_to_make_one(ask: Ask, tmp_path: Path) -> None:
    for arguments in (
        ("show",),
        ("search", "sleep"),
        ("merges",),
        ("undo", "m1"),
        ("export", tmp_path / "out"),
    ):
        assert "callpipeline graph build" in message(ask(*arguments))


@pytest.mark.usefixtures("graph")
def test_export_writes_what_is_asked_for(ask: Ask, tmp_path: Path) -> None:
    done = ask("export", tmp_path / "out", "--format", "graphml", "--format", "jsonld")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "knowledge_graph.graphml",
        "knowledge_graph.jsonld",
    ]


# --- building ---------------------------------------------------------------------------------------------


def command(data: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command as its own process, on the data below a folder."""
    own = {"DAGSTER_HOME": str(data), "CALLPIPELINE_DATA_DIR": str(data), "CALLPIPELINE_STABLE_SECONDS": "0"}
    return subprocess.run(
        [sys.executable, "-m", "callpipeline", "graph", *map(str, arguments)],
        env={**os.environ, "COLUMNS": "200", "CALLPIPELINE_TRANSCRIBER": "sphinx", **own},
        cwd=data,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a hearing of which the text is there, built."""
    data = tmp_path_factory.mktemp("data")
    (data / "dagster.yaml").write_text(INSTANCE)
    (data / "in").mkdir()
    for name in ("hospital_inquiry", "groundwater_bill"):
        content = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
        (data / "in" / f"{name}.json").write_text(
            json.dumps({**content, "borders": None, "profile": "hearing"})
        )
    done = command(data, "build", "in")
    assert done.returncode == 0, done.stderr
    (data / "said.txt").write_text(done.stdout)
    return data


@pytest.fixture
def built(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, for commands in this process."""
    monkeypatch.setenv("CALLPIPELINE_DATA_DIR", str(data))
    monkeypatch.setenv("DAGSTER_HOME", str(data))
    return data


def test_build_makes_graph_picture_and_exports_and_says_where(built: Path) -> None:
    said = (built / "said.txt").read_text()
    assert "2 recordings processed, 0 failed" in said
    assert "cost $0.00" in said
    for line in ("kg_exports/knowledge_graph.html", "kg_exports/neo4j"):
        assert f"{built}/store/{line}" in said
    assert (built / "store" / "kg_exports" / "knowledge_graph.html").stat().st_size > 400_000
    summary = graphs.load(built / "store").summary
    assert summary.recordings == 2
    assert summary.entities > 10


def test_building_again_does_nothing_again(built: Path, ask: Ask) -> None:
    before = (built / "store" / "kg_exports" / "knowledge_graph.html").stat().st_mtime_ns
    again = json.loads(ask("build", "--json").output)
    assert again["processed"] == 0
    assert again["graph"]["recordings"] == 2
    assert (built / "store" / "kg_exports" / "knowledge_graph.html").stat().st_mtime_ns == before


def test_a_dry_run_says_that_nothing_is_to_do(built: Path, ask: Ask) -> None:
    told = json.loads(ask("build", built / "in", "--dry-run", "--json").output.splitlines()[-1])
    assert (told["recordings"], told["done"], told["to_send"], told["cost"]) == (2, 2, 0, 0.0)


def test_a_merge_is_undone_stays_undone_and_is_made_again(built: Path, ask: Ask) -> None:
    def names() -> set[str]:
        return {entity.name for entity in graphs.load(built / "store").entities}

    merges: list[dict[str, Any]] = json.loads(ask("merges", "--json").output)["merges"]
    assert [one["score"] for one in merges] == sorted(one["score"] for one in merges)
    merge = merges[0]
    before = names()
    done = ask("undo", merge["id"])
    assert done.exit_code == 0, done.output
    assert "are two again" in done.output
    assert {merge["name"], merge["other"]} <= names()
    assert merge["id"] in ask("merges").output.partition("undone:")[2]
    page = (built / "store" / "kg_exports" / "knowledge_graph.html").read_text("utf-8")
    assert json.dumps(merge["other"], ensure_ascii=False) in page
    assert "may be one thing again" in ask("redo", merge["id"]).output
    assert names() == before
    assert "no merge" in message(ask("undo", "m-nothing"))


def test_wrong_usage_is_said(ask: Ask, tmp_path: Path) -> None:
    assert "is not a folder" in message(ask("build", tmp_path / "nowhere"))
    assert "--extractor openai" in message(ask("build", "--economy"))
