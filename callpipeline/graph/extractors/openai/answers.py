"""From a model's words to results: which block each item is of, and where in its own text chunk it stands.

What belongs here: reading answers, whole or cut off; putting items in their places. All pure. What does not: asking
(``batches``, ``desk``), keeping (``cache``).

An item is looked for in its own chunk and nowhere else. What does not stand there is dropped and counted: it is never
moved to a neighbour, whatever else the request held.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from callpipeline.graph.extractors.openai.schema import SaidChunk, SaidEntity, SaidRelation
from callpipeline.graph.grounding import locate
from callpipeline.knowledge import (
    ChunkExtraction,
    ChunkLine,
    ChunkState,
    Dropped,
    FoundEntity,
    FoundRelation,
    Span,
    TextChunk,
)
from callpipeline.model import Role

if TYPE_CHECKING:
    from callpipeline.graph.ontology import Ontology

_ARRAY = re.compile(r'"chunks"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")
_LONGEST_NAME = 200

Item = TypeVar("Item", bound=BaseModel)


# --- reading -------------------------------------------------------------------------------------------------


def read_answer(text: str, texts: Sequence[str]) -> dict[int, SaidChunk]:
    """Return what an answer says of each block, by the block's place (from 0) in the request.

    Of an answer that is cut off, or broken somewhere, all blocks before that place count. Left out are blocks of which
    it says nothing, and, in a request of several, blocks none of whose entities stands in their text: a model that
    counted wrongly is asked again.

    Args:
        text: The answer.
        texts: The words of each block, see ``batches.Block.text``.
    """
    entries: dict[int, list[SaidChunk]] = {}
    for entry in _entries(text):
        number = entry.get("n")
        if isinstance(number, int) and 1 <= number <= len(texts):
            entries.setdefault(number - 1, []).append(_said(entry))
    found = {place: _joined(parts) for place, parts in entries.items()}
    if len(texts) == 1:
        return found
    return {place: said for place, said in found.items() if _fits(said, texts[place])}


def _entries(text: str) -> Iterator[Mapping[str, Any]]:
    """Yield the entries of an answer up to the first that is not whole; what stands around their list is passed over."""
    begin = _ARRAY.search(text)
    if begin is None:
        return
    decoder, at = json.JSONDecoder(), begin.end()
    while True:
        between = _BETWEEN.match(text, at)
        at = between.end() if between else at
        try:
            entry, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return
        if isinstance(entry, dict) and isinstance(entry.get("entities"), list):
            yield entry


def _said(entry: Mapping[str, Any]) -> SaidChunk:
    entities, wrong = _items(entry.get("entities"), SaidEntity)
    relations, more = _items(entry.get("relations"), SaidRelation)
    return SaidChunk(entities=entities, relations=relations, malformed=wrong + more)


def _items(values: object, model: type[Item]) -> tuple[tuple[Item, ...], int]:
    found, malformed = [], 0
    for value in values if isinstance(values, list) else ():
        try:
            found.append(model.model_validate(value))
        except ValidationError:
            malformed += 1
    return tuple(found), malformed


def _joined(parts: Sequence[SaidChunk]) -> SaidChunk:
    """Return several entries for one block as one; the keys of each stay its own."""
    if len(parts) == 1:
        return parts[0]
    entities: list[SaidEntity] = []
    relations: list[SaidRelation] = []
    for number, part in enumerate(parts):
        keys = {one.key for one in part.entities}

        def own(key: str, number: int = number, keys: set[str] = keys) -> str:
            return f"{number}.{key}" if key in keys else key

        entities += [one.model_copy(update={"key": own(one.key)}) for one in part.entities]
        relations += [
            one.model_copy(update={"source": own(one.source), "target": own(one.target)})
            for one in part.relations
        ]
    return SaidChunk(
        entities=tuple(entities), relations=tuple(relations), malformed=sum(part.malformed for part in parts)
    )


def _fits(said: SaidChunk, text: str) -> bool:
    """Whether anything of what is said of a block stands in it."""
    line = ChunkLine(begin=0, finish=len(text), speaker="", role=Role.UNKNOWN, start=0.0, end=0.0)
    chunk = TextChunk(id="", recording="", index=0, text=text, sha256="", start=0.0, end=0.0, lines=(line,))
    return not said.entities or any(locate(chunk, one.quote) for one in said.entities)


# --- placing -------------------------------------------------------------------------------------------------


@dataclass
class _Count:
    unknown: Counter[str] = field(default_factory=Counter)
    low_confidence: int = 0
    not_in_text: int = 0
    dangling: int = 0


def placed(
    said: SaidChunk,
    chunk: TextChunk,
    ontology: Ontology,
    *,
    least: float,
    state: ChunkState,
    model: str,
    reused_from: str | None = None,
    similarity: float | None = None,
) -> ChunkExtraction:
    """Return what was said as the result of ``chunk``: its own id, speaker and seconds, whoever was asked about it.

    Args:
        said: What a model told of this text, or of one that is equal or nearly so.
        chunk: Whose result it becomes.
        ontology: What types there are.
        least: Confidence below which nothing is kept.
        state: How it came about.
        model: Which model told it.
        reused_from: The hash of the text that was asked about, where it is not this one.
        similarity: How equal that text is.
    """
    count = _Count()
    entities: dict[str, FoundEntity] = {}
    for number, one in enumerate(said.entities, 1):
        if found := _entity(one, number, chunk, ontology, least, count):
            entities.setdefault(one.key, found)
    names = {one.name.casefold(): one for one in entities.values()}
    relations = []
    for number, link in enumerate(said.relations, 1):
        ends = tuple(entities.get(end) or names.get(end.casefold()) for end in (link.source, link.target))
        if relation := _relation(link, number, ends, chunk, ontology, least, count):
            relations.append(relation)
    return ChunkExtraction(
        chunk=chunk.id,
        state=state,
        model=model,
        reused_from=reused_from,
        similarity=similarity,
        entities=tuple(entities.values()),
        relations=tuple(relations),
        unknown_types=dict(count.unknown),
        dropped=Dropped(
            low_confidence=count.low_confidence,
            not_in_text=count.not_in_text,
            dangling=count.dangling,
            malformed=said.malformed,
        ),
    )


def _entity(
    one: SaidEntity, number: int, chunk: TextChunk, ontology: Ontology, least: float, count: _Count
) -> FoundEntity | None:
    span = _span(one, chunk, least, count)
    if span is None:
        return None
    known = ontology.node(one.type)
    kind = known.name if known and not known.structural else ontology.fallback_node
    if known is None or known.structural:
        count.unknown[one.type] += 1
    if kind is None:
        return None
    return FoundEntity(
        id=f"{chunk.id}#e{number}",
        chunk=chunk.id,
        name=one.name[:_LONGEST_NAME],
        type=kind,
        description=one.description,
        confidence=one.confidence,
        span=span,
    )


def _relation(
    one: SaidRelation,
    number: int,
    ends: Sequence[FoundEntity | None],
    chunk: TextChunk,
    ontology: Ontology,
    least: float,
    count: _Count,
) -> FoundRelation | None:
    source, target = ends
    if source is None or target is None or source.id == target.id:
        count.dangling += 1
        return None
    span = _span(one, chunk, least, count)
    if span is None:
        return None
    known = ontology.relation(one.type)
    fits = known is not None and not known.structural and known.joins(source.type, target.type)
    kind = known.name if known is not None and fits else ontology.fallback_relation
    if not fits:
        count.unknown[one.type] += 1
    if kind is None:
        return None
    return FoundRelation(
        id=f"{chunk.id}#r{number}",
        chunk=chunk.id,
        type=kind,
        source=source.id,
        target=target.id,
        description=one.description,
        confidence=one.confidence,
        span=span,
    )


def _span(one: SaidEntity | SaidRelation, chunk: TextChunk, least: float, count: _Count) -> Span | None:
    """Return where an item stands, or count why it is not kept."""
    if one.confidence < least:
        count.low_confidence += 1
        return None
    span = locate(chunk, one.quote)
    if span is None:
        count.not_in_text += 1
    return span
