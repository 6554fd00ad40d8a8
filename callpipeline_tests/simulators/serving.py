"""The HTTP server under a simulator: uvicorn on a thread of its own.

Belongs here: sockets and threads. uvicorn and Starlette come with dagster-webserver.
"""

from __future__ import annotations

import asyncio
import socket
import threading

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class _Protocol(HttpToolsProtocol):
    """uvicorn's HTTP with the connection within reach of an endpoint, which a reset needs."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()


class ServerThread:
    """A server on its own thread and event loop; ``start`` returns when it answers."""

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host, port))
        self._port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            backlog=4096,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def start(self) -> int:
        """Start it and return its port.

        Raises:
            RuntimeError: it did not come up.
        """
        self._thread.start()
        if not self._server.ready.wait(30):
            raise RuntimeError(f"the simulator did not start on port {self._port}")
        return self._port

    def stop(self) -> None:
        """Stop it at once; connections that are open are cut."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)
        self._socket.close()
