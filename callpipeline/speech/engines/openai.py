"""OpenAI's transcription models, or a server of one's own that speaks their API.

What belongs here: what is sent for a recording, in which order, and keeping what was bought. What does not: the
SDK (``providers.openai``), reading answers (``openai_answers``), slots, rates and money (``limits``).

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

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from callpipeline.audio.channels import channels_differ
from callpipeline.failures import CallPipelineError, CorruptChunk, NotConfigured, NotFit
from callpipeline.limits.gate import Answer, CallRequest
from callpipeline.limits.ledger import Claim, Reuse
from callpipeline.limits.ledger_rows import Order, Paid, Usage, idempotency_key
from callpipeline.model import AudioInfo, Finding, Transcript
from callpipeline.providers.openai import LARGEST_FILE, PROVIDER, AudioRequest, OpenAI
from callpipeline.speech.engines import openai_answers as answers
from callpipeline.speech.engines.base import CpuRunner, EngineTools, PlannedCall, SpeechJob
from callpipeline.speech.engines.paid import Refusals, order_of, restored_from, result_of
from callpipeline.speech.trimming import PAD, Cut, cut, voice, write_audio
from callpipeline.store import files

if TYPE_CHECKING:
    from callpipeline.settings import Settings

POOL = "openai_audio"

REVISION = "1"
"""Goes up when the same recording and model would give another text."""

FOLDER = "sending"
"""Below the store: audio on its way out. ``store.files`` sweeps what killed processes leave there."""

_OPENAI = "api.openai.com"
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

_BYTES_PER_SAMPLE = 2


@dataclass(frozen=True)
class _Piece:
    """One request: what is sent of a recording. ``channel`` ``None`` = all there is, as mono."""

    order: Order
    channel: int | None
    cut: Cut


class OpenAITranscriber:
    """Transcription by OpenAI: audio leaves this machine and costs money."""

    name = "openai"
    remote = True
    demo = False

    def __init__(self, settings: Settings, tools: EngineTools) -> None:
        """Set it up, without asking anything.

        Raises:
            NotConfigured: there is no key, or the package is missing.
        """
        if settings.openai_api_key is None:
            raise NotConfigured(
                "There is no API key of OpenAI.",
                hint="Set OPENAI_API_KEY (to any word for a server of your own that wants none).",
            )
        key = settings.openai_api_key.get_secret_value()
        self._provider = OpenAI(key, settings.openai_base_url, timeout=settings.call_timeout)
        self._settings = settings
        self._tools = tools
        self._name = settings.openai_transcribe_model
        self._model = answers.model_of(self._name)
        self._refusals = Refusals()

    @property
    def version(self) -> str:
        """Our revision, the model, and whose it is where that is not OpenAI."""
        server = self._server
        return f"openai+{REVISION} {self._name}{f' at {server}' if server else ''}"

    @property
    def _server(self) -> str:
        """Whose model it is: a server of one's own may call anything ``whisper-1``. Empty for OpenAI."""
        server = urlsplit(self._settings.openai_base_url).netloc.rpartition("@")[2]
        return "" if server == _OPENAI or server.endswith(f".{_OPENAI}") else server

    async def transcribe(self, job: SpeechJob) -> Transcript:
        """Return what the model heard, channel by channel.

        Raises:
            NotFit: what would be sent is too long or too large for one request.
            NotConfigured: the model has no price, is not served, or the language is no code.
            BudgetExceeded, DeadlineExceeded: see ``Gate.call``.
            CallFailed: the provider's last failure.
        """
        found = [await self._bought(job, piece) for piece in self._pieces(job)]
        segments = sorted((s for t in found for s in t.segments), key=lambda s: (s.start, s.channel or 0))
        known = [s.confidence for s in segments if s.confidence is not None]
        return Transcript(
            engine=self.name,
            engine_version=self.version,
            language=_language(job),
            duration=job.info.duration,
            segments=tuple(segments),
            confidence=round(sum(known) / len(known), 3) if known else None,
            notes=tuple(dict.fromkeys(note for t in found for note in t.notes)),
            skipped_reason=None if found else "nobody speaks",
        )

    def planned(self, job: SpeechJob) -> tuple[PlannedCall, ...]:
        """Return the requests of a recording; ``bytes`` is the most that one can have.

        Raises:
            NotFit: what would be sent is too long for the model.
            NotConfigured: the model has no price.
        """
        calls = []
        for piece in self._pieces(job):
            self._check_length(piece)
            seconds = piece.cut.seconds
            calls.append(
                PlannedCall(
                    request_hash=piece.order.request_hash,
                    provider=PROVIDER,
                    pool=POOL,
                    model=self._name,
                    seconds=seconds,
                    cost=self._cost(seconds),
                    bytes=min(round(seconds * piece.cut.rate) * _BYTES_PER_SAMPLE, LARGEST_FILE),
                )
            )
        return tuple(calls)

    async def probe(self) -> tuple[Finding, ...]:
        """Ask whether the key is accepted and the model is served. Costs nothing.

        Raises:
            CallPipelineError: it does not answer, or cannot now: nothing is known yet.
        """
        try:
            told = await self._provider.check(self._name)
        except CallPipelineError as error:
            if not (error.permanent or isinstance(error, NotConfigured)):
                raise
            message = str(error).removesuffix(error.hint).strip()
            return (Finding(name="openai", passed=False, message=message, hint=error.hint),)
        served = f"{self._name} is served" if told else f"whether {self._name} is served is not told"
        return (
            Finding(
                name="openai", passed=True, message=f"{self._server or _OPENAI} accepts the key; {served}"
            ),
        )

    async def disconnect(self) -> None:
        """Close connections of the running event loop."""
        await self._provider.disconnect()

    # --- what is sent -------------------------------------------------------------------------------------

    def _pieces(self, job: SpeechJob) -> list[_Piece]:
        """Return the requests of a recording; those with nothing to hear are left out."""
        longest = self._settings.longest_silence if self._settings.cut_silences else None
        if not channels_differ(job.info):
            pieces = [self._piece(job, None, longest)]
        else:
            # The other channel's turns are silences of this one: of these only what a voice needs around it.
            close = None if longest is None else min(longest, 2 * PAD)
            pieces = [self._piece(job, c.channel, close) for c in job.activity.channels if c.speech]
        return [piece for piece in pieces if piece.cut.kept]

    def _piece(self, job: SpeechJob, channel: int | None, longest: float | None) -> _Piece:
        regions = voice(job.activity, None if channel is None else [channel])
        options = {"channel": channel, "format": self._model.format, "server": self._server}
        order = order_of(job, PROVIDER, POOL, self._name, **options)
        return _Piece(order, channel, cut(job.info, regions, longest_silence=longest))

    def _check_length(self, piece: _Piece) -> None:
        longest = self._model.longest
        if longest is not None and piece.cut.seconds > longest:
            raise NotFit(
                f"{piece.cut.seconds / 60:.0f} minutes would be sent; {self._name} takes {longest / 60:.0f}.",
                hint="Use whisper-1 in CALLPIPELINE_OPENAI_TRANSCRIBE_MODEL, or the engine assemblyai or whisper.",
            )

    def _cost(self, seconds: float, tokens_in: int = 0, tokens_out: int = 0) -> float:
        prices = self._tools.supplies().prices
        return prices.cost(PROVIDER, self._name, seconds=seconds, tokens_in=tokens_in, tokens_out=tokens_out)

    # --- buying -------------------------------------------------------------------------------------------

    async def _bought(self, job: SpeechJob, piece: _Piece) -> Transcript:
        """Return the transcript of one request, from the ledger or from the provider."""
        ledger = self._tools.supplies().ledger
        async with ledger.claim(piece.order, force_paid=self._tools.force_paid) as claim:
            if isinstance(claim.decision, Reuse):
                return self._restored(job, piece, claim.decision.paid)
            self._check_length(piece)
            name = f"{piece.order.request_hash[:16]}.flac"
            with self._refusals.noted(), files.scratch(self._settings.store / FOLDER / name) as target:
                audio = _Audio(job, piece, target, self._tools.thread)
                await audio.prepare()
                return self._restored(job, piece, await self._buy(job, piece, claim, audio))

    async def _buy(self, job: SpeechJob, piece: _Piece, claim: Claim, audio: _Audio) -> Paid:
        seconds = piece.cut.seconds
        request = CallRequest(
            request_hash=piece.order.request_hash,
            recording=piece.order.recording,
            purpose=piece.order.purpose,
            model=self._name,
            tokens_estimate=seconds * self._model.tokens_per_second,
            cost_estimate=self._cost(seconds),
            one_shot=True,
            timeout=self._settings.call_timeout,
            deadline=self._tools.deadline,
        )

        async def send() -> Answer[dict[str, Any]]:
            self._refusals.check()
            if audio.rejected:
                await audio.write()
            await claim.sending()
            try:
                return await self._provider.transcribe(audio.path, self._request(job, piece, audio.name))
            except CorruptChunk:
                audio.rejected = True
                raise

        answer = await self._tools.supplies().gate.call(PROVIDER, POOL, request, send)
        # It is paid: nothing may wait between the answer and writing it down.
        facts = {
            "model": self._name,
            "format": self._model.format,
            "language": answer.value.get("language"),
            "request": answer.headers.get("x-request-id"),
        }
        transcript = self._tools.clean(self._transcript(job, piece, answer.value))
        usage = self._usage(answer.value, seconds)
        return await claim.finish(result_of(transcript, piece.cut, facts), usage)

    def _request(self, job: SpeechJob, piece: _Piece, file_name: str) -> AudioRequest:
        return AudioRequest(
            model=self._name,
            format=self._model.format,
            file_name=file_name,
            language=_language(job),
            word_times=self._model.format == "verbose_json",
            logprobs=self._model.logprobs,
            chunked=self._model.format == "diarized_json",
            idempotency_key=idempotency_key(piece.order.request_hash),
        )

    def _transcript(self, job: SpeechJob, piece: _Piece, answer: Mapping[str, Any]) -> Transcript:
        """Return an answer with the times of the audio that was sent."""
        seconds = piece.cut.seconds
        return Transcript(
            engine=self.name,
            engine_version=self.version,
            language=_language(job),
            duration=seconds,
            segments=answers.segments_of(answer, self._model.format, seconds, piece.channel),
        )

    def _usage(self, answer: Mapping[str, Any], seconds: float) -> Usage:
        """Return what an answer says it took; seconds are those that were sent where it tells of tokens."""
        told = answer.get("usage")
        told = told if isinstance(told, Mapping) else {}
        charged = _count(told.get("seconds")) or seconds
        tokens_in, tokens_out = (round(_count(told.get(f"{way}_tokens"))) for way in ("input", "output"))
        cost = self._cost(charged, tokens_in, tokens_out)
        return Usage(seconds=charged, tokens_in=tokens_in, tokens_out=tokens_out, cost=cost)

    def _restored(self, job: SpeechJob, piece: _Piece, paid: Paid) -> Transcript:
        """Return what was bought with the times of the recording."""
        transcript = restored_from(paid.result, duration=job.info.duration)
        if self._model.format != "json":
            return transcript
        speech = voice(job.activity, None if piece.channel is None else [piece.channel])
        segments = [part for segment in transcript.segments for part in answers.placed(segment, speech)]
        note = f"{self._name} tells no times: they are estimated from where speech was heard"
        return transcript.model_copy(update={"segments": tuple(segments), "notes": (note,)})


class _Audio:
    """The audio of one request on this machine: the original where that will do, else what is kept of it.

    ``name`` goes to the provider; it says nothing about the recording. ``rejected``: the provider could not read
    it, so it is cut anew before it is sent again.
    """

    def __init__(self, job: SpeechJob, piece: _Piece, target: Path, thread: CpuRunner) -> None:
        self.path = job.path
        self.name = ""
        self.rejected = False
        self._job = job
        self._piece = piece
        self._target = target
        self._thread = thread

    async def prepare(self) -> None:
        """Make it ready.

        Raises:
            NotFit: it is too large for one request.
            BadInput, SourceUnavailable: see ``trimming.write_audio``.
        """
        container = _CONTAINERS.get((self._job.info.format, self._job.info.codec))
        if container is None or not self._untouched(self._job.info):
            await self.write()
        else:
            self.name = f"audio.{container}"

    async def write(self) -> None:
        """Cut what is sent out of the recording; raises what ``prepare`` does."""
        channels = [self._piece.channel or 0] if self._single else None
        size = await self._thread(
            write_audio, self._job.path, self._piece.cut, self._target, channels=channels
        )
        if size > LARGEST_FILE:
            raise NotFit(
                f"{size / 1e6:.0f} MB of audio would be sent; OpenAI takes {LARGEST_FILE / 1e6:.0f} at once.",
                hint="Use the engine assemblyai or whisper for this recording.",
            )
        self.path, self.name, self.rejected = self._target, "audio.flac", False

    @property
    def _single(self) -> bool:
        """One channel is sent by itself; of several with the same sound the first will do."""
        return self._piece.channel is not None or self._job.info.dual_mono

    def _untouched(self, info: AudioInfo) -> bool:
        """Tell whether the original is just what is to be sent, and every decoder hears the same in it."""
        alone = self._piece.channel is None and not info.has_video and not info.decode_errors
        return alone and self._piece.cut.whole and info.bytes <= LARGEST_FILE


def _language(job: SpeechJob) -> str:
    """Return the two-letter code that OpenAI wants.

    Raises:
        NotConfigured: the recording's language is none.
    """
    code = job.language.replace("_", "-").split("-")[0].lower()
    if not re.fullmatch(r"[a-z]{2,3}", code):
        raise NotConfigured(
            f"{job.language!r} is no language code.", hint="Give the language as a code, such as en."
        )
    return code


def _count(value: object) -> float:
    return float(value) if isinstance(value, int | float) and value > 0 else 0.0
