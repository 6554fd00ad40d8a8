"""A Postgres connection that opens when used and again after it broke, and advisory locks held through one.

Session locks belong to a connection, so a killed process gives them back as soon as the server notices: at
once when the process dies, after about a minute when its machine vanishes (keep-alives). Connect to the
server itself: a pooler that shares connections between transactions would mix the locks up.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any

from callpipeline.failures import DatabaseUnavailable

SCHEMA = "callpipeline"
"""Postgres schema of our tables, so that they can share Dagster's database."""

LockName = tuple[int, int]
"""The two numbers of an advisory lock, 31 bits each so that they read the same as ``oid`` in ``pg_locks``."""

_SETUP = (
    f"SET search_path TO {SCHEMA}; SET tcp_keepalives_idle = 20;"
    " SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
)


def lock_name(*parts: str) -> LockName:
    """Hash a name into the two numbers of an advisory lock."""
    digest = sha256("\x00".join(("callpipeline", *parts)).encode()).digest()
    return _half(digest[:4]), _half(digest[4:8])


def libpq_url(url: str) -> str:
    """Take SQLAlchemy's driver name (``postgresql+psycopg2://``) out of a URL."""
    return re.sub(r"^(\w+)\+\w+://", r"\1://", url)


class Connection:
    """One autocommitting connection; threads take turns. ``durable=False`` = commits need not reach the disk.

    Raises:
        DatabaseUnavailable: from every method, when the server does not answer or hangs up.
    """

    def __init__(self, url: str, *, durable: bool = True) -> None:
        self.url = libpq_url(url)
        self._durable = durable
        self._mutex = threading.RLock()
        self._connection: Any = None
        self._pid = -1

    @contextmanager
    def cursor(self, sql: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        """Run ``sql`` and give its cursor. A connection that broke while idle is opened again first."""
        import psycopg2

        with self._mutex:
            was_open = self._is_open()
            try:
                try:
                    cursor = self._execute(sql, values)
                except (psycopg2.OperationalError, psycopg2.InterfaceError):
                    self.close()
                    if not was_open:
                        raise
                    cursor = self._execute(sql, values)
                with cursor:
                    yield cursor
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                self.close()
                raise DatabaseUnavailable(
                    f"The database does not answer: {str(error).strip()}.",
                    hint="Check CALLPIPELINE_POSTGRES_URL and that the server runs.",
                ) from error

    @contextmanager
    def transaction(self, turn: str) -> Iterator[Any]:
        """Give the cursor of a transaction; those of the same ``turn`` run one after another."""
        number, _ = lock_name("turn", turn)
        with self.cursor("BEGIN; SELECT pg_advisory_xact_lock(%s)", (number,)) as cursor:
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                with suppress(Exception):
                    cursor.execute("ROLLBACK")
                raise

    def on_open(self, cursor: Any) -> None:
        """Called with a cursor of each new connection."""

    def close(self) -> None:
        """Close; it opens again when used."""
        with self._mutex:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    def _is_open(self) -> bool:
        return self._connection is not None and self._pid == os.getpid() and not self._connection.closed

    def _execute(self, sql: str, values: tuple[Any, ...]) -> Any:
        if not self._is_open():
            self._connection, self._pid = self._open(), os.getpid()
        cursor = self._connection.cursor()
        cursor.execute(sql, values)
        return cursor

    def _open(self) -> Any:
        import psycopg2

        connection = psycopg2.connect(self.url, connect_timeout=10, application_name="callpipeline")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (SCHEMA,))
            if cursor.fetchone() is None:
                _make_schema(cursor)
            cursor.execute(_SETUP if self._durable else f"{_SETUP}; SET synchronous_commit = off")
            self.on_open(cursor)
        return connection


class AdvisoryLocks(Connection):
    """Locks of this process, all through one connection.

    Postgres lets one session take its own lock twice; this does not. After a broken connection the locks that
    were held are taken again before anything else, as far as nobody else has them by then.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._held: dict[LockName, str] = {}

    def try_take(self, name: LockName) -> bool:
        """Take the lock unless somebody, this process included, holds it."""
        return self._try(name, "")

    def try_share(self, name: LockName) -> bool:
        """Take the lock together with others that share it."""
        return self._try(name, "_shared")

    def give_back(self, name: LockName) -> None:
        """Give a lock back; one that is not held is fine."""
        with self._mutex:
            if name in self._held:
                mode = self._held.pop(name)
                with self.cursor(f"SELECT pg_advisory_unlock{mode}(%s, %s)", name):
                    pass

    def on_open(self, cursor: Any) -> None:
        """Take again what a broken connection lost."""
        for name, mode in self._held.items():
            cursor.execute(f"SELECT pg_try_advisory_lock{mode}(%s, %s)", name)

    def _try(self, name: LockName, mode: str) -> bool:
        with self._mutex:
            if name in self._held:
                return False
            with self.cursor(f"SELECT pg_try_advisory_lock{mode}(%s, %s)", name) as cursor:
                if cursor.fetchone()[0]:
                    self._held[name] = mode
            return name in self._held


def _make_schema(cursor: Any) -> None:
    """Make our schema. Processes that do so together collide inside Postgres unless they take turns."""
    number, _ = lock_name("schema")
    cursor.execute(
        f"BEGIN; SELECT pg_advisory_xact_lock({number}); CREATE SCHEMA IF NOT EXISTS {SCHEMA}; COMMIT"
    )


def _half(data: bytes) -> int:
    return int.from_bytes(data, "big") & 0x7FFF_FFFF
