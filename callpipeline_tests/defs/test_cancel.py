"""Cancelling a run, as the UI's terminate button does: the run process gets a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.recordings import SAMPLES
from callpipeline.settings import Settings

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
    command = [sys.executable, "-m", "callpipeline", "run", str(folder)]
    process = subprocess.Popen(
        command, env=os.environ, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    activity = settings.store / "speech_activity"
    while not list(activity.glob("*.json")):
        assert process.poll() is None, process.stderr.read()
    process.send_signal(number)
    _, errors = process.communicate(timeout=STOPS_WITHIN)
    assert process.returncode != 0
    assert "Traceback" not in errors
    while _group_is_alive(
        process.pid
    ):  # the last helper of the worker pool ends when it sees its parent gone
        pass
    assert not list((settings.store / "transcripts").glob("*.json"))
    assert not list(settings.store.rglob("*.tmp"))
    assert len(list(activity.glob("*.json"))) == 1
