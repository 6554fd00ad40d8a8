"""The same few tables in SQLite on one host or in Postgres for many, behind one small interface.

SQL here is the part that both understand: ``?`` for values, ``ON CONFLICT``, ``RETURNING``, types
``TEXT``, ``BIGINT`` and ``DOUBLE PRECISION``. What belongs here: connections, transactions, clocks. What does
not: what the tables mean. SQLite's WAL needs a file system of this host (no NFS).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from callpipeline.failures import NotConfigured
from callpipeline.limits.postgres import Connection, lock_name

_BUSY_SECONDS = 30.0

Value = str | int | float | None
Row = tuple[Any, ...]


class Session(Protocol):
    """What a transaction offers."""

    def execute(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        """Run one statement and return its rows."""

    def now(self) -> float:
        """Return seconds since 1970 by the clock that all users of this database share."""

    def steady(self) -> tuple[str, float]:
        """Return a shared clock that is never set back, and the name of the epoch in which it counts."""


class Database(ABC):
    """Tables that several processes use at once. ``schema`` is run when they are missing."""

    @abstractmethod
    def changing(self, turn: str) -> AbstractContextManager[Session]:
        """Open a transaction that excludes others of its ``turn``; it is undone when the block raises."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Session]:
        """Open a session for SELECTs."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; it opens again when needed."""


def open_database(url: str | None, path: Path, schema: str, *, durable: bool = True) -> Database:
    """Open Postgres when there is a ``url``, else the SQLite file at ``path``.

    ``durable``: what was committed survives a power cut (a killed process never loses any).
    """
    return (
        PostgresDatabase(url, schema, durable=durable)
        if url
        else SqliteDatabase(path, schema, durable=durable)
    )


# --- SQLite -------------------------------------------------------------------------------------------------


class SqliteDatabase(Database):
    """One connection a process, opened when first used; its threads take turns, a transaction each.

    ``clock`` is the steady one, which all processes of this host share.
    """

    def __init__(
        self,
        path: Path,
        schema: str,
        *,
        durable: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._clock = clock
        self._schema = schema
        self._durable = durable
        self._mutex = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = -1
        self._of_parents: list[sqlite3.Connection] = []

    def changing(self, turn: str) -> AbstractContextManager[Session]:
        """Open a writing transaction; SQLite has one writer at a time, whatever its ``turn``."""
        return self._transaction("BEGIN IMMEDIATE")

    def reading(self) -> AbstractContextManager[Session]:
        """Open a transaction that sees one state of the file."""
        return self._transaction("BEGIN")

    def close(self) -> None:
        """Close the connection; it opens again when needed."""
        with self._mutex:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Session]:
        with self._mutex:
            connection = self._open()
            connection.execute(begin)
            try:
                yield _SqliteSession(connection, self._clock)
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
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            _use_wal(connection)
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'OFF'}")
            connection.execute("BEGIN IMMEDIATE")
            for statement in filter(str.strip, self._schema.split(";")):
                connection.execute(statement)
            connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            connection.close()
            if isinstance(error, sqlite3.OperationalError):
                raise
            raise NotConfigured(f"{self.path} is damaged ({error}).", hint="Move it away.") from error
        except BaseException:
            connection.close()
            raise
        return connection


class _SqliteSession:
    def __init__(self, connection: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._clock = clock

    def execute(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()

    def now(self) -> float:
        return time.time()

    def steady(self) -> tuple[str, float]:
        return _boot(), self._clock()


@cache
def _boot() -> str:
    """Name this boot of the machine: its monotonic clock starts anew with each."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "boot"


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


# --- Postgres -----------------------------------------------------------------------------------------------


class PostgresDatabase(Database):
    """Tables in the schema ``callpipeline`` of a Postgres database; the clock is the server's."""

    def __init__(self, url: str, schema: str, *, durable: bool = True) -> None:
        self._connection = _Tables(url, schema, durable=durable)

    @contextmanager
    def changing(self, turn: str) -> Iterator[Session]:
        """Open a transaction after those of the same ``turn``."""
        with self._connection.transaction(turn) as cursor:
            yield _PostgresSession(cursor)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session in which each SELECT sees what is committed by then."""
        with self._connection.cursor("SELECT 1") as cursor:
            yield _PostgresSession(cursor)

    def close(self) -> None:
        """Close the connection; it opens again when needed."""
        self._connection.close()


class _Tables(Connection):
    def __init__(self, url: str, schema: str, *, durable: bool) -> None:
        super().__init__(url, durable=durable)
        self._schema = schema

    def on_open(self, cursor: Any) -> None:
        number, _ = lock_name("tables")
        cursor.execute(f"BEGIN; SELECT pg_advisory_xact_lock({number}); {self._schema}; COMMIT")


class _PostgresSession:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        self._cursor.execute(sql.replace("?", "%s"), tuple(values))
        return list(self._cursor.fetchall()) if self._cursor.description else []

    def now(self) -> float:
        ((now,),) = self.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        return float(now)

    def steady(self) -> tuple[str, float]:
        return "server", self.now()
