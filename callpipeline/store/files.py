"""The one writer of files: a reader sees the old file or the whole new one, whatever kills the writer.

A file is written under a temporary name in its own folder, flushed to the disk, and renamed. What belongs
here: that, and the removal of temporary files that killed writers left. What does not: what is in the files.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = re.compile(r"^\..*\.(?P<pid>\d+)\.(?P<place>[0-9a-f]{6})[0-9a-f]{8}\.tmp(?:\.wal)?$", re.DOTALL)
_LONGEST_NAME = 180
"""Bytes of the final name that go into the temporary one: file systems allow 255 for all of it."""
_CLOCKS_APART = 5.0
"""Seconds by which the start of a process and the time of its file may seem to be the wrong way round."""


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a binary file that appears at ``path`` when the block ends, whole and on the disk.

    Missing folders are made. When the block raises, ``path`` stays as it was and nothing is left behind.

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """
    with replacing(path) as temporary:
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write at; when the block ends, what is there takes the place of ``path``.

    For writers that want a path and not an open file (DuckDB). See ``writing`` for the promises.
    """
    temporary = _temporary_path(path)
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    _flush(path.parent)


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` for a file that is only needed during the block."""
    temporary = _temporary_path(path)
    try:
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Make ``path`` hold ``data``; see ``writing``."""
    with writing(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Make ``path`` hold ``text`` as UTF-8; see ``writing``."""
    write_bytes(path, text.encode())


def sweep_temporaries(root: Path, older_than_s: float, *, dry_run: bool = False) -> list[Path]:
    """Remove temporary files below ``root`` that nobody writes any more, and return them.

    Nobody: the writing process is dead. That is judged only where it ran on this machine and in this process
    namespace, so that containers that share a volume leave each other alone; what comes from elsewhere counts when
    it has not been written to for ``older_than_s`` seconds. The files of a living process are never touched: a
    chunk of audio may wait for hours until it is sent.
    """
    found = [p for p in _temporaries(root) if _abandoned(p, older_than_s)]
    if not dry_run:
        for path in found:
            with suppress(OSError):
                path.unlink()
    return found


def _temporary_path(path: Path) -> Path:
    name = os.fsdecode(os.fsencode(path.name)[:_LONGEST_NAME])
    return path.with_name(f".{name}.{os.getpid()}.{_place()}{secrets.token_hex(4)}.tmp")


@cache
def _place() -> str:
    """Where process ids mean what they mean here: this host and this process namespace."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return hashlib.sha256(f"{socket.gethostname()} {namespace}".encode()).hexdigest()[:6]


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporaries(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        for name in names:
            if _TEMPORARY.match(name):
                yield Path(folder, name)


def _abandoned(path: Path, older_than_s: float) -> bool:
    match = _TEMPORARY.match(path.name)
    try:
        written = path.stat().st_mtime
    except OSError:
        return False
    if match and match["place"] == _place():
        return not _lives(int(match["pid"]), since=written)
    return time.time() - written > older_than_s


def _lives(pid: int, *, since: float) -> bool:
    """Tell whether the process ``pid`` of the time ``since`` still runs, and not a later one with its number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    began = _began(pid)
    return began is None or began <= since + _CLOCKS_APART


def _began(pid: int) -> float | None:
    """Return when a process began (Unix seconds), ``None`` where the system has no /proc that tells."""
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        booted = next(
            line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime ")
        )
        return int(booted.split()[1]) + int(ticks) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, StopIteration, ValueError):
        return None
