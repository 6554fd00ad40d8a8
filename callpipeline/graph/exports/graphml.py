"""GraphML, for Gephi, yEd, Cytoscape and networkx: one file, nodes and edges with their figures.

GraphML has no lists, so nodes and edges carry the surest place that says them; all places are in the Parquet tables.
Written a line at a time: a library's graph of 20,000 things in memory takes 400 MiB and three times as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from callpipeline.graph.exports.evidence import Evidence, one_line
from callpipeline.knowledge import Entity, KnowledgeGraph, Relation
from callpipeline.store.files import writing

_SHARED = {
    "label": "string", "type": "string", "description": "string", "confidence": "double", "mentions": "long",
    "recording": "string", "title": "string", "chunk": "string", "second": "double", "speaker": "string",
    "quote": "string",
}  # fmt: skip
_FIELDS: Mapping[str, Mapping[str, str]] = {
    "node": {**_SHARED, "aliases": "string", "recordings": "long"},
    "edge": {**_SHARED, "weight": "double", "structural": "boolean"},
}
"""Type by field, for nodes and edges. ``label`` and ``weight`` are the names that viewers look for."""

Value = str | float | bool


def write_graphml(graph: KnowledgeGraph, path: Path, evidence: Evidence) -> None:
    """Write the graph to one file, all at once.

    Raises:
        OSError: the folder cannot be written.
    """
    with writing(path) as file:
        for line in _lines(graph, evidence):
            file.write(f"{line}\n".encode())


def _lines(graph: KnowledgeGraph, evidence: Evidence) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
    for kind, fields in _FIELDS.items():
        for name, value in fields.items():
            yield f'<key id="{kind}_{name}" for="{kind}" attr.name="{name}" attr.type="{value}"/>'
    yield '<graph edgedefault="directed">'
    for entity in graph.entities:
        yield f"<node id={quoteattr(entity.id)}>{_data('node', _of_entity(entity, evidence))}</node>"
    for relation in graph.relations:
        ends = f"source={quoteattr(relation.source)} target={quoteattr(relation.target)}"
        data = _data("edge", _of_relation(relation, evidence))
        yield f"<edge id={quoteattr(relation.id)} {ends}>{data}</edge>"
    yield "</graph>"
    yield "</graphml>"


def _data(kind: str, values: Mapping[str, Value]) -> str:
    return "".join(f'<data key="{kind}_{name}">{_text(value)}</data>' for name, value in values.items())


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return escape(one_line(value)) if isinstance(value, str) else str(value)


def _of_entity(entity: Entity, evidence: Evidence) -> Mapping[str, Value]:
    return {
        "label": entity.name,
        "type": entity.type,
        "description": entity.description,
        "aliases": "; ".join(entity.aliases),
        "confidence": entity.confidence,
        "mentions": entity.mentions,
        "recordings": entity.recordings,
        **_place(entity.id, evidence),
    }


def _of_relation(relation: Relation, evidence: Evidence) -> Mapping[str, Value]:
    return {
        "label": relation.type,
        "type": relation.type,
        "description": relation.description,
        "confidence": relation.confidence,
        "mentions": relation.mentions,
        "weight": float(relation.mentions),
        "structural": relation.structural,
        **_place(relation.id, evidence),
    }


def _place(thing: str, evidence: Evidence) -> Mapping[str, Value]:
    best = evidence.best(thing)
    if best is None:
        return {}
    return {
        "recording": best.recording,
        "title": evidence.title(best.recording),
        "chunk": best.chunk,
        "second": round(best.span.start, 2),
        "speaker": best.span.speaker,
        "quote": best.span.quote,
    }
