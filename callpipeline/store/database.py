"""One SQLite file that several processes use at once: connections, transactions, its schema and its version.

The catalogue, the ledger and the rates lie in such files. What does not belong here: what the rows mean.
WAL mode needs a file system of this host (no NFS).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from callpipeline.failures import NotConfigured

BUSY_SECONDS = 30.0
"""How long a transaction waits for those of others before it fails."""


class Column(NamedTuple):
    """A column that tables of older versions lack; ``kind`` is its type, with a default for their rows."""

    table: str
    name: str
    kind: str


class SqliteFile:
    """One connection a process, opened when first used; its threads take turns, a transaction each.

    A forked child opens a connection of its own.

    Args:
        path: of the file; it and its folder are made at first use.
        schema: statements that make the tables, run when the file's version is lower: ``CREATE ... IF NOT
            EXISTS``, so that a higher version may add tables to an older file.
        version: of the schema, kept in the file.
        added: columns that tables of lower versions may lack.
        synchronous: what a power cut may take back: nothing (``FULL``), the last commits (``NORMAL``),
            anything (``OFF``). A killed process never loses what it committed.
        if_damaged: what the user is told to do with a file that is damaged.

    Raises:
        NotConfigured: from every use, when the file is damaged or was made by a newer version.
    """

    def __init__(
        self,
        path: Path,
        schema: str,
        *,
        version: int = 1,
        added: Sequence[Column] = (),
        synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL",
        if_damaged: str = "Move it away.",
    ) -> None:
        self.path = path
        self._schema = schema
        self._version = version
        self._added = added
        self._synchronous = synchronous
        self._if_damaged = if_damaged
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
        """Give the connection for a short writing transaction, undone when the block raises."""
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
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or self._pid != os.getpid():
            if self._connection is not None:
                self._of_parents.append(self._connection)  # closing it here would break the parent's locks
            self._connection = self._connect()
            self._pid = os.getpid()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            _use_wal(connection)
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            self._make_schema(connection)
        except sqlite3.DatabaseError as error:
            connection.close()
            if isinstance(error, sqlite3.OperationalError):
                raise
            raise NotConfigured(f"{self.path} is damaged ({error}).", hint=self._if_damaged) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_schema(self, connection: sqlite3.Connection) -> None:
        if _version(connection) == self._version:
            return
        connection.execute("BEGIN IMMEDIATE")
        version = _version(connection)
        if version < self._version:
            for statement in filter(str.strip, self._schema.split(";")):
                connection.execute(statement)
            for column in self._added:
                _add(connection, column)
            connection.execute(f"PRAGMA user_version = {self._version}")
        connection.execute("COMMIT")
        if version > self._version:
            raise NotConfigured(
                f"{self.path} was made by a newer callpipeline (schema {version}).",
                hint="Upgrade callpipeline.",
            )


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL. SQLite does not wait for others here, so this does."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


def _add(connection: sqlite3.Connection, column: Column) -> None:
    """Add a column unless it is there."""
    known = connection.execute("SELECT name FROM pragma_table_info(?)", (column.table,))
    if (column.name,) not in known.fetchall():
        connection.execute(f"ALTER TABLE {column.table} ADD COLUMN {column.name} {column.kind}")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
