"""Looking at a process from outside while it works: memory of all its processes, files in its folders.

What belongs here: reading ``/proc`` and folders, often. What does not: what a process shall not exceed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

INTERVAL = 0.05
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MB = 1e6
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Seen:
    """The most of each since a time: MB of memory, files, MB of files. ``disk``: (second, MB)."""

    memory_mb: float = 0.0
    files: int = 0
    disk_mb: float = 0.0
    disk: list[tuple[float, float]] = field(default_factory=list)

    def over_time(self, points: int = 10) -> list[tuple[float, float]]:
        """Return the largest MB on disk of each of so many equal stretches, as (second at its end, MB)."""
        step = max(1, -(-len(self.disk) // points))
        parts = (self.disk[i : i + step] for i in range(0, len(self.disk), step))
        return [(round(part[-1][0], 1), round(max(mb for _, mb in part), 2)) for part in parts]


class Watch:
    """Watches a process, its children and theirs, and the files in folders, 20 times a second."""

    def __init__(self, pid: int, folder: Path, *others: Path) -> None:
        """Set it up; it watches within its ``with`` block. Files are counted in ``folder``, MB are of all folders."""
        self._pid = pid
        self._folder = folder
        self._others = others
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._seen = Seen()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def since(self) -> Seen:
        """Return the most since the last time this was asked, or since the beginning."""
        self._look()
        with self._lock:
            seen, self._seen, self._began = self._seen, Seen(), time.monotonic()
        return seen

    def memory_now(self) -> float:
        """Return the memory of all its processes in MB."""
        return sum(_resident(pid) for pid in _family(self._pid)) / _MB

    def _look_on(self) -> None:
        while not self._ended.wait(INTERVAL):
            self._look()

    def _look(self) -> None:
        memory = self.memory_now()
        counted = list(_sizes(self._folder))
        taken = sum(counted) + sum(size for folder in self._others for size in _sizes(folder))
        with self._lock:
            seen = self._seen
            seen.memory_mb = max(seen.memory_mb, memory)
            seen.files = max(seen.files, len(counted))
            seen.disk_mb = max(seen.disk_mb, taken / _MB)
            seen.disk.append((time.monotonic() - self._began, taken / _MB))


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process and its living children have used."""
    return sum(_ticks(one) for one in _family(pid)) / _TICKS


def _ticks(pid: int) -> int:
    try:
        user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    except OSError:
        return 0
    return int(user) + int(system)


def _family(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                for child in (task / "children").read_text().split():
                    yield from _family(int(child))


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _sizes(folder: Path) -> Iterator[int]:
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                yield (Path(root) / name).stat().st_size
