"""Recordings for tests of the graph: what is said, and what an extractor found in it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from callpipeline.knowledge import (
    ChunkExtraction,
    ChunkLine,
    ChunkState,
    Episode,
    FoundEntity,
    FoundRelation,
    KgExtraction,
    Span,
    TextChunk,
    TextChunks,
)
from callpipeline.model import Role

SECONDS_A_CHARACTER = 0.1
Told = tuple[Episode, TextChunks, KgExtraction]


@dataclass(frozen=True)
class Thing:
    """A name as one chunk has it. ``words``: how the text has it, where that differs."""

    name: str
    type: str = "Concept"
    description: str = ""
    confidence: float = 0.8
    words: str = ""


@dataclass(frozen=True)
class Chunk:
    """What one speaker says in a chunk. ``relations``: (type, place of the source in ``things``, of the target)."""

    text: str
    things: Sequence[Thing] = ()
    relations: Sequence[tuple[str, int, int]] = ()
    speaker: str = "A"
    role: Role = Role.UNKNOWN


def told(recording: str, *chunks: Chunk, title: str = "", extractor: str = "embedded") -> Told:
    """Return a recording in which these chunks are said one after another, a minute each."""
    texts = [_text(recording, index, chunk) for index, chunk in enumerate(chunks)]
    results = [_result(text, chunk) for text, chunk in zip(texts, chunks, strict=True)]
    title = title or f"Recording {recording}"
    return (
        Episode(recording=recording, title=title, path=f"/in/{recording}.mp3", duration=60.0 * len(chunks)),
        TextChunks(recording=recording, title=title, language="en", chunks=tuple(texts)),
        KgExtraction(
            recording=recording, extractor=extractor, version="1", ontology="o", chunks=tuple(results)
        ),
    )


def _text(recording: str, index: int, chunk: Chunk) -> TextChunk:
    start = 60.0 * index
    marks = tuple(
        (at, start + at * SECONDS_A_CHARACTER)
        for at in range(len(chunk.text))
        if at == 0 or chunk.text[at - 1].isspace()
    )
    line = ChunkLine(
        begin=0,
        finish=len(chunk.text),
        speaker=chunk.speaker,
        role=chunk.role,
        start=start,
        end=start + 59.0,
        marks=marks,
    )
    return TextChunk(
        id=f"{recording}:{index}",
        recording=recording,
        index=index,
        text=chunk.text,
        sha256=hashlib.sha256(chunk.text.encode()).hexdigest(),
        start=start,
        end=start + 59.0,
        lines=(line,),
    )


def _result(text: TextChunk, chunk: Chunk) -> ChunkExtraction:
    entities = tuple(
        FoundEntity(
            id=f"{text.id}#e{n}",
            chunk=text.id,
            name=thing.name,
            type=thing.type,
            description=thing.description,
            confidence=thing.confidence,
            span=_span(text, thing.words or thing.name, chunk),
        )
        for n, thing in enumerate(chunk.things)
    )
    relations = tuple(
        FoundRelation(
            id=f"{text.id}#r{n}",
            chunk=text.id,
            type=kind,
            source=entities[source].id,
            target=entities[target].id,
            confidence=0.7,
            span=_span(text, text.text, chunk),
        )
        for n, (kind, source, target) in enumerate(chunk.relations)
    )
    return ChunkExtraction(chunk=text.id, state=ChunkState.EXTRACTED, entities=entities, relations=relations)


def _span(text: TextChunk, words: str, chunk: Chunk) -> Span:
    begin = text.text.index(words)
    return Span(
        begin=begin,
        finish=begin + len(words),
        quote=words,
        start=text.second_at(begin),
        end=text.second_at(begin) + 1.0,
        speaker=chunk.speaker,
        role=chunk.role,
    )


def naming(recording: str, *names: str | Thing, type: str = "Concept", speaker: str = "A") -> Told:  # noqa: A002
    """Return a recording with a chunk for each name, which is all that is said in it."""
    things = [name if isinstance(name, Thing) else Thing(name, type) for name in names]
    return told(
        recording,
        *(Chunk(f"We talk about {t.words or t.name} today.", [t], speaker=speaker) for t in things),
    )
