"""What a transcription engine is, and what it gets to work on.

What belongs here: the protocol, its job, and small value types that engines and their table share. What does
not: any engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar, runtime_checkable

from callpipeline.audio.channels import apart, channels_differ
from callpipeline.failures import CallPipelineError
from callpipeline.model import AudioInfo, ChunkPlan, ChunkState, Finding, SpeechActivity, Transcript

if TYPE_CHECKING:
    from callpipeline.limits.supplies import Supplies

P = ParamSpec("P")
T = TypeVar("T")


class CpuRunner(Protocol):
    """Runs a function elsewhere: in a worker process (it and its arguments must be picklable), or a thread."""

    async def __call__(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``fn`` returns, or raise what it raises."""
        ...


@dataclass(frozen=True)
class SpeechJob:
    """One recording for a speech engine: the original bytes and what the stages above found out.

    ``sha256`` of the bytes names the recording in requests that are paid for; without it ``key`` does. ``plan``:
    where a long recording is cut for an engine that works in chunks. ``name``: what people call it, for messages.
    ``hearing``: many may speak in one room; else it is a call. ``speakers``: how many its metadata says.
    """

    key: str
    path: Path
    info: AudioInfo
    activity: SpeechActivity
    language: str
    sha256: str = ""
    plan: ChunkPlan | None = None
    name: str = ""
    hearing: bool = False
    speakers: int | None = None

    @property
    def by_channel(self) -> bool:
        """Whether each channel has a party of its own. Those of a hearing may be microphones in one room."""
        return channels_differ(self.info) and (not self.hearing or apart(self.activity))

    def expected(self, usual: int) -> int | None:
        """Return how many speakers there are: as told, else ``usual`` in a call; ``None``: nobody knows."""
        return self.speakers or (None if self.hearing else usual)

    @property
    def identity(self) -> str:
        """What names the recording's bytes for good."""
        return self.sha256 or self.key


def _nobody_listens(state: ChunkState) -> None:
    """Where nobody wants to know how far chunks have come."""


@dataclass(frozen=True)
class EngineTools:
    """What an engine may need beside its settings.

    ``supplies`` opens the limits, the ledger and the prices at first use. ``clean`` is applied to a
    provider's text before any of it is written down. ``force_paid``: buy again what was bought before.
    ``deadline``: when to stop making calls, by ``time.monotonic()``. ``progress`` is told of every change of a
    chunk. ``look_ahead`` says how many chunks of a recording may lie ready now.
    """

    cpu: CpuRunner
    thread: CpuRunner
    supplies: Callable[[], Supplies]
    clean: Callable[[Transcript], Transcript]
    force_paid: bool = False
    deadline: float | None = None
    progress: Callable[[ChunkState], None] = _nobody_listens
    look_ahead: Callable[[], int] = lambda: 2


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
class PlannedCall:
    """One paid request that a recording needs, worked out before anything is sent.

    ``seconds`` of audio that are sent, ``cost`` in dollars at most, ``bytes`` on disk while it is sent.
    """

    request_hash: str
    provider: str
    pool: str
    model: str
    seconds: float
    cost: float
    bytes: int = 0


def refused(name: str, error: CallPipelineError) -> Finding:
    """Return as a finding what a provider, or the set-up, has against every call."""
    message = str(error).removesuffix(error.hint).strip()
    return Finding(name=name, passed=False, message=message, hint=error.hint, error_class=error.error_class)


@runtime_checkable
class RemoteTranscriber(Transcriber, Protocol):
    """A transcription engine at a provider: it can say before what it will send, and whether it may."""

    def planned(self, job: SpeechJob) -> tuple[PlannedCall, ...]:
        """Return the paid requests that ``transcribe`` would make for a recording. Sends nothing."""
        ...

    async def probe(self) -> tuple[Finding, ...]:
        """Ask the provider, for nothing, whether the key is accepted and the models are served.

        Raises:
            CallPipelineError: it does not answer, or cannot now: nothing is known yet.
        """
        ...

    async def disconnect(self) -> None:
        """Close connections of the running event loop."""
        ...


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """The longest (s) and the largest chunk that an engine sends."""

    seconds: float
    bytes: int


@runtime_checkable
class ChunkingTranscriber(RemoteTranscriber, Protocol):
    """An engine that sends long recordings in chunks."""

    @property
    def chunk_limits(self) -> ChunkLimits | None:
        """What a chunk may have; ``None``: it takes recordings of any length at once."""
        ...

    def fits(self, info: AudioInfo, activity: SpeechActivity) -> bool:
        """Tell whether a recording can be sent without being cut into chunks."""
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
