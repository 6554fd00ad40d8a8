"""Dagster's SQLite event log, quicker: connections that stay open, and planned events written together.

Why: the stock one opens and closes the database for each event; the last close of a WAL file copies it back and syncs
it, 13 ms of CPU and two syncs an event, and a run of 500 recordings announces 4,500 of them before it starts.
The tables and files are Dagster's own, so its pages and tools read them as ever. What belongs here: how the files are
opened. What does not: what is in them.

A power cut may take back the last events (results are files of their own, and synced); a killed process loses none.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as db
from dagster import EventLogEntry
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from sqlalchemy.pool import NullPool

KEPT = 4
"""Files kept open: the index over all runs, and those of the last runs."""

BUSY_SECONDS = 60.0


@dataclass(frozen=True)
class _Open:
    connection: db.Connection
    inode: int
    pid: int


class EventLog(SqliteEventLogStorage):
    """The event log of one process; its threads take turns, as in the stock one."""

    def __init__(self, base_dir: str) -> None:
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._of_parents: list[_Open] = []
        super().__init__(base_dir)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[db.Connection]:
        with self._db_lock:
            connection = self._connection(shard)
            try:
                with connection.begin():
                    yield connection
            except db.exc.DBAPIError:
                self._forget(shard)
                raise
            # Whoever follows a run's log watches this file; a commit alone changes only the one beside it.
            with suppress(OSError):
                os.utime(self.path_for_shard(shard))

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Write events of assets in one transaction a file; the others one by one."""
        together = [
            event for event in events if event.is_dagster_event and event.dagster_event_type in ASSET_EVENTS
        ]
        for run_id in dict.fromkeys(event.run_id for event in together):
            self._store_together(run_id, [event for event in together if event.run_id == run_id])
        known = {id(event) for event in together}
        for event in events:
            if id(event) not in known:
                self.store_event(event)

    def wipe(self) -> None:
        """Remove all events."""
        self._close()
        super().wipe()

    def delete_events(self, run_id: str) -> None:
        """Remove the events of a run."""
        with self._db_lock:
            self._forget(run_id)
        super().delete_events(run_id)

    def dispose(self) -> None:
        """Close all files."""
        self._close()
        super().dispose()

    def _store_together(self, run_id: str, events: Sequence[EventLogEntry]) -> None:
        statements = [self.prepare_insert_event(event) for event in events]
        with self.run_connection(run_id) as connection:
            for statement in statements:
                connection.execute(statement)
        with self.index_transaction() as connection:
            for event, statement in zip(events, statements, strict=True):
                inserted = connection.execute(statement).inserted_primary_key
                event_id = int(inserted[0]) if inserted else 0
                self._store_asset_event_tags(connection, [event], [event_id])
                self._store_asset_event(connection, event, event_id)

    def _connection(self, shard: str) -> db.Connection:
        """Return the open connection of a file, or open it; one that was replaced or removed is opened anew."""
        kept = self._open.get(shard)
        if kept is not None and kept.pid == os.getpid() and kept.inode == self._inode(shard):
            self._open.move_to_end(shard)
            return kept.connection
        self._forget(shard)
        engine = db.create_engine(
            self.conn_string_for_shard(shard),
            poolclass=NullPool,
            connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
        )
        self._initdb(engine)
        if not db.inspect(engine).has_table("event_logs"):  # a process was killed while it made the file
            SqlEventLogStorageMetadata.create_all(engine)
        connection = engine.connect()
        connection.exec_driver_sql("PRAGMA synchronous = NORMAL")
        connection.commit()
        self._open[shard] = _Open(connection, self._inode(shard), os.getpid())
        while len(self._open) > KEPT:
            self._forget(next(iter(self._open)))
        return connection

    def _inode(self, shard: str) -> int:
        try:
            return Path(self.path_for_shard(shard)).stat().st_ino
        except FileNotFoundError:
            return -1

    def _forget(self, shard: str) -> None:
        kept = self._open.pop(shard, None)
        if kept is None:
            return
        if kept.pid != os.getpid():
            self._of_parents.append(kept)  # closing it here would break the parent's locks
            return
        with suppress(db.exc.DBAPIError):
            kept.connection.close()

    def _close(self) -> None:
        with self._db_lock:
            for shard in list(self._open):
                self._forget(shard)


class Storage(DagsterSqliteStorage):
    """Dagster's storage on SQLite with this event log."""

    def __init__(self, base_dir: str, inst_data: object = None) -> None:
        super().__init__(base_dir, inst_data=inst_data)  # type: ignore[arg-type] # handed on as it came
        folder = self._event_log_storage._base_dir
        self._event_log_storage.dispose()
        self._event_log_storage = EventLog(folder)
