"""Bleed: the words of one side that also turn up, a moment later, in the other side's text.

What belongs here: finding and dropping such copies. A real echo ("not interested, okay") is dropped as well, which
does no harm: it never carries a new thought.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from callpipeline.model import Role, Turn
from callpipeline.qa.rebuttal.words import tokens

_SHORTEST = 5
"""Words in a row that have to agree before they count as a copy."""
_MOST_SECONDS = 4.0
"""A copy starts at most this long after the end of the original."""


def without_copies(turns: Sequence[Turn], roles: Sequence[Role]) -> list[Turn]:
    """Return the turns with the other side's words cut out; a turn may be left with no text."""
    result: list[Turn] = []
    for i, (turn, role) in enumerate(zip(turns, roles, strict=True)):
        words = tokens(turn.text)
        for j in range(max(0, i - 2), i):
            near = turn.start - turns[j].end <= _MOST_SECONDS
            if roles[j] != role and near:
                words = _cut(words, tokens(turns[j].text))
        same = len(words) == len(tokens(turn.text))
        result.append(turn if same else turn.model_copy(update={"text": " ".join(words)}))
    return result


def _cut(words: list[str], original: list[str]) -> list[str]:
    if len(words) < _SHORTEST or len(original) < _SHORTEST:
        return words
    match = SequenceMatcher(None, original, words, autojunk=False).find_longest_match()
    if match.size < _SHORTEST:
        return words
    return words[: match.b] + words[match.b + match.size :]


def copied_share(turns: Sequence[Turn], roles: Sequence[Role]) -> float:
    """Return the share of neighbouring turns of different sides that have three or more words in a row in common."""
    pairs = [
        (tokens(a.text), tokens(b.text))
        for (a, ra), (b, rb) in zip(
            zip(turns, roles, strict=True), list(zip(turns, roles, strict=True))[1:], strict=False
        )
        if ra != rb
    ]
    long = [(a, b) for a, b in pairs if min(len(a), len(b)) >= 4]
    if not long:
        return 0.0
    shared = sum(SequenceMatcher(None, a, b, autojunk=False).find_longest_match().size >= 3 for a, b in long)
    return shared / len(long)
