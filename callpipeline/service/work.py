"""Working on a task in the service itself, with what is warm: while a client waits, or for other options.

What Dagster shall know of it is told afterwards: the same assets, materialized without a run. Tasks that nobody waits
for become runs (``runs``).
"""

from __future__ import annotations

import asyncio
import logging
import time

from callpipeline.failures import CallPipelineError, Recorded, describe
from callpipeline.limits.worker import Worker
from callpipeline.pipeline.outcomes import RecordingOutcome, StageOutcome, Status
from callpipeline.pipeline.stopping import Stops, WalkStopped
from callpipeline.pipeline.walk import walk
from callpipeline.service import models, results
from callpipeline.service.benches import Benches, ServiceBench
from callpipeline.service.documents import Result
from callpipeline.service.options import Options
from callpipeline.service.orchestration import Orchestration
from callpipeline.service.tasks import Task, Tasks
from callpipeline.settings import Settings

log = logging.getLogger(__name__)


class Work:
    """Walks recordings on warm workbenches. In the event loop."""

    def __init__(
        self, settings: Settings, tasks: Tasks, books: Worker, benches: Benches, orchestration: Orchestration
    ) -> None:
        self._settings = settings
        self._tasks = tasks
        self._books = books
        self._benches = benches
        self._orchestration = orchestration
        self._stops = Stops()

    async def do(self, task: Task) -> Result:
        """Bring a begun task to its end and return its result.

        Raises:
            CallPipelineError: what the recording failed with, which the task says too.
        """
        bench = self._benches.of(Options.model_validate_json(task.options))
        began = time.monotonic()
        try:
            outcome = await self._stops.walking(task.id, self._walk(task, bench))
            result = await bench.checks.do(
                written, self._settings, bench, task, outcome.reused, time.monotonic() - began
            )
            finish = self._tasks.finish
            await self._books.do(finish, task.id, reused=outcome.reused, duration=result.duration)
        except Exception as error:
            error_class, message, permanent = describe(error)
            if not isinstance(error, CallPipelineError):
                log.exception("task %s", task.id)
            if not isinstance(error, WalkStopped):  # it was cancelled, or goes back into the queue
                await self._books.do(self._tasks.fail, task.id, error_class, message)
            raise Recorded(error_class, message, permanent) from error
        else:
            return result
        finally:
            self._stops.forget(task.id)
            self._benches.leave(bench)
            if self._settings.gpu_memory_optimization:
                await asyncio.to_thread(models.unload)

    def stop(self, task_id: str) -> None:
        """End the work on a task."""
        self._stops.stop(task_id)

    def stop_all(self) -> None:
        """End the work on all tasks."""
        self._stops.stop_all()

    async def _walk(self, task: Task, bench: ServiceBench) -> RecordingOutcome:
        outcomes: list[StageOutcome] = []

        def heard(outcome: RecordingOutcome | StageOutcome) -> None:
            if isinstance(outcome, StageOutcome):
                outcomes.append(outcome)
                self._books.later(self._tasks.note, task.id, outcome.asset, outcome.status.value)

        ended = await walk(task.recording, results.ASSETS, bench, heard)
        failure = ended.failure
        if not task.variant and not ended.reused:
            bench.catalog.touch(task.recording)
            self._orchestration.report([o for o in outcomes if o.status is Status.DONE], bench)
        if failure is not None and not results.usable(ended):
            raise Recorded(failure.error_class, failure.message, failure.permanent)
        return ended


def written(settings: Settings, bench: ServiceBench, task: Task, reused: bool, seconds: float) -> Result:
    """Write down what a task is answered with, and return it."""
    said = results.Said(bench.store, task.recording)
    result = results.document(said, task, reused=reused, seconds=seconds)
    results.keep(settings, result, said)
    return result
