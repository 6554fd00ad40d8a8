"""``/api/v1/stream``: a WebSocket that takes sound as it comes and returns text as it is understood.

What belongs here: the conversation with one client. What does not: cutting sound (``speech.streaming``), engines.
The next sound is taken when the last is worked on, so a client that sends faster than that has to wait: nothing heaps up.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import wave
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from callpipeline.audio.probe import probe
from callpipeline.failures import CallPipelineError, NotConfigured, describe
from callpipeline.model import ChannelSpeech, Region, Role, SpeechActivity
from callpipeline.service import models
from callpipeline.service.auth import Caller, Needs
from callpipeline.service.core import RETRY_SECONDS, Service
from callpipeline.service.errors import ApiError, problem
from callpipeline.service.keys import Scope
from callpipeline.service.options import Options
from callpipeline.service.tasks import QueueFull
from callpipeline.settings import Settings
from callpipeline.speech.engines.base import SpeechJob, Transcriber
from callpipeline.speech.streaming import Cutter, Resampler
from callpipeline.speech.utterances import RATE, Utterance

PARTIAL_SECONDS = 1.0
"""Seconds between two partial texts, at least; with a slow engine twice the time that one takes."""
SILENT_SECONDS = 60.0
"""A client that sends nothing for so long has gone."""
MOST_BYTES = 1 << 20
"""Largest message: half a minute of sound at 16 kHz."""
_WRONG, _BROKE, _TOO_LONG = 1008, 1011, 1009

router = APIRouter()


class Opening(BaseModel):
    """The first message of a client. ``language``: of the settings, unless told."""

    model_config = ConfigDict(extra="forbid")

    rate: int = Field(ge=8000, le=48_000)
    language: str | None = Field(None, min_length=2, max_length=20)


class _Ended(Exception):
    """The conversation ends here. ``code``: as WebSockets say why."""

    def __init__(self, code: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.kind = kind


@router.websocket("/api/v1/stream")
async def stream(websocket: WebSocket) -> None:
    """Take 16-bit PCM and return what was said, utterance by utterance."""
    service: Service = websocket.app.state.service
    try:
        caller = await _caller(websocket)
        async with service.place():
            await websocket.accept()
            address = websocket.client.host if websocket.client else ""
            service.books.later(service.audit.note, caller.name, address, "WS", "/api/v1/stream", 101, "")
            await _talk(websocket, service)
    except ApiError as error:
        refusal = problem(error.status, error.kind, str(error), error.headers)
        await websocket.send_denial_response(refusal)
    except NotConfigured as error:
        again = {"Retry-After": str(round(RETRY_SECONDS))}
        await websocket.send_denial_response(problem(503, error.error_class, str(error), again))
    except QueueFull:
        again = {"Retry-After": str(round(RETRY_SECONDS))}
        said = "All places are taken now."
        await websocket.send_denial_response(problem(429, "rate_limit", said, again))


async def _caller(websocket: WebSocket) -> Caller:
    ticket = websocket.query_params.get("ticket")
    if ticket is None:
        return await Needs(Scope.TRANSCRIBE)(websocket)
    caller: Caller | None = websocket.app.state.tickets.take(ticket)
    if caller is None:
        raise ApiError(401, "authentication", "This ticket opens nothing, or not any more.")
    if not caller.scopes & {Scope.TRANSCRIBE, Scope.ADMIN}:
        raise ApiError(403, "forbidden", f"This key has no scope {Scope.TRANSCRIBE!r}.")
    return caller


async def _talk(websocket: WebSocket, service: Service) -> None:
    bench = service.benches.of(Options())
    try:
        opening = await _opening(websocket)
        engine = await asyncio.to_thread(lambda: bench.transcriber)
        if engine.remote:
            raise NotConfigured(
                f"the engine {engine.name} is not on this machine, and works on whole recordings only.",
                hint="Set CALLPIPELINE_TRANSCRIBER to whisper or sphinx.",
            )
        await websocket.send_json({"type": "ready", "engine": engine.name, "demo": engine.demo})
        with tempfile.TemporaryDirectory(prefix="callpipeline-stream-") as folder:
            talk = _Talk(websocket, engine, opening, Path(folder), service.settings)
            await talk.run()
        await websocket.close()
    except WebSocketDisconnect:
        return
    except _Ended as error:
        await _say_why(websocket, error.code, error.kind, str(error))
    except CallPipelineError as error:
        await _say_why(websocket, _BROKE, describe(error)[0], str(error))
    finally:
        service.benches.leave(bench)
        if service.settings.gpu_memory_optimization:
            await asyncio.to_thread(models.unload)


async def _opening(websocket: WebSocket) -> Opening:
    message = await _message(websocket)
    try:
        return Opening.model_validate_json(message.get("text") or "")
    except ValidationError as error:
        said = 'The first message must be JSON such as {"rate": 16000, "language": "en"}'
        raise _Ended(_WRONG, "invalid_request_error", f"{said}: {error.errors()[0]['msg']}.") from error


async def _message(websocket: WebSocket) -> dict[str, Any]:
    try:
        async with asyncio.timeout(SILENT_SECONDS):
            message = await websocket.receive()
    except TimeoutError:
        raise _Ended(_WRONG, "silent", f"Nothing was sent for {SILENT_SECONDS:.0f} s.") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    return dict(message)


async def _say_why(websocket: WebSocket, code: int, kind: str, message: str) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):  # it has gone meanwhile
        await websocket.send_json({"type": "error", "error": {"type": kind, "message": message}})
        await websocket.close(code)


class _Talk:
    """One stream, after its opening."""

    def __init__(
        self, websocket: WebSocket, engine: Transcriber, opening: Opening, folder: Path, settings: Settings
    ) -> None:
        self._websocket = websocket
        self._engine = engine
        self._rate = opening.rate
        self._language = opening.language or settings.language
        self._folder = folder
        self._most = settings.max_duration
        self._cutter = Cutter()
        self._partial: asyncio.Task[None] | None = None
        self._next_partial = 0.0

    async def run(self) -> None:
        """Take all sound and send all text."""
        try:
            async for utterance in self._utterances():
                await self._stop_partial()
                await self._send("final", utterance, "final.wav")
            await self._stop_partial()
            await self._websocket.send_json({"type": "end", "duration": round(self._cutter.heard, 3)})
        finally:
            await self._stop_partial()

    async def _utterances(self) -> AsyncIterator[Utterance]:
        resampler = Resampler(self._rate)
        while (pcm := await self._pcm()) is not None:
            samples = resampler.add(pcm)
            for utterance in await asyncio.to_thread(self._cutter.add, samples):
                yield utterance
            if self._cutter.heard > self._most:
                raise _Ended(_TOO_LONG, "too_long", f"More than {self._most:.0f} s are not taken.")
            self._begin_partial()
        rest = resampler.finish()
        for utterance in await asyncio.to_thread(self._cutter.finish, rest):
            yield utterance

    async def _pcm(self) -> bytes | None:
        """Return the next sound, ``None`` after the last."""
        message = await _message(self._websocket)
        pcm: bytes | None = message.get("bytes")
        if pcm is not None and len(pcm) > MOST_BYTES:
            raise _Ended(_TOO_LONG, "too_long", f"A message may have {MOST_BYTES} bytes.")
        if pcm is None and "".join((message.get("text") or "").split()) != '{"type":"end"}':
            said = 'After the opening come binary messages, and {"type": "end"}.'
            raise _Ended(_WRONG, "invalid_request_error", said)
        return pcm

    def _begin_partial(self) -> None:
        """Have the utterance so far transcribed beside what comes in, unless that is done already."""
        going = self._partial is not None and not self._partial.done()
        if self._cutter.open is None or going or time.monotonic() < self._next_partial:
            return
        if self._partial is not None:
            self._partial.result()  # raises what it failed with
        self._partial = asyncio.create_task(self._tell_partial(self._cutter.open))

    async def _tell_partial(self, so_far: Utterance) -> None:
        began = time.monotonic()
        await self._send("partial", so_far, "partial.wav")
        ended = time.monotonic()
        self._next_partial = ended + max(PARTIAL_SECONDS, 2 * (ended - began))

    async def _stop_partial(self) -> None:
        if self._partial is not None:
            self._partial.cancel()
            await asyncio.gather(self._partial, return_exceptions=True)
            self._partial = None

    async def _send(self, kind: str, utterance: Utterance, file: str) -> None:
        job = await asyncio.to_thread(_job, self._folder / file, utterance, self._language)
        heard = await self._engine.transcribe(job)
        text = " ".join(segment.text for segment in heard.segments)
        if text or kind == "final":
            start, end = round(utterance.start, 3), round(utterance.end, 3)
            await self._websocket.send_json({"type": kind, "text": text, "start": start, "end": end})


def _job(path: Path, utterance: Utterance, language: str) -> SpeechJob:
    """Make of an utterance a recording in which there is speech from the first to the last moment."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(utterance.samples, -1, 1) * 32767).astype("<i2").tobytes())
    info = probe(path, max_duration=3600, max_bytes=1 << 30)
    everywhere = ChannelSpeech(channel=0, role=Role.UNKNOWN, speech=(Region(start=0, end=info.duration),))
    activity = SpeechActivity(duration=info.duration, channels=(everywhere,), source="vad", detector="stream")
    return SpeechJob(path.stem, path, info, activity, language)
