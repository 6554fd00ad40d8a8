"""Locks between processes that a killed process gives back by itself (``flock``).

The lock file is removed by whoever held it; a killed holder's file stays until ``sweep`` takes it. Because
files come and go, a lock only counts when the file that was locked is still the one with that name.
Works on one host, and on network file systems that support ``flock``.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import TracebackType

from callpipeline.failures import Busy

_FIRST_WAIT = 0.002
_LONGEST_WAIT = 0.1


class Lock:
    """A lock that is held. Give it back with ``release`` or by leaving a ``with`` block."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Give the lock back; doing so twice is fine."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        with suppress(OSError):
            self.path.unlink()
        os.close(descriptor)

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def try_lock(path: Path) -> Lock | None:
    """Take the lock at ``path``, or return ``None`` when somebody holds it."""
    while True:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        if _is_at(path, descriptor):
            return Lock(path, descriptor)
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Tell whether somebody holds the lock at ``path`` now; takes nothing and leaves everything as it is."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def holding(path: Path, *, timeout: float | None = None) -> Iterator[Lock]:
    """Hold the lock at ``path`` for a block, waiting for it up to ``timeout`` seconds (``None`` = for ever).

    Raises:
        Busy: somebody else held it all that time.
    """
    waits = _waits(path, timeout)
    while (lock := try_lock(path)) is None:
        time.sleep(next(waits))
    with lock:
        yield lock


@asynccontextmanager
async def aholding(path: Path, *, timeout: float | None = None) -> AsyncIterator[Lock]:
    """Do what ``holding`` does without blocking the event loop while waiting."""
    waits = _waits(path, timeout)
    while (lock := try_lock(path)) is None:
        await asyncio.sleep(next(waits))
    with lock:
        yield lock


def _waits(path: Path, timeout: float | None) -> Iterator[float]:
    """Yield how long to sleep before the next try, growing, and raise ``Busy`` at the end of the time."""
    end = None if timeout is None else time.monotonic() + timeout
    wait = _FIRST_WAIT
    while True:
        left = wait if end is None else end - time.monotonic()
        if left <= 0:
            raise Busy(
                f"{path.stem} has been worked on by another process for {timeout:g} s.",
                hint="Try again when that one is done.",
            )
        yield min(wait, left)
        wait = min(wait * 2, _LONGEST_WAIT)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
