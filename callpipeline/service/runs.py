"""Tasks that nobody waits for, from the queue to their end.

Each takes a place of ``MAX_WORKERS``; the next is the one of highest priority, and of these the oldest. Tasks whose
options are those of the settings become Dagster runs, others (variants, which are no assets) are walked here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from callpipeline.failures import CallPipelineError, describe
from callpipeline.limits.worker import Worker
from callpipeline.pipeline.outcomes import RecordingOutcome, StageOutcome
from callpipeline.pipeline.stopping import Stops, WalkStopped
from callpipeline.service import models, results
from callpipeline.service.benches import Benches
from callpipeline.service.orchestration import Orchestration, Run, execute
from callpipeline.service.tasks import Task, Tasks
from callpipeline.service.work import Work
from callpipeline.settings import Settings
from callpipeline.store.results import ResultStore

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often it is looked for tasks that another process took in."""


class Dispatcher:
    """Takes tasks from the queue as long as the service runs."""

    def __init__(
        self,
        settings: Settings,
        tasks: Tasks,
        books: Worker,
        benches: Benches,
        orchestration: Orchestration,
        work: Work,
        *,
        name: str,
    ) -> None:
        self._settings = settings
        self._tasks = tasks
        self._books = books
        self._benches = benches
        self._orchestration = orchestration
        self._work = work
        self._name = name
        self._wake = asyncio.Event()
        self._threads = ThreadPoolExecutor(settings.service_workers, thread_name_prefix="callpipeline-run")
        self._stops = Stops()
        self._going: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Say that there is something in the queue."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; then end what is under way, which goes back into the queue."""
        try:
            while True:
                if (
                    self._orchestration.state == "ready"
                    and len(self._going) < self._orchestration.runs_at_once
                ):
                    claimed = await self._books.do(self._tasks.claim, self._name)
                    if claimed:
                        self._begin(claimed)
                        continue
                self._wake.clear()
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            self._stops.stop_all()
            self._work.stop_all()
            if self._going:
                await asyncio.wait(self._going)
            self._threads.shutdown(wait=True, cancel_futures=True)

    async def stop(self, task: Task) -> None:
        """End the work on a cancelled task, unless another task wants the same."""
        if task.waiting_client or task.variant:
            self._work.stop(task.id)
            return
        others = await self._books.do(self._tasks.running, task.recording, task.variant)
        if not any(not other.waiting_client for other in others):
            self._stops.stop(task.recording)

    def _begin(self, claimed: Sequence[Task]) -> None:
        doing = self._as_run(claimed) if not claimed[0].variant else self._here(claimed[0])
        going = asyncio.get_running_loop().create_task(doing)
        self._going.add(going)
        going.add_done_callback(self._ended)

    def _ended(self, going: asyncio.Task[None]) -> None:
        self._going.discard(going)
        self._wake.set()
        if not going.cancelled() and (error := going.exception()) is not None:
            log.error("work on a task broke: %s", error, exc_info=error)

    async def _here(self, task: Task) -> None:
        try:
            await self._work.do(task)
        except CallPipelineError as error:
            log.info("task %s: %s", task.id, error.error_class)

    async def _as_run(self, claimed: Sequence[Task]) -> None:
        course = _Course(self._settings, self._tasks, claimed)
        run = Run([task.recording for task in claimed], course.began, course.heard)
        try:
            await asyncio.get_running_loop().run_in_executor(
                self._threads,
                execute,
                self._orchestration,
                self._settings,
                self._benches,
                self._stops,
                run,
            )
        except Exception as error:
            log.exception("a run broke")
            course.broke(error)
        else:
            course.broke(None)
        finally:
            for task in claimed:
                self._stops.forget(task.recording)


class _Course:
    """How a run goes, written into the rows of its tasks. In the thread of the run."""

    def __init__(self, settings: Settings, tasks: Tasks, claimed: Sequence[Task]) -> None:
        self._settings = settings
        self._tasks = tasks
        self._waiting: dict[str, list[Task]] = {}
        for task in claimed:
            self._waiting.setdefault(task.recording, []).append(task)
        self._began = time.monotonic()

    def began(self, run: str) -> None:
        self._tasks.begun_in(run, [task.id for tasks in self._waiting.values() for task in tasks])

    def heard(self, outcome: StageOutcome | RecordingOutcome) -> None:
        if isinstance(outcome, RecordingOutcome):
            if self._settings.gpu_memory_optimization:
                models.unload()
            self._end(outcome)
            return
        for task in self._waiting.get(outcome.key, ()):
            self._tasks.note(task.id, outcome.asset, outcome.status.value)

    def broke(self, error: Exception | None) -> None:
        """Fail what the run has not brought to an end."""
        error_class, message, _ = describe(error) if error else ("internal", "The run broke off.", False)
        for tasks in self._waiting.values():
            for task in tasks:
                self._tasks.fail(task.id, error_class, message)

    def _end(self, outcome: RecordingOutcome) -> None:
        store = ResultStore(self._settings.store)
        for task in self._waiting.pop(outcome.key, ()):
            failure = outcome.failure
            if failure is not None and failure.error_class == WalkStopped.error_class:
                continue  # cancelled, which its row says, or the service ends and gives it back
            try:
                if failure is not None and not results.usable(outcome):
                    self._tasks.fail(task.id, failure.error_class, failure.message)
                    continue
                said = results.Said(store, task.recording)
                seconds = time.monotonic() - self._began
                result = results.document(said, task, reused=outcome.reused, seconds=seconds)
                results.keep(self._settings, result, said)
                self._tasks.finish(task.id, reused=outcome.reused, duration=result.duration)
            except Exception as error:  # one task's answer must not cost its neighbours theirs
                log.exception("task %s", task.id)
                error_class, message, _ = describe(error)
                self._tasks.fail(task.id, error_class, message)
