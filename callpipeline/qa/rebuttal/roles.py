"""Who is the agent: checks the given roles against what is said, and finds missing ones.

What belongs here: one role for every turn, with how sure that is. What does not: acts and verdicts. An agent gives
themselves away by pitching, asking and closing; labels are trusted unless the words speak clearly against them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from callpipeline.model import Role, Turn
from callpipeline.qa.rebuttal.words import tokens

_CLIP = 6.0
"""Most that one turn may say about its speaker (log-odds)."""
_SWAP_EVIDENCE = 4.0
"""Log-odds over the whole call from which swapped labels are believed."""
_LABEL_TRUST = 3.0
"""Log-odds that a label of one turn is right."""
_ALTERNATES = 0.8
"""Log-odds that speakers take turns, for turns that nobody labelled."""


@dataclass(frozen=True)
class Roles:
    """A role for each turn.

    ``confidence`` is 0-1; ``support`` = log-odds by which the words fit the roles; ``swapped`` = the given roles were
    turned round as a whole.
    """

    roles: tuple[Role, ...]
    confidence: float
    support: float
    swapped: bool = False


def assigned(turns: Sequence[Turn], agent_likeness: Callable[[Sequence[str]], float]) -> Roles:
    """Return the role of every turn, from the labels as far as the words allow."""
    likeness = [_clipped(agent_likeness(words)) if (words := tokens(t.text)) else 0.0 for t in turns]
    labelled = sum(t.role != Role.UNKNOWN for t in turns)
    if labelled * 2 >= len(turns):
        return _checked(turns, likeness)
    if len({t.speaker for t in turns}) >= 2:
        return _by_speaker(turns, likeness)
    return Roles(_best_path(turns, likeness, trust=0.0), 0.6, sum(map(abs, likeness)))


def _clipped(value: float) -> float:
    return max(-_CLIP, min(_CLIP, value))


def _checked(turns: Sequence[Turn], likeness: Sequence[float]) -> Roles:
    given = [t.role for t in turns]
    support = sum(
        v if r == Role.AGENT else -v for r, v in zip(given, likeness, strict=True) if r != Role.UNKNOWN
    )
    swapped = support < -_SWAP_EVIDENCE
    if swapped:
        given = [_other(r) for r in given]
    roles = _best_path(turns, likeness, trust=_LABEL_TRUST, given=given)
    return Roles(roles, 0.8 if swapped else _sureness(abs(support), 0.85), abs(support), swapped)


def _by_speaker(turns: Sequence[Turn], likeness: Sequence[float]) -> Roles:
    sums: dict[str, float] = {}
    for turn, value in zip(turns, likeness, strict=True):
        sums[turn.speaker] = sums.get(turn.speaker, 0.0) + value
    agent = max(sums, key=lambda s: sums[s])
    margin = sums[agent] - max(v for s, v in sums.items() if s != agent)
    roles = tuple(Role.AGENT if t.speaker == agent else Role.CUSTOMER for t in turns)
    return Roles(roles, _sureness(margin, 0.6), margin)


def _sureness(evidence: float, lowest: float) -> float:
    return lowest + (1.0 - lowest) * (1.0 - math.exp(-max(evidence, 0.0) / 4.0))


def _other(role: Role) -> Role:
    return {Role.AGENT: Role.CUSTOMER, Role.CUSTOMER: Role.AGENT}.get(role, role)


def _best_path(
    turns: Sequence[Turn], likeness: Sequence[float], *, trust: float, given: Sequence[Role] | None = None
) -> tuple[Role, ...]:
    """Most likely roles in a row (Viterbi over two states): label, words, and the habit of taking turns."""
    states = (Role.AGENT, Role.CUSTOMER)
    best: dict[Role, tuple[float, tuple[Role, ...]]] = dict.fromkeys(states, (0.0, ()))
    for i in range(len(turns)):
        label = given[i] if given else Role.UNKNOWN
        step: dict[Role, tuple[float, tuple[Role, ...]]] = {}
        for state in states:
            words = likeness[i] if state == Role.AGENT else -likeness[i]
            own = words + (trust if label == state else -trust if label == _other(state) else 0.0)
            habit = 0.0 if label != Role.UNKNOWN else _ALTERNATES
            score, path = max(
                ((s + (habit if p and p[-1] != state else 0.0), p) for s, p in best.values()),
                key=lambda x: x[0],
            )
            step[state] = (score + own, (*path, state))
        best = step
    return max(best.values(), key=lambda x: x[0])[1]
