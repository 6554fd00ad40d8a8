"""Sums of money and calendar dates.

What belongs here: figures that mean the same wherever they are said. What does not: percentages, counts, week days and
times of day: they say nothing without what they belong to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from callpipeline.graph.extractors.embedded.lexicon import Kind, lexicon
from callpipeline.graph.extractors.embedded.phrases import Phrase
from callpipeline.graph.extractors.embedded.tokens import Token

SUM = "A sum of money."

_SMALL = frozenset({"zero", "one", "two", "three", "four", "five"})
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")
_DAY = re.compile(r"\d{1,2}")


def figures(tokens: Sequence[Token]) -> list[Phrase]:
    """Return the sums of money and the dates of a sentence, in order."""
    return [*_sums(tokens), *_dates(tokens)]


def _sums(tokens: Sequence[Token]) -> Iterator[Phrase]:
    at = 0
    while at < len(tokens):
        if tokens[at].kind is not Kind.NUMBER:
            at += 1
            continue
        last = at
        while last + 1 < len(tokens) and _is_number(tokens[last + 1]):
            last += 1
        named = last + 1 < len(tokens) and tokens[last + 1].plain in lexicon().currencies
        if tokens[at].text[0] in "$€£":
            yield _figure(tokens, at, last, "Concept", SUM)
        elif named:
            last += 1
            if last > at + 1 or tokens[at].plain not in _SMALL:
                yield _figure(tokens, at, last, "Concept", SUM)
        at = last + 1


def _is_number(token: Token) -> bool:
    return not token.gap and (token.kind is Kind.NUMBER or token.plain in lexicon().magnitudes)


def _dates(tokens: Sequence[Token]) -> Iterator[Phrase]:
    """Yield "March 3, 2021", "March 2021", "3 March": a month with a day or a year."""
    for at, token in enumerate(tokens):
        if token.plain not in lexicon().months or (token.plain in {"may", "march"} and not token.capital):
            continue
        first = at - 1 if at and _DAY.fullmatch(tokens[at - 1].plain) else at
        last = at
        if first == at and last + 1 < len(tokens) and _DAY.fullmatch(tokens[last + 1].plain):
            last += 1
        if last + 1 < len(tokens) and _YEAR.fullmatch(tokens[last + 1].plain):
            last += 1
        if last > first:
            yield _figure(tokens, first, last, "Event", "A date.")


def _figure(tokens: Sequence[Token], first: int, last: int, kind: str, description: str) -> Phrase:
    shown = (token.text if kind == "Event" else token.plain for token in tokens[first : last + 1])
    name = " ".join(shown)
    return Phrase(
        first, last, f"{kind}:{name.lower()}", name, kind, 0.6, proper=True, description=description
    )
