"""One transcription request to OpenAI: its name in the ledger, its price, buying it, reading what was bought.

What belongs here: all that is the same whether a request is a whole recording or a chunk of one. What does not:
what is sent of a recording (``openai``, ``openai_long``), the SDK (``providers.openai``), reading answers
(``openai_answers``), slots, rates and money (``limits``).
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from callpipeline.failures import CorruptChunk, NotConfigured, NotFit
from callpipeline.limits.gate import Answer, CallRequest
from callpipeline.limits.ledger import Claim, Ledger, Reuse
from callpipeline.limits.ledger_rows import Order, Paid, Usage, idempotency_key
from callpipeline.limits.refusals import Refusals
from callpipeline.model import Chunk, Region, Transcript
from callpipeline.providers.openai import LARGEST_FILE, PROVIDER, AudioRequest, OpenAI, server_of
from callpipeline.speech.engines import openai_answers as answers
from callpipeline.speech.engines.base import EngineTools, PlannedCall, SpeechJob
from callpipeline.speech.engines.paid import order_of, restored_from, result_of, reused
from callpipeline.speech.trimming import Cut, voice

if TYPE_CHECKING:
    from callpipeline.settings import Settings

NAME = "openai"
POOL = "openai_audio"

REVISION = "1"
"""Goes up when the same recording and model would give another text."""

FOLDER = "sending"
"""Below the store: audio on its way out. ``store.files`` sweeps what killed processes leave there."""

ENCODER_SECONDS = 0.2
"""By how much a chunk can be longer than its sound: codecs work in frames, and MP3 begins with some that are empty."""


@dataclass(frozen=True)
class Piece:
    """What one request sends of a recording. ``channel`` ``None`` = all there is, as mono.

    ``chunk``: the time slice that it is of a long recording.
    """

    order: Order
    channel: int | None
    cut: Cut
    chunk: Chunk | None = None


class Audio(Protocol):
    """The audio of one request on this machine. ``name`` tells the provider its container, and nothing else."""

    path: Path
    name: str

    async def prepare(self) -> None:
        """Make it ready to be sent."""
        ...

    async def renew(self) -> None:
        """Cut it anew: the provider could not read it."""
        ...

    def leaves(self) -> None:
        """Hear that it goes out now."""
        ...


class Requests:
    """Requests of one engine. What the provider refuses the account is asked for once."""

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
        self.provider = OpenAI(key, settings.openai_base_url, timeout=settings.call_timeout)
        self.settings = settings
        self.tools = tools
        self.model_name = settings.openai_transcribe_model
        self.model = answers.model_of(self.model_name)
        self._refusals = Refusals()

    @property
    def version(self) -> str:
        """Our revision, the model, whose it is where that is not OpenAI, and whether it is told what came before."""
        where = f" at {self.server}" if self.server else ""
        return f"openai+{REVISION} {self.model_name}{where}{' in context' if self.settings.chunk_context else ''}"

    @property
    def server(self) -> str:
        """Whose model it is: a server of one's own may call anything ``whisper-1``. Empty for OpenAI."""
        return server_of(self.settings.openai_base_url)

    @property
    def ledger(self) -> Ledger:
        """Where it is written down what was bought."""
        return self.tools.supplies().ledger

    def order(self, job: SpeechJob, channel: int | None, **options: Any) -> Order:
        """Name a request; ``options`` are those of ``order_of``."""
        options = {"channel": channel, "format": self.model.format, "server": self.server, **options}
        return order_of(job, PROVIDER, POOL, self.model_name, **options)

    def planned(self, piece: Piece, bytes_per_second: float) -> PlannedCall:
        """Return a request as it is planned.

        Raises:
            NotConfigured: the model has no price.
        """
        seconds = piece.cut.seconds
        return PlannedCall(
            request_hash=piece.order.request_hash,
            provider=PROVIDER,
            pool=POOL,
            model=self.model_name,
            seconds=seconds,
            cost=self._estimate(piece),
            bytes=min(round(seconds * bytes_per_second), LARGEST_FILE),
        )

    async def bought(self, job: SpeechJob, piece: Piece, audio: Audio, *, prompt: str = "") -> Transcript:
        """Return the transcript of one request, from the ledger or from the provider.

        Args:
            job: The recording.
            piece: What of it.
            audio: What is sent; it is prepared only if it must be sent.
            prompt: What was said before, for the model.

        Raises:
            NotConfigured: the model has no price, or is not served.
            BudgetExceeded, DeadlineExceeded: see ``Gate.call``.
            CallFailed: the provider's last failure.
        """
        async with self.ledger.claim(piece.order, force_paid=self.tools.force_paid) as claim:
            if isinstance(claim.decision, Reuse):
                return self._restored(job, piece, await reused(claim, claim.decision, self.tools))
            self._refusals.check()
            await audio.prepare()
            return self._restored(job, piece, await self._buy(job, piece, claim, audio, prompt))

    async def kept(self, job: SpeechJob, piece: Piece) -> Transcript | None:
        """Return the transcript of a request that was bought before, ``None`` if it must be bought."""
        force = self.tools.force_paid
        known = await asyncio.to_thread(self.ledger.attach, piece.order.request_hash, force_paid=force)
        if not isinstance(known, Reuse):
            return None
        async with self.ledger.claim(piece.order, force_paid=force) as claim:
            if not isinstance(claim.decision, Reuse):
                return None
            return self._restored(job, piece, await reused(claim, claim.decision, self.tools))

    # --- buying -------------------------------------------------------------------------------------------

    def _cost(self, seconds: float, tokens_in: int = 0, tokens_out: int = 0) -> float:
        prices = self.tools.supplies().prices
        return prices.cost(
            PROVIDER, self.model_name, seconds=seconds, tokens_in=tokens_in, tokens_out=tokens_out
        )

    def _estimate(self, piece: Piece) -> float:
        """Return the most dollars that a request can cost: seconds begun are charged."""
        added = ENCODER_SECONDS if piece.chunk else 0.0
        return self._cost(math.ceil(piece.cut.seconds + added))

    async def _buy(self, job: SpeechJob, piece: Piece, claim: Claim, audio: Audio, prompt: str) -> Paid:
        seconds = piece.cut.seconds
        request = CallRequest(
            request_hash=piece.order.request_hash,
            recording=piece.order.recording,
            name=job.name,
            purpose=piece.order.purpose,
            model=self.model_name,
            tokens_estimate=seconds * self.model.tokens_per_second,
            cost_estimate=self._estimate(piece),
            one_shot=True,
            timeout=self.settings.call_timeout,
            deadline=self.tools.deadline,
        )
        rejected = False

        async def send() -> Answer[dict[str, Any]]:
            nonlocal rejected
            self._refusals.check()
            if rejected:
                await audio.renew()
            wanted = self._request(job, piece, audio.name, prompt)
            await claim.sending()
            audio.leaves()
            try:
                with self._refusals.noted():
                    return await self.provider.transcribe(audio.path, wanted)
            except BaseException as error:  # the gate's time-out is a cancellation
                rejected = isinstance(error, CorruptChunk)
                await claim.not_answered(error)
                raise

        answer = await self.tools.supplies().gate.call(PROVIDER, POOL, request, send)
        # It is paid: nothing may wait between the answer and writing it down.
        facts = {
            "model": self.model_name,
            "format": self.model.format,
            "language": answer.value.get("language"),
            "request": answer.headers.get("x-request-id"),
        }
        transcript = self.tools.clean(self._transcript(job, piece, answer.value))
        usage = self._usage(answer.value, seconds)
        return await claim.finish(result_of(transcript, piece.cut, facts), usage)

    def _request(self, job: SpeechJob, piece: Piece, file_name: str, prompt: str) -> AudioRequest:
        return AudioRequest(
            model=self.model_name,
            format=self.model.format,
            file_name=file_name,
            language=language_of(job),
            word_times=self.model.format == "verbose_json",
            logprobs=self.model.logprobs,
            chunked=self.model.format == "diarized_json",
            prompt=prompt,
            idempotency_key=idempotency_key(piece.order.request_hash),
        )

    def _transcript(self, job: SpeechJob, piece: Piece, answer: Mapping[str, Any]) -> Transcript:
        """Return an answer with the times of the audio that was sent."""
        seconds = piece.cut.seconds
        return Transcript(
            engine=NAME,
            engine_version=self.version,
            language=language_of(job),
            duration=seconds,
            segments=answers.segments_of(answer, self.model.format, seconds, piece.channel),
        )

    def _usage(self, answer: Mapping[str, Any], seconds: float) -> Usage:
        """Return what an answer says it took; seconds are those that were sent where it tells of tokens."""
        told = answer.get("usage")
        told = told if isinstance(told, Mapping) else {}
        charged = _count(told.get("seconds")) or seconds
        tokens_in, tokens_out = (round(_count(told.get(f"{way}_tokens"))) for way in ("input", "output"))
        cost = self._cost(charged, tokens_in, tokens_out)
        return Usage(seconds=charged, tokens_in=tokens_in, tokens_out=tokens_out, cost=cost)

    def _restored(self, job: SpeechJob, piece: Piece, paid: Paid) -> Transcript:
        """Return what was bought with the times of the recording."""
        transcript = restored_from(paid.result, duration=job.info.duration)
        if self.model.format != "json":
            return transcript
        speech = _speech(job, piece)
        segments = [part for segment in transcript.segments for part in answers.placed(segment, speech)]
        note = f"{self.model_name} tells no times: they are estimated from where speech was heard"
        return transcript.model_copy(update={"segments": tuple(segments), "notes": (note,)})


def _speech(job: SpeechJob, piece: Piece) -> Sequence[Region]:
    """Return where a voice was heard in what is sent."""
    speech = voice(job.activity, None if piece.channel is None else [piece.channel])
    if piece.chunk is None:
        return speech
    low, high = piece.chunk.start, piece.chunk.end
    return [
        Region(start=max(low, region.start), end=min(high, region.end))
        for region in speech
        if region.end > low and region.start < high
    ]


def joined(requests: Requests, job: SpeechJob, found: Sequence[Transcript]) -> Transcript:
    """Return the transcripts of a recording's channels as one."""
    segments = sorted((s for t in found for s in t.segments), key=lambda s: (s.start, s.channel or 0))
    known = [s.confidence for s in segments if s.confidence is not None]
    return Transcript(
        engine=NAME,
        engine_version=requests.version,
        language=language_of(job),
        duration=job.info.duration,
        segments=tuple(segments),
        confidence=round(sum(known) / len(known), 3) if known else None,
        notes=tuple(dict.fromkeys(note for t in found for note in t.notes)),
        skipped_reason=None if found else "nobody speaks",
        gaps=tuple(sorted((gap for t in found for gap in t.gaps), key=lambda gap: gap.start)),
    )


def language_of(job: SpeechJob) -> str:
    """Return the two-letter code that OpenAI wants.

    Raises:
        NotFit: the recording's language is none. Each may have its own, so it is no matter of the set-up.
    """
    code = job.language.replace("_", "-").split("-")[0].lower()
    if not re.fullmatch(r"[a-z]{2,3}", code):
        raise NotFit(
            f"{job.language!r} is no language code.", hint="Give the language as a code, such as en."
        )
    return code


def _count(value: object) -> float:
    return float(value) if isinstance(value, int | float) and value > 0 else 0.0
