"""AssemblyAI's side of a job: a queue, a few that are processed at once, a webhook at the end.

Belongs here: states and times of jobs. Does not: HTTP requests of clients, or how results are written.
"""

from __future__ import annotations

import asyncio
import functools
import json
import time
import urllib.error
import urllib.request
import uuid
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callpipeline_tests.simulators.answers import Answer, Answers, NotAudioError
from callpipeline_tests.simulators.counting import JobRecord, JobStats, Ledger
from callpipeline_tests.simulators.faults import Fault, FaultPlan
from callpipeline_tests.simulators.latency import LatencySampler

QUEUED, PROCESSING, COMPLETED, ERROR = "queued", "processing", "completed", "error"
_WEBHOOK_TIMEOUT = 5.0


@dataclass
class Upload:
    """Bytes that a client uploaded."""

    path: Path
    sha256: str


@dataclass
class Job:
    """One transcript. Times are seconds since the epoch."""

    request: dict[str, Any]
    upload: Upload | None
    key: str
    """Same audio and same options = same key."""
    fails: bool
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = QUEUED
    submitted: float = field(default_factory=time.time)
    started: float | None = None
    finished: float | None = None
    seconds: float | None = None
    answer: Answer | None = None
    error: str | None = None
    expired: bool = False
    deleted: bool = False
    webhook_status: int | None = None

    @property
    def in_flight(self) -> bool:
        """Queued or processing."""
        return self.status in (QUEUED, PROCESSING) and not self.deleted

    def record(self) -> JobRecord:
        """Return what is told about it."""
        return JobRecord(
            id=self.id,
            status=self.status,
            audio_sha256=self.upload.sha256 if self.upload else "",
            submitted=self.submitted,
            started=self.started,
            finished=self.finished,
            seconds=self.seconds,
        )


class Jobs:
    """All jobs of the account; ``concurrency`` of them are processed at once, first in first out."""

    def __init__(
        self,
        *,
        concurrency: int,
        answers: Answers,
        work: LatencySampler,
        ledger: Ledger,
        faults: FaultPlan,
        webhook_tries: int,
    ) -> None:
        self._concurrency = concurrency
        self._answers = answers
        self._work = work
        self._ledger = ledger
        self._faults = faults
        self._webhook_tries = webhook_tries
        self._queue: deque[Job] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._processing: dict[str, asyncio.Task[None]] = {}
        self._in_flight_max = self._processing_max = 0
        self.by_id: dict[str, Job] = {}

    def stop(self) -> None:
        """Drop all work."""
        self._queue.clear()
        for task in self._tasks:
            task.get_loop().call_soon_threadsafe(task.cancel)

    def submit(self, job: Job) -> None:
        """Take a job: it is charged now, and given back if it fails."""
        self.by_id[job.id] = job
        self._ledger.charge(job.key)
        self._queue.append(job)
        self._in_flight_max = max(self._in_flight_max, sum(j.in_flight for j in self.by_id.values()))
        self._begin_next()

    def delete(self, job: Job) -> None:
        """Forget the data of a job; one that is not finished is cancelled and not charged."""
        if job.in_flight:
            self._ledger.refund(job.key)
            if job in self._queue:
                self._queue.remove(job)
        job.deleted = True
        if task := self._processing.get(job.id):
            task.cancel()

    def stats(self) -> JobStats:
        """Return the figures."""
        jobs = self.by_id.values()
        return JobStats(
            submitted=len(jobs),
            queued=len(self._queue),
            processing=len(self._processing),
            completed=sum(job.status == COMPLETED for job in jobs),
            failed=sum(job.status == ERROR for job in jobs),
            cancelled=sum(job.deleted and job.finished is None for job in jobs),
            in_flight_max=self._in_flight_max,
            processing_max=self._processing_max,
            work_seconds=sum(job.seconds or 0.0 for job in jobs),
        )

    def _begin_next(self) -> None:
        while self._queue and len(self._processing) < self._concurrency:
            job = self._queue.popleft()
            self._processing[job.id] = self._spawn(self._process(job), functools.partial(self._done, job))
            self._processing_max = max(self._processing_max, len(self._processing))

    def _spawn(
        self, work: Coroutine[Any, Any, None], then: Callable[[], None] | None = None
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if then:
            task.add_done_callback(lambda _: then())
        return task

    def _done(self, job: Job) -> None:
        self._processing.pop(job.id, None)
        self._begin_next()

    async def _process(self, job: Job) -> None:
        job.status, job.started = PROCESSING, time.time()
        answer, error = await self._heard(job)
        job.seconds = self._work.draw(audio_seconds=answer.duration if answer else 0.0)
        await asyncio.sleep(job.seconds)
        job.finished = time.time()
        if answer and not job.fails:
            job.answer, job.status = answer, COMPLETED
            self._ledger.add(audio_seconds=answer.duration)
        else:
            job.error, job.status = error or "Simulated failure: the job ends with status error", ERROR
            self._ledger.refund(job.key)
        if job.request.get("webhook_url"):
            fault = self._faults.next("webhook")
            self._spawn(self._call_webhook(job, fault))

    async def _heard(self, job: Job) -> tuple[Answer | None, str | None]:
        if job.upload is None:
            url = job.request["audio_url"]
            return None, f"Download error, unable to download {url}: the simulator knows its own uploads only"
        try:
            answer = await asyncio.to_thread(self._answers.answer, job.upload.sha256, job.upload.path)
        except NotAudioError:
            return None, "Transcoding failed. File does not appear to contain audio."
        return answer, None

    async def _call_webhook(self, job: Job, fault: Fault | None) -> None:
        """Tell the client's server, again after a failure; a fault of route ``webhook`` loses the message."""
        if fault:
            return
        for number in range(self._webhook_tries):
            job.webhook_status = await asyncio.to_thread(_post_webhook, job)
            if job.webhook_status and 200 <= job.webhook_status < 300:
                return
            await asyncio.sleep(0.1 * 2**number)


def _post_webhook(job: Job) -> int | None:
    """Post the webhook; return the status, ``None`` when nobody answered."""
    headers = {"content-type": "application/json"}
    if name := job.request.get("webhook_auth_header_name"):
        headers[name] = job.request.get("webhook_auth_header_value") or ""
    body = json.dumps({"transcript_id": job.id, "status": job.status}).encode()
    request = urllib.request.Request(job.request["webhook_url"], body, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_WEBHOOK_TIMEOUT) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None
