"""Names as they are compared: a unit is a name of one type, a cluster several that mean one thing.

What belongs here: the values that are passed between the comparisons. What does not: comparing (``resolution``, ``alike``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from callpipeline.graph.names import IDEA, PERSON, family, full_first_name, normal, plain
from callpipeline.knowledge import MergeReason


def best_written(ways: Mapping[str, int], kind: str) -> str:
    """Return the most frequent way; of equally frequent ones that of an idea with a small first letter ("REM sleep")."""
    small = family(kind) == IDEA

    def order(way: str) -> tuple[int, int, bool, str]:
        return -ways[way], -sum(map(str.isupper, way[1:])), way[:1].isupper() == small, way

    return min(ways, key=order)


@dataclass(eq=False)
class Unit:
    """A name of one type, wherever it occurs: what merges are made of.

    Attributes:
        base: family of types and plain name; what a merge's id is made from, as types are seldom agreed on.
        type: the node type that it was found as.
        plain: the plain name.
        scope: the recording, where equal names of people were told apart by somebody.
        things: keys of the ``Named`` it stands for.
        written: how it is written, and how often.
        recordings: where it occurs.
    """

    base: str
    type: str
    plain: str
    scope: str = ""
    things: list[str] = field(default_factory=list)
    written: Counter[str] = field(default_factory=Counter)
    recordings: set[str] = field(default_factory=set)

    @property
    def count(self) -> int:
        """How often it is named."""
        return sum(self.written.values())

    @property
    def name(self) -> str:
        """As it is written most often."""
        return best_written(
            {way: n for way, n in self.written.items() if plain(way) == self.plain}, self.type
        )

    @property
    def rank(self) -> tuple[object, ...]:
        """Sorts the names that lead first: named in most recordings, most often, without titles and nicknames."""
        said = normal(self.plain, self.type)
        short = self.type == PERSON and full_first_name(said) != said
        padded = self.plain != said
        return -len(self.recordings), -self.count, short, padded, self.plain, self.type, self.scope

    def take(self, other: Unit) -> None:
        """Make the places of ``other`` this unit's own."""
        self.things += other.things
        self.written.update(other.written)
        self.recordings |= other.recordings


@dataclass
class Cluster:
    """Names of one thing; the first leads."""

    units: list[Unit]

    @property
    def name(self) -> str:
        """The leading name as it is written most often."""
        lead, ways = self.units[0], Counter[str]()
        for unit in self.units:
            ways.update({way: n for way, n in unit.written.items() if plain(way) == lead.plain})
        return best_written(ways, lead.type)


class Lead(NamedTuple):
    """A cluster as its leading name, with the recordings of all its names."""

    unit: Unit
    recordings: frozenset[str]


class Proposal(NamedTuple):
    """A reason to take two units for one."""

    one: Unit
    other: Unit
    reason: MergeReason
    score: float
    explanation: str
