"""``callpipeline export --recording``: what was said in one recording, as people and players read it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from callpipeline.intake.transcript_files import read_transcript
from callpipeline.model import SpeakerTurns, Transcript
from callpipeline_tests.conftest import INSTANCE
from callpipeline_tests.speech.hearings import FOLDER

HEARING = "hospital_inquiry"
Export = Callable[..., "subprocess.CompletedProcess[str]"]


def command(data: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command on the data below a folder."""
    environment = {**os.environ, "DAGSTER_HOME": str(data), "CALLPIPELINE_DATA_DIR": str(data)}
    environment |= {
        "CALLPIPELINE_STABLE_SECONDS": "0",
        "COLUMNS": "200",
        "CALLPIPELINE_TRANSCRIBER": "sphinx",
    }
    return subprocess.run(
        [sys.executable, "-m", "callpipeline", *map(str, arguments)],
        env=environment,
        cwd=data,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a hearing of which the text is there, a short call in two folders, and a broken one."""
    data = tmp_path_factory.mktemp("data")
    (data / "dagster.yaml").write_text(INSTANCE)
    uploads = data / "in"
    for name in ("a", "b"):
        (uploads / name).mkdir(parents=True)
        turns = [{"speaker": "agent", "start": 0, "end": 2, "text": f"Hello {name}."}]
        (uploads / name / "call.json").write_text(json.dumps({"turns": turns}))
    content = json.loads((FOLDER / f"{HEARING}.json").read_text("utf-8"))
    (uploads / f"{HEARING}.json").write_text(json.dumps({**content, "borders": None, "profile": "hearing"}))
    (uploads / "broken.mp3").write_bytes(b"not a recording" * 50)
    done = command(data, "run", uploads)
    assert done.returncode == 1, done.stderr
    return data


@pytest.fixture
def export(data: Path) -> Export:
    return lambda *arguments: command(data, "export", *arguments)


def key_of(data: Path, name: str) -> str:
    from callpipeline.intake.catalog import Catalog

    with Catalog(data / "store" / "catalog.sqlite") as catalog:
        (key,) = [row.recording.key for row in catalog.rows() if row.sources[0] == data / "in" / name]
    return str(key)


@pytest.mark.parametrize("file_format", ["srt", "vtt"])
def test_subtitles_say_what_was_said_and_who_said_it(
    export: Export, data: Path, tmp_path: Path, file_format: str
) -> None:
    target = tmp_path / f"out.{file_format}"
    done = export("--recording", HEARING, "--format", file_format, "--output", target)
    assert done.returncode == 0, done.stderr
    assert f"11.5 minutes of {HEARING}.json -> {target}" in done.stdout
    read, said = read_transcript(target), read_transcript(data / "in" / f"{HEARING}.json")
    for speaker in {segment.speaker for segment in said.segments}:
        texts = [" ".join(s.text for s in t.segments if s.speaker == speaker) for t in (read, said)]
        assert texts[0] == texts[1]


def test_text_has_the_title_and_the_chapters_of_a_hearing(export: Export, data: Path) -> None:
    done = export("--recording", key_of(data, f"{HEARING}.json"), "--output", "-")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "Oral evidence: waiting times and the workforce in hospitals, "
        "Health and Social Care Select Committee, 2026-03-10\n\n== Welcome ==\n\n[0:00:00] Chair: Good afternoon"
    )
    assert "\n== Second panel ==\n" in done.stdout


def test_json_holds_the_records(export: Export, data: Path) -> None:
    done = export("--recording", data / "in" / f"{HEARING}.json", "--format", "json", "-o", "-")
    content = json.loads(done.stdout)
    transcript = Transcript.model_validate(content["transcript"])
    turns = SpeakerTurns.model_validate(content["speaker_turns"])
    assert transcript.segments[0].text in turns.turns[0].text
    assert content["metadata"]["committee"] == "Health and Social Care Select Committee"
    assert content["chapters"][-1]["end"] == transcript.duration


def test_a_short_call_has_no_chapters_and_a_default_file(export: Export, data: Path) -> None:
    done = export("--recording", data / "in" / "a" / "call.json")
    assert done.returncode == 0, done.stderr
    assert (data / "call.txt").read_text() == "call.json\n\n[0:00:00] Agent: Hello a.\n"


def test_what_cannot_be_exported_is_said(export: Export, data: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("--recording", "nothing"), "no recording 'nothing'"),
        (("--recording", "call"), key_of(data, "b/call.json")),
        (("--recording", "broken.mp3"), "not_audio"),
        (("--recording", HEARING, "--format", "csv"), "txt, srt, vtt"),
        (("--recording", HEARING, "--table", "turns"), "do not go together"),
        (("--format", "srt"), "--recording"),
        ((tmp_path / "a.txt", "--output", tmp_path / "b.txt", "--recording", HEARING), "Two files"),
    ):
        done = export(*arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.txt"))


def test_an_export_is_not_put_where_it_would_become_the_transcript(export: Export, data: Path) -> None:
    beside = data / "in" / f"{HEARING}.srt"
    done = export("--recording", HEARING, "--format", "srt", "--output", beside)
    assert done.returncode == 2
    assert "another folder" in done.stderr
    assert not beside.exists()
