"""OpenAI's endpoints: key, limits per minute, what is charged, headers.

Belongs here: requests and answers. How an answer is computed is in ``language``, ``embeddings``,
``transcriptions`` and ``batches``.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from callpipeline_tests.simulators.answers import Answer, NotAudioError
from callpipeline_tests.simulators.openai_api import transcriptions
from callpipeline_tests.simulators.openai_api.batches import Batches, Compute, Files, StoredFile
from callpipeline_tests.simulators.openai_api.embeddings import embeddings
from callpipeline_tests.simulators.openai_api.language import chat_completion, response
from callpipeline_tests.simulators.openai_api.pricing import Computed
from callpipeline_tests.simulators.openai_api.responder import Responder, load_responder, plausible
from callpipeline_tests.simulators.options import OpenAIOptions
from callpipeline_tests.simulators.server import (
    ApiRoute,
    Refusal,
    Simulation,
    hold,
    json_body,
    json_response,
    retry_after_headers,
)

_GROUPS = {"transcriptions": "audio", "chat": "chat", "responses": "chat", "embeddings": "embeddings"}
_FORM_OVERHEAD = 1024 * 1024
_MODELS = (
    *transcriptions.MODELS,
    "gpt-5.4",
    "gpt-5.4-mini",
    "text-embedding-3-small",
    "text-embedding-3-large",
)
_TYPES = {401: "invalid_request_error", 404: "invalid_request_error", 429: "requests"}


class OpenAI(Simulation):
    """The simulated account."""

    groups: ClassVar[tuple[str, ...]] = ("audio", "chat", "embeddings")
    options: OpenAIOptions

    def __init__(self, options: OpenAIOptions, responder: Responder | None = None) -> None:
        self.responder = responder or (load_responder(options.responder) if options.responder else plausible)
        self.batches: Batches | None = None
        super().__init__(options)

    def begin(self) -> None:
        """Forget files, batches and idempotency keys too."""
        if self.batches:
            self.batches.stop()
        super().begin()
        self.files = Files()
        self._said: dict[tuple[str, str], Computed] = {}
        endpoints: dict[str, Compute] = {
            "/v1/chat/completions": lambda body: chat_completion(body, self.responder),
            "/v1/responses": lambda body: response(body, self.responder),
            "/v1/embeddings": embeddings,
        }
        self.batches = Batches(self.files, endpoints, self.ledger, self.options.batch_seconds)

    def close(self) -> None:
        """Nothing is left behind."""

    def routes(self) -> list[ApiRoute]:
        """Return the endpoints."""
        return [
            ApiRoute("transcriptions", "POST", "/v1/audio/transcriptions", self._transcriptions),
            ApiRoute("chat", "POST", "/v1/chat/completions", self._chat),
            ApiRoute("responses", "POST", "/v1/responses", self._responses),
            ApiRoute("embeddings", "POST", "/v1/embeddings", self._embeddings),
            ApiRoute("files", "POST", "/v1/files", self._add_file),
            ApiRoute("files", "GET", "/v1/files", self._list_files),
            ApiRoute("file", "GET", "/v1/files/{id}", self._file),
            ApiRoute("file", "DELETE", "/v1/files/{id}", self._delete_file),
            ApiRoute("file_content", "GET", "/v1/files/{id}/content", self._file_content),
            ApiRoute("batches", "POST", "/v1/batches", self._create_batch),
            ApiRoute("batches", "GET", "/v1/batches", self._list_batches),
            ApiRoute("batch", "GET", "/v1/batches/{id}", self._batch),
            ApiRoute("batch_cancel", "POST", "/v1/batches/{id}/cancel", self._cancel_batch),
            ApiRoute("models", "GET", "/v1/models", self._list_models),
            ApiRoute("model", "GET", "/v1/models/{id}", self._model),
        ]

    def authorized(self, headers: Mapping[str, str]) -> bool:
        """A bearer token."""
        return headers.get("authorization") == f"Bearer {self.options.api_key}"

    def error_body(self, refusal: Refusal) -> object:
        """``{"error": {"message", "type", "param", "code"}}``."""
        code = refusal.details.get("code")
        default = "server_error" if refusal.status >= 500 else "invalid_request_error"
        kind = code if code == "insufficient_quota" else _TYPES.get(refusal.status, default)
        param = refusal.details.get("param")
        return {"error": {"message": refusal.message, "type": kind, "param": param, "code": code}}

    def decorate(self, response: Response, route: str) -> None:
        """Request id, and how much is left of the limits."""
        response.headers["x-request-id"] = f"req_{uuid.uuid4().hex}"
        group = _GROUPS.get(route)
        if group is None or group not in self.options.limits:
            return
        window = self.windows[group]
        standing = window.standing()
        for name, limit, used in (
            ("requests", window.limit.requests, standing.requests),
            ("tokens", window.limit.tokens, standing.tokens),
        ):
            if limit is not None:
                response.headers[f"x-ratelimit-limit-{name}"] = str(limit)
                response.headers[f"x-ratelimit-remaining-{name}"] = str(max(0, limit - used))
                response.headers[f"x-ratelimit-reset-{name}"] = _go_duration(standing.resets_in)

    def over_limit(self, group: str, wait: float) -> Refusal:
        """Rate limit reached."""
        limit = self.windows[group].limit
        return Refusal(
            429,
            f"Rate limit reached for {group}: limit {limit.requests} requests and {limit.tokens} tokens "
            f"in {self.options.window_seconds:g} s. Please try again in {wait:.3f}s.",
            headers=retry_after_headers(wait) if self.options.retry_after else {},
            code="rate_limit_exceeded",
        )

    async def _sold(self, request: Request, route: str, done: Computed, *, spent: float = 0.0) -> Response:
        """Sell an answer: within the limits, charged, and after the time it takes, ``spent`` seconds of it now."""
        idempotency_key = request.headers.get("idempotency-key", "")
        honoured = self.options.idempotency == "honoured" and bool(idempotency_key)
        if honoured and (said := self._said.get((idempotency_key, done.key))):
            return _written(said)
        entry = self.admit(_GROUPS[route], max(done.reserve, done.tokens))
        self.ledger.charge(done.key, audio_seconds=done.audio_seconds, tokens=done.tokens)
        if honoured:
            self._said[(idempotency_key, done.key)] = done
        seconds = self.work.draw(audio_seconds=done.audio_seconds, tokens=done.output_tokens)
        started = time.monotonic()
        try:
            await hold(request, seconds - spent)
        finally:
            entry.tokens = done.tokens
        answer = _written(done)
        answer.headers["openai-processing-ms"] = f"{(time.monotonic() - started) * 1000:.0f}"
        return answer

    async def _chat(self, request: Request) -> Response:
        body = await self._body(request)
        return await self._sold(request, "chat", chat_completion(body, self.responder))

    async def _responses(self, request: Request) -> Response:
        body = await self._body(request)
        return await self._sold(request, "responses", response(body, self.responder))

    async def _embeddings(self, request: Request) -> Response:
        return await self._sold(request, "embeddings", embeddings(await self._body(request)))

    async def _transcriptions(self, request: Request) -> Response:
        async with self._form(request) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise Refusal(400, "Missing required parameter: 'file'.", param="file")
            if (file.size or 0) > self.options.max_audio_bytes:
                raise _too_large(self.options.max_audio_bytes, file.size or 0)
            data = await file.read()
            order = transcriptions.Order(
                fields={name: value for name, value in form.multi_items() if isinstance(value, str)},
                granularities=_texts(form, "timestamp_granularities[]"),
                names=_texts(form, "known_speaker_names[]"),
                sha256=hashlib.sha256(data).hexdigest(),
            )
            about = {"filename": file.filename, "bytes": len(data), "sha256": order.sha256}
            self.remember(request, {**order.fields, "file": about})
            model = transcriptions.check(order, file.filename or "")
        read = time.monotonic()
        done = transcriptions.transcription(order, model, await self._heard(order.sha256, data))
        return await self._sold(request, "transcriptions", done, spent=time.monotonic() - read)

    async def _heard(self, sha256: str, data: bytes) -> Answer:
        if known := self.answers.find(sha256):
            return known
        with tempfile.NamedTemporaryFile(prefix="simulated-openai-") as file:
            file.write(data)
            file.flush()
            try:
                return await asyncio.to_thread(self.answers.answer, sha256, Path(file.name))
            except NotAudioError as error:
                raise Refusal(
                    400,
                    "The audio file could not be decoded or its format is not supported.",
                    param="file",
                    code="invalid_value",
                ) from error

    def _form(self, request: Request) -> Any:
        """Return the form; a body that is larger than the limit is turned down while it is read."""
        most = self.options.max_audio_bytes + _FORM_OVERHEAD
        announced = int(request.headers.get("content-length", 0))
        if announced > most:
            raise _too_large(self.options.max_audio_bytes, announced)
        receive, read = request.receive, 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise _too_large(self.options.max_audio_bytes, read)
            return message

        return Request(request.scope, limited).form()

    async def _body(self, request: Request) -> dict[str, Any]:
        body = await json_body(request)
        self.remember(request, body)
        return body

    async def _add_file(self, request: Request) -> Response:
        async with request.form() as form:
            file, purpose = form.get("file"), form.get("purpose")
            if not isinstance(file, UploadFile) or not isinstance(purpose, str):
                raise Refusal(400, "'file' and 'purpose' are required", param="file")
            stored = StoredFile(await file.read(), file.filename or "file", purpose)
        return json_response(self.files.add(stored).view())

    async def _list_files(self, request: Request) -> Response:
        return _page([file.view() for file in self.files.by_id.values()])

    async def _file(self, request: Request) -> Response:
        return json_response(self.files.get(request.path_params["id"]).view())

    async def _delete_file(self, request: Request) -> Response:
        file = self.files.get(request.path_params["id"])
        del self.files.by_id[file.id]
        return json_response({"id": file.id, "object": "file", "deleted": True})

    async def _file_content(self, request: Request) -> Response:
        return Response(self.files.get(request.path_params["id"]).data, media_type="application/octet-stream")

    async def _create_batch(self, request: Request) -> Response:
        return json_response(self._batches.create(await self._body(request)))

    async def _list_batches(self, request: Request) -> Response:
        return _page(list(self._batches.by_id.values()))

    async def _batch(self, request: Request) -> Response:
        return json_response(self._batches.get(request.path_params["id"]))

    async def _cancel_batch(self, request: Request) -> Response:
        return json_response(self._batches.cancel(request.path_params["id"]))

    async def _list_models(self, request: Request) -> Response:
        return _page([_model_view(name) for name in _MODELS])

    async def _model(self, request: Request) -> Response:
        name = request.path_params["id"]
        if name not in _MODELS:
            raise Refusal(404, f"The model '{name}' does not exist", param="model", code="model_not_found")
        return json_response(_model_view(name))

    @property
    def _batches(self) -> Batches:
        assert self.batches is not None
        return self.batches


def _texts(form: FormData, name: str) -> tuple[str, ...]:
    return tuple(value for value in form.getlist(name) if isinstance(value, str))


def _too_large(limit: int, size: int) -> Refusal:
    return Refusal(413, f"{size}: Maximum content size limit ({limit}) exceeded ({size} bytes read)")


def _model_view(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "simulator"}


def _page(items: list[Any]) -> Response:
    return json_response({"object": "list", "data": items, "has_more": False})


def _written(done: Computed) -> Response:
    if done.media_type == "application/json":
        return json_response(done.payload)
    return Response(done.payload, media_type=done.media_type)


def _go_duration(seconds: float) -> str:
    """Return a duration as the API writes it: ``120ms``, ``7.66s``, ``1m12s``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 59.995:
        return f"{seconds:.2f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s"
