"""Who works on a request: one lock for each request hash, which dies with its holder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from callpipeline.limits.postgres import AdvisoryLocks, lock_name
from callpipeline.store import locks

FOLDER = ".locks"


class Owners(Protocol):
    """Locks that die with their holder."""

    def try_take(self, name: str) -> Callable[[], None] | None:
        """Take the lock and return what gives it back, or ``None`` when it is held."""

    def close(self) -> None:
        """Give everything back."""


class FileOwners:
    """Lock files of one host, below the store ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root / FOLDER

    def try_take(self, name: str) -> Callable[[], None] | None:
        """Take the lock file of ``name``."""
        lock = locks.try_lock(self._root / f"paid-{name}.lock")
        return lock.release if lock else None

    def close(self) -> None:
        """Do nothing: each lock file is given back by itself."""


class PostgresOwners:
    """Advisory locks of many hosts, through one connection a process."""

    def __init__(self, url: str) -> None:
        self._locks = AdvisoryLocks(url)

    def try_take(self, name: str) -> Callable[[], None] | None:
        """Take the advisory lock of ``name``."""
        key = lock_name("paid", name)
        return (lambda: self._locks.give_back(key)) if self._locks.try_take(key) else None

    def close(self) -> None:
        """Close the connection."""
        self._locks.close()


def open_owners(root: Path, postgres_url: str | None) -> Owners:
    """Open owners in Postgres when there is a URL, else as lock files."""
    return PostgresOwners(postgres_url) if postgres_url else FileOwners(root)
