"""The rebuttal rule: did the owner object, and did the agent really try to turn it.

What belongs here: the order of the questions, the verdict, its evidence, reason and confidence.
What does not: how turns are scored (``acts``, ``talk``), how the call is followed (``course``).

Only an objection makes a rebuttal owed. ``attempted`` = afterwards the agent pushes on towards a sale: another
property, later, price, reason, value, another deal, another time or person, even if cut off. Closings, apologies,
echoes, notes, data questions and small talk are no attempt. A bare do-not-call demand is not an objection.
"""

from __future__ import annotations

from callpipeline.model import Detection, Evidence, Role, SpeakerTurns, Verdict
from callpipeline.qa.rebuttal import bleed, course, roles, talk, usable
from callpipeline.qa.rebuttal.acts import act_model

NAME = "rebuttal"
RULE_VERSION = "rebuttal-1"

_FLAG_FROM = 0.6
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
    trouble = usable.problem(spoken, found, moves)
    if trouble:
        evidence = (_evidence(trouble.move, trouble.reason),) if trouble.move else ()
        return _verdict(Verdict.UNUSABLE, trouble.confidence, trouble.reason, evidence)
    return _judged(moves, course.follow(moves), sure)


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


def _judged(moves: list[talk.Move], way: course.Course, sure: float) -> Detection:
    quiet = way.clear + way.engaged + way.stranger
    owed = way.owed if way.owed >= _FLAG_FROM else 0.0
    top = max(owed, way.tried, quiet)
    if top == quiet or way.objection is None:
        return _verdict(Verdict.NO_OBJECTION, quiet * sure, _why_quiet(moves, way), ())
    objection = moves[way.objection]
    first = _evidence(objection, "objection")
    if top == way.tried and way.rebuttal is not None:
        push = moves[way.rebuttal]
        reason = (
            f"the owner objects at {objection.start:.1f} s, the agent tries to turn it at {push.start:.1f} s"
        )
        return _verdict(Verdict.ATTEMPTED, way.tried * sure, reason, (first, _evidence(push, "rebuttal")))
    answer = next((m for m in moves[way.objection + 1 :] if m.role == Role.AGENT), None)
    reason = f"the owner objects at {objection.start:.1f} s and the agent " + (
        "lets it be" if answer else "says no more"
    )
    after = (_evidence(answer, "no attempt"),) if answer else ()
    return _verdict(Verdict.NO_ATTEMPT, way.owed * sure, reason, (first, *after))


def _why_quiet(moves: list[talk.Move], way: course.Course) -> str:
    customer = [m for m in moves if m.role == Role.CUSTOMER]
    if way.stranger >= max(way.clear, way.engaged):
        return "not the owner, or the property is sold: nothing to refuse"
    if way.engaged >= way.clear:
        return "the owner is interested"
    if max(m.odds("dnc") for m in customer) > 0.5:
        return "only a demand not to be called, which is not to be rebutted"
    return "no objection is heard"


def _evidence(move: talk.Move, what: str) -> Evidence:
    quote = move.text if len(move.text) <= _QUOTE else move.text[:_QUOTE].rsplit(" ", 1)[0] + " ..."
    return Evidence(
        start=move.start, end=max(move.end, move.start), note=f'{what}: "{quote}"', turn=move.turn
    )


def _verdict(verdict: Verdict, confidence: float, reason: str, evidence: tuple[Evidence, ...]) -> Detection:
    return Detection(
        name=NAME,
        verdict=verdict,
        confidence=round(min(max(confidence, 0.05), _HIGHEST_CONFIDENCE), 2),
        evidence=evidence,
        reason=reason,
        rule_version=RULE_VERSION,
    )
