"""Whether the talk can be judged at all: machines, missing sides, other languages, mixed-up or cut recordings.

What belongs here: the reasons for ``unusable``. What does not: objections and rebuttals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from callpipeline.model import Role, Turn
from callpipeline.qa.rebuttal.bleed import copied_share
from callpipeline.qa.rebuttal.roles import Roles
from callpipeline.qa.rebuttal.talk import Move
from callpipeline.qa.rebuttal.words import known_share

_ENGLISH = 0.75
"""Share of known words below which a side may speak another language; English calls lie above 0.85."""
_FOREIGN = 0.62
"""Share of known words below which it certainly does."""
_BLURRED = 1.0
"""Log-odds per turn by which the words fit the roles; below this the sides cannot be told apart."""

_LIVE_ACTS = ("refuse", "dnc_refuse", "interest", "notowner", "dnc", "question", "answer")


@dataclass(frozen=True)
class Unusable:
    """Why a call cannot be judged, how sure that is (0-1), and the move that shows it."""

    reason: str
    confidence: float
    move: Move | None = None


def problem(turns: Sequence[Turn], found: Roles, moves: Sequence[Move]) -> Unusable | None:
    """Return why the call cannot be judged, or ``None`` when it can."""
    agent = [m for m in moves if m.role == Role.AGENT]
    customer = [m for m in moves if m.role == Role.CUSTOMER]
    if not moves:
        return Unusable("there is no text", 0.95)
    if not customer:
        return Unusable("only the agent's side is there", 0.9, agent[0])
    if not agent:
        return Unusable("the agent is never heard", 0.9, customer[0])
    return (
        _machine(agent, customer)
        or _foreign(customer, "the other side")
        or _foreign(agent, "the agent")
        or _mixed(turns, found)
        or _fragment(moves)
    )


def _machine(agent: Sequence[Move], customer: Sequence[Move]) -> Unusable | None:
    words = sum(len(m.words) for m in customer)
    recorded = sum(len(m.words) * m.odds("machine") for m in customer)
    first = max(customer, key=lambda m: m.odds("machine"))
    live = [
        m for m in customer if m.turn > first.turn and m.odds("machine") < 0.3 and m.odds(*_LIVE_ACTS) > 0.6
    ]
    share = recorded / words
    if share > 0.5 and not live:
        return Unusable("a machine answers, no person", min(0.6 + share / 3, 0.95), first)
    message = max(m.odds("message") for m in agent)
    if message + share > 1.0 and first.odds("machine") > 0.25 and not live:
        return Unusable("the agent leaves a message on a machine", 0.75, first)
    return None


def _foreign(side: Sequence[Move], who: str) -> Unusable | None:
    words = [w for m in side for w in m.words]
    english = known_share(words)
    foreign = sum(len(m.words) * m.odds("foreign") for m in side) / len(words)
    if len(words) >= 6 and (english < _FOREIGN or (english < _ENGLISH and foreign > 0.35)):
        return Unusable(f"{who} does not speak English", min(0.6 + (_ENGLISH - english), 0.95), side[0])
    return None


def _mixed(turns: Sequence[Turn], found: Roles) -> Unusable | None:
    blurred = abs(found.support) < _BLURRED * len(turns)
    if len(turns) >= 10 and blurred and copied_share(turns, found.roles) >= 0.5:
        return Unusable("both sides are mixed together", 0.7)
    return None


def _fragment(moves: Sequence[Move]) -> Unusable | None:
    words = sum(len(m.words) for m in moves)
    asked = max(m.odds("pitch", "push", "open", "deal") for m in moves if m.role == Role.AGENT)
    told = max(
        m.odds("refuse", "dnc_refuse", "dnc", "notowner", "interest")
        for m in moves
        if m.role == Role.CUSTOMER
    )
    if words <= 16 and asked < 0.5 and told < 0.6:
        return Unusable("only a scrap of the talk is there", 0.65, moves[0])
    return None
