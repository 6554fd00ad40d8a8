"""A run that is killed without warning, and two runs at once: nothing lost, nothing half, nothing twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb

from callpipeline.settings import Settings
from callpipeline_tests.defs.conftest import OF_A_CALL

Calls = Callable[[int], Path]


def _start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "callpipeline", "run", str(folder), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _results(settings: Settings, asset: str) -> list[Path]:
    return list((settings.store / asset).glob("*[0-9a-f].json"))


def test_the_next_run_goes_on_where_a_killed_one_stopped(calls: Calls, settings: Settings) -> None:
    folder = calls(12)
    killed = _start(folder)
    while not _results(settings, "speech_activity"):
        assert killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    kept = {path: path.stat().st_mtime_ns for asset in OF_A_CALL for path in _results(settings, asset)}
    output, errors = _start(folder).communicate()
    result = json.loads(output)
    assert result["failed"] == 0, errors
    assert {row["status"] for row in result["recordings"]} == {"ok"}
    for asset in OF_A_CALL:
        assert len(_results(settings, asset)) == 12
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not list(settings.store.rglob("*.tmp"))


def test_two_runs_at_once_share_the_work(calls: Calls, settings: Settings) -> None:
    folder = calls(8)
    runs = [_start(folder), _start(folder)]
    outputs = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], [errors[-2000:] for _, errors in outputs]
    for asset in OF_A_CALL:
        assert len(_results(settings, asset)) == 8
    with duckdb.connect(str(settings.store / "warehouse.duckdb"), read_only=True) as warehouse:
        assert warehouse.execute("SELECT count(*) FROM recordings").fetchall() == [(8,)]
