"""Shifts of topic: where the vocabulary of a conversation changes. No language model, no downloads.

What belongs here: the division of a list of texts into parts, each with words of its own. What does not: times,
chapters, and announcements (``agenda``).

The division is the most probable one when every part draws its words from an urn of its own (Eisenstein and
Barzilay, "Bayesian unsupervised topic segmentation", 2008): a word that was said costs less when it is said
again, and a new urn begins empty. Found exactly, by dynamic programming. English; of other languages all words
count, which blurs the borders.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

PRIOR = 0.2
"""What every word of the vocabulary counts for before it was said. Smaller: repetition weighs more."""

BORDER_COST = 10.0
"""Natural logarithm of how much likelier the words must become to be worth a border."""

FEWEST_WORDS = 20
"""Content words in a part: some 45 seconds of speech."""

LONGEST_WORDS = 4000
"""Content words in a part, about an hour: what keeps ten hours affordable."""

_STOP = frozenset(
    re.findall(
        r"\w+",
        """
    a about above after again against all almost along already also although always am among an and another any
    anybody anyone anything anyway are around as ask asked asking at away aye back be became because become been
    before began begin behind being below beside between both but by call called came can cannot chair chairman
    chairwoman come comes coming committee could council counsel day did do does doing done down during each either
    else enough even ever every everybody everything far few find first five for form four from further gave get
    gets give given go goes going gone good got great had half has have having he hear heard hello her here hers
    him his hold hour how however i if in instead into is it its itself just keep kind knew know known lady last
    later least leave less let like likely little long look looked lot made madam make makes making many may maybe
    me mean member members might mine minute minutes moment more most mr mrs ms much must my myself need needs
    neither never new next nine no nobody none nor not nothing now of off often oh okay old on once one ones only
    opposed or order other others our ours out over own part people perhaps please point put question questions
    quite rather read really representative right said same saw say saying says second see seem seen send sent
    seven shall she should since sir six so some somebody someone something sorry still such sure take taken takes
    tell ten than thank thanks that the their theirs them then there these they thing things think third this those
    though three through time times to today together told too took toward try turn two under until up upon us use
    used very vote want wanted wants was way we week well went were what when where whether which while who whole
    whom whose why will wish with without would yes yesterday yet you your yours
    """,
    )
)


def content_words(text: str) -> list[str]:
    """Return the words that say what a text is about, without their endings."""
    found = (word.removesuffix("'s") for word in re.findall(r"[^\W\d_][^\W\d_'-]+(?:'s)?", text.lower()))
    return [stem(word) for word in found if word not in _STOP and len(word) > 2]


def stem(word: str) -> str:
    """Take off the plainest English endings, so that "girder" and "girders" are one word."""
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", "e"), ("s", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)] + instead
            break
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 3 else word


def borders(
    texts: Sequence[Sequence[str]], hints: Sequence[float], *, border_cost: float = BORDER_COST
) -> list[int]:
    """Return where new parts begin, as indexes into ``texts``; never 0.

    Args:
        texts: content words of each turn.
        hints: for each turn, how much less a border before it costs.
        border_cost: see ``BORDER_COST``.
    """
    turns_with = Counter(word for words in texts for word in set(words))
    texts = [[word for word in words if turns_with[word] > 1] for words in texts]
    size = sum(1 for turns in turns_with.values() if turns > 1)
    best = [0.0] + [-math.inf] * len(texts)
    begins = [0] * (len(texts) + 1)
    for first in range(len(texts)):
        if best[first] == -math.inf:
            continue
        price = border_cost - hints[first] if first else 0.0
        seen: Counter[str] = Counter()
        count, score = 0, best[first] - price
        for last in range(first, len(texts)):
            for word in texts[last]:
                score += math.log((seen[word] + PRIOR) / (count + PRIOR * size))
                seen[word] += 1
                count += 1
            if count > LONGEST_WORDS and last > first:
                break
            if count < FEWEST_WORDS and (first or last + 1 < len(texts)):
                continue
            if score > best[last + 1]:
                best[last + 1], begins[last + 1] = score, first
    return _walked(best, begins)


def _walked(best: Sequence[float], begins: Sequence[int]) -> list[int]:
    position = len(begins) - 1
    if position <= 0 or best[position] == -math.inf:
        return []
    found: list[int] = []
    while position:
        position = begins[position]
        found.append(position)
    return sorted(found)[1:]
