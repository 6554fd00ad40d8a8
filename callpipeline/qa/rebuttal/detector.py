"""The rebuttal rule: did the owner object, and did the agent really try to turn it.

What belongs here: the order of the questions, the verdict, its evidence, reason and confidence.
What does not: how turns are scored (``acts``, ``talk``), how the call is followed (``course``).

Only an objection makes a rebuttal owed. ``attempted`` = afterwards the agent pushes on towards a sale: another
property, later, price, reason, value, another deal, another time or person, even if cut off. Closings, apologies,
echoes, notes, data questions and small talk are no attempt. A bare do-not-call demand is not an objection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from callpipeline.model import Detection, Evidence, Role, SpeakerTurns, Turn, Verdict
from callpipeline.qa.rebuttal import bleed, course, reader, roles, talk, usable
from callpipeline.qa.rebuttal.acts import act_model

NAME = "rebuttal"
RULE_VERSION = "rebuttal-2"

Said: TypeAlias = talk.Move | Turn
"""Something that was said: one turn, or neighbouring turns of one side."""

_READER_WEIGHT = 0.4
"""Share of the reader in the product of the two opinions."""
_FLOOR = 0.02
"""No opinion rules a verdict out alone."""
_FLAG_FROM = 0.55
"""Odds of an unanswered objection from which a call is flagged; a doubtful flag costs an analyst's time."""
_QUOTE = 90
_HIGHEST_CONFIDENCE = 0.97


def detect(
    turns: SpeakerTurns,
    *,
    duration: float,
    releasing: Detection | None,
    min_duration: float,
    max_duration: float,
) -> Detection:
    """Say whether a rebuttal was owed and attempted.

    Args:
        turns: Who said what. Wrong, swapped or missing roles are put right where the words are clear.
        duration: Length of the recording in seconds.
        releasing: Verdict on the agent's silence; ``yes`` skips this rule.
        min_duration: Shorter recordings are skipped (s).
        max_duration: Longer recordings are skipped (s).

    Returns:
        ``attempted``, ``no_attempt``, ``no_objection``, ``unusable`` or ``skipped``. Confidence is the rule's own
        probability of the verdict, lowered when roles are doubtful.
    """
    skipped = _skip_reason(duration, releasing, min_duration, max_duration)
    if skipped:
        return Detection(
            name=NAME, verdict=Verdict.SKIPPED, confidence=1.0, reason=skipped, rule_version=RULE_VERSION
        )
    model = act_model()
    spoken = [t for t in turns.turns if t.text.strip()]
    found = roles.assigned(spoken, model.agent_likeness)
    cleaned = bleed.without_copies(spoken, found.roles)
    moves = talk.scored(talk.joined(cleaned, found.roles), model)
    sure = found.confidence * (0.7 + 0.3 * turns.role_confidence)
    way = course.follow(moves)
    trouble = usable.problem(spoken, found, moves)
    reading = reader.read([(role, t.text) for role, t in zip(found.roles, spoken, strict=True)])
    odds = combined(way, trouble, reading.verdicts)
    return _judged(_Call(spoken, found.roles, moves, way, trouble, reading), odds, sure)


def combined(
    way: course.Course, trouble: usable.Unusable | None, read: Mapping[Verdict, float]
) -> dict[Verdict, float]:
    """Multiply the two opinions (the course of the talk, the reader) into one probability of each verdict."""
    usable_share = 1.0 - (trouble.confidence if trouble else 0.0)
    rules = {
        Verdict.ATTEMPTED: way.tried * usable_share,
        Verdict.NO_ATTEMPT: way.owed * usable_share,
        Verdict.NO_OBJECTION: (way.clear + way.engaged + way.stranger) * usable_share,
        Verdict.UNUSABLE: 1.0 - usable_share,
    }
    weighed = {
        verdict: max(rules[verdict], _FLOOR) ** (1.0 - _READER_WEIGHT) * max(p, _FLOOR) ** _READER_WEIGHT
        for verdict, p in read.items()
    }
    total = sum(weighed.values())
    return {verdict: weight / total for verdict, weight in weighed.items()}


@dataclass(frozen=True)
class _Call:
    """Everything that was found out about a call."""

    turns: Sequence[Turn]
    roles: Sequence[Role]
    moves: Sequence[talk.Move]
    way: course.Course
    trouble: usable.Unusable | None
    reading: reader.Reading


def _skip_reason(
    duration: float, releasing: Detection | None, min_duration: float, max_duration: float
) -> str:
    if releasing is not None and releasing.verdict is Verdict.YES:
        return "the agent never speaks (releasing)"
    if duration < min_duration:
        return f"{duration:.1f} s is shorter than {min_duration:g} s"
    if duration > max_duration:
        return f"{duration:.1f} s is longer than {max_duration:g} s"
    return ""


def _judged(call: _Call, odds: dict[Verdict, float], sure: float) -> Detection:
    ranked = sorted(odds, key=lambda verdict: -odds[verdict])
    verdict = ranked[0]
    if verdict is Verdict.NO_ATTEMPT and odds[verdict] < _FLAG_FROM:
        verdict = ranked[1]
    confidence = odds[verdict] * sure
    if verdict is Verdict.UNUSABLE:
        return _unusable(call, confidence)
    if verdict is Verdict.NO_OBJECTION:
        return _verdict(verdict, confidence, _why_quiet(call.moves, call.way), ())
    objection = _objection(call)
    first = _evidence(objection, "objection")
    if verdict is Verdict.ATTEMPTED:
        push = _push(call, objection)
        if push is None:
            reason = f"the owner objects at {objection.start:.1f} s and the agent tries to turn it"
            return _verdict(verdict, confidence, reason, (first,))
        reason = (
            f"the owner objects at {objection.start:.1f} s, the agent tries to turn it at {push.start:.1f} s"
        )
        return _verdict(verdict, confidence, reason, (first, _evidence(push, "rebuttal")))
    answer = next((t for t in _agent_turns(call) if t.start >= objection.start), None)
    reason = f"the owner objects at {objection.start:.1f} s and the agent " + (
        "lets it be" if answer else "says no more"
    )
    after = (_evidence(answer, "no attempt"),) if answer else ()
    return _verdict(verdict, confidence, reason, (first, *after))


def _unusable(call: _Call, confidence: float) -> Detection:
    if call.trouble is None:
        return _verdict(Verdict.UNUSABLE, confidence, "no live talk of two people is heard", ())
    move = call.trouble.move
    evidence = (_evidence(move, call.trouble.reason),) if move else ()
    return _verdict(Verdict.UNUSABLE, confidence, call.trouble.reason, evidence)


def _objection(call: _Call) -> Said:
    """Return where the owner objects: where the course saw it, else the turn that the reader points at."""
    if call.way.objection is not None:
        return call.moves[call.way.objection]
    return max(zip(call.turns, call.reading.objection, strict=True), key=lambda pair: pair[1])[0]


def _push(call: _Call, objection: Said) -> Said | None:
    if call.way.rebuttal is not None and call.moves[call.way.rebuttal].start >= objection.start:
        return call.moves[call.way.rebuttal]
    later = [
        (turn, odds)
        for turn, odds in zip(call.turns, call.reading.rebuttal, strict=True)
        if turn.start >= objection.start and turn in _agent_turns(call)
    ]
    return max(later, key=lambda pair: pair[1])[0] if later else None


def _agent_turns(call: _Call) -> list[Turn]:
    return [turn for turn, role in zip(call.turns, call.roles, strict=True) if role == Role.AGENT]


def _why_quiet(moves: Sequence[talk.Move], way: course.Course) -> str:
    customer = [m for m in moves if m.role == Role.CUSTOMER]
    if way.stranger >= max(way.clear, way.engaged):
        return "not the owner, or the property is sold: nothing to refuse"
    if way.engaged >= way.clear:
        return "the owner is interested"
    if max((m.odds("dnc") for m in customer), default=0.0) > 0.5:
        return "only a demand not to be called, which is not to be rebutted"
    return "no objection is heard"


def _evidence(said: Said, what: str) -> Evidence:
    quote = said.text if len(said.text) <= _QUOTE else said.text[:_QUOTE].rsplit(" ", 1)[0] + " ..."
    turn = said.turn if isinstance(said, talk.Move) else said.index
    return Evidence(start=said.start, end=max(said.end, said.start), note=f'{what}: "{quote}"', turn=turn)


def _verdict(verdict: Verdict, confidence: float, reason: str, evidence: tuple[Evidence, ...]) -> Detection:
    return Detection(
        name=NAME,
        verdict=verdict,
        confidence=round(min(max(confidence, 0.05), _HIGHEST_CONFIDENCE), 2),
        evidence=evidence,
        reason=reason,
        rule_version=RULE_VERSION,
    )
