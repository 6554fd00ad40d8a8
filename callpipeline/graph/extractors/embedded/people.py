"""Who "Dr. Ashdown" and "Helen" are: the full names of people within one recording.

What belongs here: short names of a recording that only one of its people can bear. What does not: people of different
recordings; that is decided when the graph is built, can be seen there, and undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace

from callpipeline.graph.extractors.embedded.lexicon import lexicon
from callpipeline.graph.extractors.embedded.phrases import Phrase

_MOST_WORDS = 3


def speaking(labels: Iterable[str]) -> set[str]:
    """Return the full names of people by whom things are said, without titles: no "Speaker 1", no "Chairwoman Reyes"."""
    found = set()
    for label in set(labels):
        words = [word for word in label.split() if word.lower().rstrip(".") not in lexicon().titles]
        if 2 <= len(words) <= _MOST_WORDS and all(word[:1].isupper() and word.isalpha() for word in words):
            found.add(" ".join(words))
    return found


def full_names(phrases: Iterable[Phrase], speakers: Set[str]) -> dict[str, str]:
    """Return for each short name the full one, where the recording has just one that fits."""
    whole: set[str] = set(speakers)
    short: set[str] = set()
    for phrase in phrases:
        if phrase.type == "Person":
            (whole if " " in phrase.name else short).add(phrase.name)
    found = {}
    for name in short:
        bearers = [full for full in whole if name in (full.split()[0], full.split()[-1])]
        if len(bearers) == 1:
            found[name] = bearers[0]
    return found


def in_full(phrase: Phrase, full: Mapping[str, str]) -> Phrase:
    """Return a phrase under the full name of its person."""
    name = full.get(phrase.name) if phrase.type == "Person" else None
    if name is None:
        return phrase
    return replace(phrase, name=name, key=f"Person:{name.lower()}", confidence=max(phrase.confidence, 0.75))
