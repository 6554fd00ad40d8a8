"""How far tasks, batches and recordings have come, as clients are told: from stages and chunks that have ended."""

from __future__ import annotations

from collections.abc import Sequence

from callpipeline.pipeline.progress import Progress
from callpipeline.service import results
from callpipeline.service.core import Service
from callpipeline.service.documents import Batch, Chunks, ErrorBody, JobProgress, Links, StageState, Status
from callpipeline.service.tasks import Task, TaskState

WAITING = "waiting"
_DAY = 86_400.0


async def status(service: Service, task: Task) -> Status:
    """Return how far a task has come."""
    ahead = await service.books.do(service.tasks.ahead, task) if task.state is TaskState.QUEUED else None
    chunks = service.chunks(task.recording) if task.state is TaskState.RUNNING else None
    return _status(service, task, ahead, chunks)


async def batch(service: Service, tasks: Sequence[Task]) -> Batch:
    """Return how far the tasks of a batch have come."""
    return Batch(batch_id=tasks[0].batch or "", tasks=[await status(service, task) for task in tasks])


async def progress(service: Service, job_id: str, tasks: Sequence[Task]) -> JobProgress:
    """Return how far a job has come: the one task of this id, or those of its batch."""
    told = [await status(service, task) for task in tasks]
    ended = sum(task.ended for task in tasks)
    return JobProgress(
        job_id=job_id,
        kind="task" if told[0].task_id == job_id else "batch",
        status=_together([task.state for task in tasks]),
        progress=round(sum(one.progress for one in told) / len(told), 4),
        done=ended,
        of=len(told),
        tasks=told,
    )


def of_recording(key: str, going: Progress) -> JobProgress:
    """Return how far a recording has come that some process of this store transcribes in chunks."""
    told = _chunks(going)
    return JobProgress(
        job_id=key,
        kind="recording",
        status=TaskState.RUNNING,
        progress=round(going.overall, 4),
        done=told.done,
        of=told.of,
        chunks=told,
    )


def error_of(task: Task) -> ErrorBody | None:
    """Return why a task has no result, ``None`` if nothing went wrong."""
    if task.state is TaskState.CANCELLED:
        return ErrorBody(message="The task was cancelled.", type="cancelled")
    if task.error_class is None:
        return None
    return ErrorBody(message=task.message or "", type=task.error_class)


def _status(service: Service, task: Task, ahead: int | None, going: Progress | None) -> Status:
    kept = service.settings.service_retention_days * _DAY
    at = "/api/v1"
    return Status(
        task_id=task.id,
        batch_id=task.batch,
        status=task.state,
        progress=_share(task, going),
        stages=[
            StageState(name=asset, state=task.stage_states.get(asset, WAITING)) for asset in results.ASSETS
        ],
        chunks=_chunks(going) if going else None,
        ahead=ahead,
        recording=task.recording,
        file_name=task.file_name,
        priority=task.priority,
        run_id=task.run,
        created=task.created,
        started=task.started,
        finished=task.finished,
        expires=None if task.finished is None else task.finished + kept,
        error=error_of(task),
        links=Links(
            status=f"{at}/parallel/status/{task.id}",
            result=f"{at}/parallel/result/{task.id}",
            progress=f"{at}/jobs/{task.id}/progress",
            events=f"{at}/jobs/{task.id}/events",
        ),
    )


def _share(task: Task, going: Progress | None) -> float:
    if task.state is TaskState.DONE:
        return 1.0
    ended = task.stage_states
    share = float(len(ended))
    if going is not None and "transcripts" not in ended:
        share += going.overall
    return round(min(1.0, share / len(results.ASSETS)), 4)


def _chunks(going: Progress) -> Chunks:
    states = [chunk.state for chunk in going.chunks]
    return Chunks(
        done=sum(state in ("done", "reused") for state in states),
        of=max((chunk.of for chunk in going.chunks), default=0),
        failed=states.count("failed"),
        seconds_per_second=going.rate,
        seconds_left=going.eta,
    )


def _together(states: Sequence[TaskState]) -> TaskState:
    """Return the state of a batch: what is still to come counts first, then what went wrong."""
    order = (TaskState.RUNNING, TaskState.QUEUED, TaskState.FAILED, TaskState.CANCELLED, TaskState.DONE)
    if TaskState.QUEUED in states and {*states} - {TaskState.QUEUED}:
        return TaskState.RUNNING
    return next(state for state in order if state in states)
