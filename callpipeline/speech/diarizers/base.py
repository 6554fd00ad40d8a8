"""What a diarization engine is. What does not belong here: any engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from callpipeline.model import Diarization, Role, SpeakerSpan
from callpipeline.speech.engines.base import SpeechJob


class Diarizer(Protocol):
    """Says who spoke when. ``version`` names everything beside the recording that decides the result."""

    @property
    def name(self) -> str:
        """The registered name."""
        ...

    @property
    def version(self) -> str:
        """What decides the result."""
        ...

    async def diarize(self, job: SpeechJob) -> Diarization:
        """Return who spoke when.

        Raises:
            CallPipelineError: a failure of ``failures``.
        """
        ...


def of_strangers(engine: Diarizer, spans: Iterable[SpeakerSpan], notes: Iterable[str]) -> Diarization:
    """Return what an engine found that knows voices, and nothing about who they are; empty notes are left out."""
    found = tuple(spans)
    return Diarization(
        engine=engine.name,
        engine_version=engine.version,
        spans=found,
        roles={span.speaker: Role.UNKNOWN for span in found},
        role_confidence=0.0,
        notes=tuple(filter(None, notes)),
    )
