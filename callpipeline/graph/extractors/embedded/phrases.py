"""Things that a sentence names: a stretch of its words, with a type. Noun phrases are found here.

What belongs here: the phrase, and the noun phrases of a sentence by its stop words and verbs. What does not: proper
names (``names``), amounts and dates (``figures``), and which phrases are worth keeping (``found``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from callpipeline.graph.extractors.embedded.lexicon import Kind, lexicon
from callpipeline.graph.extractors.embedded.tokens import CLAUSE_BEGINS, Token

MOST_WORDS = 4
"""Longer runs without a stop word are lists, or speech that was recognised badly."""

LONGEST_UNPUNCTUATED = 3
"""The same where no punctuation tells where a sentence ends."""

_SHORTEST = 4
"""Characters of a noun phrase of one word, unless it is an abbreviation."""

_LACKS = frozenset({"poor", "bad", "less", "fewer", "little", "low", "weak", "no"})
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")
_NOUNS = frozenset({"vegetable", "timetable", "syllable", "variable", "handful", "spoonful"})
_KEEPS_S = ("ss", "us", "is")


@dataclass(frozen=True, slots=True)
class Phrase:
    """Something named by the words ``first`` to ``last`` (inclusive) of a sentence.

    ``key`` is the same for all forms of it. ``proper``: a name, kept by itself; other phrases must prove themselves.
    ``anchored``: its surroundings show that it is a noun phrase.
    """

    first: int
    last: int
    key: str
    name: str
    type: str
    confidence: float
    proper: bool = False
    anchored: bool = False
    description: str = ""


def noun_phrases(tokens: Sequence[Token], taken: frozenset[int], *, cased: bool) -> list[Phrase]:
    """Return the noun phrases among the words that no name has ``taken``; "loss of sleep" is one.

    Without ``cased`` text there is no punctuation either: what looks long is the end of one sentence and the beginning
    of the next, of which the last words are kept.
    """
    runs = _runs(tokens, taken)
    if not cased:
        runs = [run if run[1] - run[0] < LONGEST_UNPUNCTUATED else (run[1] - 1, run[1]) for run in runs]
    runs = [run for run in runs if _fits(tokens, run)]
    found: list[Phrase] = []
    at = 0
    while at < len(runs):
        first, last = runs[at]
        if at + 1 < len(runs) and _joined_by_of(tokens, last, runs[at + 1][0]):
            joined = (first, runs[at + 1][1])
            if joined[1] - joined[0] <= MOST_WORDS:
                found.append(_phrase(tokens, joined, head=last))
                at += 2
                continue
        year = _of_year(tokens, first, last)
        phrase = _phrase(tokens, (first, year or last), head=last)
        found.append(replace(phrase, proper=True, confidence=0.7) if year else phrase)
        at += 1
    return found


def with_lack(tokens: Sequence[Token], phrase: Phrase) -> Phrase:
    """Return ``phrase`` with the word before it that turns it round: "poor sleep" does what sleep does not."""
    at = phrase.first - 1
    if phrase.proper or at < 0 or tokens[phrase.first].gap or tokens[at].plain not in _LACKS:
        return phrase
    word = tokens[at].plain
    return replace(phrase, first=at, key=f"{word} {phrase.key}", name=f"{word} {phrase.name}", type="Concept")


def with_gerund(tokens: Sequence[Token], phrase: Phrase) -> Phrase:
    """Return ``phrase`` with the gerund before it: "eating fiber", not "fiber", is what lowers something."""
    at = phrase.first
    while (
        at and not tokens[at].gap and tokens[at - 1].kind in {Kind.DETERMINER, Kind.NUMBER, Kind.PREPOSITION}
    ):
        at -= 1
    before = at - 1
    if phrase.proper or before < 0 or tokens[at].gap or not tokens[before].plain.endswith("ing"):
        return phrase
    if tokens[before].kind is not Kind.VERB or not _begins_clause(tokens, before):
        return phrase
    words = [token.plain for token in tokens[before : phrase.last + 1] if token.kind is not Kind.DETERMINER]
    key = " ".join([*words[:-1], singular(words[-1])])
    return Phrase(before, phrase.last, key, " ".join(words), "Practice", 0.6, anchored=True)


@lru_cache(maxsize=8192)
def singular(word: str) -> str:
    """Return a plain singular of an English noun."""
    if len(word) < _SHORTEST or word.endswith(_KEEPS_S) or not word.endswith("s"):
        return word
    if word.endswith("ies") and len(word) > _SHORTEST:
        return f"{word[:-3]}y"
    return word[:-2] if word.endswith(("sses", "shes", "ches", "xes")) else word[:-1]


@lru_cache(maxsize=8192)
def type_of(head: str) -> str:
    """Return the type of a thing by the last word of its name."""
    known = lexicon()
    for words, name in (
        (known.states, "CognitiveState"),
        (known.practices, "Practice"),
        (known.patterns, "BehavioralPattern"),
        (known.events, "Event"),
        (known.principles, "Principle"),
        (known.outcomes, "Outcome"),
    ):
        if head in words or singular(head) in words:
            return name
    return "Concept"


def _runs(tokens: Sequence[Token], taken: frozenset[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    first: int | None = None
    for at, token in enumerate(tokens):
        open_run = first is not None and not token.gap
        if token.noun and at not in taken:
            if not open_run:
                if first is not None:
                    found.append((first, at - 1))
                first = at
        elif first is not None:
            found.append((first, at - 1))
            first = None
    if first is not None:
        found.append((first, len(tokens) - 1))
    return [run for each in found if (run := _trimmed(tokens, *each)) is not None]


def _trimmed(tokens: Sequence[Token], first: int, last: int) -> tuple[int, int] | None:
    weak = lexicon().weak_ends
    while last >= first and (tokens[last].plain in weak or _ends_as_adjective(tokens[last].plain)):
        last -= 1
    return (first, last) if last >= first else None


def _ends_as_adjective(word: str) -> bool:
    return len(word) > 5 and word.endswith(("ful", "ous", "less", "able", "ible")) and word not in _NOUNS


def _fits(tokens: Sequence[Token], run: tuple[int, int]) -> bool:
    first, last = run
    if last - first >= MOST_WORDS:
        return False
    if first < last:
        return all(len(tokens[at].plain) > 1 for at in range(first, last + 1))
    token = tokens[first]
    return len(token.plain) >= _SHORTEST or (token.text.isupper() and len(token.text) > 1)


def _joined_by_of(tokens: Sequence[Token], last: int, after: int) -> bool:
    between = tokens[last + 1 : after]
    if not between or between[0].plain != "of" or any(token.gap for token in tokens[last + 1 : after + 1]):
        return False
    return all(token.kind is Kind.DETERMINER for token in between[1:])


def _of_year(tokens: Sequence[Token], first: int, last: int) -> int | None:
    """Return the place of the year in "the flood of 2011"."""
    follows = [token.plain for token in tokens[last + 1 : last + 3]]
    is_event = type_of(tokens[last].plain) == "Event" and last - first < MOST_WORDS
    return last + 2 if is_event and follows[:1] == ["of"] and _YEAR.fullmatch(follows[-1]) else None


def _phrase(tokens: Sequence[Token], run: tuple[int, int], head: int) -> Phrase:
    first, last = run
    words = [_shown(token) for token in tokens[first : last + 1] if token.kind is not Kind.DETERMINER]
    key = " ".join([*(word.lower() for word in words[:-1]), singular(words[-1].lower())])
    before = tokens[first - 1] if first and not tokens[first].gap else None
    anchored = before is not None and before.kind in {Kind.DETERMINER, Kind.PREPOSITION, Kind.NUMBER}
    confidence = 0.5 + 0.05 * (last > first) + 0.05 * anchored
    return Phrase(
        first, last, key, " ".join(words), type_of(tokens[head].plain), confidence, anchored=anchored
    )


def _shown(token: Token) -> str:
    return token.text if token.text.isupper() and len(token.text) > 1 else token.plain


def _begins_clause(tokens: Sequence[Token], at: int) -> bool:
    return at == 0 or bool(tokens[at].gap) or tokens[at - 1].plain in CLAUSE_BEGINS
