"""The gate that every call to a provider passes: slot, rate, the call, correction by what it took, retries.

The caller's coroutine function makes one request with the provider's own client (its retries off, its
time-outs ours) and raises the classes of ``failures``. The time-out of a call runs only while the call
does, never while it waits here; a deadline covers the waits too. What is paid once its answer is lost
(``one_shot``) is not interrupted by a deadline, and by a cancellation only after ``LAST_SECONDS``.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

from callpipeline.failures import (
    CallPipelineError,
    DeadlineExceeded,
    NetworkFailed,
    NotReached,
    ProviderFailed,
    RateLimited,
)
from callpipeline.limits.answers import allowances
from callpipeline.limits.costs import Costs
from callpipeline.limits.rates import Rates, Reservation
from callpipeline.limits.retry import RetryPolicy, Sleep, retrying
from callpipeline.limits.slots import Slots
from callpipeline.limits.worker import Turns, Worker

log = logging.getLogger(__name__)

T = TypeVar("T")

LAST_SECONDS = 5.0
"""How long a one-shot call that is under way may go on after its cancellation: what stops a run waits twice as long."""

_PAUSE_AFTER_REFUSAL = 3.0
"""Seconds for which a pool stands still after a 429 that does not say how long: a twentieth of the window."""


@dataclass(frozen=True, slots=True)
class CallRequest:
    """What the gate must know about a call.

    ``name``: what people call the recording. ``tokens_estimate``: what the rate limit will count, rather too
    high. ``cost_estimate``: dollars to reserve from the budgets before the first try; 0 for requests that cost
    nothing (polling, uploads). ``one_shot``: the provider keeps no job to look for, so each try whose answer is
    lost may have been paid, and counts. ``timeout``: seconds for one try. ``deadline``: when to give up with all
    its waits, by ``time.monotonic()``.
    """

    request_hash: str = ""
    recording: str | None = None
    name: str = ""
    purpose: str = ""
    model: str = ""
    tokens_estimate: float = 0.0
    cost_estimate: float = 0.0
    one_shot: bool = False
    timeout: float = 600.0
    deadline: float | None = None

    @property
    def what(self) -> str:
        """What it is for, as people know it: the recording and the purpose, else the request."""
        whose = self.name or self.recording
        if whose and self.purpose:
            return f"{whose} ({self.purpose})"
        return whose or self.purpose or self.request_hash[:12] or "the call"


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What came back: the value, the tokens that the provider counted (if it says), its headers."""

    value: T
    tokens: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class GateStats:
    """What went through the gate for one pool in this process. Times are seconds, summed over calls."""

    calls: int = 0
    retries: int = 0
    waiting: int = 0
    """Calls that wait for their turn, a slot, a rate or a retry now."""
    in_flight: int = 0
    """Calls that are with the provider now."""
    queue_seconds: float = 0.0
    """Behind other calls of this process."""
    slot_seconds: float = 0.0
    rate_seconds: float = 0.0
    retry_seconds: float = 0.0
    call_seconds: float = 0.0
    tokens: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    """Ended calls by outcome: ``ok``, ``cancelled`` or the error class."""

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return {**asdict(self), "outcomes": dict(self.outcomes)}


class Gate:
    """One gate a process, for any number of tasks.

    ``sleep`` and ``chance`` make retries repeatable in tests.
    """

    def __init__(
        self,
        slots: Slots,
        rates: Rates,
        *,
        costs: Costs | None = None,
        policy: RetryPolicy | None = None,
        sleep: Sleep = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.stats: defaultdict[str, GateStats] = defaultdict(GateStats)
        self._slots = slots
        self._rates = rates
        self._costs = costs
        self._policy = policy or RetryPolicy()
        self._sleep = sleep
        self._chance = chance
        self._worker = Worker("costs")
        self._turns = Turns()

    async def call(
        self,
        provider: str,
        pool: str,
        request: CallRequest,
        send: Callable[[], Awaitable[Answer[T]]],
        *,
        slot: bool = True,
    ) -> Answer[T]:
        """Make one call of ``pool`` when it may be made, and again when its failure is worth it.

        ``send`` is called once for each try. After a ``NetworkFailed`` the provider may have done the work
        all the same: a ``send`` that costs money looks for it first (see ``Claim``). ``slot=False`` inside
        ``Gate.slot``, which holds one already.

        Raises:
            BudgetExceeded: before anything is sent.
            DeadlineExceeded: the request's deadline passed.
            UsageError: the request alone is larger than the token limit.
            CallFailed: the last failure, when there are no tries left or it is permanent.
        """
        stats = self.stats[pool]
        stats.calls += 1
        try:
            async with _until(request.deadline, provider, request) as clock:
                await self._reserve_cost(provider, request)
                answer = await retrying(
                    lambda: self._once(provider, pool, request, send, slot, clock),
                    self._policy,
                    sleep=lambda seconds: self._back_off(stats, seconds),
                    chance=self._chance,
                    on_retry=lambda error, delay: self._on_retry(provider, pool, request, error, delay),
                )
        except BaseException as error:
            stats.outcomes[_outcome(error)] += 1
            raise
        stats.outcomes["ok"] += 1
        return answer

    @asynccontextmanager
    async def slot(
        self,
        pool: str,
        *,
        what: str = "",
        key: str = "",
        already_running: bool = False,
        deadline: float | None = None,
    ) -> AsyncIterator[None]:
        """Hold a slot for a whole provider job, from sending it to its end; see ``Slots.holding``.

        ``deadline`` covers the wait for the slot, not the block.
        """
        stats = self.stats[pool]
        holding = self._slots.holding(pool, what=what, key=key, already_running=already_running)
        with _counted(stats, "waiting", "slot_seconds"):
            async with _until(deadline, pool, CallRequest(purpose=what)):
                await holding.__aenter__()
        try:
            yield
        finally:
            await holding.__aexit__(None, None, None)

    def close(self) -> None:
        """End the gate's own thread; slots, rates and costs are closed by who opened them."""
        self._worker.close()

    async def _once(
        self,
        provider: str,
        pool: str,
        request: CallRequest,
        send: Callable[[], Awaitable[Answer[T]]],
        slot: bool,
        clock: asyncio.Timeout,
    ) -> Answer[T]:
        stats = self.stats[pool]
        async with self._admitted(pool, request, slot) as reservation:
            try:
                with _counted(stats, "in_flight", "call_seconds"):
                    sending = _in_time(provider, request.timeout, send)
                    answer = await (_to_its_end(sending, clock) if request.one_shot else sending)
            except RateLimited as error:
                self._rates.slow_down(pool, error.retry_after or _PAUSE_AFTER_REFUSAL)
                raise
        # The answer is paid: nothing from here on may wait, so that no cancellation can lose it.
        if answer.tokens is not None:
            reservation.settle(answer.tokens)
        stats.tokens += request.tokens_estimate if answer.tokens is None else answer.tokens
        self._rates.observe(pool, allowances(answer.headers))
        return answer

    @asynccontextmanager
    async def _admitted(self, pool: str, request: CallRequest, slot: bool) -> AsyncIterator[Reservation]:
        """Begin the block when the call may start, with a slot held for it if it needs one.

        One call of a process at a time looks for both. Were all to take their slots first, those that wait
        for the rate would hold them all, and every process would look for a free one all the time.
        """
        stats = self.stats[pool]
        async with AsyncExitStack() as held:
            async with AsyncExitStack() as first:
                if slot:
                    with _counted(stats, "waiting", "queue_seconds"):
                        await first.enter_async_context(self._turns.of(pool))
                    what = request.name or request.recording or request.purpose
                    await held.enter_async_context(self.slot(pool, what=what, key=request.request_hash))
                with _counted(stats, "waiting", "rate_seconds"):
                    reservation = await self._rates.reserve(pool, request.tokens_estimate)
            yield reservation

    async def _reserve_cost(self, provider: str, request: CallRequest) -> None:
        if self._costs is None or request.cost_estimate <= 0:
            return
        reserving = asyncio.ensure_future(
            self._worker.do(
                self._costs.reserve,
                request.request_hash,
                request.cost_estimate,
                provider=provider,
                model=request.model,
                recording=request.recording,
            )
        )
        try:
            await asyncio.shield(reserving)
        except asyncio.CancelledError:
            await asyncio.wait({reserving})  # so that whoever holds the claim finds it, and gives it back
            if not reserving.cancelled():
                reserving.exception()
            raise

    async def _back_off(self, stats: GateStats, seconds: float) -> None:
        with _counted(stats, "waiting", "retry_seconds"):
            await self._sleep(seconds)

    async def _on_retry(
        self, provider: str, pool: str, request: CallRequest, error: CallPipelineError, delay: float
    ) -> None:
        self.stats[pool].retries += 1
        log.warning("%s %s: %s; trying again in %.1f s", pool, request.what, error, delay)
        lost = isinstance(error, NetworkFailed | ProviderFailed) and not isinstance(error, NotReached)
        if request.one_shot and lost and self._costs is not None:
            await self._worker.do(self._costs.lost, request.request_hash)
            await self._reserve_cost(provider, request)


async def _in_time(provider: str, seconds: float, send: Callable[[], Awaitable[Answer[T]]]) -> Answer[T]:
    try:
        async with asyncio.timeout(seconds):
            return await send()
    except TimeoutError as error:
        raise NetworkFailed(f"{provider} did not answer within {seconds:g} s.") from error


async def _to_its_end(sending: Coroutine[Any, Any, Answer[T]], clock: asyncio.Timeout) -> Answer[T]:
    """Await a call whose answer cannot be fetched later. The deadline's ``clock`` stands still for it.

    A cancellation lets it end, for a few seconds. Its answer is given back then and the cancellation comes after, at
    the next thing that waits: what is done with the answer before that is done.
    """
    deadline = clock.when()
    clock.reschedule(None)
    call = asyncio.ensure_future(sending)
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        if not await _ended(call):
            raise
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
            task.cancel()
        return call.result()
    except CallPipelineError:
        clock.reschedule(deadline)
        raise


async def _ended(call: asyncio.Task[Any]) -> bool:
    """Give a call its last seconds; return whether it ended well in them."""
    try:
        await asyncio.wait({call}, timeout=LAST_SECONDS)
    finally:
        call.cancel()
    if not call.done():
        await asyncio.wait({call}, timeout=1.0)  # to write down that it is lost
    return call.done() and not call.cancelled() and call.exception() is None


@asynccontextmanager
async def _until(deadline: float | None, whose: str, request: CallRequest) -> AsyncIterator[asyncio.Timeout]:
    loop = asyncio.get_running_loop()
    try:
        at = None if deadline is None else loop.time() + deadline - time.monotonic()
        async with asyncio.timeout_at(at) as clock:
            yield clock
    except TimeoutError as error:
        if not clock.expired():
            raise
        said = f"{whose}: {request.what} was not done by its deadline and was given up."
        raise DeadlineExceeded(said) from error


@contextmanager
def _counted(stats: GateStats, now: str, seconds: str) -> Iterator[None]:
    """Count a stay: ``now`` goes up by one for the block, its length is added to ``seconds``."""
    start = time.monotonic()
    setattr(stats, now, getattr(stats, now) + 1)
    try:
        yield
    finally:
        setattr(stats, now, getattr(stats, now) - 1)
        setattr(stats, seconds, getattr(stats, seconds) + time.monotonic() - start)


def _outcome(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    return error.error_class if isinstance(error, CallPipelineError) else f"internal:{type(error).__name__}"
