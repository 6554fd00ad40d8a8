"""Who asks: API keys in requests, what they may do, and how often.

Without any key in the table everybody may do everything; then the service only listens to this machine (``guard``,
``cli.serve``). What does not belong here: the table of keys (``keys``).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from fastapi import Depends, Security
from fastapi.requests import HTTPConnection
from fastapi.security import APIKeyHeader, HTTPBearer

from callpipeline.service.core import Service
from callpipeline.service.errors import ApiError, not_found
from callpipeline.service.keys import Scope
from callpipeline.service.tasks import Task

NOBODY = ""
_BUCKETS = 10_000
"""Callers whose rate is remembered; more than there are keys."""

_bearer = HTTPBearer(auto_error=False, description="An API key of the service, as OpenAI's clients send it.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key of the service.")
SHOWN = [Security(_bearer), Security(_header)]
"""For the documentation; ``Needs`` looks at the request itself, since WebSockets have headers only."""


@dataclass(frozen=True)
class Caller:
    """Who asks. ``name``: of the key, empty without keys."""

    name: str
    scopes: frozenset[Scope]

    def sees(self, task: Task) -> bool:
        """Whether a task may be shown: it is the caller's own, or everybody's."""
        return Scope.ADMIN in self.scopes or task.who == self.name


EVERYBODY = Caller(NOBODY, frozenset(Scope))


class Needs:
    """A dependency: the caller, who has the scope."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def __call__(self, connection: HTTPConnection) -> Caller:
        """Return the caller.

        Raises:
            ApiError: 401 without a key that opens something, 403 without the scope, 429 when asked too often.
        """
        service: Service = connection.app.state.service
        caller = await _caller(service, connection)
        connection.state.caller = caller.name
        if self._scope not in caller.scopes and Scope.ADMIN not in caller.scopes:
            raise ApiError(403, "forbidden", f"This key has no scope {self._scope!r}.")
        rates: Rates = connection.app.state.rates
        wait = rates.wait(caller.name) if caller is not EVERYBODY else 0.0
        if wait:
            again = {"Retry-After": str(math.ceil(wait))}
            raise ApiError(429, "rate_limit", "This key asks more often than it may.", again)
        return caller


transcribes = Depends(Needs(Scope.TRANSCRIBE))
reads = Depends(Needs(Scope.READ))


async def _caller(service: Service, connection: HTTPConnection) -> Caller:
    if not await service.books.do(service.keys.needed):
        return EVERYBODY
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    given = token.strip() if scheme.lower() == "bearer" else connection.headers.get("x-api-key", "")
    key = await service.books.do(service.keys.check, given)
    if key is None:
        said = "This API key opens nothing." if given else "An API key is needed."
        raise ApiError(401, "authentication", said, {"WWW-Authenticate": "Bearer"})
    return Caller(key.name, frozenset(key.scopes))


class Rates:
    """How often each key asked: a bucket of ``per_minute`` requests that fills evenly."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, name: str) -> float:
        """Count a request; return 0, or the seconds after which it may be made again."""
        if not self._per_minute:
            return 0.0
        now, each = time.monotonic(), 60.0 / self._per_minute
        if len(self._buckets) > _BUCKETS:
            self._buckets.clear()
        left, at = self._buckets.get(name, (float(self._per_minute), now))
        left = min(float(self._per_minute), left + (now - at) / each)
        if left < 1.0:
            self._buckets[name] = (left, now)
            return (1.0 - left) * each
        self._buckets[name] = (left - 1.0, now)
        return 0.0


async def own_task(service: Service, caller: Caller, task_id: str) -> Task:
    """Return a task that the caller may see.

    Raises:
        ApiError: 404: there is none; one of somebody else looks the same.
    """
    task = await service.books.do(service.tasks.get, task_id)
    if task is None or not caller.sees(task):
        raise not_found(f"task {task_id}")
    return task


async def own_tasks(service: Service, caller: Caller, job_id: str) -> list[Task]:
    """Return the task, or the tasks of the batch, of this id that the caller may see; none if there is neither."""
    task = await service.books.do(service.tasks.get, job_id)
    found = [task] if task else await service.books.do(service.tasks.of_batch, job_id)
    return [one for one in found if caller.sees(one)]
