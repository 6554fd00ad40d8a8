"""What the catalogue knows, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from callpipeline.model import CallMetadata


class Kind(StrEnum):
    """What a file is to us. Only ``audio`` and ``transcript`` are recordings."""

    AUDIO = "audio"
    TRANSCRIPT = "transcript"
    COMPANION = "companion"
    """Metadata or a transcript that belongs to the audio of the same stem."""
    LINES = "lines"
    """A JSONL file; its lines are the recordings."""
    OTHER = "other"
    """Looked at and no recording, such as a JSON file without turns."""
    PLACE = "place"
    """A folder, manifest or link that is only noted for its problem."""


class State(StrEnum):
    """How far a recording has come."""

    NEW = "new"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a scan found out about one file; what the catalogue keeps about it.

    ``signature`` names everything that its metadata was made from, so that unchanged files cost nothing.
    ``part_of`` is the JSONL file of a line.
    """

    path: bytes
    kind: Kind
    size: int
    mtime_ns: int
    sha256: str | None
    problem: str | None = None
    signature: str = ""
    metadata: str = "{}"
    transcript: bytes | None = None
    transcript_sha256: str | None = None
    part_of: bytes | None = None


@dataclass(frozen=True, slots=True)
class KnownFile:
    """``FileFacts`` as read back, with the key and whether it was there at the last scan."""

    facts: FileFacts
    key: str | None
    present: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file that was not yet stable: as it was, and since when (Unix seconds) it has been like that."""

    size: int
    mtime_ns: int
    since: float


@dataclass(frozen=True, slots=True)
class Source:
    """One place where the bytes of a recording lie or lay."""

    path: Path
    size: int
    sha256: str
    present: bool
    first_seen: datetime
    last_seen: datetime
    metadata: CallMetadata
    transcript: Path | None


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording. ``seq`` grows with every arrival and every change of what decides its results."""

    key: str
    sha256: str
    seq: int
    kind: Kind
    state: State
    plan: str | None
    updated_at: datetime
    error_class: str | None = None
    message: str | None = None
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """A recording with what its present sources say together; ``sources`` begins with the primary one.

    When no source is ``present`` any more, the last ones still say what they said. ``transcript`` is its
    ready-made transcript (its own file for ``Kind.TRANSCRIPT``).
    """

    recording: Recording
    metadata: CallMetadata
    sources: tuple[Path, ...]
    present: bool
    transcript: Path | None = None
    transcript_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class SourceProblem:
    """A file or folder that could not be used, and why."""

    path: Path
    problem: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How many recordings with a present source are in which state. ``failed`` includes ``permanent``."""

    recordings: int
    new: int
    done: int
    failed: int
    permanent: int
    problems: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Applied:
    """What a change of sources meant for recordings, as keys. ``present`` = touched and with a source now."""

    new: frozenset[str] = field(default_factory=frozenset)
    changed: frozenset[str] = field(default_factory=frozenset)
    removed: frozenset[str] = field(default_factory=frozenset)
    present: frozenset[str] = field(default_factory=frozenset)
