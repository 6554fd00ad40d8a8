"""What a transcription engine is, and what it gets to work on.

What belongs here: the protocol, its job, and small value types that engines and their table share. What does
not: any engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from callpipeline.model import AudioInfo, SpeechActivity, Transcript

P = ParamSpec("P")
T = TypeVar("T")


class CpuRunner(Protocol):
    """Runs a function in a worker process. It and its arguments must be importable and picklable."""

    async def __call__(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``fn`` returns, or raise what it raises."""
        ...


@dataclass(frozen=True)
class SpeechJob:
    """One recording for a speech engine: the original bytes and what the stages above found out."""

    key: str
    path: Path
    info: AudioInfo
    activity: SpeechActivity
    language: str


class Transcriber(Protocol):
    """A transcription engine.

    ``version`` is a part of the results' cache key: it names everything beside the recording that decides the
    text. ``remote`` engines send audio away and cost money; ``demo`` marks text that is no basis for judging
    people.
    """

    @property
    def name(self) -> str:
        """The registered name."""
        ...

    @property
    def version(self) -> str:
        """What decides the text: package, model, our own revision."""
        ...

    @property
    def remote(self) -> bool:
        """Whether audio leaves this machine."""
        ...

    @property
    def demo(self) -> bool:
        """Whether the text is for trying things out only."""
        ...

    async def transcribe(self, job: SpeechJob) -> Transcript:
        """Return what was said.

        Raises:
            CallPipelineError: a failure of ``failures``; never an empty transcript in place of one.
        """
        ...


@dataclass(frozen=True)
class EngineStatus:
    """Whether an engine works here, for people. ``kind`` is ``transcription`` or ``diarization``."""

    name: str
    kind: str
    ready: bool
    detail: str
    hint: str = ""
    chosen: bool = False
