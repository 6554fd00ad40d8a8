"""Which names mean one thing.

Names are compared within families of types (people, places, organisations, events, ideas), first those that are equal
but for their form, then those that are surely another name, another spelling or another wording. Every merge of two
names is told with its reason and can be undone; in doubt two things stay two: a wrong merge makes claims about people
that nobody made, a missing one only a second node.

What belongs here: deciding, with names, where they occur and vectors. What does not: how a name looks in plain form
(``names``), and making nodes (``build``).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from callpipeline.graph.alike import alike_names
from callpipeline.graph.gathering import Named
from callpipeline.graph.names import PERSON, family, full_first_name, initials, is_lone, normal, plain
from callpipeline.graph.units import Cluster, Lead, Proposal, Unit
from callpipeline.knowledge import MergeReason

if TYPE_CHECKING:
    from callpipeline.graph.alike import Vectors

SHORTEST_ABBREVIATION = 3
LONGEST_ABBREVIATION = 6


class Merged(NamedTuple):
    """Two names that were taken for one. ``into`` is the unit whose cluster it is told of."""

    id: str
    into: Unit
    name: str
    other: str
    type: str
    reason: MergeReason
    score: float
    explanation: str


def merge_id(one: str, other: str, scope: str = "") -> str:
    """Return the id of the merge of two bases: the same whichever leads, and whatever the reason."""
    text = "\n".join((*sorted((one, other)), scope))
    return f"m{hashlib.sha256(text.encode()).hexdigest()[:15]}"


def resolve(
    named: Iterable[Named], apart: Collection[str] = (), vectors: Vectors | None = None
) -> tuple[list[Cluster], list[Merged]]:
    """Return the things that all names stand for, and every merge that was made.

    Args:
        named: all places that name something.
        apart: ids of merges that are not to be made, nor brought about by way of others.
        vectors: by name, of unit length; names without one are compared as strings only.
    """
    people, others = _units(named)
    merges: list[Merged] = []
    units = [*_people(people, apart, merges), *others.values()]
    units.sort(key=lambda unit: unit.rank)
    clusters = _Clusters(units, apart, merges)
    clusters.join_all(_same_names(units))
    clusters.join_all(_aliases(units))
    clusters.attach_all(alike_names(clusters.leads(), vectors))
    return clusters.clusters(), merges


# --- places to units ----------------------------------------------------------------------------------


def _units(named: Iterable[Named]) -> tuple[dict[str, Unit], dict[str, Unit]]:
    """Return people by recording, and all others, by the key of the thing."""
    people: dict[str, Unit] = {}
    others: dict[str, Unit] = {}
    for one in named:
        is_person = one.type == PERSON
        held = people if is_person else others
        unit = held.get(one.thing)
        if unit is None:
            said = plain(one.name)
            scope = one.recording if is_person else ""
            unit = held[one.thing] = Unit(f"{family(one.type)}:{said}", one.type, said, scope, [one.thing])
        unit.written[one.name] += 1
        unit.recordings.add(one.recording)
    return people, others


def _people(people: Mapping[str, Unit], apart: Collection[str], merges: list[Merged]) -> list[Unit]:
    """Return people over all recordings.

    A single name is first taken for the one person of its recording who has it. What is left is one person a name:
    that is a guess, so it is told as a merge, and somebody may tell them apart again.
    """
    by_recording: dict[str, list[Unit]] = defaultdict(list)
    for unit in people.values():
        by_recording[unit.scope].append(unit)
    owners = {key: owner for held in by_recording.values() for key, owner in _owners(held, apart).items()}
    by_base: dict[str, list[Unit]] = defaultdict(list)
    for key, unit in people.items():
        if key not in owners:
            by_base[unit.base].append(unit)
    units: list[Unit] = []
    into: dict[int, Unit] = {}
    for base, same in sorted(by_base.items()):
        for unit in _over_recordings(base, same, apart, merges):
            units.append(unit)
            into.update((id(one), unit) for one in same if one.things[0] in unit.things)
    for key, owner in sorted(owners.items()):
        unit, target = people[key], into[id(owner)]
        merges.append(_lone_name(unit, owner, target))
        target.take(unit)
    return units


def _owners(held: Sequence[Unit], apart: Collection[str]) -> dict[str, Unit]:
    """Return whom the single names of one recording mean, where only one person has that name."""
    having: dict[str, list[Unit]] = defaultdict(list)
    for unit in held:
        words = normal(unit.plain, PERSON).split(" ")
        if len(words) > 1:
            for word in {words[0], words[-1]}:
                having[word].append(unit)
    owners = {}
    for unit in held:
        said = normal(unit.plain, PERSON)
        those = having.get(said, ()) if is_lone(said) else ()
        # "John Smith" and "Mr John Smith" are one person; two who share a name leave open who is meant.
        if len({normal(one.plain, PERSON) for one in those}) == 1:
            owner = min(those, key=lambda one: one.rank)
            if merge_id(unit.base, owner.base, unit.scope) not in apart:
                owners[unit.things[0]] = owner
    return owners


def _lone_name(unit: Unit, owner: Unit, target: Unit) -> Merged:
    return Merged(
        merge_id(unit.base, owner.base, unit.scope),
        target,
        owner.name,
        unit.name,
        PERSON,
        "alias",
        0.85,
        f'"{owner.name}" is the only person in that recording who is called "{unit.name}".',
    )


def _over_recordings(
    base: str, same: Sequence[Unit], apart: Collection[str], merges: list[Merged]
) -> list[Unit]:
    if len(same) == 1:
        same[0].scope = ""
        return [same[0]]
    told_apart = merge_id(base, base)
    if told_apart in apart:
        return list(same)
    unit = Unit(base, PERSON, same[0].plain)
    for one in sorted(same, key=lambda one: one.scope):
        unit.take(one)
    lone = is_lone(normal(unit.plain, PERSON))
    score = 0.6 if lone else 0.9
    doubt = " It is one name only, so they may well be several people." if lone else ""
    merges.append(
        Merged(
            told_apart,
            unit,
            unit.name,
            unit.name,
            PERSON,
            "same_name",
            score,
            f'"{unit.name}" is named in {len(same)} recordings; the same name is taken for the same person.{doubt}',
        )
    )
    return [unit]


# --- names that are equal, and other names --------------------------------------------------------------


def _same_names(units: Sequence[Unit]) -> Iterator[Proposal]:
    """Yield equal names, each with the leading one; ``units`` are in order of rank."""
    types: dict[str, list[Unit]] = defaultdict(list)
    for unit in units:
        types[unit.base].append(unit)
    for same in types.values():
        found = ", ".join(f"{unit.type} ({unit.count})" for unit in same)
        text = f'"{same[0].name}" was found as several types: {found}. The name is the same.'
        for unit in same[1:]:
            yield Proposal(same[0], unit, "same_name", 0.9, text)
    leading: dict[tuple[str, str], Unit] = {}
    for unit in units:
        first = leading.setdefault((family(unit.type), normal(unit.plain, unit.type)), unit)
        if first.base != unit.base:
            text = f'"{first.name}" and "{unit.name}" are the same name but for their form.'
            yield Proposal(first, unit, "same_name", 1.0, text)


def _aliases(units: Sequence[Unit]) -> Iterator[Proposal]:
    yield from _nicknames(units)
    yield from _abbreviations(units)


def _nicknames(units: Sequence[Unit]) -> Iterator[Proposal]:
    leading: dict[str, Unit] = {}
    for unit in units:
        if unit.type != PERSON:
            continue
        said = normal(unit.plain, PERSON)
        first = leading.setdefault(full_first_name(said), unit)
        if normal(first.plain, PERSON) != said:
            text = f'The first name of "{unit.name}" is a form of that of "{first.name}".'
            yield Proposal(first, unit, "alias", 0.85, text)


def _abbreviations(units: Sequence[Unit]) -> Iterator[Proposal]:
    """Yield abbreviations with the one long form that has these initials and is used in the same recording."""
    long_forms: dict[tuple[str, str], list[Unit]] = defaultdict(list)
    for unit in units:
        if unit.type != PERSON and not is_lone(unit.plain):
            long_forms[family(unit.type), initials(normal(unit.plain, unit.type))].append(unit)
    for unit in units:
        if not _is_abbreviation(unit):
            continue
        meant = [one for one in long_forms[family(unit.type), unit.plain] if one.recordings & unit.recordings]
        if len({normal(one.plain, one.type) for one in meant}) == 1:
            text = f'"{unit.name}" are the initials of "{meant[0].name}", and a recording uses both.'
            yield Proposal(meant[0], unit, "alias", 0.9, text)


def _is_abbreviation(unit: Unit) -> bool:
    return (
        SHORTEST_ABBREVIATION <= len(unit.plain) <= LONGEST_ABBREVIATION
        and unit.plain.isalpha()
        and unit.name.replace(".", "").isupper()
    )


# --- clusters -----------------------------------------------------------------------------------------


class _Clusters:
    """Units that are one thing by now. What must stay apart stays apart by whatever way it would come together."""

    def __init__(self, units: Sequence[Unit], apart: Collection[str], merges: list[Merged]) -> None:
        self._apart = frozenset(apart)
        self._merges = merges
        self._told: set[str] = set()
        self._of: dict[int, list[Unit]] = {id(unit): [unit] for unit in units}
        self._units = units

    def join_all(self, proposals: Iterable[Proposal]) -> None:
        for proposal in proposals:
            self._join(proposal)

    def attach_all(self, proposals: Iterable[Proposal]) -> None:
        """Join what is only alike, the surest first, and never in chains: A like B like C does not make A like C."""
        attached: set[int] = set()
        leading: set[int] = set()
        for proposal in sorted(proposals, key=_surest):
            one, other = sorted((proposal.one, proposal.other), key=lambda unit: unit.rank)
            if id(one) in attached or id(other) in attached or id(other) in leading:
                continue
            if self._join(proposal._replace(one=one, other=other)):
                attached.add(id(other))
                leading.add(id(one))

    def leads(self) -> list[Lead]:
        """Return each cluster as its leading name and the recordings of all its names."""
        return [
            Lead(cluster.units[0], frozenset().union(*(unit.recordings for unit in cluster.units)))
            for cluster in self.clusters()
        ]

    def clusters(self) -> list[Cluster]:
        seen: set[int] = set()
        found = []
        for unit in self._units:
            units = self._of[id(unit)]
            if id(units) not in seen:
                seen.add(id(units))
                found.append(Cluster(sorted(units, key=lambda one: one.rank)))
        return found

    def _join(self, proposal: Proposal) -> bool:
        one, other = self._of[id(proposal.one)], self._of[id(proposal.other)]
        if one is other or self._must_stay_apart(one, other):
            return False
        if len(one) < len(other):
            one, other = other, one
        one += other
        for unit in other:
            self._of[id(unit)] = one
        of = merge_id(proposal.one.base, proposal.other.base)
        if of in self._told:  # the same two names, once more with another type
            return True
        self._told.add(of)
        self._merges.append(
            Merged(
                of,
                proposal.one,
                proposal.one.name,
                proposal.other.name,
                proposal.one.type,
                proposal.reason,
                proposal.score,
                proposal.explanation,
            )
        )
        return True

    def _must_stay_apart(self, one: Sequence[Unit], other: Sequence[Unit]) -> bool:
        return bool(self._apart) and any(merge_id(a.base, b.base) in self._apart for a in one for b in other)


def _surest(proposal: Proposal) -> tuple[object, ...]:
    ends = sorted((unit.base, unit.type, unit.scope) for unit in (proposal.one, proposal.other))
    return -proposal.score, *ends
