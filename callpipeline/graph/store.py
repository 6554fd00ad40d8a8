"""The graph's files: ``store/knowledge_graph`` holds it as Parquet tables, whole or not at all.

Each graph is a folder of its own; ``current.json`` says which one counts and is written last, so that a reader sees the
old graph or the new one, whatever kills the writer. What belongs here: writing, reading and sweeping these folders.
What does not: what a graph is made from (``build``), and what people decided about it (``decisions``).
"""
# ruff: noqa: S608 - columns are the constants below, paths are quoted by duck.text

from __future__ import annotations

import json
import logging
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import ValidationError

from callpipeline.failures import Busy, UsageError
from callpipeline.graph.ontology import STRUCTURAL_NODES
from callpipeline.graph.parts import mention
from callpipeline.knowledge import (
    Conflict,
    Entity,
    Episode,
    GraphSummary,
    KnowledgeGraph,
    Mention,
    Merge,
    Relation,
    Span,
)
from callpipeline.model import Record, Role
from callpipeline.store import duck, files, locks
from callpipeline.store.results import LOCKS

if TYPE_CHECKING:
    import duckdb

log = logging.getLogger(__name__)

FOLDER = "knowledge_graph"
"""Below the store."""

_POINTER = "current.json"
_VERSION = re.compile(r"v\d{8}T\d{6}-[0-9a-f]{8}")
_TRIES = 5
"""So often a reader looks anew for the folder that counts, when the one it read was swept under its hands."""

_ROW_GROUP = 20_480
"""Rows of a part of a file: they are in memory while they are written, and the default is six times as many."""
_ROWS = 2000
"""Rows read at a time."""
_ONE_THREAD: dict[str, str | bool | int | float | list[str]] = {"threads": 1, "memory_limit": "512MB"}
"""For DuckDB: each of its threads takes some 50 MB to write a table, and would save a second."""

_ROLES = {role.value: role for role in Role}
_SPAN = set(Span.model_fields)

T = TypeVar("T", bound=Record)
R = TypeVar("R")


@dataclass(frozen=True)
class Columns:
    """A table of the graph: its name, the columns (name, DuckDB type) and how a record becomes a row."""

    name: str
    columns: tuple[tuple[str, str], ...]
    row: Callable[[Any], Mapping[str, object]]


def _plain(record: Record) -> Mapping[str, object]:
    return record.__dict__


def _mention_row(mention: Mention) -> Mapping[str, object]:
    return {**mention.__dict__, **mention.span.__dict__}


def _conflict_row(conflict: Conflict) -> Mapping[str, object]:
    values = [{"said": said, "found": found} for said, found in conflict.values]
    return {"entity": conflict.entity, "field": conflict.field, "values": values}


TABLES = (
    Columns(
        "episodes",
        (
            *(("recording", "VARCHAR"), ("title", "VARCHAR"), ("date", "VARCHAR"), ("path", "VARCHAR")),
            ("duration", "DOUBLE"),
        ),
        _plain,
    ),
    Columns(
        "entities",
        (
            *(("id", "VARCHAR"), ("name", "VARCHAR"), ("type", "VARCHAR"), ("description", "VARCHAR")),
            *(("aliases", "VARCHAR[]"), ("confidence", "DOUBLE"), ("mentions", "INTEGER")),
            ("recordings", "INTEGER"),
        ),
        _plain,
    ),
    Columns(
        "relations",
        (
            *(("id", "VARCHAR"), ("type", "VARCHAR"), ("source", "VARCHAR"), ("target", "VARCHAR")),
            *(("description", "VARCHAR"), ("confidence", "DOUBLE"), ("mentions", "INTEGER")),
            ("structural", "BOOLEAN"),
        ),
        _plain,
    ),
    Columns(
        "mentions",
        (
            *(("of", "VARCHAR"), ("found", "VARCHAR"), ("recording", "VARCHAR"), ("chunk", "VARCHAR")),
            *(("name", "VARCHAR"), ("type", "VARCHAR"), ("confidence", "DOUBLE"), ("begin", "INTEGER")),
            *(("finish", "INTEGER"), ("quote", "VARCHAR"), ("start", "DOUBLE"), ("end", "DOUBLE")),
            *(("speaker", "VARCHAR"), ("role", "VARCHAR"), ("context", "VARCHAR")),
        ),
        _mention_row,
    ),
    Columns(
        "merges",
        (
            *(("id", "VARCHAR"), ("entity", "VARCHAR"), ("name", "VARCHAR"), ("other", "VARCHAR")),
            *(("type", "VARCHAR"), ("reason", "VARCHAR"), ("score", "DOUBLE"), ("explanation", "VARCHAR")),
        ),
        _plain,
    ),
    Columns(
        "conflicts",
        (("entity", "VARCHAR"), ("field", "VARCHAR"), ("values", "STRUCT(said VARCHAR, found VARCHAR)[]")),
        _conflict_row,
    ),
)
"""Tables of a graph, as they lie in its folder: ``<name>.parquet``. A mention's span is spread over columns."""

_COLUMNS = {table.name: table for table in TABLES}


class Current(Record):
    """Which graph counts. ``made_from`` names all that it was built from: while that is the same, so is the graph."""

    version: str
    made_from: str
    summary: GraphSummary


def current(root: Path) -> Current | None:
    """Return which graph counts in the store ``root``, ``None`` when there is none that can be read."""
    path = root / FOLDER / _POINTER
    try:
        return Current.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        log.warning("%s cannot be used, so the graph counts as absent: %s", path, error)
        return None


def table_path(root: Path, version: str, table: str) -> Path:
    """Return where a table of a graph lies; see ``TABLES``."""
    return root / FOLDER / version / f"{table}.parquet"


def is_whole(root: Path, now: Current) -> bool:
    """Tell whether all tables of a graph are there."""
    return all(table_path(root, now.version, table.name).exists() for table in TABLES)


def lock(root: Path, *, timeout: float | None = 600.0) -> AbstractContextManager[locks.Lock]:
    """Hold the right to make the graph anew, for a block.

    Raises:
        Busy: another process was at it all that time.
    """
    return locks.holding(root / LOCKS / f"{FOLDER}.lock", timeout=timeout)


def write(root: Path, graph: KnowledgeGraph, *, made_from: str) -> Current:
    """Make ``graph`` the one that counts; graphs before the last one are removed. Hold ``lock`` meanwhile.

    Raises:
        OSError: the store cannot be written; the graph before stays.
    """
    import duckdb

    version = f"v{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    before = current(root)
    try:
        with duckdb.connect(":memory:", config=_ONE_THREAD) as connection:
            for table in TABLES:
                path = table_path(root, version, table.name)
                _write_table(connection, table, getattr(graph, table.name), path)
        now = Current(version=version, made_from=made_from, summary=graph.summary)
        files.write_text(root / FOLDER / _POINTER, now.model_dump_json())
    except BaseException:
        shutil.rmtree(root / FOLDER / version, ignore_errors=True)
        raise
    _sweep(root, keep={version, before.version if before else version})
    return now


def load(root: Path) -> KnowledgeGraph:
    """Return the graph of the store ``root``.

    Raises:
        UsageError: there is none yet, or it is damaged.
        Busy: it is made anew faster than it can be read.
    """
    return _reading(root, _graph)


def top(root: Path, limit: int) -> tuple[Entity, ...]:
    """Return the things that most recordings name, without reading all the rest. Raises as ``load``."""
    told = ", ".join(map(duck.text, STRUCTURAL_NODES))
    clause = f"WHERE type NOT IN ({told}) ORDER BY recordings DESC, mentions DESC, id LIMIT {int(limit)}"
    return _reading(root, lambda tables: tuple(_entities(tables.rows("entities", clause))))


def merges(root: Path) -> tuple[Merge, ...]:
    """Return the merges of the graph, those least sure first, without reading all the rest. Raises as ``load``."""
    clause = "ORDER BY score, id"
    return _reading(root, lambda tables: tuple(_records(Merge, tables.rows("merges", clause))))


# --- tables to files ----------------------------------------------------------------------------------


def _write_table(
    connection: duckdb.DuckDBPyConnection, table: Columns, records: Iterable[Record], path: Path
) -> None:
    kinds = ", ".join(f'"{name}": {duck.text(kind)}' for name, kind in table.columns)
    names = [name for name, _ in table.columns]
    with files.replacing(path) as temporary, files.scratch(path) as lines:
        with lines.open("w", encoding="utf-8") as file:
            for record in records:
                row = table.row(record)
                file.write(json.dumps({name: row[name] for name in names}) + "\n")
        connection.execute(
            f"COPY (SELECT * FROM read_json({duck.text(lines)}, columns = {{{kinds}}},"
            f" format = 'newline_delimited')) TO {duck.text(temporary)}"
            f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_ROW_GROUP})"
        )


def _sweep(root: Path, keep: set[str]) -> None:
    """Remove the folders of other graphs: older ones, and those whose writer was killed."""
    for folder in (root / FOLDER).iterdir():
        if _VERSION.fullmatch(folder.name) and folder.name not in keep:
            shutil.rmtree(folder, ignore_errors=True)


# --- files to records ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tables:
    """The tables of one graph, open."""

    root: Path
    now: Current
    connection: duckdb.DuckDBPyConnection

    def rows(self, table: str, clause: str = "") -> Iterator[tuple[Any, ...]]:
        names = ", ".join(f'"{name}"' for name, _ in _COLUMNS[table].columns)
        path = table_path(self.root, self.now.version, table)
        answer = self.connection.execute(f"SELECT {names} FROM read_parquet({duck.text(path)}) {clause}")
        while rows := answer.fetchmany(_ROWS):
            yield from rows


def _reading(root: Path, read: Callable[[_Tables], R]) -> R:
    """Read the graph that counts; one that was swept meanwhile does not count any more."""
    import duckdb

    for _ in range(_TRIES):
        now = current(root)
        if now is None:
            raise UsageError(
                "There is no knowledge graph yet.", hint="Make one: callpipeline graph build FOLDER"
            )
        try:
            with duckdb.connect(":memory:", config=_ONE_THREAD) as connection:
                return read(_Tables(root, now, connection))
        except duckdb.Error as error:
            if current(root) == now:
                raise UsageError(
                    f"The knowledge graph cannot be read: {error}.",
                    hint=f"Remove {root / FOLDER / _POINTER} and run callpipeline graph build again.",
                ) from error
    raise Busy("The knowledge graph is made anew all the time.", hint="Try again in a moment.")


def _graph(tables: _Tables) -> KnowledgeGraph:
    conflicts = ((*row[:2], _values(row[2])) for row in tables.rows("conflicts"))
    return KnowledgeGraph.model_construct(
        episodes=tuple(_records(Episode, tables.rows("episodes"))),
        entities=tuple(_entities(tables.rows("entities"))),
        relations=tuple(_records(Relation, tables.rows("relations"))),
        mentions=tuple(_mentions(tables.rows("mentions"))),
        merges=tuple(_records(Merge, tables.rows("merges"))),
        conflicts=tuple(_records(Conflict, conflicts)),
        summary=tables.now.summary,
    )


def _entities(rows: Iterable[tuple[Any, ...]]) -> Iterator[Entity]:
    return _records(Entity, ((*row[:4], tuple(row[4]), *row[5:]) for row in rows))


def _records(kind: type[T], rows: Iterable[tuple[Any, ...]]) -> Iterator[T]:
    """Make records of our own rows, unchecked, with one set of field names for all: it is larger than all the rest."""
    names = tuple(kind.model_fields)
    told = set(names)
    for row in rows:
        values = dict(zip(names, map(_once, row), strict=True))
        yield cast(T, kind.model_construct(_fields_set=told, **values))


def _mentions(rows: Iterable[tuple[Any, ...]]) -> Iterator[Mention]:
    """Make mentions; those of one place share its span, of which there are three times fewer."""
    spans: dict[tuple[Any, ...], Span] = {}
    for row in rows:
        of, found, recording, chunk, name, kind, confidence, *place = map(_once, row)
        key = (chunk, *place)
        if (span := spans.get(key)) is None:
            span = spans[key] = _span(*place)
        yield mention(of, found, recording, chunk, name, kind, confidence, span)


def _span(
    begin: int, finish: int, quote: str, start: float, end: float, speaker: str, role: str, context: str
) -> Span:
    return Span.model_construct(
        _fields_set=_SPAN,
        begin=begin,
        finish=finish,
        quote=quote,
        start=start,
        end=end,
        speaker=speaker,
        role=_ROLES[role],
        context=context,
    )


def _once(value: Any) -> Any:
    """Return the one copy of a text: ids and types stand in many rows."""
    return sys.intern(value) if type(value) is str else value


def _values(said: Iterable[Mapping[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((one["said"], one["found"]) for one in said)
