"""Nodes and edges while a graph is put together, each with the places that it stands on.

What belongs here: what a node or edge makes of its places. What does not: which ones there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from callpipeline.graph.gathering import Claimed, Named
from callpipeline.knowledge import Entity, Mention, Relation, Span

LONGEST_DESCRIPTION = 400

# Records are made unchecked here, with one set of field names for all of a kind: their parts were checked when they were
# read, and a large graph has 400,000 records, each of whose own set would be larger than all the rest of it.
_MENTION, _ENTITY, _RELATION = (set(kind.model_fields) for kind in (Mention, Entity, Relation))


def hashed(letter: str, text: str) -> str:
    """Return an id: a letter and 15 hex digits that are always the same for ``text``."""
    return f"{letter}{hashlib.sha256(text.encode()).hexdigest()[:15]}"


def relation_id(kind: str, source: str, target: str) -> str:
    """Return the id of the one edge of a type between two nodes."""
    return hashed("r", f"{kind}\n{source}\n{target}")


def mention(
    of: str, found: str, recording: str, chunk: str, name: str, kind: str, confidence: float, span: Span
) -> Mention:
    """Return a place."""
    return Mention.model_construct(
        _fields_set=_MENTION,
        of=of,
        found=found,
        recording=recording,
        chunk=chunk,
        name=name,
        type=kind,
        confidence=confidence,
        span=span,
    )


@dataclass(eq=False, slots=True)
class Node:
    """An entity and its places. ``said``: what is said about it (confidence, description, id of what was found)."""

    id: str
    name: str
    type: str
    aliases: tuple[str, ...] = ()
    mentions: list[Mention] = field(default_factory=list)
    said: set[tuple[float, str, str]] = field(default_factory=set)

    @property
    def count(self) -> int:
        """In how many places it is named."""
        return len(self.mentions)

    def see(self, named: Named) -> None:
        """Take a place that names it."""
        self.mentions.append(
            mention(
                self.id,
                named.found,
                named.recording,
                named.chunk,
                named.name,
                named.type,
                named.confidence,
                named.span,
            )
        )
        if named.description:
            self.said.add((named.confidence, named.description, named.found))

    def entity(self) -> Entity:
        """Return it as it is stored; its description is the surest one, of equally sure ones the longest."""
        return Entity.model_construct(
            _fields_set=_ENTITY,
            id=self.id,
            name=self.name,
            type=self.type,
            description=best((confidence, text) for confidence, text, _ in self.said),
            aliases=self.aliases,
            confidence=max(one.confidence for one in self.mentions),
            mentions=self.count,
            recordings=len({one.recording for one in self.mentions}),
        )


@dataclass(eq=False, slots=True)
class Edge:
    """A relation and its places. ``places``: how many say it, where only the surest is kept."""

    id: str
    type: str
    source: str
    target: str
    structural: bool = False
    description: str = ""
    places: int | None = None
    mentions: list[Mention] = field(default_factory=list)
    said: frozenset[tuple[float, str]] = frozenset()

    @property
    def count(self) -> int:
        """In how many places it is said."""
        return len(self.mentions) if self.places is None else self.places

    def see(self, claim: Claimed) -> None:
        """Take a place that says it."""
        self.mentions.append(
            mention(
                self.id,
                claim.found,
                claim.recording,
                claim.chunk,
                claim.type,
                claim.type,
                claim.confidence,
                claim.span,
            )
        )
        if claim.description:
            self.said |= {(claim.confidence, claim.description)}

    def relation(self) -> Relation:
        """Return it as it is stored."""
        return Relation.model_construct(
            _fields_set=_RELATION,
            id=self.id,
            type=self.type,
            source=self.source,
            target=self.target,
            description=self.description or best(self.said),
            confidence=max(one.confidence for one in self.mentions),
            mentions=self.count,
            structural=self.structural,
        )


def best(said: Iterable[tuple[float, str]]) -> str:
    """Return the surest description, of equally sure ones the longest that is not too long to read."""
    fitting = [(confidence, text[:LONGEST_DESCRIPTION]) for confidence, text in said]
    return min(fitting, key=lambda one: (-round(one[0], 1), -len(one[1]), one[1]))[1] if fitting else ""
