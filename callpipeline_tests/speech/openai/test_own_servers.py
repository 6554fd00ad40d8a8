"""Servers of one's own that speak OpenAI's API, each in its own way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from callpipeline.failures import (
    NotConfigured,
)
from callpipeline_tests.simulators import OpenAISimulator
from callpipeline_tests.speech.conftest import Call
from callpipeline_tests.speech.openai.conftest import Open

pytestmark = pytest.mark.anyio


class OwnServer:
    """Answers every transcription with what is given, in order, and keeps what was sent."""

    def __init__(self, *answers: tuple[int, dict[str, Any]]) -> None:
        self._answers = list(answers)
        self.bodies: list[bytes] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self._serve, "127.0.0.1") as server:
            host, port = server.sockets[0].getsockname()
            yield f"http://{host}:{port}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if "content-length:" in head:
            length = int(head.split("content-length:")[1].split("\r\n")[0])
            self.bodies.append(await reader.readexactly(length))
        else:
            body = b""
            while size := int(await reader.readline(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            self.bodies.append(body)
        status, answer = self._answers.pop(0)
        text = json.dumps(answer).encode()
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n"
            f"content-length: {len(text)}\r\n\r\n".encode()
            + text
        )
        await writer.drain()
        writer.close()


PRICES = '[[price]]\nprovider = "openai"\nmodel = "Systran/faster-whisper-small"\n'


async def test_a_server_of_ones_own_that_gives_less_still_gives_its_text(
    open_house: Open, mono_call: Call, tmp_path: Path
) -> None:
    (tmp_path / "prices.toml").write_text(PRICES)
    server = OwnServer(
        (200, {"text": " Good morning. ", "segments": [{"start": 1.0, "end": 2.5, "text": " Good morning."}]})
    )
    async with server.running() as address:
        house = open_house(
            openai_api_key="any-word",
            openai_base_url=address,
            openai_transcribe_model="Systran/faster-whisper-small",
            prices_file=tmp_path / "prices.toml",
            cut_silences=False,
        )
        transcript = await house.transcribe(mono_call.job)
    assert [(s.start, s.end, s.text, s.words) for s in transcript.segments] == [
        (1.0, 2.5, "Good morning.", ())
    ]
    assert transcript.engine_version.endswith(address.removeprefix("http://").removesuffix("/v1"))
    assert house.spent == (0.0, 0.0, 0.0)


async def test_a_model_without_a_price_is_not_used(
    open_house: Open, sim: OpenAISimulator, mono_call: Call
) -> None:
    house = open_house(openai_transcribe_model="Systran/faster-whisper-small")
    with pytest.raises(NotConfigured, match="CALLPIPELINE_PRICES_FILE"):
        await house.transcribe(mono_call.job)
    assert sim.stats.all.requests == 0


async def test_audio_that_the_server_cannot_read_is_cut_anew_and_sent_once_more(
    open_house: Open, mono_call: Call
) -> None:
    refusal = {"error": {"message": "Audio file might be corrupted or unsupported", "code": "invalid_value"}}
    server = OwnServer((400, refusal), (200, {"text": "Good morning."}))
    async with server.running() as address:
        house = open_house(openai_base_url=address, cut_silences=False)
        transcript = await house.transcribe(mono_call.job)
    assert transcript.text == "Good morning."
    first, second = server.bodies
    assert b'filename="audio.mp3"' in first
    assert b'filename="audio.flac"' in second
    assert b"fLaC" in second
    assert house.spent[2] == 0.0


async def test_whose_model_it_was_decides_what_is_reused(
    open_house: Open, sim: OpenAISimulator, mono_call: Call
) -> None:
    await open_house().transcribe(mono_call.job)
    server = OwnServer((200, {"text": "Something else."}))
    async with server.running() as address:
        other = await open_house(openai_base_url=address).transcribe(mono_call.job)
    assert other.text == "Something else."
