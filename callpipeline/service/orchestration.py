"""The Dagster side of the service: the instance, kept open, and the runs of tasks that nobody waits for.

A task becomes a run of the same job as ever, over its one partition (a batch: over all of its recordings), executed
in a thread of this process. Why not through the daemon's queue: it works without ``dagster dev``, engines are warm
here, and a run costs about 0.3 s where a queued one takes 6 to 21 s to start. Dagster's pages show it like any other.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from callpipeline.limits.worker import Worker
from callpipeline.pipeline.outcomes import StageOutcome
from callpipeline.pipeline.stopping import Stops
from callpipeline.pipeline.workbench import Workbench
from callpipeline.service import results
from callpipeline.service.benches import Benches, LentWorkers
from callpipeline.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

    from callpipeline.defs.resources import Outcome

log = logging.getLogger(__name__)


class Orchestration:
    """The instance of the settings, opened in the background: opening takes seconds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._instance: dg.DagsterInstance | None = None
        self._problem = ""
        self._runs_at_once = 1
        self._opened = threading.Event()
        self._reports = Worker("events")
        self._adding = threading.Lock()

    def open(self) -> None:
        """Begin to open the instance; returns at once."""
        threading.Thread(target=self._open, name="callpipeline-instance", daemon=True).start()

    @property
    def state(self) -> str:
        """``opening``, ``ready`` or ``failed``."""
        if not self._opened.is_set():
            return "opening"
        return "failed" if self._instance is None else "ready"

    @property
    def problem(self) -> str:
        """Why it could not be opened."""
        return self._problem

    @property
    def runs_at_once(self) -> int:
        """How many runs may execute in this process."""
        return self._runs_at_once

    @property
    def instance(self) -> dg.DagsterInstance | None:
        """The instance, ``None`` while it is being opened or if it could not be."""
        return self._instance

    def slot_limit(self, pool: str) -> int | None:
        """Return the size of a pool as Dagster has it, ``None`` if it does not say."""
        if self._instance is None:
            return None
        from callpipeline.defs.pools import slot_limit

        return slot_limit(self._instance)(pool)

    def report(self, outcomes: Sequence[StageOutcome], bench: Workbench) -> None:
        """Tell Dagster, soon, of results that were made without a run."""
        if outcomes:
            self._reports.later(self._report, list(outcomes), bench)

    def end_runs(self, runs: Sequence[str]) -> None:
        """Mark, soon, runs of a service process that is gone as failed."""
        self._reports.later(self._end_runs, list(runs))

    def close(self) -> None:
        """Tell what is still to be told and close the instance."""
        self._opened.wait()
        self._reports.close()
        if self._instance is not None:
            self._instance.dispose()

    def _open(self) -> None:
        try:
            from callpipeline.defs.launch import open_servers_instance, side_by_side

            opened = open_servers_instance(self._settings)
            self._runs_at_once = self._settings.service_workers if side_by_side(opened) else 1
            self._instance = opened
        except Exception as error:
            self._problem = f"{type(error).__name__}: {error}"
            log.exception("Dagster's instance could not be opened")
        finally:
            self._opened.set()

    def _end_runs(self, runs: list[str]) -> None:
        from callpipeline.defs.launch import report_lost

        self._opened.wait()
        if self._instance is not None:
            for run in runs:
                report_lost(self._instance, run)

    def _report(self, outcomes: list[StageOutcome], bench: Workbench) -> None:
        import dagster as dg

        from callpipeline.defs.assets.process import events
        from callpipeline.defs.partitions import RECORDINGS

        self._opened.wait()
        if self._instance is None:
            return
        keys = sorted({outcome.key for outcome in outcomes})
        with self._adding:
            self._instance.add_dynamic_partitions(RECORDINGS, keys)
        for outcome in outcomes:
            for event in events(outcome, bench):
                if isinstance(event, dg.AssetMaterialization | dg.AssetCheckEvaluation):
                    self._instance.report_runless_asset_event(event)


@dataclass(frozen=True)
class Run:
    """One run: its recordings, and who hears how it goes (``began`` is told its id)."""

    keys: Sequence[str]
    began: Callable[[str], None]
    heard: Callable[[Outcome], None]


def execute(
    orchestration: Orchestration,
    settings: Settings,
    benches: Benches,
    stops: Stops,
    run: Run,
) -> None:
    """Execute a run in this thread and return when it has ended, well or not."""
    from callpipeline.defs.launch import process
    from callpipeline.defs.resources import PipelineResource

    class Lending(PipelineResource):
        """Gives a run the workers of the service, and lets the service stop its walks."""

        @contextmanager
        def workbench(
            self, context: dg.AssetExecutionContext | None = None, *, force_paid: bool = False
        ) -> Iterator[Workbench]:
            with super().workbench(context, force_paid=force_paid) as bench:
                bench.workers, bench.stops = LentWorkers(benches.workers), stops
                if context is not None:
                    run.began(context.run.run_id)
                try:
                    yield bench
                finally:
                    benches.note_gate(bench)

    if orchestration.instance is None:
        return
    resource = Lending(settings=lambda: settings, engine=benches.engine, listener=run.heard)
    for _ in process(
        orchestration.instance,
        run.keys,
        resource,
        batch_size=len(run.keys),
        assets=results.ASSETS,
        origin="service",
    ):
        pass
