"""``/api/v1/jobs``: how far a job has come, asked for, or told as it goes by server-sent events or a WebSocket.

A job is a task, a batch, or a recording that any process of this store transcribes in chunks (a hearing on the
command line, say).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, WebSocket, WebSocketDisconnect
from fastapi.requests import HTTPConnection
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from callpipeline.service import telling
from callpipeline.service.auth import SHOWN, Caller, Needs, own_tasks, reads
from callpipeline.service.core import Service
from callpipeline.service.documents import JobProgress
from callpipeline.service.errors import OF_STREAM, OF_TASK, ApiError, not_found, problem
from callpipeline.service.keys import Scope
from callpipeline.service.parallel_api import Here
from callpipeline.service.tasks import OPEN

LOOK_SECONDS = 0.25
TICKET_SECONDS = 60.0
"""A ticket must be used within so long; what it opened stays open."""
_MOST_TICKETS = 1000

router = APIRouter(prefix="/api/v1/jobs", tags=["progress"])
JobId = Annotated[
    str,
    Path(
        pattern="^((task|batch)_[0-9a-f]{32}|[0-9a-f]{16,64})$",
        description="A task, a batch, or the key of a recording.",
        examples=["task_" + "0" * 32],
    ),
]


class Ticket(BaseModel):
    """What a page sends instead of its key where it cannot send headers: EventSource and WebSocket."""

    ticket: str
    seconds: float


class Tickets:
    """Tickets that were given out. They open one stream each."""

    def __init__(self) -> None:
        self._given: dict[str, tuple[Caller, float]] = {}

    def give(self, caller: Caller) -> str:
        """Return a new ticket of a caller."""
        now = time.monotonic()
        self._given = {t: (c, end) for t, (c, end) in self._given.items() if end > now}
        if len(self._given) >= _MOST_TICKETS:
            raise ApiError(429, "rate_limit", "Too many tickets wait to be used.", {"Retry-After": "60"})
        ticket = secrets.token_urlsafe(32)
        self._given[ticket] = (caller, now + TICKET_SECONDS)
        return ticket

    def take(self, ticket: str) -> Caller | None:
        """Return whose ticket it is, once."""
        caller, end = self._given.pop(ticket, (None, 0.0))
        return caller if end > time.monotonic() else None


async def _reader(
    connection: HTTPConnection,
    ticket: Annotated[
        str | None, Query(description="From POST /api/v1/jobs/tickets, instead of a key.", max_length=100)
    ] = None,
) -> Caller:
    if ticket is None:
        return await Needs(Scope.READ)(connection)
    tickets: Tickets = connection.app.state.tickets
    caller = tickets.take(ticket)
    if caller is None:
        raise ApiError(401, "authentication", "This ticket opens nothing, or not any more.")
    return caller


async def _seen(service: Service, caller: Caller, job_id: str) -> JobProgress:
    tasks = await own_tasks(service, caller, job_id)
    if tasks:
        return await telling.progress(service, job_id, tasks)
    going = None if "_" in job_id else service.chunks(job_id)
    if going is None:
        raise not_found(f"job {job_id}")
    return telling.of_recording(job_id, going)


@router.post("/tickets", dependencies=SHOWN, summary="A ticket for a page that cannot send headers")
async def ticket(request: Request, caller: Caller = reads) -> Ticket:
    """Give a ticket that opens one stream of events, or one WebSocket, within a minute: `?ticket=...`."""
    tickets: Tickets = request.app.state.tickets
    return Ticket(ticket=tickets.give(caller), seconds=TICKET_SECONDS)


@router.get("/{job_id}/progress", dependencies=SHOWN, responses=OF_TASK, summary="How far a job has come")
async def progress(service: Here, job_id: JobId, caller: Caller = reads) -> JobProgress:
    """Tell how far a job has come, from the stages and chunks that have ended."""
    return await _seen(service, caller, job_id)


async def _first(service: Here, job_id: JobId, caller: Annotated[Caller, Depends(_reader)]) -> JobProgress:
    """Look once before the stream begins: who may not, or asks for nothing, gets an answer and no stream."""
    return await _seen(service, caller, job_id)


@router.get(
    "/{job_id}/events",
    dependencies=SHOWN,
    responses=OF_STREAM,
    response_class=EventSourceResponse,
    summary="How far a job has come, told as it goes (server-sent events)",
)
async def events(
    service: Here, job_id: JobId, first: Annotated[JobProgress, Depends(_first)]
) -> AsyncIterator[ServerSentEvent]:
    """Tell each change as an event `progress`; the last one is an event `end`, after which nothing comes."""
    async for seen in _following(service, job_id, first):
        yield ServerSentEvent(data=seen, event="progress" if seen.status in OPEN else "end")


@router.websocket("/{job_id}/ws")
async def watch(websocket: WebSocket, job_id: str) -> None:
    """Tell each change as a JSON message, and close after the last one."""
    service: Service = websocket.app.state.service
    try:
        caller = await _reader(websocket, websocket.query_params.get("ticket"))
        first = await _seen(service, caller, job_id)
    except ApiError as error:
        refusal = problem(error.status, error.kind, str(error), error.headers)
        await websocket.send_denial_response(refusal)
        return
    await websocket.accept()
    telling_it = asyncio.create_task(_tell(websocket, service, job_id, first))
    gone = asyncio.create_task(_gone(websocket))
    _, left = await asyncio.wait({telling_it, gone}, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    if telling_it.done() and telling_it.exception() is None:
        await websocket.close()


async def _tell(websocket: WebSocket, service: Service, job_id: str, first: JobProgress) -> None:
    async for seen in _following(service, job_id, first):
        message: dict[str, Any] = seen.model_dump(mode="json")
        await websocket.send_json(message)


async def _gone(websocket: WebSocket) -> None:
    """Return when the client has gone; what it says is of no interest."""
    try:
        while True:
            await websocket.receive_text()
    except (WebSocketDisconnect, KeyError):
        return


async def _following(service: Service, job_id: str, first: JobProgress) -> AsyncIterator[JobProgress]:
    """Yield how far a job has come, whenever that changes, until it has ended."""
    everything = Caller("", frozenset({Scope.ADMIN}))  # who follows it was allowed to
    seen = first
    yield seen
    while seen.status in OPEN:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            now = await _seen(service, everything, job_id)
        except ApiError:  # a recording that nobody works on any more, or a task that expired
            return
        if now != seen:
            seen = now
            yield seen
