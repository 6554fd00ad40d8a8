"""What every request passes first: its size, where it comes from, and the audit log and figures after it.

A page of another origin may make a browser send requests to a service on the user's own machine, and a name that is
made to point at it gets around the browser's rules. So origins are checked here and not only told to browsers, and
without API keys only names of this machine are answered.
"""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from callpipeline.service.core import Service
from callpipeline.service.errors import problem
from callpipeline.service.figures import Figures

FORM_BYTES = 1 << 20
"""What the fields and seams of a form may have beside its files."""
WEBHOOKS = "/webhooks/"
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
_UNSEEN = frozenset({"/health", "/metrics"})


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, service: Service, figures: Figures) -> None:
        self._app = app
        self._service = service
        self._figures = figures
        self._most = service.settings.service_max_bytes + FORM_BYTES
        told = service.settings.service_cors_origins.split(",")
        self._origins = frozenset(origin.strip().rstrip("/") for origin in told if origin.strip())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = await self._against(headers, scope)
        if refusal is not None:
            await self._refuse(refusal, scope, receive, send)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            await self._measured(scope, self._counted(headers, receive), send)

    async def _against(self, headers: Headers, scope: Scope) -> tuple[int, str, str] | None:
        origin, host = headers.get("origin"), headers.get("host", "")
        if origin is not None and origin not in self._origins and urlsplit(origin).netloc != host:
            return 403, "forbidden", "Pages of this origin may not call the service."
        # A webhook comes from far away under our public name, and brings a secret of its own.
        told = scope["path"].startswith(WEBHOOKS)
        if not told and not _is_here(host) and not await self._service.books.do(self._service.keys.needed):
            return 403, "forbidden", "Without API keys the service answers on this machine only."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._most:
            return 413, "too_long", f"More than {self._most - FORM_BYTES} bytes are not taken."
        return None

    async def _refuse(
        self, refusal: tuple[int, str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        response = problem(*refusal)
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(response)
        else:
            await response(scope, receive, send)

    def _counted(self, headers: Headers, receive: Receive) -> Receive:
        """Count what arrives: a request without a length may be endless."""
        arrived = 0

        async def counting() -> Message:
            nonlocal arrived
            message = await receive()
            arrived += len(message.get("body", b""))
            if arrived > self._most:
                said = f"More than {self._most - FORM_BYTES} bytes are not taken."
                raise HTTPException(413, said, {"Connection": "close"})  # else the rest would be read
            return message

        return receive if "content-length" in headers else counting

    async def _measured(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, began = 500, time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        scope.setdefault("state", {})
        try:
            await self._app(scope, receive, noting)
        finally:
            path = getattr(scope.get("route"), "path", "unknown")
            self._figures.answered(scope["method"], path, status, time.perf_counter() - began)
            if scope["method"] != "GET" or status in (401, 403) or "/result/" in path:
                self._audit(scope, path, status)

    def _audit(self, scope: Scope, path: str, status: int) -> None:
        if path in _UNSEEN:
            return
        state = scope["state"]
        address = scope["client"][0] if scope.get("client") else ""
        about = str(state.get("about", ""))
        who, note = str(state.get("caller", "")), self._service.audit.note
        self._service.books.later(note, who, address, scope["method"], path, status, about)


def _is_here(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname
    return name in _HERE
