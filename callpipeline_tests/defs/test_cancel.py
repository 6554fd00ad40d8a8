"""Cancelling a run, as the UI's terminate button does: the run process gets a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from bench.recordings import SAMPLES
from callpipeline.defs.launch import process
from callpipeline.defs.resources import Outcome
from callpipeline.settings import Settings
from callpipeline_tests.defs.conftest import House
from callpipeline_tests.simulators import AssemblyAISimulator

STOPS_WITHIN = 30
"""Seconds, on a machine that is busy with other tests; the product's own goal is far below."""


def _long_call(folder: Path, minutes: int) -> None:
    """One call after another in one file, so that the offline engine has a minute and more to do."""
    import wave

    import numpy as np

    from callpipeline.audio.decode import read

    folder.mkdir(parents=True)
    speech = [read(path, rate=8000)[:1] for path in sorted(SAMPLES.glob("*Decision Maker*.mp3"))[:8]]
    one = np.concatenate(speech, axis=1)
    samples = np.tile(one, (1, 1 + minutes * 60 * 8000 // one.shape[1]))[:, : minutes * 60 * 8000]
    with wave.open(str(folder / "long.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((samples.T * 32767).astype("<i2").tobytes())


def _start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "callpipeline", "run", str(folder)]
    return subprocess.Popen(
        command, env=os.environ, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def _group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.timeout(STOPS_WITHIN + 90)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancelled_run_stops_in_seconds_and_keeps_what_is_done(
    number: signal.Signals, settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "calls"
    _long_call(folder, minutes=10)
    stopped = _start(folder)
    activity = settings.store / "speech_activity"
    while not list(activity.glob("*.json")):
        assert stopped.poll() is None, stopped.stderr.read()
    stopped.send_signal(number)
    _, errors = stopped.communicate(timeout=STOPS_WITHIN)
    assert stopped.returncode != 0
    assert "Traceback" not in errors
    while _group_is_alive(
        stopped.pid
    ):  # the last helper of the worker pool ends when it sees its parent gone
        pass
    assert not list((settings.store / "transcripts").glob("*.json"))
    assert not list(settings.store.rglob("*.tmp"))
    assert len(list(activity.glob("*.json"))) == 1


def test_a_run_that_is_cancelled_while_results_are_written_writes_them_and_ends(
    house: House, calls: Callable[[int], Path], event_partitions: Callable[..., set[tuple[str, str]]]
) -> None:
    """Dagster itself would hold such a signal back, and would end the step without telling it."""
    keys = house.take_in(calls(3))
    heard: list[Outcome] = []

    def cancel(outcome: Outcome) -> None:
        heard.append(outcome)
        os.kill(os.getpid(), signal.SIGTERM)

    resource = replace(house.resource, listener=cancel)
    [run] = process(house.instance, keys, resource, batch_size=10)
    assert run.interrupted
    assert run.left.startswith("Ended early: 0 of 3 recordings done, 1 begun (their results so far are kept)")
    [first] = heard
    assert event_partitions(house.instance, run.run_id) == {("raw_audio", first.key)}


@pytest.mark.timeout(180)
def test_a_cancelled_run_says_what_is_left_and_the_next_one_fetches_it(
    instance: dg.DagsterInstance, calls: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"TRANSCRIBER": "assemblyai", "RECORDINGS_IN_FLIGHT": "4", "ASSEMBLYAI_SLOTS": "2"}
    for name, value in variables.items():
        monkeypatch.setenv(f"CALLPIPELINE_{name}", value)
    # No job ends before the signal comes, however slow the machine is; the second run fetches them.
    with AssemblyAISimulator(latency="fixed:15") as provider:
        for name, value in provider.environment().items():
            monkeypatch.setenv(name, value)
        folder = calls(6)
        stopped = _start(folder)
        # A job that is looked at is one whose id is in the ledger.
        while not _are_begun(instance, 4) or len({call.path for call in provider.calls("poll")}) < 2:
            assert stopped.poll() is None, stopped.stderr.read()
        stopped.send_signal(signal.SIGTERM)
        _, errors = stopped.communicate(timeout=STOPS_WITHIN)
        left = (
            "Ended early: 0 of 6 recordings done, 4 begun (their results so far are kept), 2 not begun. "
            "2 jobs are still at the provider and will be fetched by the next run, not paid again. "
            "The next run goes on from here."
        )
        assert left in errors
        [run_id] = instance.get_run_ids()
        assert left in [entry.user_message for entry in instance.all_logs(run_id)]
        [failure] = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        assert left in failure.get_dagster_event().step_failure_data.error.message

        provider.takes("fixed:0.1")
        following = _start(folder)
        _, errors = following.communicate(timeout=120)
        assert following.returncode == 0, errors
        assert provider.stats.jobs.submitted == 6
        assert provider.stats.paid.duplicates == 0


def _are_begun(instance: dg.DagsterInstance, count: int) -> bool:
    """Whether so many recordings have a result in the event log."""
    return len(instance.get_materialized_partitions(dg.AssetKey("speech_activity"))) >= count
