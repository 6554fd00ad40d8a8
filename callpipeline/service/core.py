"""The service without HTTP: takes recordings in, has them worked on, and knows how far they have come.

What belongs here: what endpoints call, and what runs in the background as long as the service does. What does not:
requests and answers (the routers), and what is done with a recording (``work``, ``runs``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

from callpipeline.failures import CallPipelineError, DatabaseUnavailable, NotConfigured
from callpipeline.intake.catalog import Catalog
from callpipeline.limits.owners import Owners, open_owners
from callpipeline.limits.worker import Worker
from callpipeline.model import AudioInfo
from callpipeline.pipeline.progress import Progress, ProgressStore
from callpipeline.service import models, results, uploads
from callpipeline.service.audit import Audit
from callpipeline.service.benches import Benches
from callpipeline.service.documents import Result
from callpipeline.service.keys import Keys
from callpipeline.service.options import VARIANTS, Options
from callpipeline.service.orchestration import Orchestration
from callpipeline.service.runs import Dispatcher
from callpipeline.service.tables import open_service_tables
from callpipeline.service.tasks import QueueFull, Task, Tasks, TaskState, new_id
from callpipeline.service.uploads import TakenIn
from callpipeline.service.work import Work
from callpipeline.settings import Settings
from callpipeline.speech.engines.base import Transcriber
from callpipeline.store.results import ResultStore

log = logging.getLogger(__name__)

LOST_SECONDS = 10.0
"""How often it is looked for tasks of service processes that are gone."""
SWEEP_SECONDS = 600.0
RETRY_SECONDS = 5.0
"""What a client is told to wait where nothing is known of how long work takes."""
DEFAULT_PRIORITY = 5


@dataclass(frozen=True)
class Wish:
    """What a client asks for. ``idempotency``: a key of its own for this request."""

    who: str
    options: Options
    priority: int = DEFAULT_PRIORITY
    idempotency: str | None = None


class Service:
    """One service process. Methods are called in the event loop and never block it."""

    def __init__(self, settings: Settings, *, engine: Transcriber | None = None) -> None:
        self.settings = settings
        self.began = time.time()
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.database = open_service_tables(settings)
        self.tasks = Tasks(self.database)
        self.keys = Keys(self.database)
        self.audit = Audit(self.database)
        self.books = Worker("books")
        """The thread in which the tables are used."""
        self.orchestration = Orchestration(settings)
        self.benches = Benches(
            settings, engine=engine, run=f"service-{self.name}", slot_limit=self.orchestration.slot_limit
        )
        self.catalog = Catalog(settings.store / "catalog.sqlite")
        self.work = Work(settings, self.tasks, self.books, self.benches, self.orchestration)
        self._progress = ProgressStore(settings.store)
        self._places = asyncio.Semaphore(settings.service_workers)
        self._waiting = 0
        self.engine: str | None = None
        """Name of the engine, empty if none works here, ``None`` while that is being found out."""
        self.engine_problem = "It is being found out which engine works here."
        self._owners: Owners = open_owners(settings.store, settings.postgres_url)
        self.dispatcher = Dispatcher(
            settings,
            self.tasks,
            self.books,
            self.benches,
            self.orchestration,
            self.work,
            name=self.name,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work as long as the block lasts."""
        await self.books.do(self._owners.try_take, self._lock(self.name))
        self.orchestration.open()
        background = [
            asyncio.create_task(self._find_engine()),
            asyncio.create_task(self.dispatcher.run()),
            asyncio.create_task(self._every(LOST_SECONDS, self._take_over)),
            asyncio.create_task(self._every(SWEEP_SECONDS, self.sweep)),
            asyncio.create_task(models.unload_idle(self.settings.service_unload_after)),
        ]
        try:
            yield
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self.books.do(self.tasks.give_back, self.name, died=False)
            await self.benches.close()
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self.orchestration.close()
        self.books.close()
        self._progress.close()
        self._owners.close()
        self.catalog.close()
        self.database.close()

    # --- taking in ------------------------------------------------------------------------------------

    async def take_in(self, sent: BinaryIO, name: str) -> TakenIn:
        """Keep a recording; see ``uploads.take_in`` for what is refused.

        Raises:
            NotConfigured: no engine works here, or it is not known yet.
        """
        self._check_ready()
        return await asyncio.to_thread(uploads.take_in, sent, name, self.catalog, self.settings)

    async def now(self, taken: TakenIn, wish: Wish) -> Result:
        """Work on a recording while its client waits, and return the result.

        Raises:
            QueueFull: too many clients wait already.
            CallPipelineError: what the recording failed with.
        """
        if self._places.locked() and self._waiting >= self.settings.service_queue:
            raise QueueFull(self._waiting)
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            wanted = _task(taken, wish, waiting_client=True)
            room = self.settings.service_queue + 1
            (task,) = await self.books.do(self.tasks.add, [wanted], room=room, worker=self.name)
            if task.id != wanted.id:
                return await self._of_before(task)
            return await self.work.do(task)
        finally:
            self._places.release()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold one of the places of waiting clients, for a stream: it cannot wait for one.

        Raises:
            QueueFull: there is none.
            NotConfigured: no engine works here, or it is not known yet.
        """
        self._check_ready()
        if self._places.locked():
            raise QueueFull(self._waiting)
        async with self._places:
            yield

    async def later(self, taken: Sequence[TakenIn], wish: Wish, *, batch: str | None = None) -> list[Task]:
        """Put recordings into the queue.

        Raises:
            QueueFull: it has no room for them.
        """
        wanted = [_task(one, wish, batch=batch, number=number) for number, one in enumerate(taken)]
        added = await self.books.do(self.tasks.add, wanted, room=self.settings.service_queue)
        self.dispatcher.wake()
        return added

    async def cancel(self, task: Task) -> None:
        """End a task that has not ended."""
        before = await self.books.do(self.tasks.cancel, task.id)
        if before is not None and before.state is TaskState.RUNNING:
            await self.dispatcher.stop(before)

    async def _of_before(self, task: Task) -> Result:
        """Return the result of a request that was made before, as soon as it is there."""
        while True:
            found = await self.books.do(self.tasks.get, task.id)
            if found is None or found.ended:
                return await self.result(found or task)
            await asyncio.sleep(0.1)

    # --- telling --------------------------------------------------------------------------------------

    async def result(self, task: Task) -> Result:
        """Return the result of a task that is done.

        Raises:
            TaskNotDone: it is not, or has failed.
        """
        if task.state is not TaskState.DONE:
            raise TaskNotDone(task)
        path = results.path(self.settings, task.id, "json")
        return Result.model_validate_json(await asyncio.to_thread(path.read_bytes))

    def chunks(self, key: str) -> Progress | None:
        """Return how far a recording has come that is transcribed in chunks now."""
        return self._progress.read(key)

    def duration(self, key: str) -> float:
        """Return the length of a recording, 0 while it is not known."""
        stored = ResultStore(self.settings.store).get("raw_audio", key, AudioInfo)
        return stored.value.duration if stored else 0.0

    async def retry_after(self, waiting: int) -> int:
        """Return seconds after which there will be room, as far as can be told."""
        took = await self.books.do(self.tasks.work_seconds)
        each = sum(took) / len(took) if took else RETRY_SECONDS
        return max(1, min(600, round(each * max(1, waiting) / self.settings.service_workers / 4)))

    # --- in the background ----------------------------------------------------------------------------

    async def _find_engine(self) -> None:
        """Find out which engine is used: that may load packages, for which no request shall wait."""
        bench = self.benches.of(Options())
        try:
            self.engine = await asyncio.to_thread(lambda: bench.transcriber.name)
            self.engine_problem = ""
        except CallPipelineError as error:
            self.engine, self.engine_problem = "", str(error)
        finally:
            self.benches.leave(bench)

    def _check_ready(self) -> None:
        if not self.engine:
            raise NotConfigured(self.engine_problem)

    async def _every(self, seconds: float, do: Callable[[], object]) -> None:
        while True:
            try:
                await self.books.do(do)
            except (DatabaseUnavailable, OSError) as error:
                log.warning("%s", error)
            self.dispatcher.wake()
            await asyncio.sleep(seconds)

    def _take_over(self) -> None:
        """Put the tasks of service processes that are gone back into the queue."""
        for worker, runs in self.tasks.workers().items():
            if worker == self.name:
                continue
            release = self._owners.try_take(self._lock(worker))
            if release is None:
                continue  # it lives
            try:
                found = self.tasks.give_back(worker, died=True)
                log.warning("%d tasks of a service process that is gone go on", found)
                self.orchestration.end_runs(sorted(runs))
            finally:
                release()

    def sweep(self) -> None:
        """Remove what has been kept long enough."""
        seconds = self.settings.service_retention_days * 86_400.0
        for task in self.tasks.expired(seconds):
            results.remove(self.settings, task.id)
            self.tasks.remove(task.id)
            if task.variant and not self.tasks.wanted(task.recording, task.variant):
                store = ResultStore(self.settings.store / VARIANTS / task.variant)
                for asset in results.ASSETS:
                    store.remove(asset, task.recording)
            if not self.tasks.wanted(task.recording):
                with suppress(OSError):
                    uploads.forget(task.recording, self.catalog, self.settings)
        self.audit.forget(seconds)

    @staticmethod
    def _lock(worker: str) -> str:
        return f"service-{worker}"


class TaskNotDone(Exception):
    """A task has no result: not yet, or for good."""

    def __init__(self, task: Task) -> None:
        super().__init__(task.id)
        self.task = task


def _task(
    taken: TakenIn,
    wish: Wish,
    *,
    batch: str | None = None,
    number: int = 0,
    waiting_client: bool = False,
) -> Task:
    options = wish.options.model_dump_json(exclude_none=True)
    key = wish.idempotency
    return Task(
        id=new_id("task"),
        batch=batch,
        who=wish.who,
        recording=taken.key,
        file_name=taken.name,
        options=options,
        variant=wish.options.variant,
        waiting_client=waiting_client,
        priority=wish.priority,
        idempotency=key if key is None or batch is None else f"{key} {number}",
        request=f"{taken.sha256} {options}",
    )
