"""Tasks: what clients asked for, how far it has come, and where it stands in the queue.

A task is written down before its client hears of it and stays until its retention ends, whatever happens to the
service: one that a killed service was at goes back into the queue. What belongs here: the table. What does not:
working on a task (``work``, ``runs``) and what it is answered with (``results``).
"""

# ruff: noqa: S608 - statements are put together from constants; every value is bound

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Literal

from callpipeline.failures import CallPipelineError
from callpipeline.limits.database import Database, Session
from callpipeline.model import Record

TURN = "service"
MOST_ATTEMPTS = 3
"""Times that a task is begun: one with which the service dies again and again is given up."""
MOST_TOGETHER = 50
"""Recordings of a batch that are worked on in one run."""


class TaskState(StrEnum):
    """How far a task has come."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (TaskState.QUEUED, TaskState.RUNNING)


class Task(Record):
    """One recording that a client wants the words of. Times are seconds since 1970.

    ``who``: name of the API key, empty without keys. ``variant``: empty where the options are those of the settings.
    ``waiting_client``: somebody waits for the answer to the request itself. ``stages``: state of each stage begun.
    ``worker``: the service process that is at it. ``reused``: nothing had to be done, all results were there.
    """

    id: str
    batch: str | None = None
    who: str
    recording: str
    file_name: str
    options: str
    variant: str
    waiting_client: bool
    priority: int
    state: TaskState = TaskState.QUEUED
    stages: str = "{}"
    idempotency: str | None = None
    request: str
    created: float = 0.0
    started: float | None = None
    finished: float | None = None
    run: str | None = None
    worker: str | None = None
    attempts: int = 0
    reused: bool = False
    duration: float = 0.0
    error_class: str | None = None
    message: str | None = None

    @property
    def stage_states(self) -> dict[str, str]:
        """State of each stage that has ended, by asset."""
        return dict(json.loads(self.stages))

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state not in OPEN


Span = Literal["wait", "work"]
_SPANS: dict[Span, str] = {"wait": "(started - created)", "work": "(finished - started)"}
COLUMNS = tuple(Task.model_fields)
_INTEGERS = ("waiting_client", "reused")


class QueueFull(CallPipelineError):
    """So many tasks wait that no more are taken. ``waiting``: how many."""

    error_class = "queue_full"
    permanent = False

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} tasks wait already.", hint="Try again later.")
        self.waiting = waiting


class OtherRequest(CallPipelineError):
    """The idempotency key was used before, for something else."""

    error_class = "idempotency"


def new_id(kind: str) -> str:
    """Return an id that nobody can guess, such as ``task_...``."""
    return f"{kind}_{secrets.token_hex(16)}"


class Tasks:
    """The table of tasks. All methods block for a moment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- taking in ------------------------------------------------------------------------------------

    def add(self, wanted: Sequence[Task], *, room: int, worker: str | None = None) -> list[Task]:
        """Write tasks down, all or none; with ``worker`` it begins with them at once.

        A task whose idempotency key is known is not added: the known one is returned in its place.

        Raises:
            QueueFull: more than ``room`` tasks would wait.
            OtherRequest: an idempotency key was used for something else.
        """
        with self._database.changing(TURN) as session:
            known = [self._known(session, task) for task in wanted]
            new = sum(task is None for task in known)
            ((waiting,),) = session.execute(
                "SELECT count(*) FROM service_tasks WHERE state = ?", (TaskState.QUEUED,)
            )
            if new and waiting + new > room:
                raise QueueFull(int(waiting))
            now = session.now()
            return [
                before or self._insert(session, task, now, worker)
                for before, task in zip(known, wanted, strict=True)
            ]

    def _known(self, session: Session, task: Task) -> Task | None:
        if task.idempotency is None:
            return None
        found = _select(session, "WHERE who = ? AND idempotency = ?", task.who, task.idempotency)
        if found and found[0].request != task.request:
            raise OtherRequest(
                "This Idempotency-Key was used for another recording or other options.",
                hint="Use a new key for each request.",
            )
        return found[0] if found else None

    def _insert(self, session: Session, task: Task, now: float, worker: str | None) -> Task:
        added = task.model_copy(update={"created": now})
        if worker is not None:
            begun = {"state": TaskState.RUNNING, "started": now, "worker": worker, "attempts": 1}
            added = added.model_copy(update=begun)
        session.execute(
            f"INSERT INTO service_tasks ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})",
            [int(v) if isinstance(v := getattr(added, name), bool) else v for name in COLUMNS],
        )
        return added

    # --- working --------------------------------------------------------------------------------------

    def claim(self, worker: str) -> list[Task]:
        """Return the task that is next, with others of its batch that are wanted in the same way; begun now."""
        with self._database.changing(TURN) as session:
            order = "ORDER BY priority DESC, created, id LIMIT"
            first = _select(session, f"WHERE state = ? {order} 1", TaskState.QUEUED)
            if not first:
                return []
            found = first
            if first[0].batch is not None and not first[0].variant:
                found = _select(
                    session,
                    f"WHERE state = ? AND batch = ? AND variant = '' {order} {MOST_TOGETHER}",
                    TaskState.QUEUED,
                    first[0].batch,
                )
            now = session.now()
            for task in found:
                session.execute(
                    "UPDATE service_tasks SET state = ?, worker = ?, started = ?, attempts = attempts + 1 WHERE id = ?",
                    (TaskState.RUNNING, worker, now, task.id),
                )
            return [task.model_copy(update={"state": TaskState.RUNNING, "started": now}) for task in found]

    def note(self, of: str, stage: str, state: str) -> None:
        """Write down how a stage of a task ended."""
        with self._database.changing(TURN) as session:
            task = _one(session, of)
            if task is not None:
                stages = json.dumps({**task.stage_states, stage: state})
                session.execute("UPDATE service_tasks SET stages = ? WHERE id = ?", (stages, of))

    def begun_in(self, run: str, of: Sequence[str]) -> None:
        """Write down the run that works on tasks."""
        with self._database.changing(TURN) as session:
            for task in of:
                session.execute("UPDATE service_tasks SET run = ? WHERE id = ?", (run, task))

    def finish(self, of: str, *, reused: bool, duration: float) -> None:
        """Write down that the result of a task is there, unless somebody cancelled it."""
        self._end(of, TaskState.DONE, reused=int(reused), duration=duration)

    def fail(self, of: str, error_class: str, message: str) -> None:
        """Write down why a task has no result, unless somebody cancelled it."""
        self._end(of, TaskState.FAILED, error_class=error_class, message=message)

    def _end(self, of: str, state: TaskState, **values: Any) -> None:
        sets = "".join(f", {name} = ?" for name in values)
        with self._database.changing(TURN) as session:
            session.execute(
                f"UPDATE service_tasks SET state = ?, finished = ?{sets} WHERE id = ? AND state IN (?, ?)",
                (state, session.now(), *values.values(), of, *OPEN),
            )

    def cancel(self, of: str) -> Task | None:
        """Cancel a task that has not ended; return it as it was before."""
        with self._database.changing(TURN) as session:
            task = _one(session, of)
            if task is not None and not task.ended:
                session.execute(
                    "UPDATE service_tasks SET state = ?, finished = ? WHERE id = ?",
                    (TaskState.CANCELLED, session.now(), of),
                )
            return task

    def give_back(self, worker: str, *, died: bool) -> int:
        """Put what a service process was at back into the queue; give up that with which it ``died`` too often."""
        with self._database.changing(TURN) as session:
            begun = _select(session, "WHERE state = ? AND worker = ?", TaskState.RUNNING, worker)
            now = session.now()
            for task in begun:
                if died and task.attempts >= MOST_ATTEMPTS:
                    message = f"The service ended {task.attempts} times while it worked on this recording."
                    session.execute(
                        "UPDATE service_tasks SET state = ?, finished = ?, error_class = ?, message = ? WHERE id = ?",
                        (TaskState.FAILED, now, "engine_failed", message, task.id),
                    )
                else:
                    session.execute(
                        "UPDATE service_tasks SET state = ?, worker = NULL, started = NULL, stages = '{}',"
                        " attempts = attempts - ? WHERE id = ?",
                        (TaskState.QUEUED, 0 if died else 1, task.id),
                    )
            return len(begun)

    def workers(self) -> dict[str, set[str]]:
        """Return the service processes that tasks are with, and the runs of these."""
        with self._database.reading() as session:
            rows = session.execute(
                "SELECT DISTINCT worker, run FROM service_tasks WHERE state = ? AND worker IS NOT NULL",
                (TaskState.RUNNING,),
            )
        found: dict[str, set[str]] = {}
        for worker, run in rows:
            found.setdefault(worker, set()).update({run} if run else ())
        return found

    # --- asking ---------------------------------------------------------------------------------------

    def get(self, of: str) -> Task | None:
        """Return a task, ``None`` when there is none, or not any more."""
        with self._database.reading() as session:
            return _one(session, of)

    def of_batch(self, batch: str) -> list[Task]:
        """Return the tasks of a batch in the order of its files."""
        with self._database.reading() as session:
            return _select(session, "WHERE batch = ? ORDER BY created, id", batch)

    def running(self, recording: str, variant: str) -> list[Task]:
        """Return the tasks that are being worked on for one recording in the same way."""
        with self._database.reading() as session:
            return _select(
                session,
                "WHERE state = ? AND recording = ? AND variant = ?",
                TaskState.RUNNING,
                recording,
                variant,
            )

    def ahead(self, task: Task) -> int:
        """Return how many tasks come before a queued one."""
        with self._database.reading() as session:
            ((count,),) = session.execute(
                "SELECT count(*) FROM service_tasks WHERE state = ? AND"
                " (priority > ? OR (priority = ? AND (created < ? OR (created = ? AND id < ?))))",
                (TaskState.QUEUED, task.priority, task.priority, task.created, task.created, task.id),
            )
        return int(count)

    def counts(self) -> dict[TaskState, int]:
        """Count tasks by state."""
        with self._database.reading() as session:
            rows = session.execute("SELECT state, count(*) FROM service_tasks GROUP BY state")
        found = {TaskState(state): int(count) for state, count in rows}
        return {state: found.get(state, 0) for state in TaskState}

    def work_seconds(self, most: int = 50) -> list[float]:
        """Return how long the last tasks were worked on, of those that had something to do."""
        with self._database.reading() as session:
            rows = session.execute(
                "SELECT finished - started FROM service_tasks WHERE state = ? AND reused = 0"
                f" ORDER BY finished DESC LIMIT {most:d}",
                (TaskState.DONE,),
            )
        return [float(seconds) for (seconds,) in rows]

    def classes(self, of: Span, bounds: Sequence[float]) -> tuple[list[int], float]:
        """Count the tasks that are done by how long a part of their way took: up to each bound, and in all.

        Returns:
            Counts, each with those before it, the last one of all tasks; and the sum of the seconds.
        """
        seconds = _SPANS[of]
        upto = ", ".join(f"sum(CASE WHEN {seconds} <= {bound:g} THEN 1 ELSE 0 END)" for bound in bounds)
        with self._database.reading() as session:
            ((*counts, every, total),) = session.execute(
                f"SELECT {upto}, count(*), sum({seconds}) FROM service_tasks WHERE state = ?",
                (TaskState.DONE,),
            )
        return [int(count or 0) for count in (*counts, every)], float(total or 0.0)

    def reused(self) -> int:
        """Count the tasks that were answered from what was there."""
        with self._database.reading() as session:
            ((count,),) = session.execute("SELECT count(*) FROM service_tasks WHERE reused = 1")
        return int(count)

    # --- forgetting -----------------------------------------------------------------------------------

    def expired(self, seconds: float) -> list[Task]:
        """Return the tasks that ended more than so many seconds ago."""
        with self._database.reading() as session:
            return _select(session, "WHERE finished < ?", session.now() - seconds)

    def remove(self, of: str) -> None:
        """Forget a task."""
        with self._database.changing(TURN) as session:
            session.execute("DELETE FROM service_tasks WHERE id = ?", (of,))

    def wanted(self, recording: str, variant: str | None = None) -> bool:
        """Tell whether any task is of a recording, in one way or (``None``) in any."""
        where, values = ("", ()) if variant is None else (" AND variant = ?", (variant,))
        with self._database.reading() as session:
            return bool(
                session.execute(
                    f"SELECT 1 FROM service_tasks WHERE recording = ?{where} LIMIT 1", (recording, *values)
                )
            )


def _one(session: Session, of: str) -> Task | None:
    return next(iter(_select(session, "WHERE id = ?", of)), None)


def _select(session: Session, where: str, *values: str | float) -> list[Task]:
    rows = session.execute(f"SELECT {', '.join(COLUMNS)} FROM service_tasks {where}", values)
    return [
        Task.model_validate({k: bool(v) if k in _INTEGERS else v for k, v in zip(COLUMNS, row, strict=True)})
        for row in rows
    ]
