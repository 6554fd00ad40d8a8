"""The warehouse: all results as tables of one DuckDB file, for questions over many recordings.

``store/warehouse.duckdb`` holds nothing that the result files, the catalogue and the ledger do not say: it can
be deleted and comes back. It is brought up to date on a copy that then takes its place, so readers never wait and
never see half a state. What does not belong here: which columns there are (``warehouse_tables``), and how the
ledger is followed (``warehouse_calls``).
"""
# ruff: noqa: S608 - names in queries are our own, paths are quoted by duck.text, everything else is bound

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from callpipeline.failures import UsageError
from callpipeline.intake.catalog import Catalog
from callpipeline.intake.formats import display
from callpipeline.intake.records import CatalogRow
from callpipeline.store import duck, files, locks, warehouse_calls, warehouse_graph
from callpipeline.store.results import LOCKS, parse
from callpipeline.store.warehouse_calls import CallBook
from callpipeline.store.warehouse_graph import GraphFiles
from callpipeline.store.warehouse_tables import CATALOG_COLUMNS, READABLE, SCHEMA_VERSION, TABLES, VIEWS

if TYPE_CHECKING:
    import duckdb

log = logging.getLogger(__name__)

FILE = "warehouse.duckdb"

_ASSETS = tuple(dict.fromkeys(table.asset for table in TABLES))
_RESULT = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]*)\.json")
_BATCH_BYTES = 64 << 20
_REBUILD_AFTER = 3
"""Build anew when this many times all files have been replaced: DuckDB files do not shrink."""

Mark = tuple[int, int]
"""Size and modification time (ns) of a result file: it changed when these did, as files are only replaced."""
Item = tuple[str, str]
"""Asset and key."""


@dataclass(frozen=True, slots=True)
class WarehouseDelta:
    """What a refresh did, in result files. ``unreadable`` ones have no rows until they are replaced.

    ``calls``: provider calls that were taken in, new or changed.
    """

    added: int = 0
    changed: int = 0
    removed: int = 0
    unreadable: int = 0
    recordings: int = 0
    calls: int = 0
    rebuilt: bool = False
    seconds: float = 0.0


def refresh(
    store_root: Path,
    catalog: Catalog,
    *,
    calls: CallBook | None = None,
    graph: GraphFiles | None = None,
    lock_timeout: float | None = 600.0,
) -> WarehouseDelta:
    """Bring the warehouse up to date with the result files and the catalogue, at the cost of what changed.

    ``calls`` is the ledger, ``graph`` the knowledge graph, ``None`` when there never was one. A file of another schema
    version, or one that cannot be read, is built anew.

    Raises:
        Busy: another process was bringing it up to date all that time.
    """
    began = time.monotonic()
    store_root.mkdir(parents=True, exist_ok=True)
    with locks.holding(store_root / LOCKS / "warehouse.lock", timeout=lock_timeout):
        delta = _refresh(store_root, catalog, calls, graph)
    return replace(delta, seconds=time.monotonic() - began)


@contextmanager
def connect(store_root: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the warehouse read-only for one question or a few, as it is now; close it soon.

    Each connection sees the state at its opening, even while a newer file takes its place. (A plain
    ``duckdb.connect`` of the path would share one state among all connections of the process.)

    Raises:
        UsageError: there is no warehouse yet.
    """
    path = store_root / FILE
    if not path.exists():
        raise UsageError(f"There is no warehouse at {path} yet.", hint="Run the pipeline first.")
    with duck.opened(path, writable=False) as connection:
        yield connection


def export(
    store_root: Path, table_or_query: str, path: Path, file_format: Literal["csv", "json", "parquet"]
) -> int:
    """Write a table, or the answer to a query, to a file that appears whole or not at all; return its rows.

    Raises:
        UsageError: no such table, a query that cannot be answered, or no warehouse yet.
    """
    import duckdb

    options = {"csv": "FORMAT csv, HEADER", "json": "FORMAT json, ARRAY true", "parquet": "FORMAT parquet"}
    if file_format not in options:
        raise UsageError(f"{file_format!r} is not a file format.", hint=f"Use one of {', '.join(options)}.")
    plain = table_or_query.strip().rstrip(";")
    if re.fullmatch(r"\w+", plain):
        if plain not in READABLE:
            raise UsageError(
                f"There is no table {plain!r}.", hint=f"There are {', '.join(sorted(READABLE))}."
            )
        plain = f"SELECT * FROM {plain}"
    with connect(store_root) as connection, files.replacing(path) as temporary:
        try:
            answer = connection.execute(f"COPY ({plain}) TO {duck.text(temporary)} ({options[file_format]})")
            ((count,),) = answer.fetchall()
        except duckdb.Error as error:
            raise UsageError(f"The query cannot be answered: {error}") from error
    return int(count)


# --- bringing up to date ------------------------------------------------------------------------------


def _refresh(
    root: Path, catalog: Catalog, calls: CallBook | None, graph: GraphFiles | None
) -> WarehouseDelta:
    path = root / FILE
    before = _state(path)
    now = _marks(root)
    revision = catalog.revision()
    known = before.marks if before else {}
    added = [item for item in now if item not in known]
    changed = [item for item, mark in now.items() if known.get(item, mark) != mark]
    removed = [item for item in known if item not in now]
    ledger = warehouse_calls.difference(calls, before.calls if before else {})
    version = graph.version if graph else ""
    seen = (revision, version)
    if before and not (added or changed or removed or ledger) and (before.revision, before.graph) == seen:
        return WarehouseDelta(recordings=before.recordings)
    replaced = (before.replaced if before else 0) + len(changed) + len(removed) + len(ledger.stale)
    anew = before is None or replaced > max(1000, _REBUILD_AFTER * (len(now) + len(before.calls)))
    with files.replacing(path) as temporary, duck.clean_of_wal(temporary):
        if not anew:
            shutil.copyfile(path, temporary)
        with duck.opened(temporary) as connection:
            if anew:
                _make_tables(connection)
                unreadable = _insert(connection, root, list(now))
                warehouse_calls.put(connection, root, calls, warehouse_calls.difference(calls, {}))
                replaced = 0
            else:
                _delete(connection, [*changed, *removed])
                unreadable = _insert(connection, root, [*added, *changed])
                warehouse_calls.put(connection, root, calls, ledger)
            if anew or before is None or before.graph != version:
                warehouse_graph.put(connection, graph)
            recordings = _put_catalog(connection, root, catalog.rows(absent=True))
            _put_files(connection, root, now)
            _put_state(connection, {"revision": revision, "graph": version, "replaced": str(replaced)})
    return WarehouseDelta(
        added=len(added),
        changed=len(changed),
        removed=len(removed),
        unreadable=unreadable,
        recordings=recordings,
        calls=len(ledger.taken),
        rebuilt=anew,
    )


@dataclass(frozen=True, slots=True)
class _State:
    """What is in a warehouse file."""

    marks: dict[Item, Mark]
    calls: dict[str, str]
    revision: str
    graph: str
    replaced: int
    recordings: int


def _state(path: Path) -> _State | None:
    """Return what is in the warehouse, or ``None`` when it has to be built anew."""
    import duckdb

    if not path.exists():
        return None
    try:
        with duck.opened(path, writable=False) as connection:
            said = dict(connection.execute("SELECT name, value FROM state").fetchall())
            if said.get("schema") != SCHEMA_VERSION:
                return None
            rows = connection.execute("SELECT asset, key, size, mtime_ns FROM files").fetchall()
            marks = {(asset, key): (size, mtime_ns) for asset, key, size, mtime_ns in rows}
            calls = warehouse_calls.known_marks(connection)
            return _State(
                marks,
                calls,
                revision=said["revision"],
                graph=said["graph"],
                replaced=int(said["replaced"]),
                recordings=int(said["recordings"]),
            )
    except (duckdb.Error, KeyError, ValueError) as error:
        log.warning("%s cannot be used and is built anew: %s", path, error)
        return None


def _marks(root: Path) -> dict[Item, Mark]:
    """Return every result file that tables are made from."""
    found: dict[Item, Mark] = {}
    for asset in _ASSETS:
        try:
            entries = os.scandir(root / asset)
        except FileNotFoundError:
            continue
        with entries:
            for entry in entries:
                if match := _RESULT.fullmatch(entry.name):
                    with suppress(FileNotFoundError):
                        state = entry.stat()
                        found[asset, match[1]] = (state.st_size, state.st_mtime_ns)
    return found


def _make_tables(connection: duckdb.DuckDBPyConnection) -> None:
    for table in TABLES:
        connection.execute(f"CREATE TABLE {table.name} ({table.columns})")
    connection.execute(f"CREATE TABLE catalog ({CATALOG_COLUMNS})")
    connection.execute("CREATE TABLE files (asset VARCHAR, key VARCHAR, size BIGINT, mtime_ns BIGINT)")
    connection.execute("CREATE TABLE state (name VARCHAR, value VARCHAR)")
    warehouse_calls.make_tables(connection)
    warehouse_graph.make_tables(connection)
    for view in VIEWS:
        connection.execute(view)


def _delete(connection: duckdb.DuckDBPyConnection, items: Sequence[Item]) -> None:
    for asset in _ASSETS:
        keys = [key for a, key in items if a == asset]
        for table in TABLES if keys else ():
            if table.asset == asset:
                connection.execute(f"DELETE FROM {table.name} WHERE key IN (SELECT unnest($1))", [keys])


def _insert(connection: duckdb.DuckDBPyConnection, root: Path, items: Iterable[Item]) -> int:
    """Fill the tables from these result files; return how many of them were unreadable."""
    unreadable = 0
    for asset in _ASSETS:
        batch: list[bytes] = []
        size = 0
        for key in (key for a, key in items if a == asset):
            document = _document(root / asset / f"{key}.json", key)
            if document is None:
                unreadable += 1
                continue
            batch.append(document)
            size += len(document)
            if size >= _BATCH_BYTES:
                _insert_batch(connection, root, asset, batch)
                batch, size = [], 0
        if batch:
            _insert_batch(connection, root, asset, batch)
    return unreadable


def _document(path: Path, key: str) -> bytes | None:
    """Return a result as one line {"key", "value"}, or ``None`` when it is damaged."""
    try:
        parsed = parse(path.read_bytes())
    except OSError as error:
        log.warning("%s cannot be read: %s", path, error)
        return None
    if parsed is None:
        log.warning("%s is not a sound result; its recording is left out", path)
        return None
    return b'{"key":"%s","value":%s}\n' % (key.encode(), parsed[1])


def _insert_batch(
    connection: duckdb.DuckDBPyConnection, root: Path, asset: str, batch: Sequence[bytes]
) -> None:
    """Let DuckDB parse many documents as one file: some 20 times faster than a file or a row at a time."""
    tables = [table for table in TABLES if table.asset == asset]
    with files.scratch(root / f"{asset}.ndjson") as lines:
        lines.write_bytes(b"".join(batch))
        columns = f"{{key: 'VARCHAR', value: {duck.text(tables[0].value)}}}"
        longest = max(1 << 24, 2 * max(map(len, batch)))
        connection.execute(
            f"CREATE TEMP TABLE docs AS SELECT key, value FROM read_json({duck.text(lines)}, columns = {columns},"
            f" format = 'newline_delimited', maximum_object_size = {longest}, ignore_errors = true)"
        )
        for table in tables:
            connection.execute(f"INSERT INTO {table.name} {table.select}")
        connection.execute("DROP TABLE docs")


def _put_catalog(connection: duckdb.DuckDBPyConnection, root: Path, rows: Sequence[CatalogRow]) -> int:
    connection.execute("DELETE FROM catalog")
    return duck.load(connection, root, "catalog", CATALOG_COLUMNS, map(_catalog_record, rows))


def _catalog_record(row: CatalogRow) -> dict[str, object]:
    recording, metadata = row.recording, row.metadata
    said = {name: getattr(metadata, name) for name in type(metadata).model_fields if name != "channel_roles"}
    return {
        **said,
        "key": recording.key,
        "sha256": recording.sha256,
        "seq": recording.seq,
        "kind": recording.kind,
        "state": recording.state,
        "updated_at": recording.updated_at.isoformat(),
        "error_class": recording.error_class,
        "message": recording.message,
        "permanent": recording.permanent,
        "present": row.present,
        "file_name": metadata.source_name,
        "file_path": display(row.sources[0]) if row.sources else None,
        "paths": [display(path) for path in row.sources],
    }


def _put_files(connection: duckdb.DuckDBPyConnection, root: Path, marks: dict[Item, Mark]) -> None:
    with files.scratch(root / "files.csv") as lines:
        rows = (f"{asset},{key},{size},{mtime_ns}\n" for (asset, key), (size, mtime_ns) in marks.items())
        lines.write_text("".join(rows))
        connection.execute("DELETE FROM files")
        if marks:
            columns = "{asset: 'VARCHAR', key: 'VARCHAR', size: 'BIGINT', mtime_ns: 'BIGINT'}"
            connection.execute(
                f"INSERT INTO files SELECT * FROM read_csv({duck.text(lines)}, columns = {columns},"
                " header = false)"
            )


def _put_state(connection: duckdb.DuckDBPyConnection, said: dict[str, str]) -> None:
    connection.execute("DELETE FROM state")
    connection.execute("INSERT INTO state SELECT 'recordings', count(*) FROM catalog")
    connection.executemany("INSERT INTO state VALUES ($1, $2)", [("schema", SCHEMA_VERSION), *said.items()])
