"""Where a turn is cut into cues, and a cue into lines, so that they read well.

What belongs here: the choice of cuts for words with times. What does not: speakers and formats (``captions``).
The cuts of a turn are chosen together, the cheapest of all that fit, so that no cue is left with the last word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from callpipeline.speech.attribution import Spoken

LINE = 42
"""Characters in a line."""
SHORTEST, LONGEST = 1.0, 7.0
"""Seconds that a cue is shown."""

_CUE = 1.0
_INNER_END = 1.5
"""A sentence that ends inside a cue costs more than another cue: cuts are at the ends of sentences ..."""
_TOO_SHORT = 3.0
"""... but not for a cue that has to make room for the next one before it is read."""
_SLIGHT = 0.6
"""A cue of a word or two is uglier than a longer one."""
_PAUSE = 0.4
_AT_COMMA, _AT_PAUSE, _ANYWHERE, _AFTER_SMALL_WORD = 0.8, 1.0, 2.5, 4.0

_SENTENCE_END = re.compile(r"[.?!…]+[\"'”’)]*$")
_COMMA = re.compile(r"[,;:–—-][\"'”’)]*$")
_TITLES = frozenset({"mr", "mrs", "ms", "dr", "prof", "st"})
_SMALL = frozenset(
    re.findall(
        r"\w+",
        "a an the of to in on at by for from with and or but nor as if that this these those is are was were be been"
        " am my your his her its our their not no very so i we he she it they who which than because mr mrs ms dr prof st",
    )
)


def cue_cuts(words: Sequence[Spoken], room: int) -> list[tuple[int, int]]:
    """Return the cues of a turn as ranges of its words.

    ``room``: characters of the first cue that the speaker's name takes. A word that is longer than a line has a
    cue to itself.
    """
    prices = [_price_of_end(words, last) for last in range(len(words))]
    ends = [_ends_sentence(word.text) for word in words]
    breakable = _breakable([word.text for word in words])
    reach = [0, *accumulate(len(word.text) + 1 for word in words)]
    best = [0.0] + [math.inf] * len(words)
    begins = [0] * (len(words) + 1)
    for first in range(len(words)):
        inner = 0
        for last in _fitting(words, breakable, first, room if first == 0 else 0):
            price = best[first] + _CUE + _INNER_END * inner + prices[last] + _shortness(words, first, last)
            price += _SLIGHT * max(0.0, 1 - (reach[last + 1] - reach[first]) / LINE)
            if price < best[last + 1]:
                best[last + 1], begins[last + 1] = price, first
            inner += ends[last]
    cuts: list[tuple[int, int]] = []
    position = len(words)
    while position:
        cuts.append((begins[position], position))
        position = begins[position]
    return cuts[::-1]


def _fitting(words: Sequence[Spoken], breakable: Sequence[bool], first: int, room: int) -> Iterator[int]:
    """Yield each word that the cue beginning with ``first`` may end with; the first one always fits."""
    lines = _Lines(room)
    start = words[first].start
    for last in range(first, len(words)):
        fits = lines.take(len(words[last].text) + 1, breakable=breakable[last])
        if last > first and (not fits or words[last].end - start > LONGEST):
            return
        yield last


@dataclass
class _Lines:
    """Fills two lines with words, the first as full as it goes."""

    used: int
    """Characters in the present line."""
    held: int = 0
    """Characters since the last place where the first line may be broken."""
    second: bool = False

    def take(self, length: int, *, breakable: bool) -> bool:
        """Add a word of so many characters, with its space; return whether it still fits."""
        if not self.second:
            self.held = length if breakable else self.held + length
            if self.used + length <= LINE + 1:
                self.used += length
                return True
            self.second = True
            self.used = self.held
        else:
            self.used += length
        return self.used <= LINE + 1


def line_break(texts: Sequence[str], room: int) -> int:
    """Return the word that the second line of a cue begins with; 0 when one line is enough.

    The lines are as even as can be, and rather broken after a comma than within a phrase.
    """
    whole = room + len(" ".join(texts))
    if whole <= LINE or len(texts) < 2:
        return 0
    allowed = _breakable(texts)
    found = [(_break_price(texts, at, room), at) for at in range(1, len(texts)) if allowed[at]]
    return min(found)[1] if found else 0


def _break_price(texts: Sequence[str], at: int, room: int) -> float:
    first, second = room + len(" ".join(texts[:at])), len(" ".join(texts[at:]))
    over = max(0, first - LINE) + max(0, second - LINE)
    return 1000.0 * over + abs(first - second) / 4 + 2 * _price_of_text(texts[at - 1])


# --- what a cut costs ---------------------------------------------------------------------------------------


def _price_of_end(words: Sequence[Spoken], last: int) -> float:
    if last + 1 == len(words):
        return 0.0
    price = _price_of_text(words[last].text)
    return min(price, _AT_PAUSE) if words[last + 1].start - words[last].end >= _PAUSE else price


def _price_of_text(text: str) -> float:
    if _ends_sentence(text):
        return 0.0
    if _COMMA.search(text):
        return _AT_COMMA
    return _AFTER_SMALL_WORD if text.lower().rstrip(".") in _SMALL else _ANYWHERE


def _shortness(words: Sequence[Spoken], first: int, last: int) -> float:
    if last + 1 == len(words) or words[last + 1].start - words[first].start >= SHORTEST:
        return 0.0
    return _TOO_SHORT


def _ends_sentence(text: str) -> bool:
    return _SENTENCE_END.search(text) is not None and text.lower().rstrip(".") not in _TITLES


def _breakable(texts: Sequence[str]) -> list[bool]:
    """Tell for each word whether a line may begin with it: not where it would look like a speaker and a colon."""
    return [not any(text.endswith(":") for text in texts[at : at + 4]) for at in range(len(texts))]
