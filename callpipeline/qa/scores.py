"""The intro score: how much of a good opening the agent delivered, 0-100.

What belongs here: which items count, and the bands. What does not: finding them in the text (``opening``).
"""

from __future__ import annotations

from callpipeline.failures import UpstreamMissing
from callpipeline.model import Detection, Evidence, Role, SpeakerTurns, Verdict
from callpipeline.qa.detections import errored
from callpipeline.qa.opening import Opening

NAME = "intro_score"
RULE_VERSION = "intro_score-1"

BANDS: tuple[tuple[int, str], ...] = (
    (83, "excellent"),
    (50, "good"),
    (17, "needs_training"),
    (0, "critical"),
)
"""Lowest score of each band, best first. The limits are whole numbers for 5, 3 and 1 of 6 items (83.3, 50,
16.7), so a score is rounded to a whole number before it is banded: 1 of 6 is 17 and needs training."""

ITEMS: dict[str, str] = {
    "agent_introduces": "introduces themselves",
    "names_owner": "names the owner",
    "names_property": "names the property",
    "no_late_hello": "says hello in time",
    "not_releasing": "speaks at all",
    "rebuttal_when_owed": "rebuts an objection",
}
"""The items in words: the agent ..."""

_TEXT_CONFIDENCE = 0.85
_DEMO_CONFIDENCE = 0.5
"""Nobody should act on a text item that the offline demo engine heard or missed."""


def intro_score(
    turns: SpeakerTurns | None, releasing: Detection, late_hello: Detection, rebuttal: Detection
) -> Detection:
    """Score the opening: the mean of the items that apply.

    Items: ``agent_introduces``, ``names_owner``, ``names_property``, ``no_late_hello``, ``not_releasing``,
    ``rebuttal_when_owed``; ``True`` passed, ``False`` failed, ``None`` does not apply. An item that does not
    apply is left out of the mean and never counts as a pass. So a releasing call, in which there is nothing
    to introduce and nobody to be late, is scored by ``not_releasing`` alone: 0.

    Args:
        turns: The conversation; ``None`` when it was not transcribed, which only a releasing call may be.
        releasing: Verdict of the same recording, as are the next two.
        late_hello: Verdict.
        rebuttal: Verdict; only ``attempted`` and ``no_attempt`` make the item apply.

    Returns:
        ``scored`` with ``score``, ``band`` and ``items``; ``error`` when something that the score is made of
        failed; ``skipped`` when nobody knows which speaker is the agent; ``unusable`` when the agent speaks
        but the transcript has none of it. A missing transcript never becomes a low score.
    """
    failed = next((d for d in (releasing, late_hello, rebuttal) if d.verdict is Verdict.ERROR), None)
    if failed is not None:
        return _open(
            Verdict.ERROR,
            f"not scored, because {failed.name} failed: {failed.reason}",
            error_class=failed.error_class,
        )
    if releasing.verdict is Verdict.YES:
        items = {**_no_text(), "no_late_hello": None, "not_releasing": False, "rebuttal_when_owed": None}
        return _scored(items, (), releasing.confidence)
    if turns is None:
        return errored(NAME, RULE_VERSION, UpstreamMissing("The call has no transcript to score."))
    if not any(turn.role is Role.AGENT for turn in turns.turns) and releasing.verdict is not Verdict.NO:
        return _open(Verdict.SKIPPED, "nobody knows which speaker is the agent")
    opening = Opening(turns)
    if not opening.heard:
        return _open(Verdict.UNUSABLE, "the agent speaks, but the transcript has no words of the agent")
    found = {
        "agent_introduces": opening.introduction(),
        "names_owner": opening.owner(),
        "names_property": opening.property(),
    }
    items = {
        **{name: evidence is not None for name, evidence in found.items()},
        "no_late_hello": _passed(late_hello, good=Verdict.NO, bad=Verdict.YES),
        "not_releasing": _passed(releasing, good=Verdict.NO, bad=Verdict.YES),
        "rebuttal_when_owed": _passed(rebuttal, good=Verdict.ATTEMPTED, bad=Verdict.NO_ATTEMPT),
    }
    confidence = min(turns.role_confidence, _DEMO_CONFIDENCE if turns.demo else _TEXT_CONFIDENCE)
    evidence = tuple(
        e.model_copy(update={"note": f"{ITEMS[name]}: {e.note}"})
        for name, e in found.items()
        if e is not None
    )
    return _scored(items, evidence, confidence)


def band(score: float) -> str:
    """Return the band of a score of 0-100."""
    return next(name for lowest, name in BANDS if round(score) >= lowest)


def _no_text() -> dict[str, bool | None]:
    return {"agent_introduces": None, "names_owner": None, "names_property": None}


def _passed(detection: Detection, *, good: Verdict, bad: Verdict) -> bool | None:
    return {good: True, bad: False}.get(detection.verdict)


def _scored(items: dict[str, bool | None], evidence: tuple[Evidence, ...], confidence: float) -> Detection:
    applied = {name: passed for name, passed in items.items() if passed is not None}
    score = round(100 * sum(applied.values()) / len(applied))
    missed = ", ".join(ITEMS[name] for name, passed in applied.items() if not passed)
    return Detection(
        name=NAME,
        verdict=Verdict.SCORED,
        confidence=round(confidence, 2),
        evidence=evidence,
        reason=f"{sum(applied.values())} of {len(applied)} items" + (f"; missed: {missed}" if missed else ""),
        rule_version=RULE_VERSION,
        score=float(score),
        band=band(score),
        items=items,
    )


def _open(verdict: Verdict, reason: str, *, error_class: str | None = None) -> Detection:
    return Detection(
        name=NAME,
        verdict=verdict,
        confidence=0.0,
        reason=reason,
        rule_version=RULE_VERSION,
        error_class=error_class,
    )
