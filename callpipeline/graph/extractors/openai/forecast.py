"""What an extraction would send, cost and take, worked out before anything is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from callpipeline.graph.extractors.base import GraphPlan
from callpipeline.graph.extractors.openai.batches import Block, Wording
from callpipeline.graph.extractors.openai.cache import ChunkCache
from callpipeline.graph.extractors.openai.desk import heap_for
from callpipeline.graph.extractors.openai.economy import PRICE
from callpipeline.graph.extractors.openai.packing import Heap, Meter
from callpipeline.graph.extractors.openai.routing import Route
from callpipeline.limits.supplies import Supplies, rate_limit
from callpipeline.providers.openai import PROVIDER

if TYPE_CHECKING:
    from callpipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class _Part:
    requests: int
    tokens: int
    cost: float
    minutes: float


def forecast(
    settings: Settings, supplies: Supplies, wording: Wording, blocks: Iterable[Block | None]
) -> GraphPlan:
    """Return what blocks of any number of recordings would need; ``None`` stands for a chunk that is filtered.

    Nearly equal texts are not looked for: rather too much is told.

    Raises:
        NotConfigured: a model has no price.
    """
    everything = list(blocks)
    wanted = [block for block in everything if block is not None]
    distinct = {block.key: block for block in wanted}
    cache = ChunkCache(settings.store, settings.postgres_url)
    try:
        kept = cache.get(distinct)
    finally:
        cache.close()
    lines: dict[Route, Heap] = {}
    models: Counter[str] = Counter()
    for key, block in distinct.items():
        if key not in kept:
            lines.setdefault(block.route, heap_for(settings, block.route)).add(block, 0.0)
            models[block.route.model] += 1
    parts = [_part(settings, supplies, wording, route, heap) for route, heap in lines.items()]
    return GraphPlan(
        chunks=len(everything),
        filtered=len(everything) - len(wanted),
        cached=len(wanted) - models.total(),
        to_send=models.total(),
        requests=sum(part.requests for part in parts),
        tokens=sum(part.tokens for part in parts),
        cost=sum(part.cost for part in parts),
        minutes=max((part.minutes for part in parts), default=0.0),
        by_model=dict(models),
    )


def _part(settings: Settings, supplies: Supplies, wording: Wording, route: Route, heap: Heap) -> _Part:
    """Return what one model's blocks need; each pool has limits of its own."""
    meter = Meter(wording.fixed_bytes)
    requests = tokens_in = tokens_out = 0
    while heap:
        blocks = heap.take()
        requests += 1
        tokens_in += meter.prompt(blocks)
        tokens_out += meter.expected_output(len(blocks))
    cost = supplies.prices.cost(PROVIDER, route.model, tokens_in=tokens_in, tokens_out=tokens_out)
    if settings.graph_economy:  # its requests do not count against the limits
        return _Part(requests, tokens_in + tokens_out, PRICE * cost, 0.0)
    limit = rate_limit(settings, route.pool)
    minutes = max(
        requests / limit.requests if limit.requests else 0.0,
        (tokens_in + tokens_out) / limit.tokens if limit.tokens else 0.0,
    )
    return _Part(requests, tokens_in + tokens_out, cost, minutes / limit.share)
