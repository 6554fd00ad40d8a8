"""All that was found in all recordings, as much of it as the graph is made from.

What belongs here: reading results one after another, checking that every item stands in the text it claims, and keeping
only what is needed (no texts: those of ten thousand chunks with their times would take most of the memory). What does
not: deciding what is one thing (``resolution``), and making nodes and edges (``build``, ``structure``).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from callpipeline.graph.names import PERSON, plain
from callpipeline.knowledge import (
    ChunkExtraction,
    ChunkLine,
    Dropped,
    Episode,
    FoundEntity,
    FoundRelation,
    KgExtraction,
    Span,
    TextChunk,
    TextChunks,
)
from callpipeline.model import Role

FIRST_WORDS = 12
"""Where a recording and somebody who speaks in it stand: the first words, at most so many."""

_WORD = re.compile(r"\S+")
_LABEL = re.compile(r"(?:speaker|spk|channel)?[ _-]?(?:\d{1,3}|[A-Z])", re.IGNORECASE)
"""Labels of diarizers, which name nobody: ``A``, ``2``, ``speaker_0``, ``SPEAKER_00``."""


class Named(NamedTuple):
    """One place that names a thing. ``thing`` is ``thing_key`` of its type and name."""

    thing: str
    found: str
    recording: str
    chunk: str
    name: str
    type: str
    description: str
    confidence: float
    span: Span


class Claimed(NamedTuple):
    """One place that says how two things hang together. ``within``: all things that are named inside its words."""

    type: str
    source: str
    target: str
    found: str
    recording: str
    chunk: str
    description: str
    confidence: float
    span: Span
    within: tuple[str, ...]


class Opening(NamedTuple):
    """The first words of a recording."""

    chunk: str
    span: Span


@dataclass
class Found:
    """What was found in the recordings, in an order that does not depend on how they came."""

    episodes: tuple[Episode, ...]
    openings: Mapping[str, Opening]
    named: tuple[Named, ...]
    claimed: tuple[Claimed, ...]
    tally: Tally

    @property
    def names(self) -> tuple[str, ...]:
        """Names that vectors help to tell apart, each once, sorted."""
        return tuple(sorted({one.name for one in self.named}))


@dataclass
class Tally:
    """What the graph's summary says of the extraction."""

    extractors: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    unknown_types: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    chunks: int = 0


def is_label(speaker: str) -> bool:
    """Tell whether a speaker's name names nobody: a diarizer's label, or a role."""
    name = speaker.strip()
    return not name or _LABEL.fullmatch(name) is not None or name.casefold() in frozenset(Role)


def thing_key(kind: str, name: str, recording: str) -> str:
    """Return what equal names share: the type and the plain name; people are kept apart by recording at first."""
    key = f"{kind}:{plain(name)}"
    return f"{key}@{recording}" if kind == PERSON else key


def gather(extractions: Iterable[tuple[Episode, TextChunks, KgExtraction]]) -> Found:
    """Take in the recordings one by one; each is let go before the next is asked for.

    Items whose quotation does not stand in their chunk's text are left out and counted, whatever the extractor said.
    """
    recordings: dict[str, _Recording] = {}
    for episode, texts, extraction in extractions:
        recordings[episode.recording] = _take(episode, texts, extraction)
    ordered = [recordings[key] for key in sorted(recordings)]
    tally = Tally()
    for one in ordered:
        tally.extractors += one.tally.extractors
        tally.states += one.tally.states
        tally.unknown_types += one.tally.unknown_types
        tally.dropped += one.tally.dropped
        tally.chunks += one.tally.chunks
    return Found(
        episodes=tuple(one.episode for one in ordered),
        openings={one.episode.recording: one.opening for one in ordered if one.opening},
        named=tuple(named for one in ordered for named in one.named),
        claimed=tuple(claimed for one in ordered for claimed in one.claimed),
        tally=tally,
    )


@dataclass
class _Recording:
    episode: Episode
    opening: Opening | None
    named: list[Named] = field(default_factory=list)
    claimed: list[Claimed] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)


def _take(episode: Episode, texts: TextChunks, extraction: KgExtraction) -> _Recording:
    taken = _Recording(episode, _opening(texts))
    taken.tally.extractors[extraction.extractor] += 1
    taken.tally.chunks = len(texts.chunks)
    taken.named += _speakers(texts)
    by_id = {chunk.id: chunk for chunk in texts.chunks}
    for result in extraction.chunks:
        _count(result, taken.tally)
        if (chunk := by_id.get(result.chunk)) is not None:
            _take_chunk(chunk, result, taken)
    return taken


def _count(result: ChunkExtraction, tally: Tally) -> None:
    tally.states[result.state.value] += 1
    tally.unknown_types.update(result.unknown_types)
    tally.dropped.update({name: getattr(result.dropped, name) for name in Dropped.model_fields})


def _take_chunk(chunk: TextChunk, result: ChunkExtraction, taken: _Recording) -> None:
    things: dict[str, str] = {}
    here: list[Named] = []
    for entity in result.entities:
        if not _stands_in(chunk, entity):
            taken.tally.dropped["not_in_text"] += 1
            continue
        thing = things[entity.id] = thing_key(entity.type, entity.name, chunk.recording)
        here.append(_named(thing, chunk, entity))
    taken.named += here
    inside = _Inside(here)
    for relation in result.relations:
        if not _stands_in(chunk, relation):
            taken.tally.dropped["not_in_text"] += 1
        elif relation.source not in things or relation.target not in things:
            taken.tally.dropped["dangling"] += 1
        else:
            ends = things[relation.source], things[relation.target]
            taken.claimed.append(_claimed(ends, chunk, relation, inside.of(relation.span)))


def _stands_in(chunk: TextChunk, item: FoundEntity | FoundRelation) -> bool:
    span = item.span
    return bool(span.quote) and chunk.text[span.begin : span.finish] == span.quote


def _named(thing: str, chunk: TextChunk, entity: FoundEntity) -> Named:
    return Named(
        thing,
        entity.id,
        chunk.recording,
        chunk.id,
        " ".join(entity.name.split()),
        entity.type,
        " ".join(entity.description.split()),
        entity.confidence,
        entity.span,
    )


def _claimed(
    ends: tuple[str, str], chunk: TextChunk, relation: FoundRelation, within: tuple[str, ...]
) -> Claimed:
    return Claimed(
        relation.type,
        *ends,
        relation.id,
        chunk.recording,
        chunk.id,
        " ".join(relation.description.split()),
        relation.confidence,
        relation.span,
        within,
    )


class _Inside:
    """Which things of a chunk are named inside some of its characters."""

    def __init__(self, here: Iterable[Named]) -> None:
        self._spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for named in here:
            self._spans[named.thing].append((named.span.begin, named.span.finish))

    def of(self, span: Span) -> tuple[str, ...]:
        return tuple(
            sorted(
                thing
                for thing, places in self._spans.items()
                if any(span.begin <= begin and finish <= span.finish for begin, finish in places)
            )
        )


def _opening(texts: TextChunks) -> Opening | None:
    for chunk in texts.chunks:
        for line in chunk.lines:
            if span := _first_words(chunk, line):
                return Opening(chunk.id, span)
    return None


def _speakers(texts: TextChunks) -> Iterator[Named]:
    """Yield people who speak under a name, each with the first words that they say."""
    seen: set[str] = set()
    for chunk in texts.chunks:
        for line in chunk.lines:
            if line.speaker in seen or is_label(line.speaker):
                continue
            if span := _first_words(chunk, line):
                seen.add(line.speaker)
                name = " ".join(line.speaker.split())
                thing = thing_key(PERSON, name, chunk.recording)
                yield Named(thing, chunk.id, chunk.recording, chunk.id, name, PERSON, "", 1.0, span)


def _first_words(chunk: TextChunk, line: ChunkLine) -> Span | None:
    words = list(_WORD.finditer(chunk.text, line.begin, line.finish))[: FIRST_WORDS + 1]
    if not words:
        return None
    rest = words[FIRST_WORDS:]
    begin, finish = words[0].start(), words[:FIRST_WORDS][-1].end()
    start = chunk.second_at(begin)
    return Span(
        begin=begin,
        finish=finish,
        quote=chunk.text[begin:finish],
        start=start,
        end=max(start, chunk.second_at(rest[0].start()) if rest else line.end),
        speaker=line.speaker,
        role=line.role,
    )
