"""Buying the answer of one batch: claim, gate, request, and writing it down so that it is never bought again.

What belongs here: one batch, once. What does not: which batches there are, and what follows from a failure (``lines``).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from callpipeline.failures import Busy, CallPipelineError, NetworkFailed, NotReached
from callpipeline.graph.extractors.openai.batches import PURPOSE, Batch, digest
from callpipeline.graph.extractors.openai.cache import ChunkCache, Paying
from callpipeline.graph.extractors.openai.packing import BYTES_PER_TOKEN
from callpipeline.graph.extractors.openai.schema import SaidChunk
from callpipeline.limits.gate import Answer, CallRequest
from callpipeline.limits.ledger import Claim, Resume, Reuse
from callpipeline.limits.ledger_rows import Paid, Usage, idempotency_key
from callpipeline.limits.refusals import Refusals
from callpipeline.limits.worker import Worker
from callpipeline.providers.openai import PROVIDER, OpenAI
from callpipeline.providers.openai_language import ChatReply, ChatRequest

if TYPE_CHECKING:
    from callpipeline.graph.extractors.base import GraphTools
    from callpipeline.limits.costs import Prices
    from callpipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Bought:
    """What came of a batch. ``reply`` ``None``: somebody else saw to it, look into the cache.

    ``found`` by key; ``cost`` in dollars, by key, of this purchase.
    """

    reply: ChatReply | None = None
    found: Mapping[str, SaidChunk] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)

    @property
    def anew(self) -> bool:
        """Whether it was bought just now."""
        return bool(self.cost)


def _nobody_waits() -> None:
    """Where nobody wants to know when a request goes out."""


class Buyer:
    """Buys batches for one process and event loop."""

    def __init__(
        self, settings: Settings, tools: GraphTools, provider: OpenAI, cache: ChunkCache, worker: Worker
    ) -> None:
        self._settings = settings
        self._tools = tools
        self._provider = provider
        self._cache = cache
        self._worker = worker
        self._refusals: dict[str, Refusals] = {}

    async def buy(self, batch: Batch, out: Callable[[], None] = _nobody_waits) -> Bought:
        """Return what the provider says to a batch that the cache has as pending.

        It waits while another process works on the batch, and goes on with what a dead one left. The batch is over
        then, unless its request may have been taken and its answer was lost: whoever wants it next sends the same again.
        ``out`` is called when the request goes out.

        Raises:
            NotConfigured: the model has no price, or is not served.
            BudgetExceeded, DeadlineExceeded: see ``Gate.call``.
            Busy: it is with the provider's Batch API.
            CallFailed: the provider's last failure.
        """
        try:
            bought = await self._claimed(batch, out)
        except CallPipelineError as error:
            lost = isinstance(error, NetworkFailed) and not isinstance(error, NotReached)
            if not lost and not isinstance(error, Busy):
                await self._worker.surely(self._cache.end, batch)
            raise
        await self._worker.surely(self._cache.end, batch)
        return bought

    async def _claimed(self, batch: Batch, out: Callable[[], None]) -> Bought:
        supplies = self._tools.supplies()
        cost = cost_of(supplies.prices, batch, batch.tokens, batch.most)
        async with supplies.ledger.claim(batch.order, force_paid=self._tools.force_paid) as claim:
            known = await self._worker.do(self._cache.batch, batch.id)
            if isinstance(claim.decision, Resume):
                raise with_batch_api()
            if known is not None and known.paying is not None:
                await self._settled(claim, batch, known.paying)
                return Bought()
            if isinstance(claim.decision, Reuse):
                return await self._reused(batch, claim.decision.paid)
            if known is None:
                return Bought()
            return await self._sent(claim, batch, cost, out)

    async def _settled(self, claim: Claim, batch: Batch, paying: Paying) -> None:
        if not isinstance(claim.decision, Reuse):
            await claim.finish(paying.result, paying.usage, shares=batch.shares, recovered=True)

    async def _reused(self, batch: Batch, paid: Paid) -> Bought:
        """Read again what was bought: the cache was lost, or its last holder died between two lines."""
        reply = ChatReply(**paid.result)
        found = digest(batch, reply).found
        await self._worker.surely(self._cache.keep, batch, found, Paying(paid.result, paid.usage))
        return Bought(reply, found)

    async def _sent(self, claim: Claim, batch: Batch, cost: float, out: Callable[[], None]) -> Bought:
        supplies = self._tools.supplies()
        refusals = self._refusals.setdefault(batch.model, Refusals())
        wanted = ChatRequest(batch.body, idempotency_key(batch.id))

        async def send() -> Answer[ChatReply]:
            refusals.check()
            await claim.sending()
            out()
            try:
                with refusals.noted():
                    return await self._provider.chat(wanted)
            except BaseException as error:  # the gate's time-out is a cancellation
                await claim.not_answered(error)
                raise

        refusals.check()
        answer = await supplies.gate.call(PROVIDER, batch.pool, self._request(batch, cost), send)
        # It is paid: nothing may wait between the answer and writing it down.
        reply = answer.value
        found = digest(batch, reply).found
        paying = Paying(asdict(reply), usage_of(supplies.prices, batch, reply))
        await _to_its_end(self._kept(claim, batch, found, paying))
        return Bought(reply, found, {key: paying.usage.cost * part for key, part in batch.weights.items()})

    async def _kept(self, claim: Claim, batch: Batch, found: Mapping[str, SaidChunk], paying: Paying) -> None:
        await self._worker.surely(self._cache.keep, batch, found, paying)
        await claim.finish(paying.result, paying.usage, shares=batch.shares)

    def _request(self, batch: Batch, cost: float) -> CallRequest:
        return CallRequest(
            request_hash=batch.id,
            recording=batch.order.recording,
            name=f"{len(batch.keys)} text chunks",
            purpose=PURPOSE,
            model=batch.model,
            tokens_estimate=batch.tokens + batch.most,
            cost_estimate=cost,
            one_shot=True,
            timeout=self._settings.call_timeout,
            deadline=self._tools.deadline,
        )


async def _to_its_end(writing: Coroutine[Any, Any, None]) -> None:
    """Await what must be written down; a cancellation comes after it."""
    task = asyncio.ensure_future(writing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def with_batch_api() -> Busy:
    """Return what is told of a batch that is ordered and not answered yet."""
    return Busy("These text chunks are with the provider's Batch API; they come when it is done.")


def cost_of(prices: Prices, batch: Batch, tokens_in: int, tokens_out: int) -> float:
    """Return dollars.

    Raises:
        NotConfigured: the model has no price.
    """
    return prices.cost(PROVIDER, batch.model, tokens_in=tokens_in, tokens_out=tokens_out)


def usage_of(prices: Prices, batch: Batch, reply: ChatReply) -> Usage:
    """Return what an answer took; of a server that does not count, by estimate."""
    tokens_in = reply.tokens_in or batch.tokens
    tokens_out = reply.tokens_out or math.ceil(len(reply.text.encode()) / BYTES_PER_TOKEN)
    cost = cost_of(prices, batch, tokens_in, tokens_out)
    return Usage(tokens_in=tokens_in, tokens_out=tokens_out, cost=cost)
