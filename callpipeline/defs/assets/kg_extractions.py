"""``kg_extractions``: the entities and relations that a recording's text chunks name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from callpipeline.defs.assets.base import AssetFace, Check, View, table
from callpipeline.knowledge import ChunkState, FoundEntity, FoundRelation, KgExtraction
from callpipeline.pipeline.case import timestamp

EMBEDDED = "embedded (rules and statistics, no model)"
MOST_INVENTED = 0.1
"""Share of findings without a source from which on a person should look at the extractor."""
SHOWN = 25
"""Rows of each table: those that are surest."""


def _metadata(view: View) -> Mapping[str, Any]:
    found = view.value(KgExtraction)
    entities = [entity for chunk in found.chunks for entity in chunk.entities]
    relations = [relation for chunk in found.chunks for relation in chunk.relations]
    states = Counter(chunk.state for chunk in found.chunks)
    unknown: Counter[str] = sum((Counter(chunk.unknown_types) for chunk in found.chunks), Counter())
    dropped: Counter[str] = sum((Counter(chunk.dropped.model_dump()) for chunk in found.chunks), Counter())
    return {
        "extractor": EMBEDDED if found.extractor == "embedded" else found.extractor,
        "version": found.version,
        "chunks": len(found.chunks),
        "entities": len(entities),
        "relations": len(relations),
        "chunk_states": _counts({state.value: states[state] for state in ChunkState}),
        "entity_types": _counts(Counter(entity.type for entity in entities)),
        "relation_types": _counts(Counter(relation.type for relation in relations)),
        "unknown_types": _counts(unknown),
        "dropped": _counts({name.replace("_", " "): count for name, count in dropped.items()}),
        "entity_table": table(("name", "type", "confidence", "at", "who", "words"), _entity_rows(entities)),
        "relation_table": table(
            ("from", "relation", "to", "confidence", "at", "words"), _relation_rows(relations, entities)
        ),
        "file": str(view.stored.path),
    }


def _counts(counts: Mapping[str, int]) -> str:
    shown = sorted(((n, name) for name, n in counts.items() if n), key=lambda item: (-item[0], item[1]))
    return ", ".join(f"{count} {name}" for count, name in shown) or "none"


def _entity_rows(entities: Iterable[FoundEntity]) -> list[tuple[object, ...]]:
    surest = sorted(entities, key=lambda entity: -entity.confidence)[:SHOWN]
    return [
        (e.name, e.type, e.confidence, timestamp(e.span.start), e.span.speaker, e.span.quote) for e in surest
    ]


def _relation_rows(
    relations: Iterable[FoundRelation], entities: Iterable[FoundEntity]
) -> list[tuple[object, ...]]:
    names = {entity.id: entity.name for entity in entities}
    surest = sorted(relations, key=lambda relation: -relation.confidence)[:SHOWN]
    return [
        (
            names.get(r.source, r.source),
            r.type,
            names.get(r.target, r.target),
            r.confidence,
            timestamp(r.span.start),
            r.span.quote,
        )
        for r in surest
    ]


def _checks(view: View) -> Iterator[Check]:
    found = view.value(KgExtraction)
    if found.extractor == "embedded":
        return  # it takes words out of the text: an event for each recording would say nothing
    chunks = found.chunks
    kept = sum(len(chunk.entities) + len(chunk.relations) for chunk in chunks)
    invented = sum(chunk.dropped.not_in_text for chunk in chunks)
    yield Check(
        "stands_in_the_text",
        passed=invented <= MOST_INVENTED * (kept + invented),
        description=f"{invented} of {kept + invented} findings quote words that nobody said; they are not kept",
        metadata={"kept": kept, "not_in_text": invented},
    )


FACE = AssetFace(
    asset="kg_extractions",
    group="graph",
    kinds=frozenset({"python"}),
    description=(
        "Entities and relations that each text chunk names, with the words, the speaker and the second. Found by "
        "CALLPIPELINE_EXTRACTOR: embedded (rules and statistics, free) or openai (a language model, paid by tokens; what "
        "was bought for a text is never bought again). Types come from the ontology."
    ),
    metadata=_metadata,
    check_descriptions={"stands_in_the_text": "What was found is quoted from the text, not invented."},
    checks=_checks,
)
