"""What a diarization engine is. What does not belong here: any engine."""

from __future__ import annotations

from typing import Protocol

from callpipeline.model import Diarization
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
