"""Runs of the knowledge graph's bench in processes of their own, which may be killed, against a simulated provider.

What belongs here: starting such a run, and the limits of a minute that is shorter than 60 seconds. What does not: what
is measured (``graph``).
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from callpipeline.defs.resources import PipelineResource
from callpipeline.limits.gate import Gate
from callpipeline.limits.rates import RateLimit, open_rates
from callpipeline.limits.retry import RetryPolicy
from callpipeline.limits.supplies import Supplies, rate_limit
from callpipeline.pipeline.workbench import Workbench
from callpipeline.settings import Settings

_PRELOADED = ["bench.graph_runs", "callpipeline.defs.launch", "callpipeline.intake.scan", "openai"]


@dataclass(frozen=True)
class Done:
    """What a run did: when it began and ended (seconds since 1970), its CPU seconds, and whether all went well."""

    begun: float
    ended: float
    cpu: float
    success: bool


@dataclass
class Run:
    """A run in a process of its own."""

    process: BaseProcess
    connection: Connection

    def done(self) -> Done:
        """Wait for its end.

        Raises:
            EOFError: it was killed, or broke off.
        """
        try:
            found: Done = self.connection.recv()
        finally:
            self.process.join()
        return found

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.kill()
        self.process.join()


def start(calls: Path, window: float) -> Run:
    """Start a process that scans a folder and works off all that is pending; its environment is this one's.

    ``window``: seconds of the minute that the provider's limits are for.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work_off, args=(theirs, str(calls), dict(os.environ), window))
    process.start()
    theirs.close()
    return Run(process, ours)


def _work_off(connection: Connection, calls: str, variables: Mapping[str, str], window: float) -> None:
    from callpipeline.defs.launch import open_instance, process
    from callpipeline.intake.scan import scan
    from callpipeline.pipeline.pending import pending

    os.environ.update(variables)
    begun, settings = time.time(), Settings()
    with Workbench(settings) as bench:
        scan(bench.catalog, Path(calls), settings)
        waiting = pending(bench, Path(calls))
    resource = _Resource(settings=lambda: settings, window=window)
    with open_instance(settings) as instance:
        runs = list(process(instance, waiting, resource, batch_size=settings.batch_size))
    ended = time.time()
    connection.send(Done(begun, ended, time.process_time(), all(run.success for run in runs)))


@dataclass(frozen=True)
class _Resource(PipelineResource):
    """The product's own, with limits for minutes of ``window`` seconds."""

    window: float = 60.0

    @contextmanager
    def workbench(self, *args: Any, **kwargs: Any) -> Iterator[Workbench]:
        with super().workbench(*args, **kwargs) as bench:
            if self.window != 60:
                bench.supplies = _of_short_minutes(bench.settings, bench.supplies, self.window)
            yield bench


def _of_short_minutes(settings: Settings, supplies: Supplies, window: float) -> Supplies:
    def limit(pool: str) -> RateLimit:
        return replace(rate_limit(settings, pool), window=window)

    rates = open_rates(settings.store, settings.postgres_url, limit)
    policy = RetryPolicy().scaled(window / 60)
    gate = Gate(supplies.slots, rates, costs=supplies.costs, policy=policy)
    return replace(supplies, rates=rates, gate=gate)
