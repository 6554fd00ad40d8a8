"""The provider module against the real SDK and the simulator: what is sent, what comes back, which failure it is."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import openai
import pytest

from callpipeline.failures import (
    AuthenticationFailed,
    BadRequest,
    CallPipelineError,
    CorruptChunk,
    NetworkFailed,
    NotConfigured,
    NotReached,
    ProviderFailed,
    QuotaExceeded,
    RateLimited,
)
from callpipeline.providers.openai import AudioRequest, OpenAI, failure
from callpipeline_tests.simulators import OpenAISimulator, RateLimit, SpokenTurn

pytestmark = pytest.mark.anyio

WORDS = AudioRequest("whisper-1", "verbose_json", "audio.wav", language="en", word_times=True)
TURN = SpokenTurn(speaker="agent", start=0.2, end=1.4, text="Hello, this is Maria.")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def sim() -> Iterator[OpenAISimulator]:
    with OpenAISimulator(limits={"audio": RateLimit(requests=1000, tokens=100_000)}) as running:
        yield running


@pytest.fixture
def audio(sim: OpenAISimulator, tmp_path: Path) -> Path:
    """A file that the simulator knows, with nothing else on its books."""
    sim.reset()
    path = tmp_path / "Maria Lopez _ 555-0101.wav"
    path.write_bytes(b"a call")
    sim.answers.register(hashlib.sha256(b"a call").hexdigest(), [TURN], duration=3.0)
    return path


@pytest.fixture
async def account(sim: OpenAISimulator) -> AsyncIterator[OpenAI]:
    account = OpenAI(sim.api_key, sim.base_url, timeout=20)
    yield account
    await account.disconnect()


async def test_an_answer_brings_its_words_and_the_headers_that_the_gate_wants(
    account: OpenAI, audio: Path
) -> None:
    answer = await account.transcribe(audio, WORDS)
    assert answer.value["text"] == TURN.text
    assert answer.value["words"][0] == {"word": "Hello", "start": 0.2, "end": 0.58}
    assert answer.tokens is None
    assert answer.headers["x-ratelimit-limit-requests"] == "1000"
    assert answer.headers["x-ratelimit-remaining-requests"] == "999"


async def test_models_that_count_tokens_tell_how_many(account: OpenAI, audio: Path) -> None:
    request = AudioRequest("gpt-4o-transcribe", "json", "audio.wav", language="en", logprobs=True)
    answer = await account.transcribe(audio, request)
    assert answer.tokens == answer.value["usage"]["total_tokens"] == 36
    assert len(answer.value["logprobs"]) == 4


async def test_what_is_sent_does_not_name_the_recording(
    sim: OpenAISimulator, account: OpenAI, audio: Path
) -> None:
    request = AudioRequest("gpt-4o-transcribe-diarize", "diarized_json", "audio.wav", "en", chunked=True)
    await account.transcribe(audio, request)
    (call,) = sim.calls("transcriptions")
    assert isinstance(call.body, dict)
    assert call.body.pop("file")["filename"] == "audio.wav"
    assert call.body == {
        "model": "gpt-4o-transcribe-diarize",
        "response_format": "diarized_json",
        "chunking_strategy": "auto",
        "language": "en",
    }


async def test_the_idempotency_key_reaches_a_server_that_heeds_it(audio: Path) -> None:
    with OpenAISimulator(honour_idempotency=True) as heedful:
        heedful.answers.register(hashlib.sha256(b"a call").hexdigest(), [TURN], duration=3.0)
        account = OpenAI(heedful.api_key, heedful.base_url, timeout=20)
        request = replace(WORDS, idempotency_key="callpipeline-1")
        first, second = [await account.transcribe(audio, request) for _ in range(2)]
        await account.disconnect()
        assert first.value == second.value
        assert heedful.stats.paid.calls == 1


@pytest.mark.parametrize(
    ("fault", "failed", "retry_after"),
    [
        ("429", RateLimited, None),
        ("429:7", RateLimited, 7.0),
        ("quota", QuotaExceeded, None),
        ("500", ProviderFailed, None),
        ("503:3", ProviderFailed, 3.0),
        ("401", AuthenticationFailed, None),
        ("403", AuthenticationFailed, None),
        ("413", BadRequest, None),
        ("reset", NetworkFailed, None),
        ("reset@after", NetworkFailed, None),
        ("truncated", ProviderFailed, None),
        ("wrong_type", ProviderFailed, None),
    ],
)
async def test_what_goes_wrong_has_its_class_and_is_asked_once(
    sim: OpenAISimulator,
    account: OpenAI,
    audio: Path,
    fault: str,
    failed: type[CallPipelineError],
    retry_after: float | None,
) -> None:
    sim.faults.script("transcriptions", fault)
    with pytest.raises(failed) as caught:
        await account.transcribe(audio, WORDS)
    assert type(caught.value) is failed
    assert getattr(caught.value, "retry_after", None) == retry_after
    assert sim.stats.routes["transcriptions"].requests == 1


@asynccontextmanager
async def answering(status: int, body: str) -> AsyncIterator[OpenAI]:
    """An account at a server that gives every request the same answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write((head + body).encode())
        await writer.drain()
        writer.write_eof()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        host, port = server.sockets[0].getsockname()
        account = OpenAI("key", f"http://{host}:{port}/v1", timeout=20)
        yield account
        await account.disconnect()


@pytest.mark.parametrize("body", ["{}", '{"text": null}', '["text"]', '"text"'])
async def test_an_answer_without_a_text_is_no_transcript(audio: Path, body: str) -> None:
    async with answering(200, body) as account:
        with pytest.raises(ProviderFailed, match="cannot be read"):
            await account.transcribe(audio, WORDS)


async def test_a_key_that_may_not_read_the_list_of_models_is_accepted() -> None:
    restricted = '{"error": {"message": "Missing scopes: api.model.read", "code": null}}'
    async with answering(403, restricted) as account:
        assert not await account.check("whisper-1")
    async with answering(403, '{"error": {"message": "Country not supported", "code": null}}') as account:
        with pytest.raises(AuthenticationFailed):
            await account.check("whisper-1")


async def test_bytes_that_are_no_audio_are_a_corrupt_chunk(
    account: OpenAI, audio: Path, tmp_path: Path
) -> None:
    noise = tmp_path / "noise.flac"
    noise.write_bytes(b"not audio at all" * 99)
    with pytest.raises(CorruptChunk, match="could not be decoded"):
        await account.transcribe(noise, replace(WORDS, file_name="audio.flac"))


async def test_a_body_that_stands_still_is_given_up(sim: OpenAISimulator, audio: Path) -> None:
    sim.faults.script("transcriptions", "stall")
    hasty = OpenAI(sim.api_key, sim.base_url, timeout=0.2)
    with pytest.raises(NetworkFailed) as caught:
        await hasty.transcribe(audio, WORDS)
    await hasty.disconnect()
    assert not isinstance(caught.value, NotReached)


async def test_a_server_that_is_not_there_was_not_reached(audio: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = OpenAI("key", f"http://127.0.0.1:{taken.getsockname()[1]}/v1", timeout=5)
        with pytest.raises(NotReached, match=r"127\.0\.0\.1"):
            await nobody.transcribe(audio, WORDS)
        await nobody.disconnect()


@pytest.mark.parametrize("address", ["api.openai.com/v1", "htp://api.openai.com/v1"])
async def test_an_address_that_is_none_is_a_setting_to_correct(audio: Path, address: str) -> None:
    lost = OpenAI("key", address, timeout=5)
    with pytest.raises(NotConfigured, match="OPENAI_BASE_URL"):
        await lost.transcribe(audio, WORDS)
    await lost.disconnect()


@pytest.mark.parametrize(
    "address", ["http://me:s3cret@127.0.0.1:9", "http://me:s3/cret@127.0.0.1:9", "me:s3cret@127.0.0.1:9"]
)
async def test_a_password_in_the_address_is_in_no_message(audio: Path, address: str) -> None:
    nobody = OpenAI("key", address, timeout=1)
    with pytest.raises(CallPipelineError) as raised:
        await nobody.transcribe(audio, WORDS)
    await nobody.disconnect()
    assert isinstance(raised.value, NotReached | NotConfigured)
    assert "s3" not in str(raised.value)


async def test_a_check_costs_nothing_and_says_what_is_wrong(sim: OpenAISimulator, account: OpenAI) -> None:
    sim.reset()
    assert await account.check("whisper-1")
    with pytest.raises(NotConfigured, match="CALLPIPELINE_OPENAI_TRANSCRIBE_MODEL"):
        await account.check("whisper-9")
    stranger = OpenAI("sk-somebody-else", sim.base_url, timeout=20)
    with pytest.raises(AuthenticationFailed):
        await stranger.check("whisper-1")
    await stranger.disconnect()
    sim.faults.script("model", "wrong_type")
    with pytest.raises(ProviderFailed):
        await account.check("whisper-1")
    assert sim.stats.paid.calls == 0


async def test_a_server_without_a_list_of_models_does_not_say(sim: OpenAISimulator) -> None:
    bare = OpenAI(sim.api_key, sim.base_url.removesuffix("/v1") + "/inference", timeout=20)
    assert not await bare.check("whisper-1")
    await bare.disconnect()


def test_each_event_loop_has_connections_of_its_own(sim: OpenAISimulator, audio: Path) -> None:
    account = OpenAI(sim.api_key, sim.base_url, timeout=20)

    async def once() -> str:
        answer = await account.transcribe(audio, WORDS)
        await account.disconnect()
        return str(answer.value["text"])

    assert [asyncio.run(once()) for _ in range(2)] == [TURN.text, TURN.text]


@pytest.mark.parametrize("key", ["", "  \n", "sk-schlüssel", "sk-two\nlines"])
def test_what_cannot_be_a_key_is_said_before_anything_is_sent(key: str) -> None:
    with pytest.raises(NotConfigured) as caught:
        OpenAI(key, "https://api.openai.com/v1", timeout=5)
    assert not key.strip() or key not in str(caught.value)


def test_exceptions_of_other_endpoints_have_their_class_too() -> None:
    assert isinstance(failure(openai.ContentFilterFinishReasonError()), ProviderFailed)
    known = RateLimited("slow down")
    assert failure(known) is known
