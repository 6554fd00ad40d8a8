"""Typed data of the knowledge graph: text chunks, what was found in them, and what it adds up to.

What belongs here: frozen value types that several rooms share, like ``model`` for recordings. What does not: how any of
it is found, stored or drawn.

Units: times are seconds of the recording; ``begin``/``finish`` count characters, ``finish`` exclusive; confidences are 0-1.
Every mention leads to its text chunk, its recording and its seconds.
"""

from __future__ import annotations

from bisect import bisect_right
from enum import StrEnum
from typing import Literal

from pydantic import Field

from callpipeline.model import Record, Role

# --- text chunks --------------------------------------------------------------------------------------


class ChunkLine(Record):
    """What one speaker says in a text chunk without a break: the characters ``begin`` to ``finish`` of its text.

    ``marks`` are (character of the chunk's text, second) of the words whose times are known, in order; the line's own
    start is used before the first.
    """

    begin: int
    finish: int
    speaker: str
    role: Role
    start: float
    end: float
    marks: tuple[tuple[int, float], ...] = ()


class TextChunk(Record):
    """A slice of a transcript of about 2,000 characters, cut between turns where that can be.

    ``id`` is ``<recording>:<index>``. ``text`` has a line for each stretch of one speaker, without names; who says it
    stands in ``lines``. ``sha256`` is that of the text. ``low_value`` says why nothing is looked for in it, ``None`` for
    a chunk that is worth it; ``priority`` puts those with most to find first.
    """

    id: str
    recording: str
    index: int
    text: str
    sha256: str
    start: float
    end: float
    lines: tuple[ChunkLine, ...]
    low_value: str | None = None
    priority: float = 0.0

    def line_at(self, character: int) -> ChunkLine:
        """Return the line that a character of the text belongs to."""
        begins = [line.begin for line in self.lines]
        return self.lines[max(bisect_right(begins, character) - 1, 0)]

    def second_at(self, character: int) -> float:
        """Return the second at which a character of the text is said, as exactly as is known."""
        line = self.line_at(character)
        at = bisect_right([mark for mark, _ in line.marks], character) - 1
        return line.marks[at][1] if at >= 0 else line.start


class TextChunks(Record):
    """The text chunks of one recording, in order. ``title`` is what people call it."""

    recording: str
    title: str
    language: str
    chunks: tuple[TextChunk, ...]

    @property
    def worth_it(self) -> tuple[TextChunk, ...]:
        """Chunks in which something is looked for."""
        return tuple(chunk for chunk in self.chunks if chunk.low_value is None)


# --- what was found in one chunk ----------------------------------------------------------------------


class Span(Record):
    """Where something is said: characters of the chunk's text, the words themselves, seconds, and who says them.

    ``context`` is the sentence around them, as far as that helps: a name alone says nothing about why it is there.
    """

    begin: int
    finish: int
    quote: str
    start: float
    end: float
    speaker: str
    role: Role = Role.UNKNOWN
    context: str = ""

    @property
    def said(self) -> str:
        """What to show to people: the words, and of a bare name the sentence that it stands in."""
        return self.context or self.quote


class FoundEntity(Record):
    """One entity as one chunk names it. ``id`` is ``<chunk id>#e<n>``; ``type`` is one of the ontology's node types."""

    id: str
    chunk: str
    name: str
    type: str
    description: str = ""
    confidence: float
    span: Span


class FoundRelation(Record):
    """One relation between two entities of the same chunk. ``id`` is ``<chunk id>#r<n>``."""

    id: str
    chunk: str
    type: str
    source: str
    target: str
    description: str = ""
    confidence: float
    span: Span


class ChunkState(StrEnum):
    """How a chunk's result came about."""

    EXTRACTED = "extracted"
    """This run had it extracted."""
    CACHED = "cached"
    """The same text was extracted before, or elsewhere in this run."""
    SIMILAR = "similar"
    """The result of a nearly equal text was taken."""
    FILTERED = "filtered"
    """Nothing is looked for in it."""
    FAILED = "failed"


class Dropped(Record):
    """What an extractor said that was not kept, counted."""

    low_confidence: int = 0
    not_in_text: int = 0
    """Its quote stands nowhere in its chunk."""
    dangling: int = 0
    """A relation one of whose ends was not kept."""
    malformed: int = 0
    """What could not be read."""


class ChunkExtraction(Record):
    """What was found in one chunk. ``reused_from``/``similarity``: the chunk (or text hash) whose result was taken.

    ``unknown_types`` counts types that the ontology does not know; their items are kept under its fallback type, or
    left out where it has none. ``error_class``/``message`` tell why a chunk failed.
    """

    chunk: str
    state: ChunkState
    model: str = ""
    reused_from: str | None = None
    similarity: float | None = None
    entities: tuple[FoundEntity, ...] = ()
    relations: tuple[FoundRelation, ...] = ()
    unknown_types: dict[str, int] = Field(default_factory=dict)
    dropped: Dropped = Dropped()
    error_class: str | None = None
    message: str | None = None
    permanent: bool = False


class KgExtraction(Record):
    """What was found in one recording: the result of the asset ``kg_extractions``.

    ``extractor`` is ``embedded`` (rules and statistics, no model) or the provider; ``version`` names all that decides
    its results (model, prompt, schema); ``ontology`` is the hash of the ontology used.
    """

    recording: str
    extractor: str
    version: str
    ontology: str
    chunks: tuple[ChunkExtraction, ...]

    @property
    def failed(self) -> tuple[ChunkExtraction, ...]:
        """Chunks without a result."""
        return tuple(chunk for chunk in self.chunks if chunk.state is ChunkState.FAILED)


# --- the graph over all recordings --------------------------------------------------------------------

Extractor = Literal["embedded", "openai"]


class Episode(Record):
    """A recording as the graph knows it: the node of type ``Episode`` that everything said in it leads to."""

    recording: str
    title: str
    date: str = ""
    path: str = ""
    duration: float = 0.0


class Entity(Record):
    """One thing that recordings talk about, with all its names.

    ``id`` is stable as long as its type and its normalised name are: ``e`` and 15 hex digits. ``mentions`` counts where it
    is named, ``recordings`` in how many recordings.
    """

    id: str
    name: str
    type: str
    description: str = ""
    aliases: tuple[str, ...] = ()
    confidence: float
    mentions: int
    recordings: int


class Relation(Record):
    """One edge. ``structural`` ones follow from where things are said (SAID, ABOUT, MENTIONED_IN, CROSS_EPISODE).

    ``mentions`` counts the places that say it. ``source`` and ``target`` are ids of entities.
    """

    id: str
    type: str
    source: str
    target: str
    description: str = ""
    confidence: float
    mentions: int
    structural: bool = False


class Mention(Record):
    """One place that names an entity, or says a relation: where every node and edge leads back to.

    ``of`` is the id of the entity or relation, ``found`` the id of what was found in the chunk (``FoundEntity.id``).
    """

    of: str
    found: str
    recording: str
    chunk: str
    name: str
    type: str
    confidence: float
    span: Span


MergeReason = Literal["same_name", "alias", "similar_name", "embedding"]


class Merge(Record):
    """Two names that were taken for one thing. ``id`` is stable, so that it can be undone and stay undone."""

    id: str
    entity: str
    """The entity that both are now."""
    name: str
    other: str
    type: str
    reason: MergeReason
    score: float
    explanation: str


class Conflict(Record):
    """Sources that disagree about an entity: all that they say is kept. ``values``: (what is said, id of what was found)."""

    entity: str
    field: Literal["type", "description", "relation"]
    values: tuple[tuple[str, str], ...]


class GraphSummary(Record):
    """Figures of a graph, for people and for the event log."""

    built: str
    """ISO time, UTC."""
    extractors: dict[str, int] = Field(default_factory=dict)
    """Recordings by extractor."""
    recordings: int
    chunks: int
    chunk_states: dict[str, int]
    entities: int
    relations: int
    structural: int
    mentions: int
    merges: int
    undone: int
    conflicts: int
    by_type: dict[str, int]
    by_relation: dict[str, int]
    unknown_types: dict[str, int] = Field(default_factory=dict)
    dropped: Dropped = Dropped()
    notes: tuple[str, ...] = ()
    """What people must know of how it was made."""


class KnowledgeGraph(Record):
    """All of it, as read from the store."""

    episodes: tuple[Episode, ...]
    entities: tuple[Entity, ...]
    relations: tuple[Relation, ...]
    mentions: tuple[Mention, ...]
    merges: tuple[Merge, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    summary: GraphSummary
