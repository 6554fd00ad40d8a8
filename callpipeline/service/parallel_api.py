"""``/api/v1/parallel``: recordings in, who said what out; at once, later, or many together."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Header, Path, Request, Response, UploadFile

from callpipeline.service import models, telling
from callpipeline.service.auth import SHOWN, Caller, own_task, reads, transcribes
from callpipeline.service.core import DEFAULT_PRIORITY, Service, Wish
from callpipeline.service.documents import Batch, Feature, Features, Result, Stats, Status
from callpipeline.service.errors import OF_TASK, TAKES_AUDIO, ApiError
from callpipeline.service.options import Options
from callpipeline.service.tasks import new_id
from callpipeline.service.uploads import TakenIn

MOST_FILES = 100
FORMATS = ("json", "text", "srt", "vtt", "verbose_json")

router = APIRouter(prefix="/api/v1/parallel", tags=["transcripts with speakers"], dependencies=SHOWN)


def service_of(request: Request) -> Service:
    """Return the service behind a request."""
    found: Service = request.app.state.service
    return found


Here = Annotated[Service, Depends(service_of)]
Recording = Annotated[
    UploadFile,
    File(description="A recording: mp3, wav, m4a, flac, ogg, opus, webm, mp4 ... of any length allowed."),
]
Language = Annotated[
    str | None,
    Form(description="Language of the recording, as in `en`. Default: the service's.", max_length=20),
]
Model = Annotated[
    str | None,
    Form(
        description="Whisper model, as in `medium.en`; its weights must be on the service's machine. "
        "Default: the service's engine.",
        max_length=64,
    ),
]
Numerals = Annotated[
    bool | None, Form(description="Write numbers as words (Whisper). Default: as the service is set.")
]
Separation = Annotated[
    bool | None,
    Form(
        description="Reduce noise before transcription; `used.notes` say how. Default: as the service is set."
    ),
]
Alignment = Annotated[
    bool | None,
    Form(description="Find the times of words anew by forced alignment. Default: as the service is set."),
]
Priority = Annotated[
    int, Form(description="0 (whenever there is time) to 9 (first) among what waits.", ge=0, le=9)
]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="A name of your own for this request: sent again, it is not done again.",
        min_length=1,
        max_length=200,
    ),
]
TaskId = Annotated[str, Path(pattern="^task_[0-9a-f]{32}$", examples=["task_" + "0" * 32])]


async def _wish(
    request: Request,
    service: Here,
    language: Language = None,
    whisper_model: Model = None,
    suppress_numerals: Numerals = None,
    source_separation: Separation = None,
    enhanced_alignment: Alignment = None,
    priority: Priority = DEFAULT_PRIORITY,
    idempotency_key: Key = None,
) -> Wish:
    """Read what is asked for; a field that nobody knows is an error, not noise."""
    known = {"file", "files", "priority", *Options.model_fields}
    if unknown := sorted({*(await request.form())} - known):
        raise ApiError(422, "invalid_request_error", f"there is no field {unknown[0][:60]!r}")
    asked = Options(
        language=language or None,
        whisper_model=whisper_model or None,
        suppress_numerals=suppress_numerals,
        source_separation=source_separation,
        enhanced_alignment=enhanced_alignment,
    )
    options = await asyncio.to_thread(asked.checked, service.settings)
    return Wish(who="", options=options, priority=priority, idempotency=idempotency_key)


Asked = Annotated[Wish, Depends(_wish)]


@router.post("/transcribe", responses=TAKES_AUDIO, summary="Transcribe a recording and wait for it")
async def transcribe(
    request: Request, service: Here, file: Recording, wish: Asked, caller: Caller = transcribes
) -> Result:
    """Send a recording and get who said what, when.

    Transcription and diarization run side by side on the one decoded signal. What was worked out before for the same
    bytes and options is answered from the store at once. For long recordings use `transcribe/async`.

        curl -F file=@call.mp3 http://127.0.0.1:8090/api/v1/parallel/transcribe
    """
    taken = await taken_in(service, file)
    result = await service.now(taken, _of(wish, caller))
    request.state.about = result.task_id
    return result


@router.post(
    "/transcribe/async",
    status_code=202,
    responses=TAKES_AUDIO,
    summary="Transcribe a recording in the background",
)
async def transcribe_later(
    request: Request,
    response: Response,
    service: Here,
    file: Recording,
    wish: Asked,
    caller: Caller = transcribes,
) -> Status:
    """Send a recording and get a task: ask for its status, progress and result by its id.

    The task survives restarts of the service, and stays with its result until it expires. It is a Dagster run.
    """
    taken = await taken_in(service, file)
    (task,) = await service.later([taken], _of(wish, caller))
    request.state.about = task.id
    told = await telling.status(service, task)
    response.headers["Location"] = told.links.status
    return told


@router.post("/batch", status_code=202, responses=TAKES_AUDIO, summary="Transcribe several recordings")
async def transcribe_batch(
    request: Request,
    service: Here,
    files: Annotated[
        list[UploadFile],
        File(description=f"Up to {MOST_FILES} recordings.", min_length=1, max_length=MOST_FILES),
    ],
    wish: Asked,
    caller: Caller = transcribes,
) -> Batch:
    """Send several recordings; each becomes a task, and one that fails never stops another.

    A file that is no recording refuses the whole request, and nothing is begun.
    """
    taken = [await taken_in(service, file) for file in files]
    tasks = await service.later(taken, _of(wish, caller), batch=new_id("batch"))
    request.state.about = tasks[0].batch
    return await telling.batch(service, tasks)


@router.get("/status/{task_id}", responses=OF_TASK, summary="How far a task has come")
async def status(service: Here, task_id: TaskId, caller: Caller = reads) -> Status:
    """Tell how far a task has come, what comes before it while it waits, and why it failed if it did."""
    return await telling.status(service, await own_task(service, caller, task_id))


@router.get(
    "/result/{task_id}",
    responses={
        **OF_TASK,
        409: {"description": "Not done yet: see Retry-After."},
        410: {"description": "The task was cancelled."},
        413: {"description": "The recording is too long."},
        415: {"description": "The recording cannot be opened."},
    },
    summary="The result of a task",
)
async def result(request: Request, service: Here, task_id: TaskId, caller: Caller = reads) -> Result:
    """Return what a task found out. A task that failed is answered as the request itself would have been."""
    request.state.about = task_id
    return await service.result(await own_task(service, caller, task_id))


@router.post("/cancel/{task_id}", responses=OF_TASK, summary="Cancel a task")
async def cancel(request: Request, service: Here, task_id: TaskId, caller: Caller = transcribes) -> Status:
    """End a task that waits or is under way; one that has ended stays as it is."""
    request.state.about = task_id
    await service.cancel(await own_task(service, caller, task_id))
    return await telling.status(service, await own_task(service, caller, task_id))


@router.get("/stats", summary="How the service is doing")
async def stats(service: Here, caller: Caller = reads) -> Stats:
    """Count tasks by state and say how long work takes."""
    import time
    from importlib.metadata import version

    took = await service.books.do(service.tasks.work_seconds)
    return Stats(
        tasks=await service.books.do(service.tasks.counts),
        workers=service.settings.service_workers,
        queue_limit=service.settings.service_queue,
        work_seconds_mean=round(sum(took) / len(took), 3) if took else None,
        uptime_seconds=round(time.time() - service.began, 1),
        models=models.in_memory(),
        version=version("callpipeline"),
    )


@router.get("/features", summary="What works here")
async def features(service: Here, caller: Caller = reads) -> Features:
    """Say which engines work here, which are used, and what to do about the others."""
    from callpipeline.speech.engines import available

    settings = service.settings
    found = await asyncio.to_thread(available, settings)
    return Features(
        engines=[
            Feature(
                name=engine.name,
                kind=engine.kind,
                available=engine.ready,
                used=engine.chosen,
                detail=engine.detail,
                hint=engine.hint,
            )
            for engine in found
        ],
        models=models.in_memory(),
        options=sorted(Options.model_fields),
        response_formats=list(FORMATS),
        max_bytes=settings.service_max_bytes,
        max_duration=settings.max_duration,
        retention_days=settings.service_retention_days,
    )


async def taken_in(service: Service, file: UploadFile) -> TakenIn:
    """Make an upload a recording, or refuse it."""
    return await service.take_in(file.file, file.filename or "recording")


def _of(wish: Wish, caller: Caller) -> Wish:
    return Wish(caller.name, wish.options, wish.priority, wish.idempotency)
