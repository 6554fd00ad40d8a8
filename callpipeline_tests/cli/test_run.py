"""``callpipeline run`` and its neighbours, as a person or a script calls them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.recordings import SAMPLES
from callpipeline.settings import Settings

Calls = Callable[[int], Path]


def callpipeline(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as its own process."""
    return subprocess.run(
        [sys.executable, "-m", "callpipeline", *map(str, arguments)],
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A few files that need no speech engine to be judged: a ready-made dialogue, silence, and a damaged file."""
    import wave

    folder = tmp_path / "calls"
    folder.mkdir()
    dialogue = {
        "duration_s": 30.0,
        "turns": [
            {
                "speaker": "agent",
                "start": 0.5,
                "end": 6.0,
                "text": "Hi, this is Dana. Would you sell the house on Elm Road?",
            },
            {"speaker": "customer", "start": 6.5, "end": 9.0, "text": "No, I am not interested in selling."},
            {"speaker": "agent", "start": 9.4, "end": 12.0, "text": "Okay, sorry to bother you. Goodbye."},
        ],
    }
    (folder / "Dana Fox _ 555-0100.json").write_text(json.dumps(dialogue))
    with wave.open(str(folder / "Sam Hill _ 2026-03-02 10-00-00 _ 555-0101 _ Unknown.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(8000 * 2 * 2 * 3))
    (folder / "broken.mp3").write_bytes(b"not a recording" * 50)
    return folder


def test_run_processes_shows_and_says_where_the_results_are(folder: Path, settings: Settings) -> None:
    done = callpipeline("run", folder)
    assert done.returncode == 1, done.stderr
    assert "no attempt" in done.stdout
    assert "broken.mp3" in done.stdout
    assert "not_audio" in done.stdout
    assert "3 processed" in done.stdout
    assert str(settings.store / "qa_report" / "qa_report.html") in done.stdout.replace("\n", "")
    with (settings.store / "qa_report" / "qa_report.csv").open(encoding="utf-8-sig", newline="") as file:
        lines = {line["File Name"]: line for line in csv.DictReader(file)}
    assert lines["Dana Fox _ 555-0100.json"]["Agent Name"] == "Dana Fox"
    assert lines["broken.mp3"]["Releasing Detection"] != "No"


def test_running_again_does_nothing_again_and_never_starts_dagster(folder: Path) -> None:
    callpipeline("run", folder)
    again = callpipeline("run", folder, PYTHONVERBOSE="1")
    assert again.returncode == 1
    assert "0 processed" in again.stdout
    assert "import 'dagster'" not in again.stderr


def test_a_damaged_file_is_tried_again_only_when_asked(folder: Path) -> None:
    callpipeline("run", folder)
    assert "1 processed" in callpipeline("run", folder, "--retry-failed").stdout


def test_exit_code_is_0_when_everything_is_done(folder: Path) -> None:
    (folder / "broken.mp3").unlink()
    done = callpipeline("run", folder)
    assert done.returncode == 0, done.stderr


def test_json_output_is_one_object_for_scripts(folder: Path) -> None:
    done = callpipeline("run", folder, "--json")
    result = json.loads(done.stdout)
    assert result["processed"] == 3
    assert result["failed"] == 1
    verdicts = {
        row["file_name"]: {name: d["verdict"] for name, d in row["detections"].items()}
        for row in result["recordings"]
    }
    assert verdicts["Dana Fox _ 555-0100.json"]["rebuttal"] == "no_attempt"


def test_a_folder_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    done = callpipeline("run", tmp_path / "nowhere")
    assert done.returncode == 2
    assert "is not a folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_names_its_variable(folder: Path) -> None:
    done = callpipeline("run", folder, CALLPIPELINE_TRANSCRIBER="sphynx")
    assert done.returncode == 2
    assert "CALLPIPELINE_TRANSCRIBER" in done.stderr


def test_a_name_pattern_that_is_no_regular_expression_is_a_wrong_setting(folder: Path) -> None:
    done = callpipeline("run", folder, CALLPIPELINE_NAME_PATTERN="(unclosed")
    assert done.returncode == 2
    assert "not a regular expression" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_that_broke_off_is_no_success(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import callpipeline.pipeline.batch as batch\n"
        "async def broken(*arguments):\n    raise RuntimeError('disk on fire')\n"
        "batch.walk_batch = broken\n"
    )
    done = callpipeline("run", folder, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "broke off" in done.stderr


def test_an_engine_that_cannot_work_here_says_what_to_do(folder: Path) -> None:
    done = callpipeline(
        "run", folder, CALLPIPELINE_TRANSCRIBER="whisper", CALLPIPELINE_WHISPER_MODEL="/no/such/model"
    )
    assert done.returncode == 2
    assert "not_configured" in done.stderr
    assert "Traceback" not in done.stderr


def test_status_says_why_something_failed(folder: Path) -> None:
    callpipeline("run", folder)
    done = callpipeline("status", "--failed")
    assert done.returncode == 1
    assert "3 recordings: 2 done, 0 new, 1 failed (1 for good)" in done.stdout
    assert "with --retry-failed" in done.stdout
    as_json = json.loads(callpipeline("status", "--json").stdout)
    assert [failure["error_class"] for failure in as_json["failures"]] == ["not_audio"]


@pytest.mark.parametrize("file_format", ["csv", "json", "parquet"])
@pytest.mark.parametrize(("table", "rows"), [("report", 3), ("turns", 3)])
def test_export_writes_the_rows_in_each_format(
    folder: Path, tmp_path: Path, file_format: str, table: str, rows: int
) -> None:
    import duckdb

    callpipeline("run", folder)
    target = tmp_path / f"out.{file_format}"
    done = callpipeline("export", target, "--format", file_format, "--table", table)
    assert done.returncode == 0, done.stderr
    readers = {"csv": "read_csv", "json": "read_json", "parquet": "read_parquet"}
    counted = duckdb.connect().execute(f"SELECT count(*) FROM {readers[file_format]}('{target}')").fetchall()
    assert counted == [(rows,)]


def test_export_of_an_unknown_table_names_the_known_ones(folder: Path, tmp_path: Path) -> None:
    callpipeline("run", folder)
    done = callpipeline("export", tmp_path / "x.csv", "--table", "callz")
    assert done.returncode == 2
    assert "agent_scores" in done.stderr


def test_doctor_knows_the_engines_and_what_would_be_used() -> None:
    done = callpipeline("doctor", "--json")
    assert done.returncode == 0, done.stdout
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["transcription: sphinx (used)"]["ok"]
    assert not findings["transcription: assemblyai"]["ok"]
    assert findings["transcription: assemblyai"]["hint"]


def test_help_teaches_and_is_quick_to_import() -> None:
    done = callpipeline("--help", PYTHONVERBOSE="1")
    assert "run" in done.stdout
    assert "doctor" in done.stdout
    for heavy in ("dagster", "duckdb", "numpy", "av"):
        assert f"import '{heavy}'" not in done.stderr


def test_evaluate_prints_the_figures(tmp_path: Path) -> None:
    cases = tmp_path / "cases.jsonl"
    turns = [
        {"speaker": "agent", "start": 0.0, "end": 4.0, "text": "Hi, would you consider selling your house?"},
        {"speaker": "customer", "start": 4.0, "end": 6.0, "text": "No, I'm not interested."},
        {"speaker": "agent", "start": 6.0, "end": 8.0, "text": "Okay, have a nice day. Bye."},
    ]
    case = {"id": "1", "duration_s": 8.0, "turns": turns, "label": "no_attempt"}
    cases.write_text(json.dumps(case) + "\n")
    text = callpipeline("evaluate", "rebuttal", cases)
    assert text.returncode == 0, text.stderr
    assert "wrong flags" in text.stdout
    result = json.loads(callpipeline("evaluate", "rebuttal", cases, "--json").stdout)
    assert result["accuracy"] == 1.0
    assert result["wrong_flag_rate"] == 0.0
    assert result["fair_flags_kept"] == 1.0


def test_a_call_is_transcribed_by_the_embedded_engine_and_labelled_as_such(
    tmp_path: Path, settings: Settings
) -> None:
    call = next(iter(sorted(SAMPLES.glob("Maria Lopez*Sold.mp3"))))
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / call.name).write_bytes(call.read_bytes())
    done = callpipeline("run", tmp_path / "one")
    assert done.returncode == 0, done.stderr
    assert "offline demo engine" in done.stderr
    assert "offline demo engine" in (settings.store / "qa_report" / "qa_report.html").read_text().lower()
