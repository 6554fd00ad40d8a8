"""The economy mode: batches go to the provider's Batch API, at half the price, and are fetched when it is done.

What belongs here: which batches are ordered together, writing down where they are, and what becomes of those that the
provider did not do. What does not: files and jobs (``providers.openai_batches``), batches and their answers (``batches``,
``cache``), buying at once (``buying``).

Each batch has its row in the ledger, with the id of the job that it is in. Nobody waits for a job: whoever wants a text
chunk that is in one is told that it is not done yet, and the first who asks after it has ended finds all of it collected.
A job carries a reference, so that one that was ordered by a process that died a moment later is found again, not ordered
again. What a job left undone (it expired, was cancelled, could not be read) is ordered once more, then bought at once;
a chat that the provider refused is bought at once, where what spoils it can be found.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, TypeVar

from callpipeline.failures import CallPipelineError, ProviderFailed, Recorded, describe
from callpipeline.graph.extractors.openai.batches import PURPOSE, Batch, digest
from callpipeline.graph.extractors.openai.buying import Bought, Buyer, cost_of, with_batch_api
from callpipeline.graph.extractors.openai.cache import ChunkCache, Paying, Under
from callpipeline.limits.gate import Answer, CallRequest
from callpipeline.limits.ledger import Claim, Resume, Send
from callpipeline.limits.ledger_rows import CallState, Order, ProviderCall, Usage
from callpipeline.limits.worker import Worker
from callpipeline.providers.openai import PROVIDER, OpenAI
from callpipeline.providers.openai_batches import MOST_BYTES, MOST_REQUESTS, Job, OpenAIBatches
from callpipeline.providers.openai_language import ChatReply

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from callpipeline.graph.extractors.base import GraphTools
    from callpipeline.limits.supplies import Supplies
    from callpipeline.settings import Settings

log = logging.getLogger(__name__)

_T = TypeVar("_T")

PRICE = 0.5
"""Of the usual price; https://platform.openai.com/docs/guides/batch, as of 2026-10."""

ORDERS = 2
"""Jobs that a batch is put into before it is bought at once."""

LINGER_SECONDS = 1.0
"""How long batches wait for others to go into the same job."""

_OF_THE_CHAT = frozenset({"bad_request", "not_fit"})
"""Failures that another job would end in too."""


@dataclass
class _Order:
    """A batch that waits for its job. ``told`` gets ``None`` when somebody else saw to it."""

    batch: Batch
    told: asyncio.Future[None] = field(repr=False)

    def say(self, error: CallPipelineError | None) -> None:
        """Tell who waits, once."""
        if self.told.done():
            return
        if error is None:
            self.told.set_result(None)
        else:
            self.told.set_exception(error)


class EconomyBuyer(Buyer):
    """Orders batches from the Batch API where the settings say so, and fetches what came of them in any case."""

    def __init__(
        self, settings: Settings, tools: GraphTools, provider: OpenAI, cache: ChunkCache, worker: Worker
    ) -> None:
        super().__init__(settings, tools, provider, cache, worker)
        self._jobs = OpenAIBatches(provider)
        self._waiting: dict[str, _Order] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._ordering: set[asyncio.Task[None]] = set()
        self._tried: set[str] = set()
        """Keys of batches that jobs could not do: parts of them are bought at once too."""

    async def collect(self) -> None:
        """Fetch the answers of all jobs that have ended. A provider that does not answer now costs nothing."""
        ledger = self._tools.supplies().ledger
        jobs = by_job(await self._worker.do(ledger.unfinished))
        for of, rows in jobs.items():
            try:
                await self._collect(of, rows)
            except CallPipelineError as error:
                log.warning("%s: what came of %s is not known yet: %s", PROVIDER, of, error)

    async def close(self) -> None:
        """Stop. A job that is being ordered is ordered."""
        if self._timer is not None:
            self._timer.cancel()
        for order in self._waiting.values():
            order.told.cancel()
        await asyncio.gather(*self._ordering, return_exceptions=True)

    # --- which way a batch goes ---------------------------------------------------------------------------

    async def _claimed(self, batch: Batch, out: Callable[[], None]) -> Bought:
        known = await self._worker.do(self._cache.batch, batch.id)
        row = await self._worker.do(self._tools.supplies().ledger.call, batch.id)
        if self._at_once(batch, known, row):
            return await super()._claimed(batch, out)
        order = self._waiting[batch.id] = _Order(batch, asyncio.get_running_loop().create_future())
        out()
        self._look_again()
        await order.told
        return await super()._claimed(batch, out)

    def _at_once(self, batch: Batch, known: Under | None, row: ProviderCall | None) -> bool:
        """Whether a batch is bought, or what is known of it told, as ever."""
        if known is None or known.paying is not None:
            return True
        if row is not None and row.state is CallState.SENDING:
            return row.reference is None
        if not self._settings.graph_economy or not self._tried.isdisjoint(batch.keys):
            return True
        if row is None or row.state in (CallState.SUBMITTED, CallState.DONE):
            return row is not None
        if row.sends < ORDERS and row.error_class not in _OF_THE_CHAT:
            return False
        self._tried.update(batch.keys)
        return True

    # --- ordering -----------------------------------------------------------------------------------------

    def _look_again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._begin)

    def _begin(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for orders in _files(list(waiting.values())):
            task = asyncio.create_task(self._see_to(orders))
            self._ordering.add(task)
            task.add_done_callback(self._ordering.discard)

    async def _see_to(self, orders: Sequence[_Order]) -> None:
        """Order batches as one job, and have all who wait told, whatever happens."""
        try:
            await self._order(orders)
        except Exception as error:
            failure = error if isinstance(error, CallPipelineError) else Recorded(*describe(error))
            for order in orders:
                order.say(failure)
            if failure is not error:
                raise

    async def _order(self, orders: Sequence[_Order]) -> None:
        supplies = self._tools.supplies()
        async with AsyncExitStack() as held:
            claims: list[tuple[_Order, Claim]] = []
            for order in sorted(
                orders, key=lambda one: one.batch.id
            ):  # two processes never wait for each other
                claim = await held.enter_async_context(
                    supplies.ledger.claim(order.batch.order, force_paid=self._tools.force_paid)
                )
                if await self._to_be_ordered(order, claim) and await self._affordable(supplies, order):
                    claims.append((order, claim))
            if not claims:
                return
            job = await self._ordered(supplies, claims)
            for order, claim in claims:
                await claim.submitted(job.id)
                order.say(with_batch_api())

    async def _to_be_ordered(self, order: _Order, claim: Claim) -> bool:
        """Whether a batch is nowhere yet; a job that may have it is looked for."""
        if not isinstance(claim.decision, Send):
            order.say(None)
            return False
        reference = claim.decision.reference
        if reference is None:
            return True
        job = await self._free(order.batch.pool, lambda: self._jobs.find(reference))
        if job is None:
            return True
        await claim.submitted(job.id)
        order.say(with_batch_api())
        return False

    async def _affordable(self, supplies: Supplies, order: _Order) -> bool:
        """Reserve what a batch may cost; one that breaks a budget stops no other."""
        batch = order.batch
        try:
            await self._worker.do(
                supplies.costs.reserve,
                batch.id,
                PRICE * cost_of(supplies.prices, batch, batch.tokens, batch.most),
                provider=PROVIDER,
                model=batch.model,
                recording=batch.order.recording,
            )
        except CallPipelineError as error:
            order.say(error)
            return False
        return True

    async def _ordered(self, supplies: Supplies, claims: Sequence[tuple[_Order, Claim]]) -> Job:
        """Upload the chats and order them. A try whose answer was lost is looked for before the next."""
        bodies = {order.batch.id: order.batch.body for order, _ in claims}
        pool = claims[0][0].batch.pool
        file = await self._free(pool, lambda: self._jobs.upload(bodies))
        reference = hashlib.sha256(f"{file}\n{' '.join(bodies)}".encode()).hexdigest()[:40]
        tried = False

        async def create() -> Job:
            nonlocal tried
            if tried and (job := await self._jobs.find(reference)):
                return job
            for _, claim in claims:
                await claim.sending(reference=reference)
            tried = True
            try:
                return await self._jobs.create(file, reference)
            except BaseException as error:
                for _, claim in claims:
                    await claim.not_answered(error)
                raise

        return await self._free(pool, create)

    async def _free(self, pool: str, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Make a request that costs nothing, with the gate's pace and retries."""

        async def send() -> Answer[_T]:
            return Answer(await ask())

        request = CallRequest(
            name="the Batch API",
            purpose=PURPOSE,
            timeout=self._settings.call_timeout,
            deadline=self._tools.deadline,
        )
        answer = await self._tools.supplies().gate.call(PROVIDER, pool, request, send, slot=False)
        return answer.value

    # --- collecting ---------------------------------------------------------------------------------------

    async def _collect(self, of: str, rows: Sequence[ProviderCall]) -> None:
        """Write down what came of a job, if it has ended."""
        pool = rows[0].pool
        job = await self._free(pool, lambda: self._jobs.job(of))
        came: Mapping[str, ChatReply | CallPipelineError] = {}
        if job is not None:
            if job.running:
                return
            came = await self._free(pool, lambda: self._jobs.results(job))
        undone = ProviderFailed(
            f"The job {of} of {PROVIDER}'s Batch API {_ended(job)}.",
            hint="What it left undone is sent again by the next run.",
        )
        for row in rows:
            await self._write_down(of, row, came.get(row.request_hash, undone))
        if job is not None:
            try:
                await self._free(pool, lambda: self._jobs.forget(job))
            except CallPipelineError as error:
                log.warning("the files of %s stay with %s: %s", of, PROVIDER, error)

    async def _write_down(self, of: str, row: ProviderCall, came: ChatReply | CallPipelineError) -> None:
        """Keep an answer as if it had come at once; what has none stays to be asked again as it is."""
        supplies = self._tools.supplies()
        known = await self._worker.do(self._cache.batch, row.request_hash)
        order = known.batch.order if known else _order_of(row)
        async with supplies.ledger.claim(order) as claim:
            if not isinstance(claim.decision, Resume) or claim.decision.job_id != of:
                return
            if isinstance(came, CallPipelineError):
                await claim.failed(came)
                return
            tokens_in, tokens_out = came.tokens_in, came.tokens_out
            cost = supplies.prices.cost(PROVIDER, row.model, tokens_in=tokens_in, tokens_out=tokens_out)
            usage = Usage(tokens_in=tokens_in, tokens_out=tokens_out, cost=PRICE * cost)
            if known is not None:
                found = digest(known.batch, came).found
                await self._worker.surely(self._cache.keep, known.batch, found, Paying(asdict(came), usage))
            await claim.finish(asdict(came), usage, shares=known.batch.shares if known else None)
        if known is not None:
            await self._worker.surely(self._cache.end, known.batch)


def _order_of(row: ProviderCall) -> Order:
    return Order(row.request_hash, row.provider, row.pool, row.model, row.recording, row.purpose)


def by_job(rows: Sequence[ProviderCall]) -> dict[str, list[ProviderCall]]:
    """Return the calls that are with the Batch API, by job."""
    jobs: dict[str, list[ProviderCall]] = {}
    for row in rows:
        if row.purpose == PURPOSE and row.state is CallState.SUBMITTED and row.job_id:
            jobs.setdefault(row.job_id, []).append(row)
    return jobs


async def ended(settings: Settings, supplies: Supplies) -> dict[str, tuple[str, ...]]:
    """Return the recordings whose batches are in jobs that have ended, by job; it collects nothing.

    Raises:
        CallPipelineError: the provider does not answer now, or there is no key.
    """
    key = settings.openai_api_key
    jobs = by_job(await asyncio.to_thread(supplies.ledger.unfinished))
    if not jobs or key is None:
        return {}
    provider = OpenAI(key.get_secret_value(), settings.openai_base_url, timeout=settings.call_timeout)
    cache = ChunkCache(settings.store, settings.postgres_url)
    found: dict[str, tuple[str, ...]] = {}
    try:
        for of, rows in jobs.items():
            job = await OpenAIBatches(provider).job(of)
            if job is None or not job.running:
                batches = [await asyncio.to_thread(cache.batch, row.request_hash) for row in rows]
                recordings = (one for under in batches if under for one in under.batch.recordings)
                found[of] = tuple(dict.fromkeys(recordings))
    finally:
        cache.close()
        await provider.disconnect()
    return found


def _files(orders: Sequence[_Order]) -> Iterator[list[_Order]]:
    """Split batches into jobs: of one model each, no more than a file takes."""
    files: dict[str, list[_Order]] = {}
    sizes: dict[str, int] = {}
    for order in orders:
        model, size = order.batch.model, len(json.dumps(order.batch.body))
        if model in files and (len(files[model]) >= MOST_REQUESTS or sizes[model] + size > MOST_BYTES):
            yield files.pop(model)
        if model not in files:
            files[model], sizes[model] = [], 0
        files[model].append(order)
        sizes[model] += size
    yield from files.values()


def _ended(job: Job | None) -> str:
    if job is None:
        return "is not known any more"
    said = f" ({job.message})" if job.message else ""
    return f"ended as {job.status}{said} without an answer to this"
