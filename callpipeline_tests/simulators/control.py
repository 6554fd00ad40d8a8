"""The simulator's own endpoints below ``/_sim``: figures, faults, answers, reset. No key, not counted.

- ``GET /_sim/stats``, ``GET /_sim/calls[?route=]``, ``GET /_sim/jobs``
- ``GET /_sim/faults``; ``POST /_sim/faults`` ``{"script": {"submit": ["429:1", "ok"]}, "rates": ["500=0.1"],
  "seed": 1}`` (a script is appended, rates are replaced); ``DELETE /_sim/faults``
- ``POST /_sim/answers`` ``{"sha256": ..., "turns": [...], "duration": s, "channels": n, "language": "en"}``
- ``POST /_sim/latency`` ``{"latency": "fixed:3"}``: how long work takes that begins from now on
- ``POST /_sim/reset``
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from callpipeline_tests.simulators.counting import JobRecord
from callpipeline_tests.simulators.latency import Latency, LatencySampler
from callpipeline_tests.simulators.server import Simulation, json_response
from callpipeline_tests.simulators.words import SpokenTurn


class FaultOrder(BaseModel):
    """Faults to come."""

    model_config = ConfigDict(extra="forbid")

    script: dict[str, list[str]] = {}
    rates: list[str] | None = None
    seed: int | None = None


class AnswerOrder(BaseModel):
    """What is said in the audio with this hash."""

    model_config = ConfigDict(extra="forbid")

    sha256: str
    turns: list[SpokenTurn]
    duration: float | None = None
    channels: int | None = None
    language: str = "en"


class LatencyOrder(BaseModel):
    """How long the real work takes."""

    model_config = ConfigDict(extra="forbid")

    latency: Latency


class Control:
    """The control endpoints of one simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation

    def routes(self) -> list[Route]:
        """Return the routes."""
        endpoints: Sequence[tuple[str, str, Any]] = (
            ("GET", "stats", self.stats),
            ("GET", "calls", self.calls),
            ("GET", "jobs", self.jobs),
            ("GET", "faults", self.faults),
            ("POST", "faults", self.order_faults),
            ("DELETE", "faults", self.clear_faults),
            ("POST", "answers", self.register),
            ("POST", "latency", self.order_latency),
            ("POST", "reset", self.reset),
        )
        return [Route(f"/_sim/{name}", endpoint, methods=[method]) for method, name, endpoint in endpoints]

    async def stats(self, request: Request) -> Response:
        """All figures."""
        return json_response(self.simulation.stats().model_dump(mode="json"))

    async def calls(self, request: Request) -> Response:
        """The last requests, oldest first."""
        route = request.query_params.get("route")
        calls = [call for call in self.simulation.calls if route in (None, call.route)]
        return json_response([call.model_dump(mode="json") for call in calls])

    async def jobs(self, request: Request) -> Response:
        """All jobs in the order in which they were submitted."""
        jobs: list[JobRecord] = self.simulation.job_records()
        return json_response([job.model_dump(mode="json") for job in jobs])

    async def faults(self, request: Request) -> Response:
        """What is still to come."""
        plan = self.simulation.faults
        return json_response({"script": plan.waiting(), "rates": plan.rates(), "fired": dict(plan.fired)})

    async def order_faults(self, request: Request) -> Response:
        """Add scripted faults, replace the rates."""
        try:
            order = FaultOrder.model_validate_json(await request.body())
            for route, faults in order.script.items():
                self.simulation.faults.script(route, faults)
            if order.rates is not None:
                self.simulation.faults.rate(order.rates, seed=order.seed)
        except ValueError as error:
            return _bad(error)
        return await self.faults(request)

    async def clear_faults(self, request: Request) -> Response:
        """No more faults."""
        self.simulation.faults.clear()
        return await self.faults(request)

    async def register(self, request: Request) -> Response:
        """Register an answer."""
        try:
            order = AnswerOrder.model_validate_json(await request.body())
        except ValidationError as error:
            return _bad(error)
        self.simulation.answers.register(
            order.sha256,
            order.turns,
            duration=order.duration,
            channels=order.channels,
            language=order.language,
        )
        return json_response({"registered": order.sha256})

    async def order_latency(self, request: Request) -> Response:
        """Take another latency from now on."""
        try:
            order = LatencyOrder.model_validate_json(await request.body())
        except ValidationError as error:
            return _bad(error)
        self.simulation.work = LatencySampler(order.latency)
        return json_response({"latency": order.latency.model_dump(mode="json")})

    async def reset(self, request: Request) -> Response:
        """Start anew."""
        self.simulation.begin()
        return json_response({"reset": True})


def _bad(error: ValueError) -> Response:
    return json_response({"error": str(error)}, 400)
