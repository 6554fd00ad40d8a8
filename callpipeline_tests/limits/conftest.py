"""Fixtures of this room: each test's own database, and processes that are gone when the test ends."""

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
def own_postgres(postgres_url: str) -> str:
    """The session's Postgres server with nothing of ours in it.

    Not a database for each test: the server writes all of them to the disk when it stops.
    """
    import psycopg2

    connection = psycopg2.connect(postgres_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA IF EXISTS callpipeline CASCADE")
    connection.close()
    return postgres_url.replace("postgresql://", "postgresql+psycopg2://", 1)


@pytest.fixture(params=["files", "postgres"])
def url(request: pytest.FixtureRequest) -> str | None:
    """Both ways of sharing limits: ``None`` = files of one host, else a Postgres database."""
    return None if request.param == "files" else request.getfixturevalue("own_postgres")


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
