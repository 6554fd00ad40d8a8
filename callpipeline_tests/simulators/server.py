"""One request through a simulator: key, fault, work, latency, answer.

Belongs here: what both providers have in common over HTTP. Does not: any endpoint of theirs, or the server
under it (see ``serving``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from callpipeline_tests.simulators.answers import Answers
from callpipeline_tests.simulators.counting import (
    CallRecord,
    JobRecord,
    JobStats,
    Ledger,
    Stats,
    Traffic,
    Visit,
    WindowStats,
)
from callpipeline_tests.simulators.faults import Fault, FaultPlan, parse_rates
from callpipeline_tests.simulators.latency import LatencySampler
from callpipeline_tests.simulators.options import SimulatorOptions
from callpipeline_tests.simulators.windows import Entry, Window

_CALLS_KEPT = 5000
_NO_ROUTE = "unknown"
_FOREVER = 3600.0
_HTML = b"<!doctype html><title>Please wait</title><h1>Checking your connection</h1>"


class Refusal(Exception):
    """A request that the provider turns down. ``details`` are more fields of its error body."""

    def __init__(
        self, status: int, message: str, *, headers: Mapping[str, str] | None = None, **details: str | None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})
        self.details = details


class ClientGoneError(Exception):
    """The client hung up while it was kept waiting."""


Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class ApiRoute:
    """One endpoint. ``name`` is what scripts of faults and figures call it."""

    name: str
    method: str
    path: str
    handler: Handler


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return JSON as the providers send it."""
    return Response(json.dumps(value, ensure_ascii=False), status, dict(headers or {}), "application/json")


async def hold(request: Request, seconds: float) -> None:
    """Keep a client waiting whose request has been read as far as anybody wants.

    Raises:
        ClientGoneError: it hung up meanwhile.
    """
    if seconds <= 0:
        return
    gone = asyncio.ensure_future(_hung_up(request))
    done, _ = await asyncio.wait({gone}, timeout=seconds)
    if done:
        raise ClientGoneError
    gone.cancel()


async def _hung_up(request: Request) -> None:
    """Return when the client is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Simulation(ABC):
    """One provider: its endpoints, and everything that is counted about them."""

    groups: ClassVar[tuple[str, ...]]
    """Names of the sliding windows."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        self.answers = Answers(options.hearing, options.timeline)
        if options.dialogues:
            self.answers.load_dialogues(options.dialogues)
        self.faults = FaultPlan(parse_rates(options.faults), seed=options.seed)
        self.begin()

    def begin(self) -> None:
        """Forget everything but the answers and the settings."""
        self.faults.reset()
        self.traffic = Traffic()
        self.ledger = Ledger()
        self.calls: deque[CallRecord] = deque(maxlen=_CALLS_KEPT)
        self.windows = {
            group: Window(self.options.window_seconds, self.options.limits.get(group))
            for group in self.groups
        }
        self.work = LatencySampler(self.options.latency)
        self.http = LatencySampler(self.options.http_latency)

    @abstractmethod
    def routes(self) -> list[ApiRoute]:
        """Return the endpoints."""

    @abstractmethod
    def authorized(self, headers: Mapping[str, str]) -> bool:
        """Whether the request carries the key."""

    @abstractmethod
    def error_body(self, refusal: Refusal) -> object:
        """Return the JSON of an error as this provider writes it."""

    @abstractmethod
    def close(self) -> None:
        """Remove what it left on the disk."""

    @abstractmethod
    def decorate(self, response: Response, route: str) -> None:
        """Add the headers that this provider sends with every answer."""

    def job_stats(self) -> JobStats:
        """Return the figures of jobs, for a provider that has jobs."""
        return JobStats()

    def job_records(self) -> list[JobRecord]:
        """Return the jobs, for a provider that has jobs."""
        return []

    def stats(self) -> Stats:
        """Return all figures."""
        everything, routes = self.traffic.stats()
        return Stats(
            all=everything,
            routes=routes,
            windows={group: _window_stats(window) for group, window in self.windows.items()},
            paid=self.ledger.stats(),
            jobs=self.job_stats(),
            cancelled=self.traffic.cancelled,
            faults=dict(self.faults.fired),
        )

    def admit(self, group: str, tokens: int = 0) -> Entry:
        """Let a request in.

        Raises:
            Refusal: 429, the window of this group is full.
        """
        entry = self.windows[group].admit(tokens)
        if isinstance(entry, Entry):
            return entry
        raise self.over_limit(group, entry)

    @abstractmethod
    def over_limit(self, group: str, wait: float) -> Refusal:
        """Return the 429 for a request that fits after ``wait`` seconds."""

    def remember(self, request: Request, body: object) -> None:
        """Note what the request says, for the list of calls."""
        request.state.body = body

    def asgi(self, control: list[Route]) -> Starlette:
        """Return the application: the endpoints, ``control`` routes, and 404 for the rest."""
        routes = [
            Route(route.path, _Endpoint(self, route.name, route.handler), methods=[route.method])
            for route in self.routes()
        ]
        missing = Route("/{path:path}", _Endpoint(self, _NO_ROUTE, self._no_route))
        return Starlette(routes=[*control, *routes, missing])

    async def _no_route(self, request: Request) -> Response:
        raise Refusal(404, f"The simulator has no {request.method} {request.url.path}")


def _window_stats(window: Window) -> WindowStats:
    now, worst = window.standing(), window.worst()
    return WindowStats(
        seconds=window.seconds,
        requests_now=now.requests,
        tokens_now=now.tokens,
        requests_max=worst.requests,
        tokens_max=worst.tokens,
        rejected=window.rejected,
    )


class _Endpoint:
    """The way of every request to one endpoint."""

    def __init__(self, simulation: Simulation, route: str, handler: Handler) -> None:
        self.simulation = simulation
        self.route = route
        self.handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        at = time.time()
        with self.simulation.traffic.visit(self.route) as visit:
            request = Request(scope, _counting(receive, visit))
            request.state.body = None
            with contextlib.suppress(ClientGoneError, ClientDisconnect):
                await self._serve(request, visit, send)
        self.simulation.calls.append(
            CallRecord(
                route=self.route, at=at, path=request.url.path, outcome=visit.outcome, body=request.state.body
            )
        )

    async def _serve(self, request: Request, visit: Visit, send: Send) -> None:
        simulation = self.simulation
        allowed = simulation.authorized(request.headers)
        fault = simulation.faults.next(self.route) if allowed else None
        request.state.fault = fault
        if fault and not fault.spoils_answer and (fault.kind == "reset" or fault.status):
            response = await self._refused_at_once(request, fault)
        else:
            response = await self._answer(request, allowed)
            await hold(request, simulation.http.draw())
        if fault and fault.status and fault.after:
            response = self._error(_refusal(fault))
        if response is None or (fault and fault.kind == "reset"):
            visit.outcome = "reset"
            await _reset(request)
            return
        visit.outcome = str(response.status_code)
        simulation.decorate(response, self.route)
        await _send(response, fault, request, visit, send)

    async def _refused_at_once(self, request: Request, fault: Fault) -> Response | None:
        """Return the answer of a fault that comes before any work; ``None`` = no answer."""
        if fault.kind == "reset":
            return None
        async for _ in request.stream():
            pass
        return self._error(_refusal(fault))

    async def _answer(self, request: Request, allowed: bool) -> Response:
        try:
            return await (self.handler if allowed else _unauthorized)(request)
        except Refusal as refusal:
            return self._error(refusal)

    def _error(self, refusal: Refusal) -> Response:
        return json_response(self.simulation.error_body(refusal), refusal.status, refusal.headers)


async def _unauthorized(_: Request) -> Response:
    raise Refusal(401, "Authentication error, API key missing or invalid", code="invalid_api_key")


def _refusal(fault: Fault) -> Refusal:
    """Return the error of a fault that is a status."""
    status = fault.status or 500
    headers = {} if fault.value is None else retry_after_headers(fault.value)
    if fault.kind == "quota":
        return Refusal(
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            code="insufficient_quota",
        )
    code = "rate_limit_exceeded" if status == 429 else None
    return Refusal(status, f"Injected fault {fault}", headers=headers, code=code)


def retry_after_headers(seconds: float) -> dict[str, str]:
    """Return Retry-After, with decimals when the wait is no whole second: a test need not wait for one."""
    return {
        "retry-after": f"{seconds:.3f}".rstrip("0").rstrip("."),
        "retry-after-ms": f"{seconds * 1000:.0f}",
    }


def _counting(receive: Receive, visit: Visit) -> Receive:
    async def counted() -> Message:
        message = await receive()
        visit.bytes_in += len(message.get("body", b""))
        return message

    return counted


def _transport(request: Request) -> asyncio.Transport:
    transport: asyncio.Transport = request.scope["state"]["transport"]
    return transport


async def _reset(request: Request) -> None:
    """Break the connection so that the client sees a reset, not a polite end; return when it is gone."""
    transport = _transport(request)
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await _hung_up(request)


async def _send(response: Response, fault: Fault | None, request: Request, visit: Visit, send: Send) -> None:
    """Send the answer, spoilt if the fault says so."""
    body = bytes(response.body)
    kind = fault.kind if fault else None
    if kind == "wrong_type":
        response = Response(_HTML, 200, media_type="text/html")
        body = bytes(response.body)
    elif kind == "truncated":
        body = body[: len(body) // 2]
        response.headers["content-length"] = str(len(body))
    elif kind == "stall":
        body = body[: len(body) // 2]
    visit.bytes_out += len(body)
    await send(
        {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
    )
    await send({"type": "http.response.body", "body": body, "more_body": kind == "stall"})
    if kind == "stall":
        await hold(request, fault.value if fault and fault.value is not None else _FOREVER)
        await _reset(request)


def as_mapping(value: Any) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        Refusal: 400, it is something else.
    """
    if not isinstance(value, dict):
        raise Refusal(400, "The body must be a JSON object")
    return value


async def json_body(request: Request) -> dict[str, Any]:
    """Return the JSON object that was sent.

    Raises:
        Refusal: 400, it cannot be read.
    """
    try:
        return as_mapping(json.loads(await request.body()))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, f"We could not parse the JSON body of your request: {error}") from error
