"""The words in which reports speak to people: verdicts, bands, stages, and what to do about a failure.

What belongs here: labels. What does not: layout.
"""

from __future__ import annotations

from callpipeline.model import Detection, Turn, Verdict

VERDICTS: dict[Verdict, str] = {
    Verdict.YES: "Yes",
    Verdict.NO: "No",
    Verdict.NOT_APPLICABLE: "Not applicable",
    Verdict.ATTEMPTED: "Attempted",
    Verdict.NO_ATTEMPT: "No attempt",
    Verdict.NO_OBJECTION: "No objection",
    Verdict.UNUSABLE: "Unusable",
    Verdict.SKIPPED: "Skipped",
    Verdict.SCORED: "Scored",
    Verdict.ERROR: "Error",
}

DETECTIONS: dict[str, str] = {
    "releasing": "Releasing",
    "late_hello": "Late hello",
    "rebuttal": "Rebuttal",
    "intro_score": "Intro score",
}

BANDS: dict[str, str] = {
    "excellent": "Excellent",
    "good": "Good",
    "needs_training": "Needs training",
    "critical": "Critical",
}

FLAGS: dict[str, str] = {"releasing": "Releasing", "late_hello": "Late hello", "rebuttal": "No rebuttal"}

_HINTS: dict[str, str] = {
    "empty_file": "The file holds no audio. Fetch it again from the dialer.",
    "not_audio": "Not a recording that can be opened. Check that the right file was uploaded.",
    "corrupt_audio": "Much of the file does not decode. Fetch it again from the dialer.",
    "too_long": "Over the configured limit. Split the file, or raise the limit.",
    "bad_transcript": "The ready-made transcript beside the audio cannot be read. Mend it or remove it.",
    "source_unavailable": "The file could not be read where it was found. Put it back and run again.",
    "resource_exhausted": "The machine ran out of disk or memory. Make room and run again.",
    "engine_failed": "An engine broke on this recording. Running again often helps.",
    "not_configured": "A key, model or setting is missing: `callpipeline doctor` says which.",
    "upstream_missing": "An earlier stage has no result yet. Run the recording again.",
}
_INTERNAL = "A fault of the program. Run again; if it stays, report it with this message."


def hint(error_class: str) -> str:
    """Return what a person can do about a failure of this class."""
    return _HINTS.get(error_class, _INTERNAL)


def verdict_text(detection: Detection | None) -> str:
    """Return a verdict in words, "" when there is none; an error names its class."""
    if detection is None:
        return ""
    if detection.verdict is Verdict.ERROR:
        return f"Error: {detection.error_class or 'internal'}"
    return VERDICTS[detection.verdict]


def clock(seconds: float) -> str:
    """Return a time as people read it: 0:07, 12:40, 1:02:05."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def speaker(turn: Turn) -> str:
    """Return who speaks: the role where it is known, else the label of the diarizer."""
    return turn.role.value.capitalize() if turn.role.value != "unknown" else turn.speaker
