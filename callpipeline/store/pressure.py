"""How tight memory and disk are, and what a run does about it: it keeps fewer chunks ready, and goes on.

What belongs here: measuring both, how far work may look ahead, and making room out of what dead processes left. What
does not: refusing a recording before it is sent (``pipeline.fitness``), and the files of a run that goes well, which
remove themselves (``speech.chunk_files``).
"""

from __future__ import annotations

import logging
import resource
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from callpipeline.settings import Settings
from callpipeline.store import files

log = logging.getLogger(__name__)

FOREIGN_AFTER_S = 3600.0
"""Files of processes that cannot be seen from here (another container) count as left behind after this."""


class Level(StrEnum):
    """How tight it is."""

    CALM = "calm"
    TIGHT = "tight"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Marks:
    """From where on it is tight.

    Attributes:
        process_bytes: memory that this process may have; ``None`` = as much as there is.
        system_share: share of the system's memory in use (of the container's, where it has a limit).
        least_memory: bytes of memory that must be free; less is critical, and so are both marks above together.
        least_disk: bytes of disk that must be free; less than a quarter of it is critical.
    """

    process_bytes: int | None = None
    system_share: float = 0.85
    least_memory: int = 100 * 1024**2
    least_disk: int = 2 * 1024**3

    @classmethod
    def of(cls, settings: Settings) -> Marks:
        """Return the usual marks with the settings' limit for this process."""
        limit = settings.memory_limit_mb
        return cls(process_bytes=None if limit is None else round(limit * 1024**2))


@dataclass(frozen=True, slots=True)
class Pressure:
    """What was measured; ``reasons`` say in words which marks were passed."""

    memory: Level
    disk: Level
    reasons: tuple[str, ...] = ()

    @property
    def level(self) -> Level:
        """The worse of the two."""
        return max(self.memory, self.disk, key=list(Level).index)


def pressure(settings: Settings, marks: Marks | None = None) -> Pressure:
    """Measure memory and disk. Takes a fraction of a millisecond; what cannot be measured is calm."""
    marks = marks or Marks.of(settings)
    memory, because_of_memory = _memory(marks)
    disk, because_of_disk = _disk(settings.store, marks)
    return Pressure(memory, disk, (*because_of_memory, *because_of_disk))


def look_ahead(settings: Settings, marks: Marks | None = None) -> int:
    """Return how many chunks may lie ready beside those in use: all that the settings allow, one, or none.

    When the disk is tight, room is made first; see ``make_room``.
    """
    found = pressure(settings, marks)
    if found.disk is not Level.CALM and make_room(settings, marks):
        found = pressure(settings, marks)
    most = {Level.CALM: settings.chunk_look_ahead, Level.TIGHT: 1, Level.CRITICAL: 0}[found.level]
    return min(most, settings.chunk_look_ahead)


def make_room(settings: Settings, marks: Marks | None = None) -> list[Path]:
    """Remove half-made files of dead processes until the disk is calm, and return them.

    The oldest and largest go first (by age times size). Nothing that a living process writes or sends is touched.
    """
    least = (marks or Marks.of(settings)).least_disk
    removed = []
    for path in _worst_first(files.sweep_temporaries(settings.store, FOREIGN_AFTER_S, dry_run=True)):
        free = free_disk(settings.store)
        if free is None or free >= least:
            break
        with suppress(OSError):
            path.unlink()
            removed.append(path)
    if removed:
        log.warning("the disk is nearly full: removed %d files that killed processes left", len(removed))
    return removed


# --- measuring ------------------------------------------------------------------------------------------


class Memory(NamedTuple):
    """Bytes that the system, or a container's share of it, has in all and still to give."""

    total: int
    free: int

    @property
    def share(self) -> float:
        """Share in use, 0-1."""
        return 1 - self.free / self.total if self.total else 0.0


def free_memory() -> int | None:
    """Return the bytes that this process may still get, ``None`` where nobody tells."""
    return min((memory.free for memory in _memories()), default=None)


def process_memory() -> int:
    """Return the bytes that this process holds (workers not counted); the most it ever held without /proc."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
    except (OSError, StopIteration):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def free_disk(folder: Path) -> int | None:
    """Return the bytes that are free where ``folder`` is or will be, ``None`` where nobody tells."""
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        return shutil.disk_usage(there).free
    except (OSError, StopIteration):
        return None


def _memories() -> Iterator[Memory]:
    """Yield the system's memory, and this container's share of it if it has a limit."""
    try:
        words = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
        known = {word[0]: int(word[1]) * 1024 for word in words if len(word) > 1}
        yield Memory(known["MemTotal:"], known["MemAvailable:"])
    except (OSError, KeyError, ValueError):
        return
    with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        most, used = (
            int(Path("/sys/fs/cgroup", f"memory.{name}").read_text()) for name in ("max", "current")
        )
        kept = Path("/sys/fs/cgroup/memory.stat").read_text().split()
        # Pages of files that were read once are given back when they are needed.
        yield Memory(most, max(0, most - used + int(kept[kept.index("inactive_file") + 1])))


def _memory(marks: Marks) -> tuple[Level, list[str]]:
    reasons = []
    own, limit = process_memory(), marks.process_bytes
    if limit is not None and own > limit:
        reasons.append(f"this process has {_mib(own)} of memory, its limit is {_mib(limit)}")
    memories = list(_memories())
    share = max((memory.share for memory in memories), default=0.0)
    if share > marks.system_share:
        reasons.append(f"{share:.0%} of the memory is in use")
    level = (Level.CALM, Level.TIGHT, Level.CRITICAL)[len(reasons)]
    free = min((memory.free for memory in memories), default=None)
    if free is not None and free < marks.least_memory:
        reasons.append(f"{_mib(free)} of memory are free")
        level = Level.CRITICAL
    return level, reasons


def _disk(store: Path, marks: Marks) -> tuple[Level, list[str]]:
    free = free_disk(store)
    if free is None or free >= marks.least_disk:
        return Level.CALM, []
    level = Level.CRITICAL if free < marks.least_disk / 4 else Level.TIGHT
    return level, [f"{_mib(free)} are free on the disk of {store}"]


def _worst_first(paths: list[Path]) -> list[Path]:
    found = []
    for path in paths:
        with suppress(OSError):
            found.append((path, path.stat()))
    if not found:
        return []
    newest = max(state.st_mtime for _, state in found)
    weighed = [((1 + newest - state.st_mtime) * state.st_size, path) for path, state in found]
    return [path for _, path in sorted(weighed, reverse=True)]


def _mib(count: int) -> str:
    return f"{count / 1024**2:,.0f} MiB"
