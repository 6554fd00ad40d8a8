"""Warm workbenches: one for the settings, one for each way that clients ask for, all on the same workers.

What belongs here: what stays open between requests. What does not: walking a recording (``work``, ``runs``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ParamSpec, TypeVar

from callpipeline.limits.gate import GateStats
from callpipeline.limits.slots import Limit
from callpipeline.pipeline.workbench import Workbench
from callpipeline.pipeline.workers import Workers
from callpipeline.service.options import VARIANTS, Options
from callpipeline.settings import Settings
from callpipeline.speech.engines.base import Transcriber
from callpipeline.store.results import ResultStore

P = ParamSpec("P")
T = TypeVar("T")

MOST_VARIANTS = 4
"""Workbenches of other options that stay open; the one that was not asked for longest is closed first."""


class LentWorkers(Workers):
    """Workers of somebody else, who closes them."""

    def __init__(self, owner: Workers) -> None:
        super().__init__(owner.count)
        self._owner = owner

    async def cpu(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn`` in a worker process of the owner."""
        return await self._owner.cpu(fn, *args, **kwargs)

    async def thread(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn`` in a thread of the owner."""
        return await self._owner.thread(fn, *args, **kwargs)

    def close(self, *, kill: bool = False) -> None:
        """Leave them to their owner."""


@dataclass
class ServiceBench(Workbench):
    """A workbench whose results lie in the folder of a variant, if they are not those of the settings."""

    variant: str = ""

    @cached_property
    def store(self) -> ResultStore:
        """Results of all stages, made with these options."""
        root = self.settings.store
        return ResultStore(root / VARIANTS / self.variant if self.variant else root)


class Benches:
    """All workbenches of a service. In the event loop only, but for ``workers``."""

    def __init__(
        self, settings: Settings, *, engine: Transcriber | None, run: str, slot_limit: Limit
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.workers = Workers(settings.workers, processes=settings.use_process_pool)
        self._run = run
        self._slot_limit = slot_limit
        self._open: OrderedDict[str, ServiceBench] = OrderedDict()
        self._in_use: dict[str, int] = {}
        self._gates: dict[str, list[GateStats]] = {}

    def of(self, options: Options) -> ServiceBench:
        """Return the workbench of these options; call ``leave`` when the work on it is done."""
        name = options.variant
        if name not in self._open:
            self._make_room()
            bench = ServiceBench(
                options.applied(self.settings),
                engine=None if options.whisper_model else self.engine,
                run=self._run,
                slot_limit=self._slot_limit,
                variant=name,
            )
            bench.workers = LentWorkers(self.workers)
            self._open[name] = bench
        self._open.move_to_end(name)
        self._in_use[name] = self._in_use.get(name, 0) + 1
        return self._open[name]

    def leave(self, bench: ServiceBench) -> None:
        """Say that a piece of work on a bench has ended."""
        self._in_use[bench.variant] -= 1

    def note_gate(self, bench: Workbench) -> None:
        """Keep the figures of a workbench's gate: it is about to be closed."""
        if "supplies" in bench.__dict__:
            for pool, stats in bench.supplies.gate.stats.items():
                self._gates.setdefault(pool, []).append(stats)

    def gates(self) -> dict[str, list[GateStats]]:
        """Return the figures of all gates of this process, by pool."""
        found = {pool: list(stats) for pool, stats in self._gates.items()}
        for bench in self._open.values():
            if "supplies" in bench.__dict__:
                for pool, stats in bench.supplies.gate.stats.items():
                    found.setdefault(pool, []).append(stats)
        return found

    async def close(self) -> None:
        """Close them all, connections and workers too."""
        for bench in self._open.values():
            await bench.disconnect()
            bench.close()
        self._open.clear()
        self.workers.close(kill=True)

    def _make_room(self) -> None:
        idle = [name for name in self._open if name and not self._in_use[name]]
        for name in idle[: max(0, len(self._open) - MOST_VARIANTS)]:
            bench = self._open.pop(name)
            self.note_gate(bench)
            bench.close()
