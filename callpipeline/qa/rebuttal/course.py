"""How the call went: a forward pass over the moves that carries the odds of each standing of the talk.

What belongs here: the standings (no objection yet, objection open, answered by a rebuttal, taken back, not the owner)
and how each move shifts the odds between them. What does not: usability of the recording, wording of reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from callpipeline.model import Role
from callpipeline.qa.rebuttal.talk import Move


@dataclass
class Course:
    """Odds of each standing at the end of the call; they sum to 1. Moves are indexes into the scored moves."""

    clear: float = 1.0
    owed: float = 0.0
    tried: float = 0.0
    engaged: float = 0.0
    stranger: float = 0.0
    objection: int | None = None
    rebuttal: int | None = None
    _objection_gain: float = 0.0
    _rebuttal_gain: float = 0.0


@dataclass(frozen=True)
class Leaning:
    """How a probability becomes the odds of an event: ``power`` > 1 pushes it away from ``middle``."""

    middle: float
    power: float

    def __call__(self, p: float) -> float:
        """Return the odds of the event, 0-1."""
        a = (p * (1.0 - self.middle)) ** self.power
        b = ((1.0 - p) * self.middle) ** self.power
        return a / (a + b) if a + b > 0 else p


# Found by cross-validation on the corpus dialogues (two halves, plain and with wrong words) and on the labelled
# development dialogues; flat around these values.
REFUSE = Leaning(0.7, 2.0)
INTEREST = Leaning(0.7, 2.5)
STRANGER = Leaning(0.3, 2.5)
PUSH = Leaning(0.74, 2.0)
DEAL_AS_PUSH = 0.25
AFTER_ALL = 0.2
"""Weight of what somebody says who seemed not to be the owner."""
_DOUBT = 5.0
"""How quickly an objection of less than full odds counts as doubtful."""
AGAIN = 0.05
"""Weight of a refusal after the owner had shown interest: mostly haggling."""


def follow(moves: Sequence[Move]) -> Course:
    """Carry the odds through the call."""
    course = Course()
    for i, move in enumerate(moves):
        if move.role == Role.CUSTOMER:
            _customer(course, i, move)
        elif move.role == Role.AGENT:
            _agent(course, i, move)
    _reconsider(course, moves)
    return course


def _reconsider(c: Course, moves: Sequence[Move]) -> None:
    """Take a doubtful objection back when the rest of the call sounds like a deal being made.

    Haggling is full of "no", and questions of a buyer to a willing owner look like pushing.
    """
    if c.objection is None:
        return
    doubt = 1.0 - min(moves[c.objection].odds("refuse", "dnc_refuse"), 1.0) ** _DOUBT
    later = moves[c.objection + 1 :]
    warm = _mean(m.odds("interest") for m in later if m.role == Role.CUSTOMER)
    warm += _mean(m.odds("deal") for m in later if m.role == Role.AGENT)
    moved = c.tried * doubt * min(warm, 1.0)
    c.tried -= moved
    c.engaged += moved


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0


def _customer(c: Course, i: int, move: Move) -> None:
    refuse = REFUSE(min(move.odds("refuse", "dnc_refuse"), 1.0))
    interest = INTEREST(move.odds("interest"))
    stranger = STRANGER(move.odds("notowner"))
    scale = 1.0 / max(refuse + interest + stranger, 1.0)
    refuse, interest, stranger = refuse * scale, interest * scale, stranger * scale
    objecting = refuse * (c.clear + AGAIN * c.engaged + AFTER_ALL * c.stranger)
    if objecting > c._objection_gain:
        c._objection_gain, c.objection = objecting, i
    back, gone = interest * c.owed, 0.5 * stranger * c.owed
    warmed = interest * (c.clear + AFTER_ALL * c.stranger)
    left = stranger * (c.clear + 0.5 * c.engaged)
    c.clear, c.owed, c.engaged, c.stranger = (
        c.clear * (1.0 - refuse - interest - stranger),
        c.owed + objecting - back - gone,
        c.engaged * (1.0 - AGAIN * refuse - 0.5 * stranger) + back + warmed,
        c.stranger * (1.0 - AFTER_ALL * (refuse + interest)) + left + gone,
    )


def _agent(c: Course, i: int, move: Move) -> None:
    push = PUSH(min(move.odds("push", "pitch") + DEAL_AS_PUSH * move.odds("deal"), 1.0))
    gain = c.owed * push
    if gain > c._rebuttal_gain:
        c._rebuttal_gain, c.rebuttal = gain, i
    c.tried += gain
    c.owed -= gain
