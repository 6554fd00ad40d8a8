"""``/v1``: transcription as OpenAI's clients ask for it, so that they work by changing the base URL.

https://platform.openai.com/docs/api-reference/audio/createTranscription, as its SDK 3.52 has it. What is more than
OpenAI gives: a ``speaker`` with every segment and word of ``verbose_json``.
"""

from __future__ import annotations

import asyncio
import math
import zlib
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from callpipeline.failures import UsageError
from callpipeline.service import results
from callpipeline.service.auth import SHOWN, Caller, reads, transcribes
from callpipeline.service.core import Service, Wish
from callpipeline.service.documents import Problem, Result, SpokenSegment
from callpipeline.service.errors import TAKES_AUDIO, ApiError
from callpipeline.service.options import NoSuchModel, Options
from callpipeline.service.parallel_api import Here, taken_in

OURS = (
    "callpipeline",
    "whisper-1",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-transcribe-diarize",
)
"""Names under which clients mean whatever transcribes here; any other name is a Whisper model."""

router = APIRouter(prefix="/v1", tags=["for OpenAI's clients"], dependencies=SHOWN)


class Format(StrEnum):
    """What is answered."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"
    VERBOSE = "verbose_json"
    DIARIZED = "diarized_json"


class Granularity(StrEnum):
    """Which times ``verbose_json`` holds."""

    WORD = "word"
    SEGMENT = "segment"


@router.post(
    "/audio/transcriptions",
    summary="Transcribe a recording, as OpenAI does",
    responses={
        **TAKES_AUDIO,
        200: {
            "description": "The transcript, in the format that was asked for.",
            "content": {"application/json": {"schema": {}}, "text/plain": {"schema": {"type": "string"}}},
        },
        400: {"model": Problem, "description": "A field that cannot be used."},
        404: {"model": Problem, "description": "No such model here."},
    },
    response_class=Response,
)
async def transcriptions(
    request: Request,
    service: Here,
    file: Annotated[UploadFile, File(description="A recording.")],
    model: Annotated[
        str,
        Form(
            description="`whisper-1` (or another of OpenAI's names): the service's engine. "
            "The name of a Whisper model whose weights are here: that one.",
            max_length=64,
        ),
    ] = "whisper-1",
    language: Annotated[str | None, Form(description="As in `en`.", max_length=20)] = None,
    response_format: Annotated[Format, Form(description="What is answered.")] = Format.JSON,
    granularities: Annotated[
        list[Granularity] | None,
        Form(alias="timestamp_granularities[]", description="For `verbose_json`: `word` adds the words."),
    ] = None,
    stream: Annotated[bool, Form(description="Must be false.")] = False,
    caller: Caller = transcribes,
) -> Response:
    """Send a recording and get its transcript in the format that OpenAI's clients expect.

    `prompt`, `temperature` and other fields of OpenAI's are taken and have no effect.

        client = openai.OpenAI(base_url="http://127.0.0.1:8090/v1", api_key="...")
        client.audio.transcriptions.create(file=open("call.mp3", "rb"), model="whisper-1")
    """
    if stream:
        raise ApiError(400, "invalid_request_error", "stream: the answer comes at once when it is whole.")
    options = await _options(service, model, language)
    taken = await taken_in(service, file)
    result = await service.now(taken, Wish(caller.name, options))
    request.state.about = result.task_id
    return await _answer(service, result, response_format, granularities or [Granularity.SEGMENT])


@router.get("/models", summary="Names under which the service's engine can be asked for")
async def models(service: Here, caller: Caller = reads) -> dict[str, Any]:
    """List models as OpenAI does. All of these names mean the engine that is set for the service."""
    made = int(service.began)
    found = [{"id": name, "object": "model", "created": made, "owned_by": "callpipeline"} for name in OURS]
    return {"object": "list", "data": found}


async def _options(service: Service, model: str, language: str | None) -> Options:
    asked = Options(language=language or None, whisper_model=None if model in OURS else model)
    try:
        return await asyncio.to_thread(asked.checked, service.settings)
    except NoSuchModel as error:
        raise ApiError(404, "model_not_found", str(error)) from error
    except UsageError as error:
        raise ApiError(400, "invalid_request_error", str(error)) from error


async def _answer(
    service: Service, result: Result, wanted: Format, granularities: list[Granularity]
) -> Response:
    if wanted in (Format.SRT, Format.VTT):
        path = results.path(service.settings, result.task_id, wanted.value)
        return PlainTextResponse(await asyncio.to_thread(path.read_text, "utf-8"))
    if wanted is Format.TEXT:
        return PlainTextResponse(result.text + "\n")
    if wanted is Format.VERBOSE:
        return JSONResponse(verbose(result, granularities))
    if wanted is Format.DIARIZED:
        return JSONResponse(diarized(result))
    return JSONResponse({"text": result.text, "usage": _usage(result)})


def verbose(result: Result, granularities: list[Granularity]) -> dict[str, Any]:
    """Return a result as ``verbose_json``. Segments are those of one speaker each."""
    answer: dict[str, Any] = {
        "task": "transcribe",
        "language": result.language or "unknown",
        "duration": result.duration,
        "text": result.text,
        "usage": _usage(result),
    }
    if Granularity.SEGMENT in granularities:
        answer["segments"] = [_segment(number, segment) for number, segment in enumerate(result.segments)]
    if Granularity.WORD in granularities:
        answer["words"] = [
            {"word": word.text, "start": word.start, "end": word.end, "speaker": word.speaker}
            for segment in result.segments
            for word in segment.words
        ]
    return answer


def diarized(result: Result) -> dict[str, Any]:
    """Return a result as ``diarized_json``."""
    return {
        "task": "transcribe",
        "duration": result.duration,
        "text": result.text,
        "segments": [
            {
                "type": "transcript.text.segment",
                "id": f"seg_{number}",
                "start": segment.start,
                "end": segment.end,
                "text": segment.text,
                "speaker": segment.speaker,
            }
            for number, segment in enumerate(result.segments)
        ],
        "usage": _usage(result),
    }


def _segment(number: int, segment: SpokenSegment) -> dict[str, Any]:
    sure = [word.confidence for word in segment.words if word.confidence]
    text = segment.text.encode()
    return {
        "id": number,
        "seek": 0,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "speaker": segment.speaker,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(sum(map(math.log, sure)) / len(sure), 4) if sure else 0.0,
        "compression_ratio": round(len(text) / len(zlib.compress(text)), 4),
        "no_speech_prob": 0.0,
    }


def _usage(result: Result) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(result.duration)}
