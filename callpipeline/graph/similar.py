"""Texts that are nearly equal: found exactly, without comparing each with each.

What belongs here: an index over texts, and how equal two of them are. What does not: what is made of it.

Texts are sets of shingles (three words in a row, without case and punctuation); how equal two are is the share of
shingles that they have in common (Jaccard). Of two sets with a share of at least t, put in any one order, the first
(1 - t) and a few more have as few in common (Wang et al., "Can we beat the prefix filtering?", 2012). So only those are
indexed, nothing is missed, and what they find is compared in full.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter, defaultdict
from itertools import chain
from math import ceil
from typing import TypeAlias
from zlib import crc32

WORDS = 3
"""Words in a shingle: enough that word order counts, few enough that one other word changes no more than three."""

IN_COMMON = 4
"""Indexed shingles that two similar texts have in common: with one alone, each "a lot of" would be a candidate."""

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_ROUNDING = 1e-9

Shingles: TypeAlias = "array[int]"
"""Hashes of a text's shingles (32 bits), sorted, each once."""


class SimilarTexts:
    """Texts by their hash, to be asked for the one that another is most like.

    ``threshold``: a share in common below it does not count. 1 stands for texts that are exactly equal: they have the
    same hash, so there is nothing to look for. Not for several threads at once.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._texts: dict[str, Shingles] = {}
        self._index: defaultdict[int, list[str]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, sha256: str, text: str) -> None:
        """Take in a text; one that is there already changes nothing."""
        if self._threshold >= 1 or sha256 in self._texts:
            return
        found = shingles(text)
        if found:
            self._texts[sha256] = found
            for shingle in self._first(found):
                self._index[shingle].append(sha256)

    def nearest(self, text: str) -> tuple[str, float] | None:
        """Return the hash of the most similar text and how equal it is (0-1), ``None`` if there is none.

        Of equally similar ones the smallest hash, so that the order in which they came does not matter.
        """
        asked = shingles(text)
        if not asked:
            return None
        counts = Counter(chain.from_iterable(self._index.get(shingle, ()) for shingle in self._first(asked)))
        least = min(IN_COMMON, self._least(asked))
        candidates = (sha for sha, count in counts.items() if count >= least)
        own = frozenset(asked)
        found = ((jaccard(own, self._texts[sha]), sha) for sha in candidates)
        similar = [(-share, sha) for share, sha in found if share >= self._threshold - _ROUNDING]
        if not similar:
            return None
        share, sha = min(similar)
        return sha, -share

    def _first(self, found: Shingles) -> Shingles:
        """Return the shingles of which two similar texts have some in common."""
        return found[: len(found) - self._least(found) + IN_COMMON]

    def _least(self, found: Shingles) -> int:
        """Return how many shingles a text that is similar enough has in common with this one at least."""
        return ceil(self._threshold * len(found) - _ROUNDING)


def shingles(text: str) -> Shingles:
    """Return the shingles of a text; of one that is shorter than a shingle, all of it; of none, none."""
    words = _WORD.findall(text.lower())
    if not words:
        return array("I")
    size = min(WORDS, len(words))
    runs = zip(*(words[start:] for start in range(size)), strict=False)
    return array("I", sorted({crc32(" ".join(run).encode()) for run in runs}))


def jaccard(one: frozenset[int], other: Shingles) -> float:
    """Return the share of two texts' shingles that both have, 0-1."""
    common = len(one.intersection(other))
    return common / (len(one) + len(other) - common)
