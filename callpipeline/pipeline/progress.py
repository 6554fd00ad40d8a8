"""How far long recordings have come, chunk by chunk, in files that any process can read.

``store/progress/<key>.json`` is there while a recording is being transcribed in chunks. It is written at most twice
a second, and removed when the transcription ends, well or not. What a killed process leaves is told by its process
being gone, and is replaced by the next that takes up the recording.

What belongs here: these files and their figures. What does not: showing them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from callpipeline.limits.worker import Worker
from callpipeline.model import ChunkState, Record
from callpipeline.store import files
from callpipeline.store.sweep import PROGRESS

INTERVAL = 0.5
"""Seconds between two writes of a file."""

_ENDED = ("done", "reused", "failed")


class Progress(Record):
    """How far a recording has come. Times are seconds since 1970, others are seconds.

    ``pid``, ``boot`` and ``born`` name the process that is at it: its id, the start of the system that it runs on, and
    its own.
    """

    recording: str
    started: float
    updated: float
    pid: int
    boot: str
    born: str
    chunks: tuple[ChunkState, ...]

    @property
    def seconds(self) -> float:
        """Length of all chunks."""
        return sum(chunk.end - chunk.start for chunk in self.chunks)

    @property
    def overall(self) -> float:
        """Share of the audio whose chunks have ended, 0-1."""
        return self._seconds(*_ENDED) / self.seconds if self.seconds else 0.0

    @property
    def rate(self) -> float | None:
        """Seconds of audio that are transcribed each second, ``None`` while nothing was. What was reused does not count."""
        began = min((c.started for c in self.chunks if c.started is not None), default=None)
        ended = max((c.finished for c in self.chunks if c.state == "done" and c.finished), default=None)
        if began is None or ended is None or ended <= began:
            return None
        return self._seconds("done") / (ended - began)

    @property
    def chunk_seconds(self) -> float | None:
        """What a chunk takes on average, from the moment that it is sent; ``None`` while none is done."""
        took = [c.finished - c.started for c in self.chunks if c.state == "done" and c.finished and c.started]
        return sum(took) / len(took) if took else None

    @property
    def eta(self) -> float | None:
        """Seconds until all chunks have ended, ``None`` while that cannot be told."""
        left = self.seconds - self._seconds(*_ENDED)
        if left == 0:
            return 0.0
        return left / self.rate if self.rate else None

    @property
    def alive(self) -> bool:
        """Whether the process that wrote it is still there."""
        return self.boot == _boot() and self.born == _born(self.pid) != ""

    def _seconds(self, *states: str) -> float:
        return sum(chunk.end - chunk.start for chunk in self.chunks if chunk.state in states)


@dataclass
class _Course:
    started: float
    chunks: dict[int, ChunkState] = field(default_factory=dict)
    written: float = float("-inf")
    timer: asyncio.TimerHandle | None = None


class ProgressStore:
    """The progress of all recordings below a store's ``root``. One object a process writes; any number read."""

    def __init__(self, root: Path) -> None:
        self._folder = root / PROGRESS
        self._courses: dict[str, _Course] = {}
        self._worker = Worker("progress")

    def path(self, key: str) -> Path:
        """Return where the progress of a recording is written."""
        return self._folder / f"{key}.json"

    # --- writing, in the event loop -----------------------------------------------------------------------

    @contextmanager
    def of(self, key: str) -> Iterator[None]:
        """Forget a recording's progress, and its file, when the block ends."""
        try:
            yield
        finally:
            course = self._courses.pop(key, None)
            if course is not None:
                if course.timer is not None:
                    course.timer.cancel()
                self._worker.later(self.path(key).unlink, missing_ok=True)

    def note(self, state: ChunkState) -> None:
        """Take in how far a chunk has come; it is written soon."""
        key = state.recording
        course = self._courses.setdefault(key, _Course(time.time()))
        course.chunks[state.index] = state
        if course.timer is None:
            wait = max(0.0, course.written + INTERVAL - time.monotonic())
            course.timer = asyncio.get_running_loop().call_later(wait, self._write, key, course)

    def _write(self, key: str, course: _Course) -> None:
        course.timer, course.written = None, time.monotonic()
        progress = Progress(
            recording=key,
            started=course.started,
            updated=time.time(),
            pid=os.getpid(),
            boot=_boot(),
            born=_born(os.getpid()),
            chunks=tuple(chunk for _, chunk in sorted(course.chunks.items())),
        )
        self._worker.later(files.write_text, self.path(key), progress.model_dump_json())

    def close(self) -> None:
        """Finish what is being written."""
        self._worker.close()

    # --- reading ------------------------------------------------------------------------------------------

    def read(self, key: str) -> Progress | None:
        """Return the progress of a recording that is being transcribed in chunks now, by any process."""
        try:
            progress = Progress.model_validate_json(self.path(key).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        return progress if progress.alive else None

    def all(self) -> list[Progress]:
        """Return the progress of all of them, the first begun first."""
        found = [self.read(path.stem) for path in sorted(self._folder.glob("[!.]*.json"))]
        return sorted((p for p in found if p is not None), key=lambda p: p.started)


@cache
def _boot() -> str:
    """Name this start of this system."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _born(pid: int) -> str:
    """Return when a process began, in words of the system's own; empty when there is none of this id.

    Ids are used again; where nothing tells when a process began, being there is enough.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return ""
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "running"
