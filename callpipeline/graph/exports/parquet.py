"""Parquet tables, for DuckDB, pandas and Spark: all of the graph, a file a table, readable each on its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from callpipeline.graph.exports.evidence import Evidence
from callpipeline.knowledge import KnowledgeGraph
from callpipeline.store import duck
from callpipeline.store.files import replacing

Row = Mapping[str, Any]

TABLES: Mapping[str, str] = {
    "entities": "id VARCHAR, name VARCHAR, type VARCHAR, description VARCHAR, aliases VARCHAR[], confidence DOUBLE,"
    " mentions BIGINT, recordings BIGINT",
    "relations": "id VARCHAR, type VARCHAR, source VARCHAR, source_name VARCHAR, target VARCHAR, target_name VARCHAR,"
    " description VARCHAR, confidence DOUBLE, mentions BIGINT, structural BOOLEAN",
    "mentions": "of VARCHAR, found VARCHAR, name VARCHAR, type VARCHAR, confidence DOUBLE, recording VARCHAR,"
    " title VARCHAR, chunk VARCHAR, begin_character BIGINT, end_character BIGINT, start_second DOUBLE,"
    " end_second DOUBLE, speaker VARCHAR, role VARCHAR, quote VARCHAR",
    "recordings": "recording VARCHAR, title VARCHAR, date VARCHAR, path VARCHAR, duration DOUBLE",
    "merges": "id VARCHAR, entity VARCHAR, name VARCHAR, other VARCHAR, type VARCHAR, reason VARCHAR, score DOUBLE,"
    " explanation VARCHAR",
    "conflicts": "entity VARCHAR, field VARCHAR, value VARCHAR, found VARCHAR",
}
"""Columns by table. ``mentions.of`` is the id of an entity or a relation; seconds are those of the recording."""


def write_parquet(graph: KnowledgeGraph, folder: Path, evidence: Evidence) -> dict[str, Path]:
    """Write the tables into ``folder`` and return their files by table.

    Raises:
        OSError: the folder cannot be written.
    """
    import duckdb

    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    with duckdb.connect(":memory:") as connection:
        for table, rows in _rows(graph, evidence).items():
            paths[table] = folder / f"{table}.parquet"
            connection.execute(f"CREATE TABLE {table} ({_quoted(TABLES[table])})")
            duck.load(connection, folder, table, TABLES[table], rows)
            with replacing(paths[table]) as file:
                connection.execute(f"COPY {table} TO {duck.text(file)} (FORMAT parquet, COMPRESSION zstd)")
            connection.execute(f"DROP TABLE {table}")
    return paths


def _quoted(columns: str) -> str:
    return ", ".join(f'"{name}" {kind}' for name, kind in duck.columns_of(columns))


def _rows(graph: KnowledgeGraph, evidence: Evidence) -> dict[str, Iterable[Row]]:
    return {
        "entities": (entity.model_dump() for entity in graph.entities),
        "relations": (
            relation.model_dump()
            | {"source_name": evidence.name(relation.source), "target_name": evidence.name(relation.target)}
            for relation in graph.relations
        ),
        "mentions": _mentions(graph, evidence),
        "recordings": (episode.model_dump() for episode in graph.episodes),
        "merges": (merge.model_dump() for merge in graph.merges),
        "conflicts": (
            {"entity": conflict.entity, "field": conflict.field, "value": value, "found": found}
            for conflict in graph.conflicts
            for value, found in conflict.values
        ),
    }


def _mentions(graph: KnowledgeGraph, evidence: Evidence) -> Iterator[Row]:
    for mention in graph.mentions:
        span = mention.span
        yield mention.model_dump(exclude={"span"}) | {
            "title": evidence.title(mention.recording),
            "begin_character": span.begin,
            "end_character": span.finish,
            "start_second": span.start,
            "end_second": span.end,
            "speaker": span.speaker,
            "role": span.role.value,
            "quote": span.quote,
        }
