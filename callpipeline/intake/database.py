"""The SQLite file behind the catalogue: its schema, and connections that several processes use at once.

WAL mode needs a file system of this host (no NFS). Nothing here knows what the rows mean.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from callpipeline.failures import NotConfigured

SCHEMA_VERSION = 1

_BUSY_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE sources (
    path BLOB PRIMARY KEY,
    root BLOB NOT NULL,
    kind TEXT NOT NULL,
    part_of BLOB,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sha256 TEXT,
    key TEXT,
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL,
    present INTEGER NOT NULL,
    problem TEXT,
    signature TEXT NOT NULL,
    metadata TEXT NOT NULL,
    transcript BLOB,
    transcript_sha256 TEXT
) WITHOUT ROWID;
CREATE INDEX sources_by_key ON sources (key) WHERE key IS NOT NULL;
CREATE TABLE waiting (
    path BLOB PRIMARY KEY,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    since REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE roots (path BLOB PRIMARY KEY, scanned_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE recordings (
    key TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    seq INTEGER NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    plan TEXT,
    inputs TEXT NOT NULL,
    updated_at REAL NOT NULL,
    error_class TEXT,
    message TEXT,
    permanent INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""


class Database:
    """One connection a process, opened when first used; its threads take turns, a transaction each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mutex = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = -1
        self._of_parents: list[sqlite3.Connection] = []

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for SELECTs that see one state of the file."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for a short writing transaction, rolled back when the block raises."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def close(self) -> None:
        """Close the connection; it opens again when needed."""
        with self._mutex:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._mutex:
            connection = self._open()
            connection.execute(begin)
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or self._pid != os.getpid():
            if self._connection is not None:
                self._of_parents.append(self._connection)  # closing it here would break the parent's locks
            self._connection = _connect(self.path)
            self._pid = os.getpid()
        return self._connection


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _use_wal(connection)
        # Safe against killed processes; a power cut may take back the last commits, which a scan finds again.
        connection.execute("PRAGMA synchronous = NORMAL")
        _make_schema(connection, path)
    except sqlite3.DatabaseError as error:
        connection.close()
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise NotConfigured(
            f"{path} is damaged ({error}).",
            hint="Move it away and scan again: results are kept and will be found again.",
        ) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL. SQLite does not wait for others here, so this does."""
    end = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


def _make_schema(connection: sqlite3.Connection, path: Path) -> None:
    if _version(connection) == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    version = _version(connection)
    if version == 0:
        for statement in filter(str.strip, _SCHEMA.split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")
    if version > SCHEMA_VERSION:
        raise NotConfigured(
            f"{path} was made by a newer callpipeline (schema {version}).", hint="Upgrade callpipeline."
        )


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
