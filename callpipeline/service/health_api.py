"""``/health``: whether the service is up. It never waits: not for models, not for Dagster."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter

from callpipeline.service.documents import Health
from callpipeline.service.parallel_api import Here

router = APIRouter(tags=["the service itself"])


@router.get("/health", summary="Whether the service is up")
async def health(service: Here) -> Health:
    """Answer at once, without a key. `ready` is false while no engine works here: then requests get 503."""
    return Health(
        status="ok",
        ready=bool(service.engine),
        orchestration=service.orchestration.state,
        engine=service.engine or "",
        detail=service.engine_problem or service.orchestration.problem,
        version=version("callpipeline"),
    )
