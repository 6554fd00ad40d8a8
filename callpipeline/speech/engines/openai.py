"""OpenAI's transcription models, or a server of one's own that speaks their API.

What belongs here: the engine, and what is sent of a recording that fits one request. What does not: one request
(``openai_requests``), recordings that must be cut into chunks (``openai_long``).

A mono recording is one request. Of a call with a voice on each channel, every channel on which somebody speaks is
a request of its own, cut to that channel's speech: about as many paid seconds as one of the mix, and who speaks is
certain. They go out one after another, so that a refusal of the first spares the second; each is a row of the
ledger, so that the next try sends only what is missing.

What can be paid twice: OpenAI has no job that could be looked for later. A call whose process is killed between
sending it and writing its answer down, or whose answer is lost on its way, may have been paid, and is sent again:
at most the calls in flight at a kill, and one for each lost answer. Such tries stay in the ledger as unsure charges,
so that budgets count them. An ``Idempotency-Key`` is sent along, for servers in between that heed it.
"""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from callpipeline.audio.channels import channels_differ
from callpipeline.failures import CallPipelineError, NotConfigured
from callpipeline.model import AudioInfo, ChunkPlan, Finding, SpeechActivity, Transcript
from callpipeline.providers.openai import LARGEST_FILE, OPENAI
from callpipeline.speech.chunk_files import CODECS
from callpipeline.speech.engines.base import (
    ChunkLimits,
    CpuRunner,
    EngineTools,
    PlannedCall,
    SpeechJob,
    refused,
)
from callpipeline.speech.engines.chunking import plan_of
from callpipeline.speech.engines.openai_long import LongRecordings
from callpipeline.speech.engines.openai_requests import (
    FOLDER,
    NAME,
    Piece,
    Requests,
    joined,
    language_of,
)
from callpipeline.speech.trimming import PAD, Cut, cut, voice, write_audio
from callpipeline.store import files

if TYPE_CHECKING:
    from callpipeline.settings import Settings

LARGEST_CHUNK = 20_000_000
"""Bytes of a chunk: sizes of compressed sound are estimates."""

_SPARE = 1.0
"""Chunks stay this much (s) under the longest that a model takes: encoders round up."""

_CONTAINERS = {
    ("wav", "pcm_s16le"): "wav",
    ("mp3", "mp3float"): "mp3",
    ("mp3", "mp3"): "mp3",
    ("flac", "flac"): "flac",
    ("ogg", "vorbis"): "ogg",
    ("ogg", "opus"): "ogg",
    ("mov,mp4,m4a,3gp,3g2,mj2", "aac"): "m4a",
}
"""Containers and codecs, as FFmpeg calls them, that OpenAI documents; what else there is goes out as FLAC."""


class OpenAITranscriber:
    """Transcription by OpenAI: audio leaves this machine and costs money."""

    name = NAME
    remote = True
    demo = False

    def __init__(self, settings: Settings, tools: EngineTools) -> None:
        """Set it up, without asking anything.

        Raises:
            NotConfigured: there is no key, or the package is missing.
        """
        self._requests = Requests(settings, tools)
        self._long = LongRecordings(self._requests)
        self._settings = settings
        self._tools = tools

    @property
    def version(self) -> str:
        """Our revision, the model, and whose it is where that is not OpenAI."""
        return self._requests.version

    @property
    def chunk_limits(self) -> ChunkLimits:
        """What a chunk may have at most."""
        longest = self._requests.model.longest
        return ChunkLimits(inf if longest is None else longest - _SPARE, LARGEST_CHUNK)

    def fits(self, info: AudioInfo, activity: SpeechActivity) -> bool:
        """Tell whether each request of a recording takes what the model, and the provider, take at once."""
        return all(self._fits(info, channel, part) for channel, part in self._cuts(info, activity))

    async def transcribe(self, job: SpeechJob) -> Transcript:
        """Return what the model heard: channel by channel, or of a long recording chunk by chunk.

        Raises:
            NotFit: the recording's language is no code; nothing was sent.
            NotConfigured: the model has no price, or is not served.
            BudgetExceeded, DeadlineExceeded: see ``Gate.call``.
            CallFailed: the provider's last failure; of a long recording only when nothing of it succeeded.
        """
        language_of(job)
        plan = self._plan(job)
        if plan is not None:
            return await self._long.transcribe(job, plan)
        return joined(self._requests, job, [await self._bought(job, piece) for piece in self._pieces(job)])

    def planned(self, job: SpeechJob) -> tuple[PlannedCall, ...]:
        """Return the requests of a recording; ``bytes`` is the most that one can have.

        Raises:
            NotFit: the recording's language is no code.
            NotConfigured: the model has no price.
        """
        language_of(job)
        plan = self._plan(job)
        if plan is not None:
            return self._long.planned(job, plan)
        return tuple(self._requests.planned(piece, _lossless(piece.cut)) for piece in self._pieces(job))

    async def probe(self) -> tuple[Finding, ...]:
        """Ask whether the key is accepted and the model is served. Costs nothing.

        Raises:
            CallPipelineError: it does not answer, or cannot now: nothing is known yet.
        """
        name = self._requests.model_name
        try:
            told = await self._requests.provider.check(name)
        except CallPipelineError as error:
            if not (error.permanent or isinstance(error, NotConfigured)):
                raise
            return (refused(NAME, error),)
        served = f"{name} is served" if told else f"whether {name} is served is not told"
        whose = self._requests.server or OPENAI
        return (Finding(name=NAME, passed=True, message=f"{whose} accepts the key; {served}"),)

    async def disconnect(self) -> None:
        """Close connections of the running event loop."""
        await self._requests.provider.disconnect()

    def _plan(self, job: SpeechJob) -> ChunkPlan | None:
        """Return where a recording is cut: as it was planned, or now if it needs to be."""
        if job.plan is not None or self.fits(job.info, job.activity):
            return job.plan
        return plan_of(job.info, job.activity, self._settings, self.chunk_limits)

    # --- what is sent of a recording that fits ------------------------------------------------------------

    def _pieces(self, job: SpeechJob) -> list[Piece]:
        """Return the requests of a recording."""
        cuts = self._cuts(job.info, job.activity)
        return [Piece(self._requests.order(job, channel), channel, part) for channel, part in cuts]

    def _cuts(self, info: AudioInfo, activity: SpeechActivity) -> list[tuple[int | None, Cut]]:
        """Return what is sent, by channel (``None``: all as one); what has nothing to hear is left out."""
        longest = self._settings.longest_silence if self._settings.cut_silences else None
        channels: list[int | None] = [None]
        if channels_differ(info):
            channels = [channel.channel for channel in activity.channels if channel.speech]
            # The other channel's turns are silences of this one: of these only what a voice needs around it.
            longest = None if longest is None else min(longest, 2 * PAD)
        cuts = (
            (c, cut(info, voice(activity, None if c is None else [c]), longest_silence=longest))
            for c in channels
        )
        return [(channel, part) for channel, part in cuts if part.kept]

    def _fits(self, info: AudioInfo, channel: int | None, part: Cut) -> bool:
        longest = self._requests.model.longest
        if longest is not None and part.seconds > longest:
            return False
        return _container(info, channel, part) is not None or part.seconds * _lossless(part) <= LARGEST_FILE

    async def _bought(self, job: SpeechJob, piece: Piece) -> Transcript:
        name = f"{piece.order.request_hash[:16]}.flac"
        with files.scratch(self._settings.store / FOLDER / name) as target:
            return await self._requests.bought(job, piece, _Audio(job, piece, target, self._tools.thread))


def _lossless(part: Cut) -> float:
    """Return the most bytes that a second takes."""
    return CODECS["flac"].bytes_per_second(part.rate)


def _container(info: AudioInfo, channel: int | None, part: Cut) -> str | None:
    """Return the container of an original that is just what is to be sent, and in which every decoder hears the same.

    ``None``: it must be made.
    """
    alone = channel is None and not info.has_video and not info.decode_errors
    untouched = alone and part.whole and info.bytes <= LARGEST_FILE
    return _CONTAINERS.get((info.format, info.codec)) if untouched else None


class _Audio:
    """The audio of one request on this machine: the original where that will do, else what is kept of it."""

    def __init__(self, job: SpeechJob, piece: Piece, target: Path, thread: CpuRunner) -> None:
        self.path = job.path
        self.name = ""
        self._job = job
        self._piece = piece
        self._target = target
        self._thread = thread

    async def prepare(self) -> None:
        """Make it ready.

        Raises:
            BadInput, SourceUnavailable: see ``trimming.write_audio``.
        """
        container = _container(self._job.info, self._piece.channel, self._piece.cut)
        if container is None:
            await self.renew()
        else:
            self.name = f"audio.{container}"

    async def renew(self) -> None:
        """Cut what is sent out of the recording; raises what ``prepare`` does."""
        channels = [self._piece.channel or 0] if self._single else None
        await self._thread(write_audio, self._job.path, self._piece.cut, self._target, channels=channels)
        self.path, self.name = self._target, CODECS["flac"].name

    def leaves(self) -> None:
        """Nobody is told of requests that are a whole recording."""

    @property
    def _single(self) -> bool:
        """One channel is sent by itself; of several with the same sound the first will do."""
        return self._piece.channel is not None or self._job.info.dual_mono
