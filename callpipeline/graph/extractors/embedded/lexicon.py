"""The words that the embedded extractor knows, and what kind of word each is.

What belongs here: ``lexicon.toml`` as sets, ``cues.toml`` as patterns, and the kind of a word by itself. What does not:
words in their context.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum, auto
from functools import cache, lru_cache
from importlib import resources
from typing import Any

_NOUNS_IN_LY = frozenset(
    {"family", "supply", "assembly", "monopoly", "butterfly", "italy", "july", "anomaly", "bully"}
)
_SHORT_ED = 4


class Kind(IntEnum):
    """What kind of word it is. Integers, because they are looked up for every word several times."""

    STOP = auto()
    DETERMINER = auto()
    PREPOSITION = auto()
    PRONOUN = auto()
    MODAL = auto()
    VERB = auto()
    BOTH = auto()
    """A noun or a verb: its neighbours tell."""
    PAST = auto()
    """Ends in -ed: a verb, or an adjective before a noun."""
    NUMBER = auto()
    CONTENT = auto()


@dataclass(frozen=True)
class Lexicon:
    """The sets of ``lexicon.toml``; names of several words have spaces."""

    determiners: frozenset[str]
    pronouns: frozenset[str]
    modals: frozenset[str]
    prepositions: frozenset[str]
    negations: frozenset[str]
    hedges: frozenset[str]
    reporting: frozenset[str]
    to_nouns: frozenset[str]
    before_cue: frozenset[str]
    before_object: frozenset[str]
    numbers: frozenset[str]
    magnitudes: frozenset[str]
    months: frozenset[str]
    currencies: frozenset[str]
    stop: frozenset[str]
    weak_ends: frozenset[str]
    verbs: frozenset[str]
    both: frozenset[str]
    states: frozenset[str]
    practices: frozenset[str]
    patterns: frozenset[str]
    outcomes: frozenset[str]
    principles: frozenset[str]
    events: frozenset[str]
    titles: frozenset[str]
    org_ends: frozenset[str]
    org_begins: frozenset[str]
    place_ends: frozenset[str]
    street_ends: frozenset[str]
    event_ends: frozenset[str]
    law_ends: frozenset[str]
    not_names: frozenset[str]
    places: frozenset[str]
    given_names: frozenset[str]


@cache
def lexicon() -> Lexicon:
    """Return the shipped words."""
    table = tomllib.loads(_file("lexicon.toml"))
    return Lexicon(**{one.name: _words(table[one.name]) for one in fields(Lexicon)})


@cache
def kinds() -> Mapping[str, Kind]:
    """Return the kind of every word that has one by itself; the first rule that knows a word counts."""
    known = lexicon()
    table: dict[str, Kind] = {}
    for words, kind in (
        (known.determiners, Kind.DETERMINER),
        (known.prepositions, Kind.PREPOSITION),
        (known.modals, Kind.MODAL),
        (known.pronouns, Kind.PRONOUN),
        (known.numbers, Kind.NUMBER),
        (known.stop, Kind.STOP),
        (known.both, Kind.BOTH),
        ({form for verb in known.both for form in _third(verb)}, Kind.BOTH),
        (known.verbs, Kind.VERB),
        ({form for verb in known.verbs | known.both for form in _forms(verb)}, Kind.VERB),
    ):
        for word in words:
            table.setdefault(word, kind)
    return table


@lru_cache(maxsize=8192)
def kind_of(word: str) -> Kind:
    """Return the kind of a word in lower case."""
    found = kinds().get(word)
    if found is not None:
        return found
    if word[0].isdigit() or word[0] in "$€£":
        return Kind.NUMBER
    if len(word) < 3:
        return Kind.STOP
    if word.endswith("ly") and word not in _NOUNS_IN_LY:
        return Kind.STOP
    return Kind.PAST if word.endswith("ed") and len(word) > _SHORT_ED else Kind.CONTENT


@dataclass(frozen=True)
class CueWords:
    """One row of ``cues.toml``."""

    relation: str
    confidence: float
    pattern: re.Pattern[str]
    reverse: bool = False
    joint: str = ""


@cache
def cue_words() -> tuple[CueWords, ...]:
    """Return the cues with a target on their other side, the passive ones first: "caused by" is not "caused"."""
    return tuple(
        _cue(row, reverse=kind == "passive") for kind in ("passive", "active") for row in _cues()[kind]
    )


@cache
def joined_cues() -> tuple[CueWords, ...]:
    """Return the cues that both ends follow: "the effect of X on Y"."""
    return tuple(_cue(row) for row in _cues()["between"])


def _cue(row: Mapping[str, Any], *, reverse: bool = False) -> CueWords:
    pattern = re.compile(rf"(?<!\S)(?:{'|'.join(row['words'])})(?!\S)")
    return CueWords(row["relation"], row["confidence"], pattern, reverse, row.get("joint", ""))


@cache
def _cues() -> dict[str, Any]:
    return tomllib.loads(_file("cues.toml"))


def _file(name: str) -> str:
    return resources.files("callpipeline.graph.extractors.embedded").joinpath(name).read_text("utf-8")


def _third(verb: str) -> tuple[str, ...]:
    if verb.endswith(("s", "sh", "ch", "x", "z")):
        return (f"{verb}es",)
    if verb.endswith("y") and verb[-2] not in "aeou":
        return (f"{verb[:-1]}ies",)
    return (f"{verb}s",)


def _forms(verb: str) -> tuple[str, ...]:
    stem = verb.removesuffix("e")
    return (*_third(verb), f"{stem}ing", f"{stem}{stem[-1]}ing")


def _words(text: str) -> frozenset[str]:
    return frozenset(word.replace("_", " ") for word in text.split())
