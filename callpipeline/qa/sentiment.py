"""How friendly the words are, -1..1, over a call and by quarter of it.

What belongs here: the one lexicon engine and its averaging. What does not: any verdict from it. The method is
VADER (Hutto & Gilbert, ICWSM 2014), a word list with rules for negation and emphasis, made for English social
media: good for comparing calls with each other, too coarse to judge one sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from callpipeline.model import Turn

if TYPE_CHECKING:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

QUARTERS = 4
LONGEST = 50
"""Words that are scored at once: three or four sentences."""


class _Scored(NamedTuple):
    middle: float
    words: int
    value: float


class Mood:
    """The sentiment of some turns: each is scored once and weighs as many words as it has."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._scored = [
            _Scored((turn.start + turn.end) / 2, len(turn.text.split()), score(turn.text))
            for turn in turns
            if turn.text.strip()
        ]

    def overall(self) -> float | None:
        """Return the mean of all turns, ``None`` when nothing was said."""
        return _mean(self._scored)

    def by_quarter(self, duration: float) -> tuple[float | None, ...]:
        """Return the means of the four quarters of the call; a turn belongs where its middle lies."""
        quarters: list[list[_Scored]] = [[] for _ in range(QUARTERS)]
        for scored in self._scored:
            index = int(QUARTERS * scored.middle / duration) if duration > 0 else 0
            quarters[min(max(index, 0), QUARTERS - 1)].append(scored)
        return tuple(_mean(quarter) for quarter in quarters)


def score(text: str) -> float:
    """Return VADER's compound score of an English text, -1 (hostile) to 1 (friendly).

    A long text is scored in pieces, each of which weighs as many words as it has: VADER was made for a sentence or two. Of
    a monologue of minutes it says 1 or -1 whatever is in it, and its time grows with the square of the length.
    """
    words = text.split()
    starts = range(0, max(1, len(words)), LONGEST)
    pieces = [words[start : start + LONGEST] for start in starts]
    total = sum(len(piece) * _score(" ".join(piece)) for piece in pieces)
    return total / max(1, len(words))


@lru_cache(maxsize=4096)
def _score(piece: str) -> float:
    return float(_analyzer().polarity_scores(piece)["compound"])


def _mean(scored: Sequence[_Scored]) -> float | None:
    words = sum(s.words for s in scored)
    return round(sum(s.value * s.words for s in scored) / words, 3) if words else None


@cache
def _analyzer() -> SentimentIntensityAnalyzer:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()
