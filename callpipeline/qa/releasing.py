"""Releasing: the agent lets the call run and never really speaks.

What belongs here: the one rule. Which sounds count as speech is in ``activity``.
"""

from __future__ import annotations

from callpipeline.model import Detection, Evidence, Role, SpeechActivity, Verdict
from callpipeline.qa.activity import Stretch, all_speech, speech_of, stretches
from callpipeline.qa.intervals import seconds

NAME = "releasing"
RULE_VERSION = "releasing-1"

_SURE_AFTER = 2.0
"""So much agent speech (s) leaves no doubt; between the limit and this the confidence rises."""
_SHOWN_BLIPS = 5


def detect(activity: SpeechActivity, *, min_speech: float, role_confidence: float = 1.0) -> Detection:
    """Say whether the agent never really speaks: less than ``min_speech`` seconds of speech in the call.

    Only stretches that are long enough to be a word count, so blips never add up to speech, however many
    there are. There is no minimum length of the call.

    Where no channel is known to be the agent's, silence of everybody is still releasing; any voice leaves the
    question open: the verdict is ``skipped`` until ``activity_by_role`` has said whose voice it is.

    Args:
        activity: Voice by channel or by role.
        min_speech: Limit in seconds (``Settings.releasing_min_speech``).
        role_confidence: How sure it is that the agent's voice is the agent's, 0-1; caps the confidence.

    Returns:
        ``yes``, ``no`` or ``skipped``. The confidence orders verdicts by doubt; it is no probability.
    """
    agent = speech_of(activity, Role.AGENT)
    anybody = stretches(all_speech(activity) if agent is None else agent)
    spoken = seconds(sum(s.voiced for s in anybody if s.is_speech))
    silent = not spoken or spoken < min_speech
    if not activity.channels or (agent is None and not silent):
        return Detection(
            name=NAME,
            verdict=Verdict.SKIPPED,
            confidence=0.0,
            reason="no channel is known to be the agent's: roles must be inferred from the talk first",
            rule_version=RULE_VERSION,
        )
    who = "the agent" if agent is not None else "anybody"
    if silent:
        return _yes(anybody, activity.duration, spoken, min_speech, who, role_confidence)
    return _no(anybody, spoken, min_speech, role_confidence)


def _yes(
    heard: list[Stretch], duration: float, spoken: float, limit: float, who: str, role_confidence: float
) -> Detection:
    noise = sum(s.voiced for s in heard)
    evidence = [
        Evidence(start=s.start, end=s.end, note=f"{s.voiced:.2f} s of sound, too short to be speech")
        for s in heard[:_SHOWN_BLIPS]
    ]
    whole = Evidence(start=0.0, end=duration, note=f"no speech by {who} in the whole call")
    blips = f" ({len(heard)} short sounds)" if heard else ""
    return Detection(
        name=NAME,
        verdict=Verdict.YES,
        confidence=round(min(0.98 - min(noise, 1.0) * 0.25, role_confidence), 2),
        evidence=tuple(evidence) or (whole,),
        reason=f"{spoken:.2f} s of speech by {who}{blips}; less than {limit:.2f} s is releasing",
        rule_version=RULE_VERSION,
    )


def _no(heard: list[Stretch], spoken: float, limit: float, role_confidence: float) -> Detection:
    first = next(s for s in heard if s.is_speech)
    sure = min((spoken - limit) / _SURE_AFTER, 1.0)
    return Detection(
        name=NAME,
        verdict=Verdict.NO,
        confidence=round(min(0.7 + 0.28 * sure, role_confidence), 2),
        evidence=(Evidence(start=first.start, end=first.end, note="the agent speaks"),),
        reason=f"the agent speaks for {spoken:.2f} s",
        rule_version=RULE_VERSION,
    )
