"""Slots of one host: ``store/.slots/<pool>/<n>.lock``, held by ``flock``, freed with the process.

A held file says who holds it, for display. ``head.lock`` is held by the one process that may look for a
place, ``waiting.lock`` is shared by those that would like to be it. The files stay: a lock on a file that
somebody removes and makes anew would be two locks.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from callpipeline.failures import UsageError
from callpipeline.limits.slots import Holder

FOLDER = ".slots"

_POOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_NUMBER = re.compile(r"(\d+)\.lock")
_INFO_BYTES = 4096
_HEAD = "head"
_WAITING = "waiting"


class FilePlaces:
    """Places as lock files below ``root``; for one thread, ``holders`` and ``pools`` for any."""

    def __init__(self, root: Path) -> None:
        self.root = root / FOLDER
        self._probes: dict[tuple[str, str], int] = {}
        self._heads: set[str] = set()
        self._held: dict[tuple[str, int], int] = {}

    def enter(self, pool: str) -> bool:
        """Try to become the head."""
        if pool in self._heads:
            return True
        if _lock(self._probe(pool, _HEAD)):
            self._heads.add(pool)
            _unlock(self._probe(pool, _WAITING))
            return True
        _lock(self._probe(pool, _WAITING), shared=True)
        return False

    def leave(self, pool: str) -> bool:
        """Stop being the head; whoever shares ``waiting.lock`` keeps us from having it alone."""
        waiting = self._probe(pool, _WAITING)
        _unlock(waiting)
        others = not _lock(waiting)
        _unlock(waiting)
        if pool in self._heads:
            self._heads.remove(pool)
            _unlock(self._probe(pool, _HEAD))
        return others

    def busy(self, pool: str, running: Callable[[], Iterable[str]]) -> int:
        """Count held files, then add the running jobs that none of them is for.

        In this order: a holder that dies in between is counted as held, never as neither.
        """
        held = [n for n in self._numbers(pool) if not self._is_free(pool, n)]
        jobs = set(running())
        if jobs:
            jobs -= {holder.key for n in held if (holder := _read(self._probe(pool, str(n))))}
        return len(held) + len(jobs)

    def take(self, holder: Holder) -> int:
        """Lock the free file with the lowest number, making a new one when there is none."""
        numbers = self._numbers(holder.pool)
        number = -1
        while True:
            number = next((n for n in numbers if n > number), number + 1)
            descriptor = self._open(holder.pool, str(number))
            if _lock(descriptor):
                break
            os.close(descriptor)
        info = holder.model_copy(update={"number": number}).model_dump_json().encode()[:_INFO_BYTES]
        try:
            os.pwrite(descriptor, info.ljust(_INFO_BYTES), 0)
        except BaseException:
            os.close(descriptor)
            raise
        self._held[holder.pool, number] = descriptor
        return number

    def free(self, pool: str, number: int) -> None:
        """Unlock a file."""
        os.close(self._held.pop((pool, number)))

    def holders(self, pool: str) -> list[Holder]:
        """Read the files that are locked."""
        found = []
        for number in self._numbers(pool):
            descriptor = self._open(pool, str(number))
            try:
                if not _lock(descriptor, shared=True) and (holder := _read(descriptor)):
                    found.append(holder)
            finally:
                os.close(descriptor)
        return found

    def pools(self) -> list[str]:
        """List the folders."""
        return sorted(p.name for p in self.root.iterdir()) if self.root.is_dir() else []

    def close(self) -> None:
        """Unlock and close all."""
        for descriptor in (*self._probes.values(), *self._held.values()):
            os.close(descriptor)
        self._probes.clear()
        self._held.clear()
        self._heads.clear()

    def _numbers(self, pool: str) -> list[int]:
        with suppress(FileNotFoundError), os.scandir(self._folder(pool)) as entries:
            return sorted(int(m[1]) for e in entries if (m := _NUMBER.fullmatch(e.name)))
        return []

    def _is_free(self, pool: str, number: int) -> bool:
        probe = self._probe(pool, str(number))
        free = _lock(probe)
        if free:
            _unlock(probe)
        return free

    def _probe(self, pool: str, name: str) -> int:
        """Return an open descriptor for testing a lock; it never holds a place."""
        if (pool, name) not in self._probes:
            self._probes[pool, name] = self._open(pool, name)
        return self._probes[pool, name]

    def _open(self, pool: str, name: str) -> int:
        path = self._folder(pool) / f"{name}.lock"
        try:
            return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)

    def _folder(self, pool: str) -> Path:
        if not _POOL.fullmatch(pool):
            raise UsageError(
                f"{pool!r} cannot be the name of a pool.", hint="Use letters, digits, _ . and -."
            )
        return self.root / pool


def _read(descriptor: int) -> Holder | None:
    try:
        return Holder.model_validate_json(os.pread(descriptor, _INFO_BYTES, 0).strip())
    except ValidationError:  # locked a moment ago, not yet written
        return None


def _lock(descriptor: int, *, shared: bool = False) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlock(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_UN)
