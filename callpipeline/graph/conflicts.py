"""Where sources disagree: about what a thing is, what is said of it, and what it does.

Nothing is decided here and nothing is left out: a conflict lists what is said, with where it was found, for people to
look at. What does not belong here: contradictions that need an understanding of the words; only plain ones are seen
(other numbers, a "not", an opposite).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from callpipeline.graph.names import normal, numbers, plain, word_set
from callpipeline.graph.parts import Edge, Node
from callpipeline.graph.structure import surest
from callpipeline.knowledge import Conflict

COMPARED = 12
"""Descriptions of one thing that are compared with each other, the surest ones."""
SAME_WORDS = 0.6
"""Share of the words of the shorter of two descriptions that the other must have, to speak of the same."""

_FOR = word_set("CAUSES LEADS_TO ENABLES")
_AGAINST = word_set("REDUCES")
_NEGATIONS = word_set("no not never none cannot without dont doesnt isnt arent wasnt wont cant")
_SMALL = word_set(
    "a an the of in on at to for and or is are was were be by with it its this that as from has have had"
)
_OPPOSITES = {
    one: other
    for pair in (
        *(
            "increase decrease",
            "increases decreases",
            "raises lowers",
            "high low",
            "higher lower",
            "more less",
        ),
        *("good bad", "better worse", "helps harms", "improves worsens", "safe dangerous", "up down"),
        *("positive negative", "former current", "winner loser", "alive dead", "beneficial harmful"),
    )
    for one, other in (pair.split(), pair.split()[::-1])
}


def conflicts(nodes: Sequence[Node], edges: Iterable[Edge]) -> tuple[Conflict, ...]:
    """Return all disagreements, in order of the entity they are about."""
    found = [*_types(nodes), *_descriptions(nodes), *_claims(edges, {node.id: node.name for node in nodes})]
    return tuple(sorted(found, key=lambda one: (one.entity, one.field, one.values)))


def _types(nodes: Sequence[Node]) -> Iterator[Conflict]:
    """Yield names that were found as several types, whether they are one thing or not."""
    namesakes: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        namesakes[normal(plain(node.name), "")].append(node)
    for held in namesakes.values():
        first: dict[str, tuple[tuple[float, str, float, str], str]] = {}
        for one in (mention for node in held for mention in node.mentions):
            best = first.get(one.type)
            if best is None or surest(one) < best[0]:
                first[one.type] = surest(one), one.found
        if len(first) > 1:
            lead = min(held, key=lambda node: (-node.count, node.id))
            values = tuple((kind, found) for kind, (_, found) in sorted(first.items()))
            yield Conflict(entity=lead.id, field="type", values=values)


class _Said(NamedTuple):
    text: str
    found: str
    words: frozenset[str]
    numbers: frozenset[str]
    negated: bool


def _descriptions(nodes: Iterable[Node]) -> Iterator[Conflict]:
    for node in nodes:
        said = _compared(node)
        disagreeing: dict[str, str] = {}
        for one, other in combinations(said, 2):
            if _contradict(one, other):
                disagreeing.setdefault(one.text, one.found)
                disagreeing.setdefault(other.text, other.found)
        if disagreeing:
            yield Conflict(entity=node.id, field="description", values=tuple(sorted(disagreeing.items())))


def _compared(node: Node) -> list[_Said]:
    first: dict[str, tuple[str, str]] = {}
    for _, text, found in sorted(node.said, key=lambda one: (-one[0], one[1], one[2])):
        first.setdefault(plain(text), (text, found))
        if len(first) == COMPARED:
            break
    return [_said(text, found) for text, found in first.values()] if len(first) > 1 else []


def _said(text: str, found: str) -> _Said:
    words = frozenset(plain(text).split(" "))
    return _Said(text, found, words - _SMALL - _NEGATIONS, numbers(plain(text)), bool(words & _NEGATIONS))


def _contradict(one: _Said, other: _Said) -> bool:
    opposite = {_OPPOSITES[word] for word in one.words - other.words if word in _OPPOSITES} & (
        other.words - one.words
    )
    swapped = len(opposite)
    shared = len((one.words & other.words) - one.numbers) + swapped
    shorter = min(len(one.words - one.numbers), len(other.words - other.numbers))
    if not shorter or shared / shorter < SAME_WORDS:
        return False
    other_numbers = bool(one.numbers and other.numbers) and one.numbers.isdisjoint(other.numbers)
    return bool(opposite) or one.negated != other.negated or other_numbers


def _claims(edges: Iterable[Edge], names: Mapping[str, str]) -> Iterator[Conflict]:
    """Yield claims that a thing brings about what others say it reduces."""
    between: dict[tuple[str, str], list[Edge]] = defaultdict(list)
    for edge in edges:
        if edge.type in _FOR or edge.type in _AGAINST:
            between[edge.source, edge.target].append(edge)
    for (source, target), held in between.items():
        kinds = {edge.type for edge in held}
        if kinds & _FOR and kinds & _AGAINST:
            values = ((f"{edge.type} {names[target]}", min(edge.mentions, key=surest).found) for edge in held)
            yield Conflict(entity=source, field="relation", values=tuple(sorted(values)))
