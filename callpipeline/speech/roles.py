"""Which speaker is the agent: read from what they say, for recordings whose channels do not tell.

What belongs here: the wording and the habits of agents and of the people they call (or who call them), in
general English. What does not: verdicts, and anything about one trade.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from callpipeline.model import Role

SUREST = 0.95
"""An inferred role is never as sure as one that a channel tells."""

MARGIN_SCALE = 3.0
"""Points of difference that make a guess about 80 % sure; one plain introduction or refusal is 2-3 points."""

HEARD_TWICE = 2
"""A wording counts at most this often: a speaker who repeats himself is no surer a case."""


@dataclass(frozen=True)
class Said:
    """One stretch of one speaker, for role inference."""

    speaker: str
    text: str


_NAME = r"(?:mr|mrs|ms|miss|mister|missus|doctor|dr)\b"

_AGENT_WORDING: tuple[tuple[float, str], ...] = (
    (
        3.0,
        r"\b(?:i'm|i am|was|we're|we are|just) (?:just )?(?:calling|reaching out|following up|contacting)\b",
    ),
    (2.0, r"\bcalling (?:you )?(?:about|regarding|because|to see|on behalf|from|in re\w+|for)\b"),
    (2.5, r"\b(?:reason|purpose) (?:for|of|why|that)? ?(?:my|the|this|our|i'?m) ?call"),
    (2.0, r"\b(?:my name is|my name's)\b"),
    (2.0, r"\bthis is (?:\w+ ){1,3}(?:from|with|at|calling|over at|here)\b"),
    (2.0, r"\b(?:may|can|could) i (?:please )?(?:speak|talk) (?:to|with)\b"),
    (
        2.0,
        r"\b(?:am i speaking|looking for|trying to reach|is this) (?:to|with)? ?" + _NAME,
    ),
    (2.0, r"\bam i speaking (?:to|with)\b"),
    (1.0, r"\bhow are you (?:doing )?(?:today|this (?:morning|afternoon|evening))\b"),
    (3.0, r"\b(?:thank you|thanks) for calling\b"),
    (3.0, r"\bhow (?:can|may) i (?:help|assist)\b"),
    (2.0, r"\banything else (?:i can|that i can|we can)\b"),
    (2.0, r"\b(?:thank you|thanks) for your (?:time|patience|business)\b"),
    (1.5, r"\bthis call (?:is|may be) (?:being )?(?:recorded|monitored)\b"),
    (1.5, r"\b(?:verify|confirm) your\b"),
    (1.5, r"\byour (?:property|home|house|account|policy|order|business|company|service|bill|land)\b"),
    (1.5, r"\b(?:would|if) you (?:would |might |ever |be )*(?:consider|interested|open to|willing|like to)"),
    (1.5, r"\b(?:are|were|if) you(?:'re)? (?:\w+ )?(?:interested in|open (?:to|for)|thinking (?:about|of))"),
    (
        1.0,
        r"\b(?:no obligation|free (?:quote|estimate|consultation|trial)|(?:cash|special) offer|discount)\b",
    ),
    (1.0, r"\b(?:our|my) (?:company|team|manager|supervisor|office|clients?|buyers?|partners?)\b"),
    (1.0, r"\b(?:we|i) (?:buy|offer|provide|help|work with|specialize|can offer|could offer)\b"),
    (1.0, r"\b(?:schedule|set up|book) (?:a|an|you)\b"),
    (0.7, r"\bhave a (?:good|great|nice|wonderful|blessed|lovely)\b"),
    (0.7, r"\b(?:i understand|no worries|no problem|fair enough|i hear you|totally get)\b"),
)

_CUSTOMER_WORDING: tuple[tuple[float, str], ...] = (
    (2.5, r"\bwho(?: is|'s) (?:this|calling)\b"),
    (2.5, r"\bwho (?:am i (?:speaking|talking)|are you)\b"),
    (3.0, r"\b(?:where|how) did you (?:get|find) (?:my|this)\b"),
    (2.5, r"\b(?:not interested|no interest|ain't interested)\b"),
    (3.0, r"\b(?:take me off|remove (?:me|my number)|(?:stop|quit) calling)\b"),
    (3.0, r"\b(?:do not|don't) (?:ever )?call (?:me|here|this|again|my)\b"),
    (2.0, r"\bwrong (?:number|person)\b"),
    (2.0, r"\b(?:not for sale|not selling|not looking to sell|don't (?:want|need) (?:any|it|to))\b"),
    (2.0, r"\b(?:no thank you|no thanks)\b"),
    (1.5, r"\bi(?:'m| am) (?:busy|driving|at work|working|in a meeting|eating|in the middle)\b"),
    (2.0, r"\bwhat(?:'s| is) (?:this|it) (?:about|regarding|in regards? to|concerning|for)\b"),
    (2.0, r"\bwhat (?:company|do you want)\b"),
    (2.0, r"\b(?:is this a scam|are you a (?:robot|scam|real person|recording))\b"),
    (1.0, r"\bmy (?:house|home|property|bill|order|account|policy)\b"),
    (1.0, r"\bmy (?:husband|wife|son|daughter|mother|father|mom|dad|kids|family)\b"),
    (1.5, r"\b(?:speaking|this is (?:he|she|him|her|me)|that's me|yeah speaking)\b"),
    (2.5, r"\b(?:leave (?:a|your) (?:message|name)|after the (?:tone|beep)|not available)\b"),
    (1.0, r"\bi (?:have|had) a (?:question|problem|complaint)\b"),
    (1.0, r"\b(?:you guys|you people)\b"),
)

_AGENT = tuple((weight, re.compile(pattern)) for weight, pattern in _AGENT_WORDING)
_CUSTOMER = tuple((weight, re.compile(pattern)) for weight, pattern in _CUSTOMER_WORDING)
_HELLO = re.compile(r"^\W*(?:hello|hi|hey|yes|yeah|yep|good (?:morning|afternoon|evening))\b\W*(?:\w+\W*)?$")

ANSWERS = 1.5
"""Who answers the phone says little more than hello, and is the one who was called."""

TALKS_MORE = 2.0
"""Points between a speaker with all of the words and one with none: the one who wants something talks
more."""


def infer_roles(
    said: Sequence[Said], known: Mapping[str, Role] | None = None
) -> tuple[dict[str, Role], float]:
    """Return a role for each speaker, and how sure that is (0-1).

    One speaker is the agent and one the customer; further ones stay ``unknown``. The better guess is given
    even when little speaks for it, with a confidence near 0.5. A single speaker of whom nothing tells is
    ``unknown``.

    Args:
        said: The conversation in order of start.
        known: Roles that are sure already; they are kept, and the others chosen around them.
    """
    speakers = list(dict.fromkeys(s.speaker for s in said))
    fixed = {name: role for name, role in (known or {}).items() if role is not Role.UNKNOWN}
    points = {name: _points(name, said) for name in speakers}
    roles = {name: fixed.get(name, Role.UNKNOWN) for name in speakers}
    open_names = [name for name in speakers if name not in fixed]
    if not open_names or {Role.AGENT, Role.CUSTOMER} <= set(fixed.values()):
        return roles, 1.0 if speakers else 0.0
    if len(speakers) == 1 and not fixed:
        return _alone(open_names[0], points[open_names[0]])
    return _shared_out(roles, open_names, points, set(fixed.values()))


def _alone(name: str, points: float) -> tuple[dict[str, Role], float]:
    # All the words of a recording are hers, which says nothing: take its points off again.
    points -= TALKS_MORE / 2
    if points == 0.0:
        return {name: Role.UNKNOWN}, 0.0
    return {name: Role.AGENT if points > 0 else Role.CUSTOMER}, _confidence(abs(points))


def _shared_out(
    roles: dict[str, Role], open_names: list[str], points: Mapping[str, float], taken: set[Role]
) -> tuple[dict[str, Role], float]:
    ranked = sorted(open_names, key=lambda name: -points[name])
    if Role.AGENT not in taken:
        roles[ranked.pop(0)] = Role.AGENT
    if Role.CUSTOMER not in taken and ranked:
        roles[ranked.pop()] = Role.CUSTOMER
    by_role = {role: name for name, role in roles.items()}
    agent, customer = by_role.get(Role.AGENT), by_role.get(Role.CUSTOMER)
    margin = points[agent] - points[customer] if agent is not None and customer is not None else 0.0
    return roles, _confidence(max(0.0, margin))


def _confidence(margin: float) -> float:
    return round(min(SUREST, 1.0 - 0.5 * math.exp(-margin / MARGIN_SCALE)), 2)


def _points(name: str, said: Sequence[Said]) -> float:
    """Say how much speaks for the agent's role (positive) or the customer's (negative)."""
    text = " . ".join(_plain(s.text) for s in said if s.speaker == name)
    total = _weigh(text, _AGENT) - _weigh(text, _CUSTOMER)
    if said[0].speaker == name and _HELLO.match(_plain(said[0].text)):
        total -= ANSWERS
    words = sum(len(s.text.split()) for s in said)
    own = sum(len(s.text.split()) for s in said if s.speaker == name)
    return total + TALKS_MORE * (own / words - 0.5 if words else 0.0)


def _weigh(text: str, wording: Sequence[tuple[float, re.Pattern[str]]]) -> float:
    return sum(
        weight * min(HEARD_TWICE, sum(1 for _ in pattern.finditer(text))) for weight, pattern in wording
    )


def _plain(text: str) -> str:
    return text.lower().replace("’", "'").strip()
