"""Names that are not equal but alike: other spellings, words misheard, other wordings of one idea.

Letters alone say little of ideas ("meditation" and "medication" differ by one), so what is no mere spelling needs a vector
that agrees; names of people, places, bodies and events may differ by a letter where one recording uses both. What does not
belong here: carrying merges out (``resolution``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from callpipeline.graph.names import IDEA, PERSON, family, normal, numbers, spelling, word_set
from callpipeline.graph.units import Lead, Proposal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]
    Vectors = Mapping[str, Vector]

SHORTEST_SPELLING = 5
"""Characters that a name must have to be folded: too many short words become one."""
SHORTEST_SLIP = 5
"""Characters of a word that may differ by one letter from another."""
SAME_MEANING = 0.92
"""Cosine from which on two wordings mean one idea. "Sleep deprivation" and "lack of sleep" are near 0.8 with OpenAI's
small embeddings; opposites ("raises dopamine", "lowers dopamine") reach 0.9."""
SAME_MEANING_AND_LETTERS = 0.80
"""Cosine that is enough for names that are also written nearly alike."""
SAME_LETTERS = 0.85
"""Share of letters that are equal in names that are written nearly alike."""

_ROWS = 1024
_OPPOSITES = word_set(
    "no not non without anti increase decrease increased decreased increasing decreasing more less high low higher "
    "lower good bad better worse positive negative raise reduce raising reducing up down before after gain loss "
    "short long internal external over under hyper hypo pro con left right male female public private"
)


def alike_names(leads: Sequence[Lead], vectors: Vectors | None) -> Iterator[Proposal]:
    """Yield names that are so alike that they are taken for one, with how sure that is."""
    yield from _spellings(leads)
    yield from _slips(leads)
    if vectors:
        yield from _meanings(leads, vectors)


# --- spellings ----------------------------------------------------------------------------------------


def _spellings(leads: Iterable[Lead]) -> Iterator[Proposal]:
    groups: dict[tuple[str, str], list[Lead]] = defaultdict(list)
    for lead in leads:
        if len(lead.unit.plain) >= SHORTEST_SPELLING:
            of = family(lead.unit.type)
            groups[of, spelling(normal(lead.unit.plain, of), proper=of != IDEA)].append(lead)
    for held in groups.values():
        first, *others = sorted(held, key=lambda lead: lead.unit.rank)
        for other in others:
            # One person is not another for the same sound: "Ann Philips" and "Anne Phillips" need a recording in common.
            if first.unit.type == PERSON and not first.recordings & other.recordings:
                continue
            text = f'"{first.unit.name}" and "{other.unit.name}" differ only in spelling.'
            yield Proposal(first.unit, other.unit, "similar_name", 0.95, text)


def _slips(leads: Iterable[Lead]) -> Iterator[Proposal]:
    """Yield proper names of one recording that differ by a letter inside a word, as words that were misheard do."""
    places: dict[tuple[str, str, str], list[Lead]] = defaultdict(list)
    for lead in leads:
        of = family(lead.unit.type)
        if of != IDEA:
            for gap in _with_gaps(lead.unit.plain):
                for recording in lead.recordings:
                    places[recording, of, gap].append(lead)
    seen: set[tuple[int, int]] = set()
    for held in places.values():
        for one, other in pairwise(sorted(held, key=lambda lead: lead.unit.rank)):
            pair = id(one.unit), id(other.unit)
            if (
                one.unit is not other.unit
                and pair not in seen
                and _one_letter(one.unit.plain, other.unit.plain)
            ):
                seen.add(pair)
                text = f'"{one.unit.name}" and "{other.unit.name}" differ by one letter, and a recording has both.'
                yield Proposal(one.unit, other.unit, "similar_name", 0.8, text)


def _with_gaps(name: str) -> set[str]:
    """Return the name with one inner letter of one long word left out, and as it is: names a letter apart share one."""
    found = {name}
    words = name.split(" ")
    for at, word in enumerate(words):
        if len(word) >= SHORTEST_SLIP and word.isalpha():
            for letter in range(1, len(word) - 1):
                gap = f"{word[:letter]}{word[letter + 1 :]}"
                found.add(" ".join((*words[:at], gap, *words[at + 1 :])))
    return found


def _one_letter(one: str, other: str) -> bool:
    from rapidfuzz.distance import Levenshtein

    if numbers(one) != numbers(other):
        return False
    words, others = one.split(" "), other.split(" ")
    if len(words) != len(others):
        return False
    differing = [(a, b) for a, b in zip(words, others, strict=True) if a != b]
    if len(differing) != 1:
        return False
    a, b = differing[0]
    return (
        min(len(a), len(b)) >= SHORTEST_SLIP
        and (a[0], a[-1]) == (b[0], b[-1])
        and Levenshtein.distance(a, b, score_cutoff=1) == 1
    )


# --- meanings -----------------------------------------------------------------------------------------


def _meanings(leads: Iterable[Lead], vectors: Vectors) -> Iterator[Proposal]:
    from rapidfuzz.distance import Levenshtein

    known = [lead for lead in leads if family(lead.unit.type) == IDEA and lead.unit.name in vectors]
    for one, other, cosine in _near([vectors[lead.unit.name] for lead in known]):
        a, b = known[one].unit, known[other].unit
        if numbers(a.plain) != numbers(b.plain) or _is_opposite(a.plain, b.plain):
            continue
        if Levenshtein.normalized_similarity(a.plain, b.plain) >= SAME_LETTERS:
            text = f'"{a.name}" and "{b.name}" are written nearly alike and mean nearly the same (cosine {cosine:.2f}).'
            yield Proposal(a, b, "similar_name", round(cosine, 4), text)
        elif cosine >= SAME_MEANING:
            text = f'"{a.name}" and "{b.name}" mean nearly the same (cosine {cosine:.2f}).'
            yield Proposal(a, b, "embedding", round(cosine, 4), text)


def _near(vectors: Sequence[Vector]) -> Iterator[tuple[int, int, float]]:
    """Yield pairs of vectors at least ``SAME_MEANING_AND_LETTERS`` near, some rows at a time so that memory stays small."""
    import numpy as np

    if not vectors:
        return
    matrix = np.stack(vectors)
    for begin in range(0, len(matrix), _ROWS):
        cosines = matrix[begin : begin + _ROWS] @ matrix[begin:].T
        for row, column in np.argwhere(cosines >= SAME_MEANING_AND_LETTERS):
            if column > row:
                yield begin + int(row), begin + int(column), float(cosines[row, column])


def _is_opposite(one: str, other: str) -> bool:
    return bool((set(one.split(" ")) ^ set(other.split(" "))) & _OPPOSITES)
