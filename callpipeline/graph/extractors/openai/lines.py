"""The line of blocks that wait for one model: when a request goes, and what follows when it fails.

What belongs here: filling and timing of requests, and splitting of batches that fail. What does not: looking for answers
that are there already (``desk``), buying (``buying``).

A batch that fails as a whole is sent again in halves, until what spoils it is alone. Failures of the account, the
budget, the deadline and the network are nobody's fault and are no reason to split. A server that answers nothing at all
is not asked for each chunk: as long as nothing of the model's was answered since, halves that fail too are the end.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from callpipeline.failures import (
    BadRequest,
    CallPipelineError,
    OutputTruncated,
    ProviderFailed,
    Recorded,
    UnusableAnswer,
    describe,
)
from callpipeline.graph.extractors.openai.batches import Batch, Block, Wording
from callpipeline.graph.extractors.openai.buying import Buyer
from callpipeline.graph.extractors.openai.cache import Begun, ChunkCache, Kept
from callpipeline.graph.extractors.openai.packing import MOST_OUTPUT_TOKENS, Heap, Meter, size_of
from callpipeline.limits.worker import Worker
from callpipeline.providers.openai_language import ChatReply

log = logging.getLogger(__name__)

LINGER_SECONDS = 0.2
"""How long blocks wait for others to fill their request, where it could go at once."""

_AHEAD = 4
"""Requests that are made ready before they can go. The later one is made, the better it is known how long answers are,
and the better the blocks that are still to come can be put before others."""

_MORE = 2.0
"""How much longer the answer may be that is asked for again after one that was cut off."""
_OTHERWISE = 1.25
"""The same after one that was of no use: another request, or the ledger would tell the same answer."""


_OF_A_REQUEST = (BadRequest, ProviderFailed)
"""Failures that one chunk of a request may be the reason of."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a block: an answer (``kept.said``), or a failure (``kept.failure``: for good, or ``error``).

    ``anew``: it was bought just now, for ``cost`` dollars.
    """

    kept: Kept | None = None
    error: CallPipelineError | None = None
    anew: bool = False
    cost: float = 0.0

    @property
    def failure(self) -> CallPipelineError | None:
        """Why there is no answer."""
        return self.error or (self.kept.failure if self.kept else None)


@dataclass(frozen=True)
class _Try:
    """Blocks that are asked about together.

    ``scale`` lengthens the answer. ``depth``: how often they were split. ``out`` is called when their request goes out.
    """

    blocks: Sequence[Block]
    out: Callable[[], None]
    scale: float = 1.0
    depth: int = 0
    again: bool = False

    def halves(self, scale: float) -> list[_Try]:
        """Return both halves of several blocks."""
        middle = (len(self.blocks) + 1) // 2
        parts = (self.blocks[:middle], self.blocks[middle:])
        return [replace(self, blocks=part, scale=scale, depth=self.depth + 1) for part in parts]


@dataclass
class _Outcome:
    """What is left of a try: further tries, and what failed for a reason of its own."""

    rest: list[_Try] = field(default_factory=list)
    failed: list[tuple[_Try, CallPipelineError]] = field(default_factory=list)


class Line:
    """Blocks for one route.

    ``slots``: requests that may be under way at once. ``heap``: where blocks wait; it is empty. ``tell`` is told of each
    block by its key, once or more often. ``force``: what is kept does not count.
    """

    def __init__(
        self,
        *,
        slots: int,
        heap: Heap,
        wording: Wording,
        buyer: Buyer,
        cache: ChunkCache,
        worker: Worker,
        tell: Callable[[str, Told], None],
        force: bool = False,
    ) -> None:
        self._meter = Meter(wording.fixed_bytes)
        self._slots = max(slots, 1)
        self._heap = heap
        self._wording = wording
        self._buyer = buyer
        self._cache = cache
        self._worker = worker
        self._tell = tell
        self._force = force
        self._answered = 0
        self._ready = 0
        self._closed = False
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._others: dict[str, asyncio.Task[CallPipelineError | None]] = {}

    def add(self, block: Block, priority: float) -> None:
        """Let a block wait for its request."""
        if not self._heap:
            self._since = time.monotonic()
        self._heap.add(block, priority)
        self._pump()

    async def close(self) -> None:
        """Stop. Requests that are under way get the gate's last seconds, and what they bring is kept."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = [*self._tasks, *self._others.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- when a request goes ------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Make ready what can go: full requests, others only where a slot would stay free."""
        while self._heap and self._ready < _AHEAD and not self._closed:
            if not self._heap.full and len(self._tasks) >= self._slots:
                return
            wait = 0.0 if self._heap.full else self._since + LINGER_SECONDS - time.monotonic()
            if wait > 0:
                self._look_again(wait)
                return
            self._since = time.monotonic()
            self._ready += 1
            task = asyncio.create_task(self._see_to(self._heap.take()))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _look_again(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._pump)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._pump()

    # --- what follows -------------------------------------------------------------------------------------

    async def _see_to(self, blocks: Sequence[Block]) -> None:
        """Have every block told of, whatever happens."""
        gone = False

        def out() -> None:
            nonlocal gone
            if not gone:
                gone = True
                self._ready -= 1
                self._pump()

        try:
            await self._work(blocks, out)
        except Exception as error:
            failure = error if isinstance(error, CallPipelineError) else Recorded(*describe(error))
            for block in blocks:
                self._tell(block.key, Told(error=failure))
            if failure is not error:
                log.exception("asking about text chunks failed")
        finally:
            out()

    async def _work(self, blocks: Sequence[Block], out: Callable[[], None]) -> None:
        before = self._answered
        tries = [_Try(blocks, out)]
        while tries:
            outcomes = await asyncio.gather(*(self._try(one) for one in tries))
            answering = self._answered > before
            tries = [one for outcome in outcomes for one in outcome.rest]
            for outcome in outcomes:
                for failed, error in outcome.failed:
                    tries += await self._split(failed, error, answering)

    async def _try(self, one: _Try) -> _Outcome:
        """Ask about some blocks: what is kept by now, or under way elsewhere, is not sent."""
        begun = await self._worker.surely(
            self._cache.begin, one.blocks, lambda free: self._composed(free, one.scale), force=self._force
        )
        for key, kept in begun.kept.items():
            self._tell(key, Told(kept))
        outcome = _Outcome()
        parts = [self._elsewhere(of, one, begun, outcome) for of in sorted(set(begun.elsewhere.values()))]
        if begun.batch is not None:
            parts.append(self._own(begun.batch, one, outcome))
        else:
            one.out()
        await asyncio.gather(*parts)
        return outcome

    def _composed(self, blocks: Sequence[Block], scale: float) -> Batch:
        most = self._meter.most_output(len(blocks), scale=scale)
        return self._wording.compose(blocks, tokens=self._meter.prompt(blocks), most=most)

    async def _own(self, batch: Batch, one: _Try, outcome: _Outcome) -> None:
        """Buy a batch of this line, tell what is found, and say what is left."""
        keys = set(batch.keys)
        mine = replace(one, blocks=[block for block in one.blocks if block.key in keys])
        try:
            bought = await self._buyer.buy(batch, one.out)
        except CallPipelineError as error:
            outcome.failed.append((mine, error))
            return
        if bought.reply is None:
            outcome.rest.append(mine)
            return
        self._answered += 1
        self._meter.learn(sum(map(size_of, mine.blocks)), len(mine.blocks), bought.reply)
        left = []
        for block in mine.blocks:
            if block.key in bought.found:
                kept = Kept(block.key, block.sha256, batch.model, bought.found[block.key])
                self._tell(block.key, Told(kept, anew=bought.anew, cost=bought.cost.get(block.key, 0.0)))
            else:
                left.append(block)
        if left:
            outcome.rest += await self._left_over(replace(mine, blocks=left), batch, bought.reply)

    async def _left_over(self, left: _Try, batch: Batch, reply: ChatReply) -> list[_Try]:
        """Return how the blocks that an answer left out are asked about again; one alone may be given up."""
        scale = left.scale * (_MORE if reply.truncated else 1.0)
        if len(left.blocks) < len(batch.keys):
            return [replace(left, scale=scale, depth=0)]
        if len(left.blocks) > 1:
            return left.halves(scale)
        problem = reply.problem or UnusableAnswer(
            f"The answer of {batch.model} says nothing about the text chunk that can be used."
        )
        if isinstance(problem, OutputTruncated) and batch.most < MOST_OUTPUT_TOKENS:
            return [replace(left, scale=scale * _MORE)]
        if isinstance(problem, UnusableAnswer) and not left.again:
            return [replace(left, scale=left.scale * _OTHERWISE, again=True)]
        await self._give_up(left.blocks[0], problem)
        return []

    async def _split(self, failed: _Try, error: CallPipelineError, answering: bool) -> list[_Try]:
        """Return the halves of what failed, or tell of the failure."""
        theirs = isinstance(error, _OF_A_REQUEST) and (answering or failed.depth == 0)
        if theirs and len(failed.blocks) > 1:
            return failed.halves(failed.scale)
        if theirs and answering and isinstance(error, BadRequest):
            await self._give_up(failed.blocks[0], error)
            return []
        for block in failed.blocks:
            self._tell(block.key, Told(error=error))
        return []

    async def _give_up(self, block: Block, error: CallPipelineError) -> None:
        """Keep that a block is never answered, and tell of it."""
        kept = await self._worker.surely(self._cache.refuse, block, error)
        self._tell(block.key, Told(kept))

    # --- batches of others --------------------------------------------------------------------------------

    async def _elsewhere(self, of: str, one: _Try, begun: Begun, outcome: _Outcome) -> None:
        """Wait for a batch that another process, or a dead one, has, or send it in its place."""
        blocks = [block for block in one.blocks if begun.elsewhere.get(block.key) == of]
        if of not in self._others:
            task = self._others[of] = asyncio.create_task(self._see_to_other(of))
            task.add_done_callback(lambda _: self._others.pop(of, None))
        error = await asyncio.shield(self._others[of])
        theirs = replace(one, blocks=blocks)
        if error is None:
            outcome.rest.append(theirs)
        else:
            outcome.failed.append((theirs, error))

    async def _see_to_other(self, of: str) -> CallPipelineError | None:
        """Return why nothing more can be had of a batch; ``None``: look into the cache, and ask anew for the rest."""
        under = await self._worker.do(self._cache.batch, of)
        if under is None:
            return None
        try:
            bought = await self._buyer.buy(under.batch)
        except CallPipelineError as error:
            return None if isinstance(error, _OF_A_REQUEST) else error
        self._answered += bought.reply is not None
        return None
