"""Evaluation of the rebuttal rule on labelled dialogues: how often its flags are wrong, and how many it keeps.

What belongs here: reading labelled dialogues (JSON lines), running the rule, counting. What does not: the rule.

A line is ``{"id", "turns": [{"speaker", "start", "end", "text"}], "label", "duration_s"?}``; ``speaker`` is
``agent``, ``customer`` or anything else for an unknown side. The labels judge the talk, not the length of the call,
so the limits of duration are set to never skip: labelled calls may be shorter than the limit of the pipeline.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from callpipeline.model import Record, Role, SpeakerTurns, Turn, Verdict
from callpipeline.qa import rebuttal

LABELS = (Verdict.ATTEMPTED, Verdict.NO_ATTEMPT, Verdict.NO_OBJECTION, Verdict.UNUSABLE)


class RebuttalCase(Record):
    """One labelled dialogue and what the rule said about it."""

    id: str
    expected: Verdict
    got: Verdict
    confidence: float
    reason: str


class BadLine(Record):
    """A line that cannot be used; ``number`` is 1-based."""

    number: int
    message: str


class RebuttalEvaluation(Record):
    """Counts over all usable lines.

    ``confusion[expected][got]`` counts cases. ``wrong_flag_rate`` = flagged ``no_attempt`` wrongly / all flagged;
    ``fair_flags_kept`` = rightly flagged / all that truly are ``no_attempt``; both ``None`` when nothing was divided.
    """

    n: int
    accuracy: float | None
    wrong_flag_rate: float | None
    fair_flags_kept: float | None
    confusion: dict[Verdict, dict[Verdict, int]]
    cases: tuple[RebuttalCase, ...]
    bad_lines: tuple[BadLine, ...]


def evaluate_rebuttal(lines: Iterable[str]) -> RebuttalEvaluation:
    """Run the rebuttal rule over labelled dialogues; bad lines are reported, never raised."""
    cases: list[RebuttalCase] = []
    bad: list[BadLine] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            cases.append(_case(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            bad.append(BadLine(number=number, message=_message(error)))
    confusion = {e: dict.fromkeys(LABELS, 0) for e in LABELS}
    for case in cases:
        confusion[case.expected][case.got] += 1
    right = sum(confusion[label][label] for label in LABELS)
    kept = confusion[Verdict.NO_ATTEMPT][Verdict.NO_ATTEMPT]
    flagged = sum(confusion[label][Verdict.NO_ATTEMPT] for label in LABELS)
    return RebuttalEvaluation(
        n=len(cases),
        accuracy=_ratio(right, len(cases)),
        wrong_flag_rate=_ratio(flagged - kept, flagged),
        fair_flags_kept=_ratio(kept, sum(confusion[Verdict.NO_ATTEMPT].values())),
        confusion=confusion,
        cases=tuple(cases),
        bad_lines=tuple(bad),
    )


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _message(error: Exception) -> str:
    return f"missing {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]


def _case(data: dict[str, Any]) -> RebuttalCase:
    expected = Verdict(data["label"])
    if expected not in LABELS:
        raise ValueError(f"label {expected.value!r} is none of {', '.join(LABELS)}")
    found = rebuttal.detect(
        dialogue_turns(data), duration=float(data.get("duration_s", 0.0)), releasing=None,
        min_duration=0.0, max_duration=math.inf,
    )  # fmt: skip
    return RebuttalCase(
        id=str(data["id"]),
        expected=expected,
        got=found.verdict,
        confidence=found.confidence,
        reason=found.reason,
    )


def dialogue_turns(data: dict[str, Any]) -> SpeakerTurns:
    """Turn one labelled dialogue into the turns that the rule takes; raises ``ValueError`` or ``KeyError``."""
    roles = {role.value: role for role in Role}
    turns = tuple(
        Turn(
            index=i, speaker=str(t["speaker"]), role=roles.get(str(t["speaker"]), Role.UNKNOWN),
            start=float(t["start"]), end=float(t["end"]), text=str(t["text"]),
        )
        for i, t in enumerate(data["turns"])
    )  # fmt: skip
    return SpeakerTurns(
        turns=turns, role_confidence=1.0, transcript_engine="provided", diarization_engine="provided"
    )
