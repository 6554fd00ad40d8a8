"""Set phrases: wordings that mean one thing whoever says them, on top of the trained classifiers.

What belongs here: the boosts of ``corpus/phrases.tsv`` and questions to which "no" means "go on".
What does not: anything that weighs single words; the classifiers do that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache

from callpipeline.model import Role
from callpipeline.qa.rebuttal.words import corpus_rows

_NO_MEANS_GO_ON = re.compile(
    r"\b((do|would|will|did|you) (\w+ )?mind|mind if|bother (you|ing)|bothering you|bad time|disturb\w* you|wake you|"
    r"woke you|interrupt\w*|opposed|object|objection|against (it|selling|an offer)|have a problem)\b"
)
_SALE = re.compile(r"\b(sell|selling|offer|sale|price)\b")
_STARTS_WITH_NO = re.compile(r"^(oh |uh |um |well )*(no|nope|nah|naw|not|none|never)\b")
_ANSWER_WORDS = 8
"""Longest "no ..." that is read as "go on" after such a question."""
_NO_TO_OFFER = 1.0
"""Log-odds by which "no" to an offer counts for a refusal, and "no" to another question against one."""


@lru_cache(maxsize=1)
def _table() -> dict[str, tuple[tuple[str, float, re.Pattern[str]], ...]]:
    rows = corpus_rows("phrases.tsv")
    return {
        role: tuple(
            (r["act"], float(r["boost"]), re.compile(r["pattern"])) for r in rows if r["speaker"] == role
        )
        for role in ("agent", "customer")
    }


def boosted(role: Role, words: Sequence[str], acts: dict[str, float]) -> dict[str, float]:
    """Return the odds of the acts after the set phrases in the turn have been counted; each act is boosted once."""
    text = " ".join(words)
    gains: dict[str, float] = {}
    for act, boost, pattern in _table().get(role.value, ()):
        if boost > gains.get(act, 0.0) and pattern.search(text):
            gains[act] = boost
    return _normalised({a: p * math.exp(gains.get(a, 0.0)) for a, p in acts.items()}) if gains else acts


def answered_no(
    words: Sequence[str], before: Sequence[str], heard: dict[str, float], acts: dict[str, float]
) -> dict[str, float]:
    """Read a turn that starts with "no" by the question before it.

    After an offer it is a refusal; after a question about the house, the name or the weather it is an answer. After
    "would you mind selling" it is a yes to selling, after "is this a bad time" and the like "go on".

    Args:
        words: the customer's turn.
        before: the agent's turn before it.
        heard: the odds of the acts of ``before``.
        acts: the odds of the acts of ``words``, so far.
    """
    if not _STARTS_WITH_NO.search(" ".join(words)):
        return acts
    refusal = acts.get("refuse", 0.0)
    question = " ".join(before[-14:])
    found = _NO_MEANS_GO_ON.search(question)
    if found and len(words) <= _ANSWER_WORDS:
        meant = "interest" if _SALE.search(question, found.end()) else "answer"
        return acts | {"refuse": refusal * 0.1, meant: acts.get(meant, 0.0) + refusal * 0.9}
    offered = heard.get("pitch", 0.0) + heard.get("push", 0.0)
    factor = math.exp(_NO_TO_OFFER * (2.0 * offered - 1.0)) if heard else 1.0
    return _normalised(acts | {"refuse": refusal * factor})


def _normalised(acts: dict[str, float]) -> dict[str, float]:
    total = sum(acts.values())
    return {act: p / total for act, p in acts.items()}
