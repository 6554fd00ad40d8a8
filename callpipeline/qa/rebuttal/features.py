"""Features of one turn for the act classifiers: words, meaning classes, letters and what was said just before.

What belongs here: turning words into feature numbers (32-bit hashes of names), the same way in training and at run time.
What does not: weights, labels, decisions.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

from callpipeline.qa.rebuttal.words import concept, topic, word_class

_MAX_WORDS = 60
_CONTEXT_WORDS = 14
_SHORT = 5


def turn_features(words: Sequence[str], before: Sequence[str] = (), before_act: str = "") -> list[int]:
    """Return the features of a turn.

    Args:
        words: the words of the turn (see ``words.tokens``).
        before: the words of the other speaker's turn before it, empty at the start of a call.
        before_act: what kind of turn that was, empty when unknown.
    """
    return sorted({zlib.crc32(name.encode()) for name in _names(words, before, before_act)})


def _names(words: Sequence[str], before: Sequence[str], before_act: str) -> Iterator[str]:
    kept = list(words[:_MAX_WORDS])
    yield from _word_names(kept)
    yield from _concept_names([c for c in map(concept, kept) if c])
    yield from _class_names(kept)
    yield from _letter_names(kept)
    yield f"n={min(len(kept), 6) if len(kept) < 7 else 7 + min(len(kept) // 8, 4)}"
    yield from _topic_names([concept(word) for word in kept])
    if before_act:
        yield f"b={before_act}"
    yield from _context_names(kept, list(before[-_CONTEXT_WORDS:]), before_act)


def _word_names(words: list[str]) -> Iterator[str]:
    padded = ["<", *words, ">"]
    for i, word in enumerate(padded):
        yield f"w={word}"
        if i + 1 < len(padded):
            yield f"w={word} {padded[i + 1]}"
        if i + 2 < len(padded):
            yield f"w={word} {padded[i + 1]} {padded[i + 2]}"


def _concept_names(concepts: list[str]) -> Iterator[str]:
    padded = ["<", *concepts, ">"]
    for i, first in enumerate(padded):
        yield f"c={first}"
        for gap in (1, 2, 3):
            if i + gap < len(padded):
                yield f"c{min(gap, 2)}={first} {padded[i + gap]}"
        if i + 2 < len(padded):
            yield f"c={first} {padded[i + 1]} {padded[i + 2]}"


def _class_names(words: list[str]) -> Iterator[str]:
    classes = [found for word in words if (found := word_class(word))]
    broad = ["<", *(b for b, _ in classes), ">"]
    for _, fine in classes:
        yield f"k={fine}"
    for i, first in enumerate(broad):
        yield f"g={first}"
        if i + 1 < len(broad):
            yield f"g={first} {broad[i + 1]}"
        if i + 2 < len(broad):
            yield f"g={first} {broad[i + 1]} {broad[i + 2]}"
    fines = ["<", *(f for _, f in classes), ">"]
    for first, second in pairwise(fines):
        yield f"k={first} {second}"


def _topic_names(concepts: list[str | None]) -> Iterator[str]:
    """Say how much of a turn is about the sale and how much about everyday things, whatever the words are."""
    topics = [topic(c) for c in concepts if c]
    core = min(topics.count("sale"), 3)
    everyday = min(topics.count("everyday"), 2)
    asks = int("ask" in concepts or "would" in concepts)
    size = "short" if len(concepts) <= _SHORT else "mid" if len(concepts) <= 3 * _SHORT else "long"
    yield f"t={core}"
    yield f"t={core},{everyday}"
    yield f"t={core},{everyday},{size}"
    yield f"t={core},{everyday},{size},{asks}"


def _letter_names(words: list[str]) -> Iterator[str]:
    for word in words:
        padded = f"<{word}>"
        for size in (3, 4):
            for i in range(len(padded) - size + 1):
                yield f"l={padded[i : i + size]}"


def _context_names(words: list[str], before: list[str], before_act: str) -> Iterator[str]:
    before_concepts = {c for c in map(concept, before) if c}
    yield from (f"bc={name}" for name in before_concepts)
    if len(words) <= _SHORT:
        short = " ".join(words)
        yield f"s={short}|b={before_act}"
        yield from (f"s={short}|bc={name}" for name in before_concepts)
