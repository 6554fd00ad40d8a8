"""Tidying the store: what killed processes left, and what belongs to no recording any more."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from callpipeline.failures import UsageError
from callpipeline.intake.catalog import Catalog
from callpipeline.store import files, locks
from callpipeline.store.results import ASSETS, LOCKS

PROGRESS = "progress"
"""Below the store: how far long recordings have come that are being transcribed."""

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What was found. All of it was removed unless ``dry_run``; ``orphans`` only when asked for.

    Attributes:
        temporaries: half-written files of writers that are gone, audio that they were sending, and how far they were.
        locks: lock files that nobody holds.
        corrupt: damaged results that were moved aside long ago.
        orphans: results, failures and originals whose recording the catalogue does not know.
        orphans_removed: whether the orphans were removed.
        bytes: size of what was removed or, with ``dry_run``, would be.
        dry_run: whether everything was left as it was.
    """

    temporaries: tuple[Path, ...]
    locks: tuple[Path, ...]
    corrupt: tuple[Path, ...]
    orphans: tuple[Path, ...]
    orphans_removed: bool
    bytes: int
    dry_run: bool


def sweep(
    root: Path,
    catalog: Catalog,
    *,
    dry_run: bool = False,
    remove_orphans: bool = False,
    temporaries_after_s: float = 3600.0,
    corrupt_after_days: float = 30.0,
) -> SweepReport:
    """Tidy the store below ``root``. Others may work in it: what anybody writes or holds is left alone.

    Raises:
        UsageError: orphans are to be removed but the catalogue is empty, so that everything would be one.
    """
    keys = catalog.keys()
    if remove_orphans and not keys:
        raise UsageError(
            "The catalogue knows no recordings, so every result would count as an orphan.",
            hint="Scan the folders of your recordings first.",
        )
    temporaries = [
        *files.sweep_temporaries(root, temporaries_after_s, dry_run=True),
        *_progress_of_nobody(root),
    ]
    free_locks = [path for path in sorted(root.glob(f"{LOCKS}/*.lock")) if not locks.is_held(path)]
    old = time.time() - corrupt_after_days * _DAY
    corrupt = [path for path in sorted(root.glob("*/*.corrupt")) if _mtime(path) < old]
    orphans = sorted(_orphans(root, keys))
    removable = [*temporaries, *corrupt, *(orphans if remove_orphans else ())]
    size = sum(_size(path) for path in removable)
    if not dry_run:
        for path in removable:
            path.unlink(missing_ok=True)
        for path in free_locks:
            _remove_lock(path)
    return SweepReport(
        temporaries=tuple(temporaries),
        locks=tuple(free_locks),
        corrupt=tuple(corrupt),
        orphans=tuple(orphans),
        orphans_removed=remove_orphans and not dry_run,
        bytes=size,
        dry_run=dry_run,
    )


def _progress_of_nobody(root: Path) -> Iterator[Path]:
    """Yield what tells how far a recording has come that nobody works on any more."""
    for path in sorted(root.glob(f"{PROGRESS}/[!.]*.json")):
        if not locks.is_held(root / LOCKS / f"{path.stem}.lock"):
            yield path


def _orphans(root: Path, keys: set[str]) -> Iterator[Path]:
    for asset in ASSETS:
        with suppress(FileNotFoundError), os.scandir(root / asset) as entries:
            for entry in entries:
                key = entry.name.partition(".")[0]
                if key and key not in keys and not entry.name.endswith(".corrupt"):
                    yield Path(entry.path)


def _remove_lock(path: Path) -> None:
    lock = locks.try_lock(path)
    if lock is not None:
        lock.release()


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
