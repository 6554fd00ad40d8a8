"""Sending recordings and getting transcripts: at once, later, many together, over a real connection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dagster as dg

from callpipeline.settings import Settings
from callpipeline_tests.samples.conftest import SAMPLES
from callpipeline_tests.service.conftest import PARALLEL, Running, serving, until

Make = Callable[[int], list[Path]]


def test_a_sent_recording_is_answered_with_who_said_what(running: Running, recordings: Make) -> None:
    (file,) = recordings(1)
    answer = running.send("transcribe", file)
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert result["text"] == "hello this is sam about your house no thank you"
    assert [segment["speaker"] for segment in result["segments"]] == ["agent", "customer"]
    assert all(word["speaker"] for segment in result["segments"] for word in segment["words"])
    assert result["used"]["transcription"] == "instant"
    assert result["duration"] == 2.0


def test_the_same_bytes_are_worked_on_once_however_they_come(running: Running, recordings: Make) -> None:
    (file,) = recordings(1)
    first = running.send("transcribe", file).json()
    task = running.send("transcribe/async", file).json()
    assert running.ended(task["task_id"])["status"] == "done"
    later = running.client.get(f"{PARALLEL}/result/{task['task_id']}").json()
    assert later["reused"]
    changing = ("task_id", "reused", "seconds")
    assert {k: v for k, v in later.items() if k not in changing} == {
        k: v for k, v in first.items() if k not in changing
    }


def test_an_asynchronous_task_is_a_dagster_run_over_its_partition(running: Running, recordings: Make) -> None:
    (file,) = recordings(1)
    task = running.send("transcribe/async", file).json()
    ended = running.ended(task["task_id"])
    assert ended["status"] == "done", ended
    assert ended["progress"] == 1.0
    instance = running.service.orchestration.instance
    assert instance is not None
    run = until(
        lambda: _finished(instance, ended["run_id"])
    )  # the answer is there a moment before its run ends
    assert run.tags["dagster/partition"] == ended["recording"]
    assert run.is_success


def _finished(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun | None:
    run = instance.get_run_by_id(run_id)
    return run if run is not None and run.is_finished else None


def test_the_embedded_engine_works_without_key_or_download(settings: Settings) -> None:
    sample = SAMPLES / "Maria Lopez _ 2026-03-05 15-19-54 _ 555-0125 _ Dead Call.flac"
    with serving(settings) as running:
        result = running.send("transcribe", sample).json()
    assert result["used"]["transcription"] == "sphinx"
    assert result["used"]["demo"] or result["skipped_reason"]


def test_other_options_make_a_variant_and_leave_the_recording_as_it_is(
    running: Running, recordings: Make
) -> None:
    (file,) = recordings(1)
    plain = running.send("transcribe", file).json()
    store = running.service.settings.store
    before = (store / "transcripts" / f"{plain['recording']}.json").read_bytes()
    german = running.send("transcribe", file, language="de", suppress_numerals="true").json()
    assert "numbers were not written as words" in german["used"]["notes"][-1]
    assert german["options"]["language"] == "de"
    assert german["recording"] == plain["recording"]
    assert not german["reused"]
    assert (store / "transcripts" / f"{plain['recording']}.json").read_bytes() == before
    later = running.send("transcribe/async", file, language="de", suppress_numerals="true").json()
    ended = running.ended(later["task_id"])
    assert ended["run_id"] is None  # variants are no assets
    assert running.client.get(f"{PARALLEL}/result/{later['task_id']}").json()["reused"]
    same = running.send("transcribe", file, language="en", suppress_numerals="false").json()
    assert same["reused"]
    assert same["options"]["language"] is None


def test_features_say_what_works_here(running: Running) -> None:
    features = running.client.get(f"{PARALLEL}/features").json()
    engines = {engine["name"]: engine for engine in features["engines"]}
    assert engines["sphinx"]["available"]
    assert not engines["assemblyai"]["available"]
    assert engines["assemblyai"]["hint"]
    assert "whisper_model" in features["options"]
