"""The knowledge graph in the warehouse: its tables, taken over whole when the graph is another one.

What belongs here: which columns there are, and loading them. What does not: where the graph's files lie and which of them
count; the caller says (``GraphFiles``).
"""
# ruff: noqa: S608 - names in queries are our own, paths are quoted by duck.text

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from callpipeline.store import duck

if TYPE_CHECKING:
    import duckdb

TABLES: Mapping[str, str] = {
    "entities": (
        "id VARCHAR, name VARCHAR, type VARCHAR, description VARCHAR, aliases VARCHAR[], confidence DOUBLE,"
        " mentions INTEGER, recordings INTEGER"
    ),
    "relations": (
        "id VARCHAR, type VARCHAR, source VARCHAR, source_name VARCHAR, target VARCHAR, target_name VARCHAR,"
        " description VARCHAR, confidence DOUBLE, mentions INTEGER, structural BOOLEAN"
    ),
    "mentions": (
        '"of" VARCHAR, key VARCHAR, chunk VARCHAR, name VARCHAR, type VARCHAR, confidence DOUBLE, quote VARCHAR,'
        ' "start" DOUBLE, "end" DOUBLE, speaker VARCHAR, role VARCHAR, found VARCHAR, context VARCHAR'
    ),
}
"""Things, edges between them, and the places that say either: ``mentions.of`` is the id of an entity or a relation,
``mentions.key`` the recording, times are its seconds."""

_FROM = {
    "entities": "SELECT id, name, type, description, aliases, confidence, mentions, recordings FROM {entities}",
    "relations": (
        "SELECT r.id, r.type, r.source, s.name, r.target, t.name, r.description, r.confidence, r.mentions,"
        " r.structural FROM {relations} r JOIN {entities} s ON s.id = r.source JOIN {entities} t ON t.id = r.target"
    ),
    "mentions": (
        'SELECT "of", recording, chunk, name, type, confidence, quote, "start", "end", speaker, role, found, context'
        " FROM {mentions}"
    ),
}


@dataclass(frozen=True, slots=True)
class GraphFiles:
    """A graph as Parquet files, by table. ``version`` is another one whenever the graph is."""

    version: str
    tables: Mapping[str, Path]


def make_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables, empty."""
    for name, columns in TABLES.items():
        connection.execute(f"CREATE TABLE {name} ({columns})")


def put(connection: duckdb.DuckDBPyConnection, graph: GraphFiles | None) -> None:
    """Make the tables say what the graph says, ``None`` = nothing."""
    for name in TABLES:
        connection.execute(f"DELETE FROM {name}")
        if graph is not None:
            files = {of: f"read_parquet({duck.text(path)})" for of, path in graph.tables.items()}
            connection.execute(f"INSERT INTO {name} {_FROM[name].format(**files)}")
