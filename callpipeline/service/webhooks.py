"""``/webhooks/assemblyai``: AssemblyAI says that a job has ended, and whoever waits for it is told.

The message is only a reason to look: what came of the job is fetched from AssemblyAI, by the process that ordered it.
"""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import APIRouter, Header
from pydantic import BaseModel, Field

from callpipeline.limits.ledger import open_ledger
from callpipeline.service.core import Service
from callpipeline.service.documents import Problem
from callpipeline.service.errors import ApiError, not_found
from callpipeline.service.parallel_api import Here
from callpipeline.speech.engines.assemblyai_request import PROVIDER, WEBHOOK_HEADER
from callpipeline.store import bells

router = APIRouter(tags=["the service itself"])


class Message(BaseModel):
    """What AssemblyAI posts."""

    transcript_id: str = Field(max_length=128)
    status: str = Field(max_length=64)


@router.post(
    "/webhooks/assemblyai",
    status_code=204,
    responses={
        401: {"model": Problem, "description": "Without the secret, or none is set."},
        403: {"model": Problem, "description": "A page of another origin asked."},
        404: {"model": Problem, "description": "No such job was ordered; AssemblyAI says it again later."},
    },
    summary="AssemblyAI says that a job has ended",
)
async def assemblyai(
    service: Here,
    message: Message,
    secret: Annotated[str, Header(alias=WEBHOOK_HEADER, max_length=500)] = "",
) -> None:
    """Wake whoever waits for the job. Needs the secret of `CALLPIPELINE_WEBHOOK_SECRET` in its header."""
    known = service.settings.webhook_secret
    given = secret.encode()
    if known is None or not hmac.compare_digest(known.get_secret_value().encode(), given):
        raise ApiError(401, "authentication", "This webhook has no secret that is known here.")
    if not await service.books.do(_told, service, message.transcript_id):
        raise not_found("job of that id")


def _told(service: Service, job_id: str) -> bool:
    settings = service.settings
    if not bells.is_job(job_id):
        return False
    ledger = open_ledger(settings.store, settings.postgres_url)
    try:
        if ledger.by_job(PROVIDER, job_id) is None:
            return False
    finally:
        ledger.close()
    bells.ring(settings.store, job_id)
    return True
