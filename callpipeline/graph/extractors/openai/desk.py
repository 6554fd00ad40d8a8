"""The desk of one process: takes the text chunks of all recordings that are walked now, and has each answered once.

What belongs here: finding out what need not be asked (kept, on its way, nearly equal to another), and handing the rest
to its line. What does not: requests (``lines``), the purchase (``buying``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from callpipeline.failures import CallPipelineError
from callpipeline.graph.extractors.openai.batches import Block, Wording
from callpipeline.graph.extractors.openai.cache import ChunkCache, Kept
from callpipeline.graph.extractors.openai.economy import EconomyBuyer
from callpipeline.graph.extractors.openai.lines import Line, Told
from callpipeline.graph.extractors.openai.packing import Heap, most_prompt_tokens
from callpipeline.graph.extractors.openai.routing import Route, Routing
from callpipeline.graph.similar import SimilarTexts
from callpipeline.knowledge import ChunkState
from callpipeline.limits.supplies import rate_limit
from callpipeline.limits.worker import Worker
from callpipeline.providers.openai import OpenAI

if TYPE_CHECKING:
    from callpipeline.graph.extractors.base import GraphTools
    from callpipeline.settings import Settings

log = logging.getLogger(__name__)

_UNLIMITED = 50
"""Requests under way in a pool without a size."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the desk says about a block. ``reused_from`` (the hash of a text): the answer is about one nearly equal."""

    told: Told
    state: ChunkState
    reused_from: str | None = None
    similarity: float | None = None


class Desk:
    """Serves all tasks of one event loop. Close it in that loop."""

    def __init__(self, settings: Settings, tools: GraphTools, wording: Wording, provider: OpenAI) -> None:
        self._settings = settings
        self._tools = tools
        self._wording = wording
        self._cache = ChunkCache(settings.store, settings.postgres_url)
        self._worker = Worker("graph-cache")
        self._comparing = Worker("graph-similar")
        self._buyer = EconomyBuyer(settings, tools, provider, self._cache, self._worker)
        self._families = [wording.family(route.model) for route in Routing(settings).routes]
        self._lines: dict[Route, Line] = {}
        self._asked: dict[str, asyncio.Future[Told]] = {}
        self._answered: set[str] = set()
        self._keys: dict[str, str] = {}
        self._similar: SimilarTexts | None = None
        self._settling: asyncio.Task[None] | None = None
        self._collecting: asyncio.Task[None] | None = None

    async def ask(self, asked: Sequence[tuple[Block, float]]) -> list[Reply]:
        """Return what is said about blocks with their priorities, in their order.

        A failure is a reply of state ``FAILED``.
        """
        if self._settling is None or self._collecting is None:
            self._settling = asyncio.create_task(self._settle())
            self._collecting = asyncio.create_task(self._buyer.collect())
        await asyncio.shield(self._collecting)
        kept = await self._kept([block.key for block, _ in asked])
        alike = await self._alike([block for block, _ in asked if block.key not in kept])
        for route in {block.route for block, _ in asked if block.key not in kept}:
            await self._open(route)
        replies = [self._reply(block, priority, kept, alike) for block, priority in asked]
        return list(await asyncio.gather(*replies))

    async def close(self) -> None:
        """Stop asking. What providers still answer in the gate's last seconds is kept."""
        for line in self._lines.values():
            await line.close()
        await self._buyer.close()
        for task in filter(None, (self._settling, self._collecting)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for told in self._asked.values():
            told.cancel()
        self._comparing.close()
        self._worker.close()
        self._cache.close()

    # --- what need not be asked ---------------------------------------------------------------------------

    async def _kept(self, keys: Sequence[str]) -> dict[str, Kept]:
        """Return what is kept; when all is bought anew, only what this desk has bought."""
        wanted = [key for key in keys if key in self._answered] if self._tools.force_paid else keys
        return await self._worker.do(self._cache.get, wanted) if wanted else {}

    async def _alike(self, blocks: Sequence[Block]) -> dict[str, tuple[str, float]]:
        """Return the hash of the nearest text that was answered, or is being asked about, by key."""
        if not blocks or self._settings.graph_similarity >= 1:
            return {}
        return await self._comparing.do(self._compare, blocks)

    def _compare(self, blocks: Sequence[Block]) -> dict[str, tuple[str, float]]:
        if self._similar is None:
            self._similar = SimilarTexts(self._settings.graph_similarity)
            if not self._tools.force_paid:
                for sha256, text in self._cache.texts(self._families):
                    self._similar.add(sha256, text)
        found: dict[str, tuple[str, float]] = {}
        for block in blocks:
            nearest = self._similar.nearest(block.text)
            if nearest is None:
                self._similar.add(block.sha256, block.text)
            else:
                found.setdefault(block.key, nearest)
        return found

    async def _answer_about(self, sha256: str) -> Told | None:
        """Return the answer about a text, as soon as it is there; ``None`` if there is none."""
        coming = self._asked.get(self._keys.get(sha256, ""))
        told = await asyncio.shield(coming) if coming else None
        if told is not None:
            return None if told.failure else told
        if self._tools.force_paid and self._keys.get(sha256) not in self._answered:
            return None
        kept = await self._worker.do(self._cache.of_text, sha256, self._families)
        return Told(kept) if kept else None

    # --- what is asked ------------------------------------------------------------------------------------

    async def _reply(
        self,
        block: Block,
        priority: float,
        kept: Mapping[str, Kept],
        alike: Mapping[str, tuple[str, float]],
    ) -> Reply:
        if block.key in kept:
            return _reply_of(Told(kept[block.key]))
        if block.key in self._asked:
            told = await asyncio.shield(self._asked[block.key])
            return _reply_of(replace(told, anew=False, cost=0.0))
        if block.key in alike:
            sha256, similarity = alike[block.key]
            about = await self._answer_about(sha256)
            if about is not None:
                return Reply(Told(about.kept), ChunkState.SIMILAR, sha256, similarity)
        return _reply_of(await self._told(block, priority))

    async def _told(self, block: Block, priority: float) -> Told:
        """Have a block asked about, unless somebody did by now."""
        again = await self._kept([block.key]) if block.key in self._answered else {}
        if block.key in again:
            return Told(again[block.key])
        if block.key in self._asked:
            return replace(await asyncio.shield(self._asked[block.key]), anew=False, cost=0.0)
        asked = self._asked[block.key] = asyncio.get_running_loop().create_future()
        self._keys.setdefault(block.sha256, block.key)
        self._lines[block.route].add(block, priority)
        return await asyncio.shield(asked)

    def _tell(self, key: str, told: Told) -> None:
        asked = self._asked.pop(key, None)
        if asked is not None and not asked.done():
            asked.set_result(told)
        if told.kept is not None:
            self._answered.add(key)

    async def _open(self, route: Route) -> None:
        if route in self._lines:
            return
        size = await self._tools.supplies().slots.size(route.pool)
        if route not in self._lines:
            self._lines[route] = Line(
                slots=_UNLIMITED if size is None or self._settings.graph_economy else size,
                heap=heap_for(self._settings, route),
                wording=self._wording,
                buyer=self._buyer,
                cache=self._cache,
                worker=self._worker,
                tell=self._tell,
                force=self._tools.force_paid,
            )

    async def _settle(self) -> None:
        """Write into the ledger what killed processes had only kept in the cache. Nothing is sent."""
        for batch in await self._worker.do(self._cache.unpaid):
            try:
                await self._buyer.buy(batch)
            except CallPipelineError as error:
                log.warning("the charge of an answer of before is not written down yet: %s", error)


def heap_for(settings: Settings, route: Route) -> Heap:
    """Return where blocks for a route wait."""
    tokens = rate_limit(settings, route.pool).tokens
    return Heap(settings.graph_chunks_per_request, most_prompt_tokens(tokens))


def _reply_of(told: Told) -> Reply:
    if told.failure is not None:
        return Reply(told, ChunkState.FAILED)
    return Reply(told, ChunkState.EXTRACTED if told.anew else ChunkState.CACHED)
