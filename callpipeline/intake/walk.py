"""Listing a folder tree: every regular file with size and time, and what could not be listed.

Links are followed; a folder that was listed already (a loop, or a second way to it) is not listed again. Real
folders come before linked ones, so that a file has the same path at every scan.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

from callpipeline.intake.formats import is_ignored


@dataclass(frozen=True, slots=True)
class Listed:
    """A regular file as the listing saw it."""

    path: str
    name: str
    size: int
    mtime_ns: int


@dataclass(slots=True)
class Listing:
    """What is below a root: files by folder and name, and problems by path.

    ``unread`` are folders that exist but could not be listed: what is in them is unknown, not gone.
    ``reached`` tells whether the root itself could be listed.
    """

    folders: dict[str, dict[str, Listed]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    reached: bool = True


def list_files(root: str, *, leave_out: Collection[str] = ()) -> Listing:
    """List everything below ``root`` but hidden and unfinished names and the folders in ``leave_out``."""
    listing = Listing()
    visited: set[tuple[int, int]] = set()
    real: deque[str] = deque([root])
    linked: deque[str] = deque()
    while real or linked:
        folder = (real or linked).popleft()
        if folder in leave_out:
            continue
        try:
            state = os.stat(folder)  # noqa: PTH116 - strings all the way: a Path a file doubles the time
            if (state.st_dev, state.st_ino) in visited:
                continue
            visited.add((state.st_dev, state.st_ino))
            with os.scandir(folder) as entries:
                kept = sorted((e for e in entries if not is_ignored(e.name)), key=lambda e: e.name)
        except OSError as error:
            _note_unlisted(listing, folder, error, is_root=folder == root)
            continue
        files = listing.folders.setdefault(folder, {})
        for entry in kept:
            _take(entry, listing, files, real, linked)
    return listing


def _take(
    entry: os.DirEntry[str],
    listing: Listing,
    files: dict[str, Listed],
    real: deque[str],
    linked: deque[str],
) -> None:
    try:
        if entry.is_dir():
            (linked if entry.is_symlink() else real).append(entry.path)
            return
        state = entry.stat()
    except OSError as error:
        if entry.is_symlink():
            listing.problems[entry.path] = "is a link that leads nowhere"
        elif not isinstance(error, FileNotFoundError):
            listing.problems[entry.path] = f"cannot be looked at: {error.strerror}"
            listing.unread.append(entry.path)
        return
    if stat.S_ISREG(state.st_mode):
        files[entry.name] = Listed(entry.path, entry.name, state.st_size, state.st_mtime_ns)


def _note_unlisted(listing: Listing, folder: str, error: OSError, *, is_root: bool) -> None:
    if is_root:
        listing.reached = False
        listing.problems[folder] = f"cannot be listed: {error.strerror}"
    elif not isinstance(error, FileNotFoundError):
        listing.problems[folder] = f"cannot be listed: {error.strerror}"
        listing.unread.append(folder)
