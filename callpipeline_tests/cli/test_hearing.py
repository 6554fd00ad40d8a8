"""``callpipeline hearing``: from a file to transcript, subtitles and chapters, in chunks, at a simulated provider."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from bench.long_recordings import make
from callpipeline.cli import app
from callpipeline.cli.chunk_view import progress_line, progress_table
from callpipeline.failures import NotFit, UsageError
from callpipeline.intake.transcript_files import read_transcript
from callpipeline.model import ChunkState
from callpipeline.pipeline.progress import Progress
from callpipeline.pipeline.workbench import Workbench
from callpipeline.qa.rollups import roll_up
from callpipeline.settings import Settings
from callpipeline.store import warehouse
from callpipeline_tests.simulators import OpenAISimulator, SpokenTurn
from callpipeline_tests.simulators.timeline import Timeline

SECONDS = 66.0
ROUTE = "transcriptions"
A_SECOND = 0.006 / 60
"""Dollars; what is charged is rounded up to whole seconds."""
SAID = ("--title", "Budget [2026]", "--committee", "Rules", "--date", "2026-03-02")


class Known(NamedTuple):
    """A recording and what is said in it."""

    file: Path
    timeline: Path
    turns: Sequence[SpokenTurn]

    def words(self, start: float = 0.0, end: float = SECONDS) -> list[str]:
        return [w for turn in self.turns if start <= turn.start < end for w in _words(turn.text)]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    file = tmp_path_factory.mktemp("captured") / "budget.mp3"
    turns = make(file, SECONDS, bit_rate=64_000, layout="mono")
    timeline = file.with_suffix(".npz")
    Timeline.of(file, turns).save(timeline)
    return Known(file, timeline, turns)


@pytest.fixture(scope="module")
def running(known: Known) -> Iterator[OpenAISimulator]:
    with OpenAISimulator(timeline=known.timeline) as simulator:
        yield simulator


@pytest.fixture
def provider(running: OpenAISimulator, monkeypatch: pytest.MonkeyPatch) -> OpenAISimulator:
    """OpenAI, and an environment in which it gets chunks of ten seconds, one after another."""
    running.reset()
    settings = {
        "TRANSCRIBER": "openai",
        "RETRY_DELAY_SCALE": "0",
        "CHUNK_SECONDS": "10",
        "OPENAI_AUDIO_SLOTS": "1",
        "OPENAI_AUDIO_REQUESTS_PER_MINUTE": "60000",
    }
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    for name, value in settings.items():
        monkeypatch.setenv(f"CALLPIPELINE_{name}", value)
    return running


def _hearing(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["hearing", *map(str, arguments)])


def _told(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    done = _hearing(*arguments, "--json")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    told: dict[str, Any] = json.loads(done.stdout)
    return done.exit_code, told


def _sent(provider: OpenAISimulator) -> int:
    routes = provider.stats.routes
    return routes[ROUTE].requests if ROUTE in routes else 0


def test_one_command_brings_transcript_subtitles_chapters_and_cost(
    known: Known, provider: OpenAISimulator, settings: Settings, tmp_path: Path
) -> None:
    status, told = _told(known.file, *SAID, "--output", tmp_path / "out")
    assert (status, told["status"], told["gaps"], told["errors"]) == (0, "ok", [], [])
    assert (told["title"], told["committee"], told["day"]) == ("Budget [2026]", "Rules", "2026-03-02")
    assert _sent(provider) == provider.stats.paid.calls >= 6
    paid = provider.stats.paid
    assert 0 <= told["cost"]["total"] - A_SECOND * paid.audio_seconds <= A_SECOND * paid.calls
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *(f"transcript.{form}" for form in ("txt", "srt", "vtt", "json")),
        "chapters.json",
    }

    whole = json.loads(Path(told["paths"]["json"]).read_text())
    assert _words(" ".join(s["text"] for s in whole["transcript"]["segments"])) == known.words()
    for form in ("srt", "vtt"):
        back = read_transcript(Path(told["paths"][form]))
        assert _words(" ".join(s.text for s in back.segments)) == known.words()
        assert back.segments[0].start == pytest.approx(known.turns[0].start, abs=0.1)
        assert back.segments[-1].end <= SECONDS
    text = Path(told["paths"]["txt"]).read_text()
    assert text.startswith("Budget [2026], Rules, 2026-03-02")
    chapters = json.loads(Path(told["paths"]["chapters"]).read_text())["chapters"]
    assert chapters == told["chapters"]
    assert (chapters[0]["start"], chapters[-1]["end"]) == (0.0, pytest.approx(SECONDS, abs=0.1))
    assert sum(speaker["talk_ratio"] for speaker in told["speakers"]) == pytest.approx(1.0, abs=0.01)

    again = _hearing(known.file)
    assert again.exit_code == 0, again.output
    assert _sent(provider) == provider.stats.paid.calls
    assert "Budget [2026], Rules, 2026-03-02 (1:06)" in again.stdout
    assert str(settings.data_dir / "hearings" / "budget" / "transcript.srt") in again.stdout
    folder = settings.uploads / "hearings"
    assert sorted(path.name for path in folder.iterdir()) == ["budget.json", "budget.mp3"]
    assert not list((settings.store / "sending").iterdir())
    assert not list((settings.store / "progress").iterdir())

    _is_no_call(settings, told["key"])


def _is_no_call(settings: Settings, key: str) -> None:
    """Look at run's table, the report, the CSV and the roll-ups of a store with one hearing."""
    from callpipeline.pipeline.report import lines, report_paths

    run = CliRunner().invoke(app, ["run", str(settings.uploads)])
    assert run.exit_code == 0, run.output
    assert "1 hearing" in run.stdout
    assert "Budget" in run.stdout
    assert "releasing" not in run.stdout
    assert "0 processed, 1 already known, 0 failed" in run.stdout
    paths = report_paths(settings.store)
    with paths["csv"].open(encoding="utf-8-sig", newline="") as file:
        [line] = csv.DictReader(file)
    assert line["Status"] == "hearing - ok"
    assert line["Releasing Detection"] == line["Intro Score"] == ""
    page = paths["report"].read_text()
    assert "0 calls, 1 hearing" in page
    assert "Budget [2026]" in page
    with Workbench(settings) as bench:
        sums = roll_up(lines(bench, [key]))
    assert (sums.total.calls, sums.agents, sums.days) == (0, (), ())
    with warehouse.connect(settings.store) as connection:
        assert connection.execute("SELECT hearing FROM recordings").fetchall() == [(True,)]
        assert connection.execute("SELECT count(*) FROM agent_scores").fetchall() == [(0,)]
        assert connection.execute("SELECT count(*) FROM chapters").fetchone() != (0,)


def test_all_that_is_missing_is_named_before_anything_is_done(
    known: Known, provider: OpenAISimulator, settings: Settings
) -> None:
    refused = _hearing(known.file, "--committee", "Rules", "--date", "some day")
    assert isinstance(refused.exception, NotFit)
    assert "(1) the metadata of this hearing does not say its title" in str(refused.exception)
    assert "--title" in str(refused.exception)
    assert "(2) its date 'some day' is none that can be read" in str(refused.exception)
    refused = _hearing(known.file)
    assert "title and committee and date" in str(refused.exception)
    refused = _hearing(known.file, *SAID, "--output", settings.uploads / "results")
    assert isinstance(refused.exception, UsageError)
    assert not settings.uploads.exists()
    assert provider.stats.routes == {}


def test_a_failed_chunk_is_a_gap_that_the_next_command_fills(
    known: Known, provider: OpenAISimulator, tmp_path: Path
) -> None:
    provider.faults.script(ROUTE, "ok", "ok", "400")
    done = _hearing(known.file, *SAID, "--output", tmp_path)
    assert done.exit_code == 1, done.output
    chunks = _sent(provider)
    assert provider.stats.paid.calls == chunks - 1
    assert "is missing: bad_request" in done.stdout
    [cost] = re.findall(r"cost \$([\d.]+) in all; took", done.stdout)
    paid = provider.stats.paid
    assert 0 <= float(cost) - A_SECOND * paid.audio_seconds <= A_SECOND * paid.calls
    content = json.loads((tmp_path / "transcript.json").read_text())["transcript"]
    [gap] = content["gaps"]
    assert f"0:{int(gap['start']):02d} to 0:{int(gap['end']):02d} is missing" in done.stdout
    assert "is missing (bad_request)" in (tmp_path / "transcript.srt").read_text()
    heard = _words(" ".join(segment["text"] for segment in content["segments"]))
    assert heard == [*known.words(0.0, gap["start"]), *known.words(gap["end"])]

    status, told = _told(known.file, "--output", tmp_path)
    assert (status, told["gaps"]) == (0, [])
    assert _sent(provider) == chunks + 1
    assert provider.stats.paid.duplicates == 0
    whole = json.loads((tmp_path / "transcript.json").read_text())["transcript"]
    assert _words(" ".join(segment["text"] for segment in whole["segments"])) == known.words()


def _progress(*states: ChunkState) -> Progress:
    return Progress(
        recording="k", started=100.0, updated=130.0, pid=1, boot="b", born="1", chunks=tuple(states)
    )


def _chunk(index: int, state: str, started: float | None = None, finished: float | None = None) -> ChunkState:
    return ChunkState.model_validate(
        {
            "recording": "k",
            "index": index,
            "of": 40,
            "start": index * 600.0,
            "end": (index + 1) * 600.0,
            "state": state,
            "started": started,
            "finished": finished,
            "error_class": "rate_limit" if state == "failed" else None,
        }
    )


def test_progress_tells_states_speed_and_time_left() -> None:
    states = ["reused", "done", "done", "failed", "sending", "cutting", *["waiting"] * 34]
    times: dict[int, tuple[float, float | None]] = {
        1: (100.0, 110.0),
        2: (100.0, 120.0),
        3: (105.0, 107.0),
        4: (115.0, None),
    }
    found = _progress(*(_chunk(n, state, *times.get(n, ())) for n, state in enumerate(states)))
    line = progress_line(found, 130.0)
    assert line.startswith(
        "chunks: 3 of 40 done (1 paid before), 1 failed, 1 sending, 1 cutting, 10% of 6:40:00"
    )
    assert "60.0 x real time, 15.0 s a chunk, about 6:00 left" in line
    table = progress_table(found, 130.0)
    assert table.row_count < len(states)
    screen = Console(width=100)
    with screen.capture() as capture:
        screen.print(table)
    shown = capture.get()
    for words in ("2/40", "60.0", "failed: rate_limit", "15.0 s", "cutting"):
        assert words in shown
