"""The application: routers, failures, the guard around them, and the service behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from callpipeline.service import (
    documentation,
    errors,
    health_api,
    jobs_api,
    metrics,
    openai_api,
    parallel_api,
    stream_api,
    webhooks,
)
from callpipeline.service.auth import Rates
from callpipeline.service.core import Service
from callpipeline.service.figures import Figures
from callpipeline.service.guard import Guard
from callpipeline.settings import Settings
from callpipeline.speech.engines.base import Transcriber

ABOUT = """
Recordings in, who said what out.

* **At once**: `POST /api/v1/parallel/transcribe` with a file, and the answer is the transcript with speakers.
* **Later**: `POST /api/v1/parallel/transcribe/async` gives a task. It survives restarts; ask for its status, its
  progress (or let it be told, by events or a WebSocket) and its result.
* **While somebody speaks**: a WebSocket at `/api/v1/stream`. Send `{"rate": 16000, "language": "en"}`, then 16-bit PCM
  (little-endian, one channel) in binary messages of up to 1 MiB, and `{"type": "end"}` after the last; get messages of type
  `ready`, `partial` and `final` (`text`, `start`, `end` in seconds), `end` or `error`.
* **With an OpenAI client**: set its base URL to this address and `/v1`.

Where API keys are set (`callpipeline keys add NAME`), send one as `Authorization: Bearer ...` or `X-API-Key`.
The same bytes with the same options are worked on once.
"""


def create_app(settings: Settings, *, engine: Transcriber | None = None) -> FastAPI:
    """Return the application of these settings. ``engine`` replaces the configured transcriber, for tests."""

    service = Service(settings, engine=engine)
    figures = Figures()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title="callpipeline",
        version=version("callpipeline"),
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own page takes its script from a server elsewhere
        redoc_url=None,
    )
    app.state.service = service
    app.state.figures = figures
    app.state.rates = Rates(settings.service_requests_per_minute)
    app.state.tickets = jobs_api.Tickets()
    errors.install(app)
    app.include_router(parallel_api.router)
    app.include_router(openai_api.router)
    app.include_router(jobs_api.router)
    app.include_router(stream_api.router)
    app.include_router(health_api.router)
    app.include_router(metrics.router)
    app.include_router(webhooks.router)
    app.include_router(documentation.router)
    origins = [origin.strip() for origin in settings.service_cors_origins.split(",") if origin.strip()]
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "x-api-key", "idempotency-key"],
        )
    app.add_middleware(Guard, service=service, figures=figures)
    return app
