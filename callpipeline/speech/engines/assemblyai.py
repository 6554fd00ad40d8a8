"""AssemblyAI: transcription in the cloud, by jobs.

What belongs here: buying a transcript exactly once, whatever kills us on the way. What does not: what is asked
(``assemblyai_request``), what the answer says (``assemblyai_answer``), and how AssemblyAI is spoken to.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from callpipeline.failures import (
    CallFailed,
    CallPipelineError,
    CorruptChunk,
    NetworkFailed,
    NotConfigured,
    ProviderFailed,
    RateLimited,
)
from callpipeline.limits.answers import failure_of
from callpipeline.limits.costs import Prices
from callpipeline.limits.gate import Answer, CallRequest
from callpipeline.limits.ledger import Claim, Resume, Reuse, Send
from callpipeline.limits.ledger_rows import Paid, Usage
from callpipeline.limits.refusals import Refusals
from callpipeline.limits.retry import RetryPolicy
from callpipeline.limits.supplies import Supplies
from callpipeline.model import Finding, Transcript
from callpipeline.providers.assemblyai import NAME, AssemblyAI, Job, JobGone
from callpipeline.settings import Settings
from callpipeline.speech.engines.assemblyai_answer import facts_of, transcript_of
from callpipeline.speech.engines.assemblyai_request import POOL, PROVIDER, REVISION, Wanted, models_of
from callpipeline.speech.engines.base import EngineTools, PlannedCall, SpeechJob, refused
from callpipeline.speech.engines.paid import PURPOSE, restored_from, result_of, reused
from callpipeline.speech.trimming import Cut, write_audio
from callpipeline.store import bells, files

log = logging.getLogger(__name__)

T = TypeVar("T")

SENDING = "sending"
"""Folder of the store for audio while it is sent."""

FIRST_POLL, LAST_POLL, POLL_SHARE = 0.1, 3.0, 0.05
"""Seconds between two looks at a job: a share of the time that it has been there, within bounds. So a slot
stands idle for a twentieth of its job at most."""

BELL_LOOK, UNTOLD_LOOK = 0.1, 30.0
"""Seconds between looks for the webhook's bell; and until a job is looked at all the same, as its webhook may be lost."""

MOST_POLLS = 0.5
"""Share of the request rate that looking at jobs may take, however many there are."""

SLOWEST_WORK = 0.5
"""Seconds that AssemblyAI may take for a second of audio, where that is more than ``call_timeout``. How long it works
grows with the audio: a recording of hours that takes longer than what is right for a call of minutes would be
stopped in every run, and never be done."""

SLOWEST_UPLOAD = 100_000.0
"""Bytes a second; a slower upload is given up."""


class AssemblyAITranscriber:
    """Transcripts from AssemblyAI, with channels or voices told apart."""

    name = "assemblyai"
    remote = True
    demo = False

    def __init__(self, settings: Settings, tools: EngineTools) -> None:
        """Keep the key; nothing is sent.

        Raises:
            NotConfigured: the key or the package is missing.
        """
        if settings.assemblyai_api_key is None:
            raise NotConfigured("AssemblyAI needs an API key.", hint="Set ASSEMBLYAI_API_KEY.")
        self.settings = settings
        self.tools = tools
        self.models = models_of(settings)
        self.provider = AssemblyAI(
            settings.assemblyai_api_key.get_secret_value(),
            settings.assemblyai_base_url,
            timeout=min(60.0, settings.call_timeout),
        )
        self.policy = RetryPolicy().scaled(settings.retry_delay_scale)
        self.refusals = Refusals()
        self.watched = 0

    @property
    def version(self) -> str:
        """Our revision and the models."""
        return f"assemblyai+{REVISION} {','.join(self.models)}"

    async def transcribe(self, job: SpeechJob) -> Transcript:
        """Return what AssemblyAI heard: bought now, or before.

        Raises:
            NotFit: the recording's language is no language code; nothing was sent.
            AuthenticationFailed, QuotaExceeded: the account is refused; later recordings are told so at once.
            BudgetExceeded: the recording does not fit a budget; nothing was sent.
            DeadlineExceeded: time is up. A job that was sent is fetched by the next run.
            CorruptChunk: AssemblyAI cannot read the audio, encoded anew either.
            CallFailed: the last failure, when the retries were used up.
        """
        supplies, wanted = self.tools.supplies(), Wanted(job, self.settings)
        async with supplies.ledger.claim(wanted.order, force_paid=self.tools.force_paid) as claim:
            if isinstance(claim.decision, Reuse):
                paid = await reused(claim, claim.decision, self.tools)
            else:
                paid = await _Purchase(self, supplies, claim, wanted).made()
        return restored_from(paid.result, duration=job.info.duration)

    def planned(self, job: SpeechJob) -> tuple[PlannedCall, ...]:
        """Return the one job that a recording needs. Sends nothing.

        Raises:
            NotFit: the recording's language is no language code.
            NotConfigured: a model has no price.
        """
        return (Wanted(job, self.settings).planned(self.tools.supplies().prices),)

    async def probe(self) -> tuple[Finding, ...]:
        """Ask AssemblyAI, for nothing, whether the key is accepted; look for the models' prices.

        AssemblyAI does not tell which models it serves.

        Raises:
            CallPipelineError: it does not answer, or cannot now: nothing is known yet.
        """
        prices = self.tools.supplies().prices
        found = [_priced(prices, model) for model in self.models]
        try:
            async with asyncio.timeout(self.settings.call_timeout):
                await self.provider.check()
        except TimeoutError as error:
            raise NetworkFailed(f"{NAME} did not answer.") from error
        except CallPipelineError as error:
            if not error.permanent:
                raise
            return (refused("assemblyai: key", error), *found)
        return (Finding(name="assemblyai: key", passed=True, message=f"{NAME} accepts the key"), *found)

    def pause(self, age: float) -> float:
        """Return seconds until the next look at a job that has been there for ``age`` seconds."""
        rate = self.settings.assemblyai_requests_per_minute
        least = self.watched * 60.0 / (MOST_POLLS * rate) if rate else 0.0
        return max(least, min(LAST_POLL, max(FIRST_POLL, POLL_SHARE * age)))

    async def disconnect(self) -> None:
        """Close connections of the running event loop."""
        await self.provider.disconnect()


@dataclass(frozen=True)
class _Sent:
    """An upload: where it lies at AssemblyAI, what of the recording is in it, since when (s since 1970).

    Each job has an upload of its own, so that the job can be told by it.
    """

    url: str
    cut: Cut
    at: float

    def to_json(self) -> str:
        return json.dumps({"url": self.url, "cut": self.cut.to_json(), "at": self.at})

    @classmethod
    def from_json(cls, text: str) -> _Sent:
        stored = json.loads(text)
        return cls(stored["url"], Cut.from_json(stored["cut"]), float(stored["at"]))


class _Purchase:
    """One recording, from what an earlier process left of it to a transcript that is paid and kept.

    ``sent``, ``job_id``: the upload and the job that are in hand. While the claim is in doubt there may be a job of
    that upload whose id nobody knows.
    """

    def __init__(
        self, engine: AssemblyAITranscriber, supplies: Supplies, claim: Claim, wanted: Wanted
    ) -> None:
        self.engine = engine
        self.supplies = supplies
        self.claim = claim
        self.wanted = wanted
        self.recording, self.name = wanted.job.key, wanted.job.name or wanted.job.key
        self.sent: _Sent | None = None
        self.job_id: str | None = None
        self.already_running = claim.already_running
        self.failures: Counter[str] = Counter()
        match claim.decision:
            case Resume(job_id, reference):
                self.job_id = job_id
                self.sent = _Sent.from_json(reference) if reference else None
            case Send(reference=str() as reference):
                self.sent = _Sent.from_json(reference)

    async def made(self) -> Paid:
        """Return what was bought. A job that AssemblyAI failed is ordered again, as its failure's rule says."""
        while True:
            error: CallFailed
            try:
                ended = await self._ended_job()
                if ended.completed:
                    return await self._kept(ended)
                error = _failure_of_job(ended)
            except JobGone as gone:
                error = gone
            await self.claim.failed(error)
            self.failures[error.error_class] += 1
            delay = self._delay(error)
            log.warning("%s: %s; ordered again in %.1f s", self.name, error, delay)
            await asyncio.sleep(delay)
            self.sent, self.job_id, self.already_running = None, None, False

    def _delay(self, error: CallFailed) -> float:
        """Return seconds until the next job may be ordered, or raise the failure of the last one."""
        failures = self.failures[error.error_class]
        if isinstance(error, JobGone):
            delay = 0.0 if failures == 1 else None
        else:
            delay = self.engine.policy.delay(error, failures, random.random())  # noqa: S311 - no secret
        deadline = self.engine.tools.deadline
        if delay is None or (deadline is not None and time.monotonic() + delay > deadline):
            raise error
        return delay

    async def _ended_job(self) -> Job:
        """Return the job in hand, or a new one, when it has ended well or badly."""
        if self.job_id is not None:
            job = await self._fetched(self.job_id)  # most often it ended long ago: that takes no slot
            if job.ended:
                return job
        elif self.sent is None:
            self.sent = await self._uploaded()
        async with self.supplies.gate.slot(
            POOL,
            what=self.name,
            key=self.claim.order.request_hash,
            already_running=self.already_running,
            deadline=self.engine.tools.deadline,
        ):
            if self.job_id is None and self.sent is not None:
                self.job_id = await self._submit(self.sent)
            self.engine.watched += 1
            try:
                return await self._awaited(self.job_id or "")
            finally:
                self.engine.watched -= 1

    # --- the audio ----------------------------------------------------------------------------------------

    async def _uploaded(self) -> _Sent:
        """Send the audio, and once more when all tries failed: it costs nothing, and is the longest request."""
        try:
            return await self._upload()
        except (NetworkFailed, ProviderFailed) as error:
            log.warning("%s: %s; the upload begins anew", self.recording, error)
            return await self._upload()

    async def _upload(self) -> _Sent:
        """Send the audio. No slot is held for that.

        The money is reserved before the first upload, so that none is in vain.
        """
        cut = self.wanted.cut()
        cost = 0.0 if self.failures else self.wanted.estimate(self.supplies.prices, cut.seconds)
        async with self._audio(cut) as (path, size):
            timeout = max(self.engine.settings.call_timeout, size / SLOWEST_UPLOAD)
            url = await self._call(lambda: self.engine.provider.upload(path), timeout=timeout, cost=cost)
        return _Sent(url, cut, time.time())

    @asynccontextmanager
    async def _audio(self, cut: Cut) -> AsyncIterator[tuple[Path, int]]:
        """Give the file to send and its size: the recording itself, or one of our own that is removed after."""
        job = self.wanted.job
        if self.wanted.untouched(cut) and not self.failures[CorruptChunk.error_class]:
            yield job.path, job.info.bytes
            return
        name = f"{self.claim.order.request_hash}.flac"
        with files.scratch(self.engine.settings.store / SENDING / name) as path:
            channels = self.wanted.channels
            size = await self.engine.tools.thread(write_audio, job.path, cut, path, channels=channels)
            yield path, size

    # --- the job ------------------------------------------------------------------------------------------

    async def _submit(self, sent: _Sent) -> str:
        """Order the transcript and return the job's id, unless it turns out to be ordered already.

        An order of before is looked for first without any money: no budget keeps us from what is paid. As long as
        one is in doubt, every try looks for it.
        """
        provider, claim, timeout = self.engine.provider, self.claim, self.engine.settings.call_timeout

        async def found() -> str | None:
            job = await provider.find(sent.url, since=sent.at) if claim.in_doubt else None
            return job.id if job else None

        async def ordered() -> str:
            if claim.in_doubt and (known := await self._call(found, timeout=timeout)):
                return (
                    known  # looking has tries of its own: it costs nothing, and an order must not fail for it
                )
            await claim.sending(reference=sent.to_json(), busy_seconds=self._longest_work)
            try:
                return (await provider.submit(sent.url, self.wanted.options)).id
            except CallPipelineError as error:
                await claim.not_answered(error)
                raise

        job_id = await self._call(found, timeout=timeout) if claim.in_doubt else None
        if job_id is None:
            cost = self.wanted.estimate(self.supplies.prices, sent.cut.seconds)
            job_id = await self._call(ordered, timeout=timeout, cost=cost)
        await claim.submitted(job_id)
        return job_id

    @property
    def _longest_work(self) -> float:
        """Seconds that AssemblyAI may work on the job: ``call_timeout``, for long audio more (``SLOWEST_WORK``)."""
        seconds = self.sent.cut.seconds if self.sent else self.wanted.job.info.duration
        return max(self.engine.settings.call_timeout, SLOWEST_WORK * seconds)

    async def _awaited(self, job_id: str) -> Job:
        """Look at the job until it has ended. A look that fails costs nothing: the job goes on without us.

        Raises:
            ProviderFailed: AssemblyAI worked on it for longer than it may; it was cancelled.
            CallFailed: it could not be looked at for ``call_timeout``; the next run fetches it.
        """
        longest_away = self.engine.settings.call_timeout
        begun = seen = time.monotonic()
        worked_since: float | None = None
        while True:
            try:
                job = await self._fetched(job_id)
            except (NetworkFailed, ProviderFailed, RateLimited) as error:
                if time.monotonic() - seen > longest_away:
                    raise
                log.warning("%s: job %s cannot be looked at now: %s", self.name, job_id, error)
            else:
                if job.ended:
                    return job
                seen = time.monotonic()
                worked_since = None if job.waiting else worked_since or seen
                if worked_since is not None and seen - worked_since > self._longest_work:
                    await self._give_up(job_id)
            await self._until_next_look(job_id, time.monotonic() - begun)

    async def _until_next_look(self, job_id: str, age: float) -> None:
        """Wait until it is worth looking at the job again: for its webhook, where there is one."""
        if self.wanted.options.webhook is None:
            await asyncio.sleep(self.engine.pause(age))
            return
        store, end = self.engine.settings.store, time.monotonic() + UNTOLD_LOOK
        while not bells.rang(store, job_id) and time.monotonic() < end:
            await asyncio.sleep(BELL_LOOK)
        bells.silence(store, job_id)

    async def _fetched(self, job_id: str) -> Job:
        timeout = self.engine.settings.call_timeout
        return await self._call(lambda: self.engine.provider.fetch(job_id), timeout=timeout)

    async def _give_up(self, job_id: str) -> None:
        """Cancel a job that takes too long. Where that fails, it stays ordered, and the next run fetches it."""
        timeout = self.engine.settings.call_timeout
        await self._call(lambda: self.engine.provider.cancel(job_id), timeout=timeout)
        error = ProviderFailed(
            f"{NAME} worked on the recording for more than {self._longest_work:g} s and was stopped.",
            hint="Raise CALLPIPELINE_CALL_TIMEOUT if it needs longer.",
        )
        await self.claim.failed(error)
        raise error

    async def _call(self, send: Callable[[], Awaitable[T]], *, timeout: float, cost: float = 0.0) -> T:
        async def once() -> Answer[T]:
            with self.engine.refusals.noted():
                return Answer(await send())

        order = self.claim.order
        request = CallRequest(
            request_hash=order.request_hash,
            recording=self.recording,
            name=self.name,
            purpose=PURPOSE,
            model=order.model,
            cost_estimate=cost,
            timeout=timeout,
            deadline=self.engine.tools.deadline,
        )
        return (await self.supplies.gate.call(PROVIDER, POOL, request, once, slot=False)).value

    # --- the transcript -----------------------------------------------------------------------------------

    async def _kept(self, ended: Job) -> Paid:
        """Keep a completed job's transcript. Until it is kept, the ledger knows the job, so nothing is lost."""
        engine, sent = self.engine, self.sent
        cut = sent.cut if sent else self.wanted.cut(whole=True)
        answer = ended.answer or {}
        heard = transcript_of(
            answer,
            engine_version=engine.version,
            multichannel=self.wanted.options.multichannel,
            duration=cut.seconds,
            preferred=engine.models[0],
        )
        clean = await engine.tools.thread(engine.tools.clean, heard)
        seconds = float(answer.get("audio_duration") or cut.seconds)
        used = str(answer.get("speech_model_used") or engine.models[0])
        usage = Usage(seconds=seconds, cost=self._cost(used, seconds))
        return await self.claim.finish(result_of(clean, cut, facts_of(answer)), usage)

    def _cost(self, model: str, seconds: float) -> float:
        prices = self.supplies.prices
        try:
            return self.wanted.price(prices, model, seconds)
        except NotConfigured:  # a name that nobody knows yet must not cost the transcript
            return self.wanted.price(prices, self.engine.models[0], seconds)


def _failure_of_job(job: Job) -> CallFailed:
    """Return why a job ended without a transcript: the audio, as it can be read, or AssemblyAI."""
    if isinstance(failure_of(NAME, 422, job.error), CorruptChunk):
        return CorruptChunk(f"{NAME} cannot read the audio: {job.error}")
    return ProviderFailed(f"{NAME} failed: {job.error or 'it does not say why'}.")


def _priced(prices: Prices, model: str) -> Finding:
    name = f"assemblyai: {model}"
    try:
        prices.of(PROVIDER, model)
    except NotConfigured as error:
        return refused(name, error)
    return Finding(name=name, passed=True, message="its price is known")
