"""CSV files for Neo4j, in the header form of its bulk importer, and ``load.cypher`` that loads the same files.

Nodes are entities (label ``Entity`` and their type), recordings and mentions; edges are the relations, the evidence of
every node (EVIDENCE), and the recording of every mention (IN_RECORDING). Neo4j has no edges to edges, so a relation
carries the surest place that says it, and all others are mentions with its id.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from callpipeline.graph.exports.evidence import Evidence, mention_id, one_line
from callpipeline.knowledge import KnowledgeGraph
from callpipeline.store.files import write_text, writing

LOAD = "load.cypher"
MENTION, RECORDING = "Mention", "Recording"
EVIDENCE, IN_RECORDING = "EVIDENCE", "IN_RECORDING"

HEADERS: dict[str, tuple[str, ...]] = {
    "entities.csv": (
        "id:ID(Entity)", "name", "type", "description", "aliases:string[]", "confidence:float", "mentions:int",
        "recordings:int", ":LABEL",
    ),
    "recordings.csv": ("recording:ID(Recording)", "title", "date", "path", "duration:float", ":LABEL"),
    "mentions.csv": (
        "id:ID(Mention)", "of", "found", "recording", "chunk", "start:float", "end:float", "speaker", "quote",
        "confidence:float", ":LABEL",
    ),
    "relations.csv": (
        ":START_ID(Entity)", ":END_ID(Entity)", ":TYPE", "id", "description", "confidence:float", "mentions:int",
        "structural:boolean", "recording", "start:float", "quote",
    ),
    "evidence.csv": (":START_ID(Entity)", ":END_ID(Mention)", ":TYPE"),
    "in_recording.csv": (":START_ID(Mention)", ":END_ID(Recording)", ":TYPE"),
}  # fmt: skip
"""Columns by file. ``of`` of a mention is the id of an entity or relation; ``start`` and ``end`` are seconds."""

_ROWS_A_TRANSACTION = 5000

Line = tuple[object, ...]


def write_neo4j(graph: KnowledgeGraph, folder: Path, evidence: Evidence) -> dict[str, Path]:
    """Write the CSV files and ``load.cypher`` into ``folder``; return them by name.

    What Neo4j's readers would misread is replaced: line breaks by spaces, ``\\`` by ``/``, ``;`` in aliases by ``,``.

    Raises:
        OSError: the folder cannot be written.
    """
    paths = {name: folder / name for name in (*HEADERS, LOAD)}
    for name, lines in _lines(graph, evidence).items():
        _write_csv(paths[name], HEADERS[name], lines)
    write_text(paths[LOAD], _script(graph))
    return paths


def _write_csv(path: Path, header: tuple[str, ...], lines: Iterable[Line]) -> None:
    with writing(path) as file:
        writer = csv.writer(codecs.getwriter("utf-8")(file), lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)


def _text(value: str) -> str:
    return one_line(value).replace("\\", "/")


def _lines(graph: KnowledgeGraph, evidence: Evidence) -> dict[str, Iterable[Line]]:
    entities, recordings = evidence.entities, evidence.episodes
    return {
        "entities.csv": (
            (
                entity.id, _text(entity.name), entity.type, _text(entity.description),
                ";".join(_text(alias).replace(";", ",") for alias in entity.aliases),
                entity.confidence, entity.mentions, entity.recordings, f"Entity;{entity.type}",
            )
            for entity in graph.entities
        ),
        "recordings.csv": (
            (one.recording, _text(one.title), one.date, _text(one.path), one.duration, RECORDING)
            for one in graph.episodes
        ),
        "mentions.csv": (
            (
                mention_id(one), one.of, one.found, one.recording, one.chunk, one.span.start, one.span.end,
                _text(one.span.speaker), _text(one.span.quote), one.confidence, MENTION,
            )
            for one in graph.mentions
        ),
        "relations.csv": _relations(graph, evidence),
        "evidence.csv": ((one.of, mention_id(one), EVIDENCE) for one in graph.mentions if one.of in entities),
        "in_recording.csv": (
            (mention_id(one), one.recording, IN_RECORDING) for one in graph.mentions if one.recording in recordings
        ),
    }  # fmt: skip


def _relations(graph: KnowledgeGraph, evidence: Evidence) -> Iterator[Line]:
    for relation in graph.relations:
        best = evidence.best(relation.id)
        place = (best.recording, best.span.start, _text(best.span.quote)) if best else ("", "", "")
        yield (
            relation.source, relation.target, relation.type, relation.id, _text(relation.description),
            relation.confidence, relation.mentions, str(relation.structural).lower(), *place,
        )  # fmt: skip


# --- the script -------------------------------------------------------------------------------------------


def _script(graph: KnowledgeGraph) -> str:
    """Return the statements that load the files into a running database; run twice, they change nothing more."""
    labels = sorted({entity.type for entity in graph.entities})
    types = sorted({relation.type for relation in graph.relations})
    parts = [_HEAD, *(_constraint(label, key) for label, key in _KEYS.items())]
    parts += [_nodes("entities.csv", "Entity"), *map(_label, labels)]
    parts += [_nodes("recordings.csv", RECORDING), _nodes("mentions.csv", MENTION)]
    parts += [_edges("relations.csv", name, only=True) for name in types]
    parts += [_edges("evidence.csv", EVIDENCE), _edges("in_recording.csv", IN_RECORDING)]
    return "\n".join(parts)


_KEYS = {"Entity": "id", RECORDING: "recording", MENTION: "id"}

_HEAD = """\
// Loads the knowledge graph into a running Neo4j database, 5.23 or later. Run again, it brings the same nodes and
// edges up to date.
//
//   1. copy the CSV files of this folder into the database's import folder
//   2. cypher-shell -u neo4j -f load.cypher
//
// An empty database takes them faster offline, without this script:
//
//   neo4j-admin database import full neo4j --nodes=entities.csv --nodes=recordings.csv --nodes=mentions.csv \\
//     --relationships=relations.csv --relationships=evidence.csv --relationships=in_recording.csv
"""


def _constraint(label: str, key: str) -> str:
    return (
        f"CREATE CONSTRAINT {label.lower()}_{key} IF NOT EXISTS FOR (n:{label}) REQUIRE n.{key} IS UNIQUE;\n"
    )


def _nodes(file: str, label: str) -> str:
    key, *properties = [column for column in HEADERS[file] if column != ":LABEL"]
    settings = ", ".join(f"n.{_tick(_name(column))} = {_value(column)}" for column in properties)
    return _load(file, f"MERGE (n:{label} {{{_name(key)}: row.{_tick(key)}}})\n  SET {settings}")


def _label(label: str) -> str:
    return f"MATCH (n:Entity) WHERE n.type = {_literal(label)} SET n:{_tick(label)};\n"


def _edges(file: str, name: str, *, only: bool = False) -> str:
    start, end, kind, *properties = HEADERS[file]
    ends = "\n  ".join(
        f"MATCH ({variable}:{label} {{{_KEYS[label]}: row.{_tick(column)}}})"
        for variable, column, label in (("a", start, _group(start)), ("b", end, _group(end)))
    )
    among = f"WITH row WHERE row.{_tick(kind)} = {_literal(name)}\n" if only else ""
    merge = f"MERGE (a)-[r:{_tick(name)}{' {id: row.id}' if 'id' in properties else ''}]->(b)"
    settings = ", ".join(
        f"r.{_tick(_name(column))} = {_value(column)}" for column in properties if column != "id"
    )
    return _load(file, f"{ends}\n  {merge}" + (f"\n  SET {settings}" if settings else ""), among)


def _load(file: str, work: str, among: str = "") -> str:
    return (
        f"LOAD CSV WITH HEADERS FROM 'file:///{file}' AS row\n{among}"
        f"CALL (row) {{\n  {work}\n}} IN TRANSACTIONS OF {_ROWS_A_TRANSACTION} ROWS;\n"
    )


def _group(column: str) -> str:
    return column.partition("(")[2].rstrip(")")


def _name(column: str) -> str:
    return column.partition(":")[0]


def _value(column: str) -> str:
    kind = column.partition(":")[2]
    value = f"row.{_tick(column)}"
    if kind == "string[]":
        return f"CASE WHEN coalesce({value}, '') = '' THEN [] ELSE split({value}, ';') END"
    return {"float": f"toFloat({value})", "int": f"toInteger({value})", "boolean": f"{value} = 'true'"}.get(
        kind, f"coalesce({value}, '')"
    )


def _tick(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
