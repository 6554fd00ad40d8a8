"""Fixtures of this room: processes that are gone when the test ends."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

Spawn = Callable[..., subprocess.Popen[str]]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of coroutine tests."""
    return "asyncio"


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start a command of ``processes.py``; what still runs at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def start(command: str, *arguments: object, stdout: int | None = None) -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "callpipeline_tests.limits.processes", command, *map(str, arguments)]
        process = subprocess.Popen(line, text=True, stdin=subprocess.PIPE, stdout=stdout, cwd=ROOT)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout)):
            pipe.close()


def wait_until(
    true: Callable[[], bool], processes: Sequence[subprocess.Popen[str]], seconds: float = 60.0
) -> None:
    """Wait for a condition; fail when it takes too long or one of the processes failed."""
    end = time.monotonic() + seconds
    while not true():
        assert not any(process.poll() for process in processes), "a process failed"
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.01)
