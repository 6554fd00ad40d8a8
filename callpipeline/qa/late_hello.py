"""Late hello: the customer has picked up, and the agent lets them wait.

What belongs here: the one rule. Which sounds count as speech is in ``activity``.
"""

from __future__ import annotations

from callpipeline.model import Detection, Evidence, Role, SpeechActivity, Verdict
from callpipeline.qa.activity import speech_of, stretches
from callpipeline.qa.intervals import seconds

NAME = "late_hello"
RULE_VERSION = "late_hello-1"


def detect(
    activity: SpeechActivity, releasing: Detection, *, after: float, role_confidence: float = 1.0
) -> Detection:
    """Say whether the agent's first speech starts strictly later than ``after`` seconds.

    Noise blips are no speech, so a click at 1 s does not excuse a hello at 9 s.

    Args:
        activity: Voice by channel or by role, the same that ``releasing`` was drawn from.
        releasing: Decides whether the question can be asked at all.
        after: Limit in seconds (``Settings.late_hello_after``).
        role_confidence: How sure it is that the agent's voice is the agent's, 0-1; caps the confidence.

    Returns:
        ``yes``, ``no``, ``not_applicable`` when the agent never speaks, ``skipped`` when nobody knows who the
        agent is, ``error`` when ``releasing`` is one.
    """
    agent = speech_of(activity, Role.AGENT)
    first = next((s for s in stretches(agent or ()) if s.is_speech), None)
    if releasing.verdict is Verdict.ERROR:
        return Detection(
            name=NAME,
            verdict=Verdict.ERROR,
            confidence=0.0,
            reason=f"not judged, because releasing failed: {releasing.reason}",
            rule_version=RULE_VERSION,
            error_class=releasing.error_class,
        )
    if releasing.verdict is Verdict.YES:
        return _open(Verdict.NOT_APPLICABLE, releasing.confidence, "the agent never speaks")
    if first is None:
        return _open(Verdict.SKIPPED, 0.0, "no voice is known to be the agent's")
    start = seconds(first.start)
    late = start > after
    evidence = (Evidence(start=0.0, end=start, note="the agent does not speak"),) if late else ()
    return Detection(
        name=NAME,
        verdict=Verdict.YES if late else Verdict.NO,
        confidence=round(min(0.7 + 0.28 * min(abs(start - after), 1.0), role_confidence), 2),
        evidence=(*evidence, Evidence(start=start, end=first.end, note="first speech of the agent")),
        reason=f"the agent first speaks at {start:.2f} s{_waiting(activity, start) if late else ''}"
        f"; later than {after:.2f} s is late",
        rule_version=RULE_VERSION,
    )


def _open(verdict: Verdict, confidence: float, reason: str) -> Detection:
    return Detection(
        name=NAME, verdict=verdict, confidence=confidence, reason=reason, rule_version=RULE_VERSION
    )


def _waiting(activity: SpeechActivity, until: float) -> str:
    customer = stretches(speech_of(activity, Role.CUSTOMER) or ())
    first = next((s for s in customer if s.is_speech and s.start < until), None)
    return f", {until - first.start:.1f} s after the customer" if first else ""
