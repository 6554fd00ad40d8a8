"""The same few tables in SQLite on one host or in Postgres for many, behind one small interface.

SQL here is the part that both understand: ``?`` for values, ``ON CONFLICT``, ``RETURNING``, types
``TEXT``, ``BIGINT`` and ``DOUBLE PRECISION``. What belongs here: transactions and clocks that both have. What
does not: what the tables mean, and how a SQLite file is opened and shared (``store.database``).
"""

from __future__ import annotations

import re
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

from callpipeline.limits.postgres import Connection, lock_name
from callpipeline.store.database import Column, SqliteFile

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
    """Tables that several processes use at once.

    ``schema`` is run when some are missing: ``CREATE TABLE IF NOT EXISTS``, and the same for indexes.
    """

    @abstractmethod
    def changing(self, turn: str) -> AbstractContextManager[Session]:
        """Open a transaction that excludes others of its ``turn``; it is undone when the block raises."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Session]:
        """Open a session for SELECTs."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; it opens again when needed."""


def open_database(
    url: str | None,
    path: Path,
    schema: str,
    *,
    durable: bool = True,
    version: int = 1,
    added: Sequence[Column] = (),
) -> Database:
    """Open Postgres when there is a ``url``, else the SQLite file at ``path``.

    ``durable``: what was committed survives a power cut (a killed process never loses any). ``version`` of the
    schema in a file, and the columns ``added`` to its tables since the first one.
    """
    if url:
        return PostgresDatabase(url, schema, durable=durable, added=added)
    return SqliteDatabase(path, schema, durable=durable, version=version, added=added)


# --- SQLite -------------------------------------------------------------------------------------------------


class SqliteDatabase(Database):
    """Tables in a SQLite file. ``clock`` is the steady one, which all processes of this host share."""

    def __init__(
        self,
        path: Path,
        schema: str,
        *,
        durable: bool = True,
        version: int = 1,
        added: Sequence[Column] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        synchronous: Literal["FULL", "OFF"] = "FULL" if durable else "OFF"
        self._file = SqliteFile(path, schema, version=version, added=added, synchronous=synchronous)
        self._clock = clock

    @contextmanager
    def changing(self, turn: str) -> Iterator[Session]:
        """Open a writing transaction; SQLite has one writer at a time, whatever its ``turn``."""
        with self._file.changing() as connection:
            yield _SqliteSession(connection, self._clock)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a transaction that sees one state of the file."""
        with self._file.reading() as connection:
            yield _SqliteSession(connection, self._clock)

    def close(self) -> None:
        """Close the connection; it opens again when needed."""
        self._file.close()


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


# --- Postgres -----------------------------------------------------------------------------------------------


class PostgresDatabase(Database):
    """Tables in the schema ``callpipeline`` of a Postgres database; the clock is the server's."""

    def __init__(self, url: str, schema: str, *, durable: bool = True, added: Sequence[Column] = ()) -> None:
        self._connection = _Tables(url, schema, durable=durable, added=added)

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
    def __init__(self, url: str, schema: str, *, durable: bool, added: Sequence[Column]) -> None:
        super().__init__(url, durable=durable)
        self._schema = schema
        self._added = added

    def on_open(self, cursor: Any) -> None:
        # Making an index, or adding a column, waits for all who write to its table, and they for it, even where
        # there is one.
        if self._complete(cursor):
            return
        number, _ = lock_name("tables")
        adding = "".join(
            f"; ALTER TABLE {c.table} ADD COLUMN IF NOT EXISTS {c.name} {c.kind}" for c in self._added
        )
        cursor.execute(f"BEGIN; SELECT pg_advisory_xact_lock({number}); {self._schema}{adding}; COMMIT")

    def _complete(self, cursor: Any) -> bool:
        names = re.findall(r"IF NOT EXISTS (\w+)", self._schema)
        cursor.execute("SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest(%s) AS name", (names,))
        if not cursor.fetchone()[0]:
            return False
        cursor.execute(
            "SELECT count(*) FROM unnest(%s::text[], %s::text[]) AS a (t, c) JOIN pg_attribute"
            " ON attrelid = to_regclass(t) AND attname = c AND NOT attisdropped",
            ([column.table for column in self._added], [column.name for column in self._added]),
        )
        return bool(cursor.fetchone()[0] == len(self._added))


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
