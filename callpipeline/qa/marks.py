"""Where on a waveform the evidence of verdicts lies."""

from __future__ import annotations

from callpipeline.model import Detections, Verdict

BAD, FINE = "#c0392b", "#1e8449"
_BAD = frozenset({Verdict.YES, Verdict.NO_ATTEMPT, Verdict.ERROR})
_EACH = 2
_DRAWN = ("releasing", "late_hello", "rebuttal")


def verdict_marks(detections: Detections) -> list[tuple[float, str, str]]:
    """Return (second, label, CSS colour) of the first evidence of each verdict that decides the flag."""
    return [
        (evidence.start, name.replace("_", " "), BAD if detections.detections[name].verdict in _BAD else FINE)
        for name in _DRAWN
        if name in detections.detections
        for evidence in detections.detections[name].evidence[:_EACH]
    ]
