"""One line of the report: everything a quality analyst wants to know about one recording.

What belongs here: building the line from what the stages stored, however little that is. What does not: sums
over lines (``rollups``) and how a line looks (``tables``, ``report``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Literal

from pydantic import Field

from callpipeline.model import (
    AudioInfo,
    CallMetadata,
    CallMetrics,
    Chapters,
    Detection,
    Detections,
    Gap,
    Record,
    Role,
    SpeakerTurns,
    StageFailure,
    Turn,
    Verdict,
)
from callpipeline.qa.opening import Opening

Status = Literal["ok", "partial", "error", "pending"]

_DAY = re.compile(r"(?<!\d)(?P<y>20\d\d)[-_/.]?(?P<m>\d\d)[-_/.]?(?P<d>\d\d)(?!\d)")
_US_DAY = re.compile(r"(?<!\d)(?P<m>\d{1,2})[-_/.](?P<d>\d{1,2})[-_/.](?P<y>20\d\d)(?!\d)")


class RowError(Record):
    """Something that failed on this recording, in words for the analyst."""

    where: str
    """The stage or detection."""
    error_class: str
    message: str
    permanent: bool = True


class Heard(Record):
    """Whether the agent said a thing in the opening: ``said`` is ``None`` when nobody can tell."""

    said: bool | None = None
    quote: str = ""


class CallRow(Record):
    """One line. ``None`` and "" mean that nobody said or that the stage is missing, never "no".

    ``status``: ``ok`` all verdicts are there; ``partial`` some are, something failed; ``error`` no verdict
    could be drawn; ``pending`` nothing failed, but the recording has not been judged yet. Of a ``hearing`` no
    verdicts are drawn, and no agent's figures count it: its transcript decides.
    """

    key: str
    status: Status
    errors: tuple[RowError, ...] = ()
    agent: str = ""
    phone: str = ""
    timestamp: str = ""
    day: str = ""
    """ISO date of the call, "" when the metadata has none that can be read."""
    disposition: str = ""
    campaign: str = ""
    dialer: str = ""
    duration: float | None = None
    """Seconds."""
    detections: dict[str, Detection] = Field(default_factory=dict)
    flag: bool = False
    flag_reasons: tuple[str, ...] = ()
    intro: Heard = Heard()
    owner: Heard = Heard()
    reason: Heard = Heard()
    metrics: CallMetrics | None = None
    turns: tuple[Turn, ...] | None = None
    """``None`` when there is no transcript; empty when nothing was said."""
    engine: str = ""
    """Transcription engine, "" when there is no text of it."""
    demo: bool = False
    """The text comes from the offline demo engine."""
    file_name: str = ""
    file_path: str = ""
    hearing: bool = False
    title: str = ""
    committee: str = ""
    chapters: int | None = None
    """Chapters of a hearing, ``None`` while nobody counted them."""
    gaps: tuple[Gap, ...] = ()
    """What is missing of a hearing's transcript."""

    @property
    def missing(self) -> float:
        """Seconds of which the transcript is missing."""
        return sum(gap.end - gap.start for gap in self.gaps)

    def verdict(self, name: str) -> Verdict | None:
        """Return the verdict of a detection, ``None`` while there is none."""
        detection = self.detections.get(name)
        return detection.verdict if detection else None

    @property
    def score(self) -> float | None:
        """The intro score, 0-100."""
        detection = self.detections.get("intro_score")
        return detection.score if detection else None

    @property
    def confidence(self) -> float | None:
        """The least confidence among the verdicts that decide the flag: a call is as sure as its weakest."""
        decided = [
            self.detections[name].confidence
            for name in ("releasing", "late_hello", "rebuttal")
            if self.verdict(name) not in (None, Verdict.ERROR, Verdict.SKIPPED, Verdict.NOT_APPLICABLE)
        ]
        return min(decided, default=None)

    @property
    def agent_talk(self) -> float | None:
        """Share of the talk that is the agent's, 0-1."""
        if self.metrics is None:
            return None
        agents = [s.talk_ratio for s in self.metrics.speakers if s.role is Role.AGENT]
        return sum(agents) if agents else None


def call_row(
    key: str,
    *,
    metadata: CallMetadata,
    file_name: str,
    file_path: str,
    info: AudioInfo | None = None,
    detections: Detections | None = None,
    metrics: CallMetrics | None = None,
    turns: SpeakerTurns | None = None,
    failures: Sequence[StageFailure] = (),
    hearing: bool = False,
    chapters: Chapters | None = None,
    gaps: Sequence[Gap] = (),
) -> CallRow:
    """Build the line of one recording from what its stages stored; any of them may be missing.

    Args:
        key: Partition key of the recording.
        metadata: What the file name and the files beside it say.
        file_name: Name of the source file.
        file_path: Path of the source file, as the analyst can open it.
        info: Result of the probe.
        detections: All verdicts.
        metrics: Figures of the call.
        turns: The conversation.
        failures: Stages that failed and have not succeeded since.
        hearing: Whether it is a hearing, of which no verdicts are drawn.
        chapters: Chapters of a hearing.
        gaps: What is missing of a hearing's transcript.
    """
    verdicts = detections.detections if detections else {}
    opening = Opening(turns) if turns else None
    heard = opening if opening and opening.heard else None
    found = (heard.introduction(), heard.owner(), heard.reason()) if heard else (None, None, None)
    intro, owner, reason = (
        Heard(said=evidence is not None, quote=evidence.note if evidence else "") if heard else Heard()
        for evidence in found
    )
    return CallRow(
        key=key,
        status=_status_of_hearing(turns, failures) if hearing else _status(verdicts, failures),
        errors=_errors(verdicts, failures),
        agent=_clean(metadata.agent),
        phone=_clean(metadata.phone),
        timestamp=_clean(metadata.timestamp) or _clean(metadata.date),
        day=day_of(metadata),
        disposition=_clean(metadata.disposition),
        campaign=_clean(metadata.campaign),
        dialer=_clean(metadata.dialer),
        duration=info.duration if info else None,
        detections=verdicts,
        flag=bool(detections and detections.flag),
        flag_reasons=detections.flag_reasons if detections else (),
        intro=intro,
        owner=owner,
        reason=reason,
        metrics=metrics,
        turns=turns.turns if turns else None,
        engine=turns.transcript_engine if turns and turns.turns else "",
        demo=bool(turns and turns.turns and turns.demo),
        file_name=file_name,
        file_path=file_path,
        hearing=hearing,
        title=_clean(metadata.title),
        committee=_clean(metadata.committee),
        chapters=len(chapters.chapters) if chapters else None,
        gaps=tuple(gaps),
    )


def day_of(metadata: CallMetadata) -> str:
    """Return the ISO date of a call from its date or time stamp, "" when there is none.

    Read are year first (2026-11-20, 20261120) and, as American dialers write, month first (11/20/2026).
    """
    for text in (metadata.date, metadata.timestamp):
        match = (_DAY.search(text) or _US_DAY.search(text)) if text else None
        if match is None:
            continue
        try:
            return date(int(match["y"]), int(match["m"]), int(match["d"])).isoformat()
        except ValueError:
            continue
    return ""


def _clean(text: str | None) -> str:
    return (text or "").strip()


def _status(verdicts: dict[str, Detection], failures: Sequence[StageFailure]) -> Status:
    errored = [d for d in verdicts.values() if d.verdict is Verdict.ERROR]
    if not verdicts:
        return "error" if failures else "pending"
    if len(errored) == len(verdicts):
        return "error"
    return "partial" if errored or failures else "ok"


def _status_of_hearing(turns: SpeakerTurns | None, failures: Sequence[StageFailure]) -> Status:
    if turns is None:
        return "error" if failures else "pending"
    return "partial" if failures else "ok"


def _errors(verdicts: dict[str, Detection], failures: Sequence[StageFailure]) -> tuple[RowError, ...]:
    """Return what failed, stages first; a detection that only repeats a stage's message is left out."""
    errors = [
        RowError(where=f.asset, error_class=f.error_class, message=f.message, permanent=f.permanent)
        for f in failures
    ]
    for name, detection in verdicts.items():
        known = {error.message for error in errors}
        if detection.verdict is Verdict.ERROR and not any(m in detection.reason for m in known if m):
            error_class = detection.error_class or "internal"
            errors.append(RowError(where=name, error_class=error_class, message=detection.reason))
    return tuple(errors)
