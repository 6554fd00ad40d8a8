"""All verdicts of one recording together: what the analyst's flag is made of, and how a failure looks.

What belongs here: the flag. What does not: any single rule.
"""

from __future__ import annotations

from callpipeline.failures import describe
from callpipeline.model import Detection, Detections, Verdict

FLAGGED_BY: dict[str, Verdict] = {
    "releasing": Verdict.YES,
    "late_hello": Verdict.YES,
    "rebuttal": Verdict.NO_ATTEMPT,
}
"""Which verdict of which detection asks an analyst to listen, in the order of the reasons."""


def combine(*detections: Detection) -> Detections:
    """Put the verdicts of one recording together and decide its flag.

    ``flag_reasons`` holds the names of the detections that flagged, in the order of ``FLAGGED_BY``. An error
    neither sets nor clears the flag: it stays visible as its own verdict.

    Raises:
        ValueError: Two detections have the same name.
    """
    by_name = {detection.name: detection for detection in detections}
    if len(by_name) != len(detections):
        raise ValueError(f"a detection came twice: {sorted(d.name for d in detections)}")
    reasons = tuple(
        name for name, verdict in FLAGGED_BY.items() if name in by_name and by_name[name].verdict is verdict
    )
    return Detections(detections=by_name, flag=bool(reasons), flag_reasons=reasons)


def errored(name: str, rule_version: str, error: BaseException) -> Detection:
    """Return the verdict of a detection that failed: an error with its class and message, never a "no"."""
    error_class, message, _ = describe(error)
    return Detection(
        name=name,
        verdict=Verdict.ERROR,
        confidence=0.0,
        reason=message,
        rule_version=rule_version,
        error_class=error_class,
    )
