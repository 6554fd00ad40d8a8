"""JSON-LD, for triple stores and the semantic web: one file, with the meaning of every name in its context.

An edge stands there twice: as a plain link of its source (``rel:CAUSES``), which queries follow, and as a statement with
its own id, confidence and description, which mentions are about. Things, recordings and places are schema.org's where
schema.org has a name for them. A mention is a clip of its recording: ``startOffset`` and ``endOffset`` in seconds.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from callpipeline.graph.exports.evidence import Evidence, mention_id, one_line
from callpipeline.knowledge import Entity, Episode, KnowledgeGraph, Mention, Relation
from callpipeline.store.files import writing

CONTEXT: dict[str, Any] = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "schema": "https://schema.org/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "entity": "urn:callpipeline:entity:",
    "relation": "urn:callpipeline:statement:",
    "mention": "urn:callpipeline:mention:",
    "recording": "urn:callpipeline:recording:",
    "type": "urn:callpipeline:type:",
    "rel": "urn:callpipeline:relation:",
    "name": "schema:name",
    "description": "schema:description",
    "aliases": "schema:alternateName",
    "date": "schema:dateCreated",
    "duration": "schema:duration",
    "path": "schema:contentUrl",
    "confidence": {"@id": "urn:callpipeline:confidence", "@type": "xsd:double"},
    "mentions": {"@id": "urn:callpipeline:mentions", "@type": "xsd:integer"},
    "recordings": {"@id": "urn:callpipeline:recordings", "@type": "xsd:integer"},
    "source": {"@id": "rdf:subject", "@type": "@id"},
    "predicate": {"@id": "rdf:predicate", "@type": "@id"},
    "target": {"@id": "rdf:object", "@type": "@id"},
    "about": {"@id": "schema:about", "@type": "@id"},
    "in": {"@id": "schema:isPartOf", "@type": "@id"},
    "chunk": "urn:callpipeline:chunk",
    "speaker": "urn:callpipeline:speaker",
    "text": "schema:text",
    "start": {"@id": "schema:startOffset", "@type": "xsd:double"},
    "end": {"@id": "schema:endOffset", "@type": "xsd:double"},
}


def write_jsonld(graph: KnowledgeGraph, path: Path, evidence: Evidence) -> None:
    """Write the graph to one file, all at once: a line a node, so that large graphs need little memory.

    Raises:
        OSError: the folder cannot be written.
    """
    with writing(path) as file:
        file.write(b'{"@context":' + _json(CONTEXT) + b',\n"@graph":[')
        for number, node in enumerate(_nodes(graph, evidence)):
            file.write((b",\n" if number else b"\n") + _json(node))
        file.write(b"\n]}\n")


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _nodes(graph: KnowledgeGraph, evidence: Evidence) -> Iterator[dict[str, Any]]:
    links: dict[str, dict[str, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for relation in graph.relations:
        links[relation.source][_iri("rel", relation.type)].append({"@id": _iri("entity", relation.target)})
    for episode in graph.episodes:
        yield _episode(episode)
    for entity in graph.entities:
        yield _entity(entity) | links.get(entity.id, {})
    for relation in graph.relations:
        yield _statement(relation)
    known = {*evidence.entities, *(relation.id for relation in graph.relations)}
    for mention in graph.mentions:
        if mention.of in known:
            yield _mention(mention, "entity" if mention.of in evidence.entities else "relation")


def _iri(kind: str, name: str) -> str:
    return f"{kind}:{quote(name, safe='')}"


def _episode(episode: Episode) -> dict[str, Any]:
    known = {
        "name": one_line(episode.title),
        "date": episode.date,
        "path": one_line(episode.path),
        "duration": f"PT{episode.duration:.2f}S" if episode.duration else "",
    }
    return {
        "@id": _iri("recording", episode.recording),
        "@type": "schema:AudioObject",
        **{name: value for name, value in known.items() if value},
    }


def _entity(entity: Entity) -> dict[str, Any]:
    node: dict[str, Any] = {
        "@id": _iri("entity", entity.id),
        "@type": _iri("type", entity.type),
        "name": one_line(entity.name),
        "confidence": entity.confidence,
        "mentions": entity.mentions,
        "recordings": entity.recordings,
    }
    if entity.description:
        node["description"] = one_line(entity.description)
    if entity.aliases:
        node["aliases"] = [one_line(alias) for alias in entity.aliases]
    return node


def _statement(relation: Relation) -> dict[str, Any]:
    return {
        "@id": _iri("relation", relation.id),
        "@type": "rdf:Statement",
        "source": _iri("entity", relation.source),
        "predicate": _iri("rel", relation.type),
        "target": _iri("entity", relation.target),
        "confidence": relation.confidence,
        "mentions": relation.mentions,
        **({"description": one_line(relation.description)} if relation.description else {}),
    }


def _mention(mention: Mention, kind: str) -> dict[str, Any]:
    return {
        "@id": _iri("mention", mention_id(mention)),
        "@type": ["schema:Clip", "schema:Quotation"],
        "about": _iri(kind, mention.of),
        "in": _iri("recording", mention.recording),
        "chunk": mention.chunk,
        "speaker": one_line(mention.span.speaker),
        "text": one_line(mention.span.quote),
        "start": mention.span.start,
        "end": mention.span.end,
        "confidence": mention.confidence,
    }
