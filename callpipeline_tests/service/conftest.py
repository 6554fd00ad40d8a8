"""A real service on a loopback port: uvicorn in a thread, with an engine that answers at once, or the embedded one."""

from __future__ import annotations

import itertools
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from bench.recordings import InstantTranscriber, tiny_calls
from callpipeline.service.app import create_app
from callpipeline.service.core import Service
from callpipeline.settings import Settings
from callpipeline.speech.engines.base import Transcriber
from callpipeline_tests.conftest import INSTANCE

PARALLEL = "/api/v1/parallel"


@dataclass
class Running:
    """A service that answers at ``url``."""

    url: str
    app: FastAPI
    client: httpx.Client

    @property
    def service(self) -> Service:
        found: Service = self.app.state.service
        return found

    def send(self, path: str, file: Path, **form: Any) -> httpx.Response:
        """Post one recording."""
        headers = form.pop("headers", {})
        with file.open("rb") as content:
            return self.client.post(
                f"{PARALLEL}/{path}", files={"file": (file.name, content)}, data=form, headers=headers
            )

    def status(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"{PARALLEL}/status/{task_id}").json()
        return found

    def ended(self, task_id: str) -> dict[str, Any]:
        """Wait until a task has ended and return its status."""
        return until(lambda: status if (status := self.status(task_id))["finished"] else None)


def until(look: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Return what ``look`` finds as soon as it is something."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
    return found


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def serving(settings: Settings, engine: Transcriber | None = None, *, port: int = 0) -> Iterator[Running]:
    """Serve for a block, on a free port unless one is named."""
    app = create_app(settings, engine=engine)
    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        until(lambda: server.started and app.state.service.engine is not None)
        with httpx.Client(base_url=url, timeout=60) as client:
            yield Running(url, app, client)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all tests that need nothing special of it; its engine answers at once."""
    home = tmp_path_factory.mktemp("service")
    # With Dagster's own way of catching what steps print, as users have it: runs side by side must not catch ours.
    (home / "dagster.yaml").write_text(re.sub(r"compute_logs:.*?(?=telemetry)", "", INSTANCE, flags=re.S))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSTER_HOME", str(home))
        patched.delenv("CALLPIPELINE_POSTGRES_URL", raising=False)
        settings = Settings(data_dir=home / "data")
        with serving(settings, InstantTranscriber()) as found:
            until(lambda: found.service.orchestration.state == "ready")
            patched.undo()
            yield found


_seeds = itertools.count()


@pytest.fixture
def recordings(tmp_path: Path) -> Callable[[int], list[Path]]:
    """Make so many different tiny calls; no test makes those of another."""

    def make(count: int) -> list[Path]:
        folder = tmp_path / f"sent-{next(_seeds)}"
        tiny_calls(folder, count, seed=next(_seeds))
        return sorted(folder.iterdir())

    return make
