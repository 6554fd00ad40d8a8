"""What went wrong, as HTTP says it: one status for each class of failure, one shape for all answers.

The shape is that of OpenAI's API, so that its clients show our messages too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from callpipeline.failures import CallPipelineError
from callpipeline.service.core import Service, TaskNotDone
from callpipeline.service.documents import ErrorBody, Problem
from callpipeline.service.tasks import QueueFull, TaskState
from callpipeline.service.telling import error_of

log = logging.getLogger(__name__)

STATUS: Mapping[str, int] = {
    "too_long": 413,
    "not_audio": 415,
    "empty_file": 422,
    "corrupt_audio": 422,
    "bad_input": 422,
    "bad_transcript": 422,
    "usage": 422,
    "model_not_found": 422,
    "idempotency": 422,
    "cancelled": 410,
    "queue_full": 429,
}
UNAVAILABLE = 503
"""Everything that may be well later: engines, providers, budgets, the machine."""
OPENAI = "/v1/"
_NOT_DONE = {TaskState.QUEUED: 409, TaskState.RUNNING: 409}

ANSWERS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No API key, or one that opens nothing."},
    403: {"model": Problem, "description": "The key may not do this, or a page of another origin asked."},
    429: {"model": Problem, "description": "Too many requests, or the queue is full: see Retry-After."},
    503: {"model": Problem, "description": "The engine or the machine is not ready: see Retry-After."},
}
TAKES_AUDIO: dict[int | str, dict[str, Any]] = {
    **ANSWERS,
    413: {"model": Problem, "description": "Larger or longer than the service takes."},
    415: {"model": Problem, "description": "No recording that can be opened."},
    422: {"model": Problem, "description": "A field, or the recording, cannot be used."},
}
OF_TASK: dict[int | str, dict[str, Any]] = {
    **ANSWERS,
    404: {"model": Problem, "description": "No such task, or it has expired, or it is of another key."},
    422: {"model": Problem, "description": "The id cannot be one."},
}


OF_STREAM: dict[int | str, dict[str, Any]] = {
    status: {
        "description": answer["description"],
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, answer in OF_TASK.items()
}
"""The same where success is no JSON: the documentation would say that failures are none either."""


class ApiError(Exception):
    """An answer that is no success."""

    def __init__(
        self, status: int, kind: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.headers = dict(headers or {})


def not_found(what: str) -> ApiError:
    """Return the answer to who asks for what is not there."""
    return ApiError(404, "not_found", f"There is no {what}, or not any more.")


def problem(status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a failure as an answer."""
    body = Problem(error=ErrorBody(message=message, type=kind))
    return JSONResponse(body.model_dump(), status, headers)


def install(app: FastAPI) -> None:
    """Give all failures their answers."""

    @app.exception_handler(ApiError)
    async def _api_error(request: Request, error: ApiError) -> JSONResponse:
        return problem(error.status, error.kind, str(error), error.headers)

    @app.exception_handler(CallPipelineError)
    async def _failure(request: Request, error: CallPipelineError) -> JSONResponse:
        return await failure(request.app.state.service, error)

    @app.exception_handler(TaskNotDone)
    async def _not_done(request: Request, error: TaskNotDone) -> JSONResponse:
        state = error.task.state
        if state in _NOT_DONE:
            return problem(409, "not_done", f"The task is {state}; ask again.", {"Retry-After": "1"})
        said = error_of(error.task)
        kind, message = (said.type, said.message) if said else ("internal", "There is no result.")
        return problem(STATUS.get(kind, UNAVAILABLE), kind, message)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        status = 400 if request.url.path.startswith(OPENAI) else 422
        return problem(status, "invalid_request_error", told(error))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, "http", str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> JSONResponse:
        log.exception("%s %s", request.method, request.url.path, exc_info=error)
        return problem(500, "internal", "The service made a mistake; its log says which.")


async def failure(service: Service, error: CallPipelineError) -> JSONResponse:
    """Return a failure of a recording, an engine or the queue as an answer."""
    status = STATUS.get(error.error_class, UNAVAILABLE)
    headers = {}
    if status in (429, UNAVAILABLE):
        waiting = error.waiting if isinstance(error, QueueFull) else 1
        headers["Retry-After"] = str(await service.retry_after(waiting))
    return problem(status, error.error_class, str(error), headers)


def told(error: RequestValidationError) -> str:
    """Say what is wrong with a request, without its values: they may be what somebody said."""
    found = [
        f"{'.'.join(str(part) for part in one['loc'][1:]) or 'the request'}: {one['msg']}"
        for one in error.errors()
    ]
    return "; ".join(found[:5])
