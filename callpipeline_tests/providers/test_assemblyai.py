"""The real SDK against the simulator: each request once, each failure in its class."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from callpipeline.failures import (
    AuthenticationFailed,
    BadRequest,
    CallPipelineError,
    NetworkFailed,
    NotConfigured,
    NotFit,
    NotReached,
    ProviderFailed,
    QuotaExceeded,
    RateLimited,
    SourceUnavailable,
)
from callpipeline.providers.assemblyai import AssemblyAI, Job, JobGone, Options, language_code
from callpipeline_tests.simulators import AssemblyAISimulator, SpokenTurn

pytestmark = pytest.mark.anyio

OPTIONS = Options(language="en", models=("universal-3-5-pro", "universal-2"), multichannel=True, speakers=2)
TURNS = (SpokenTurn(speaker="agent", start=0.0, end=1.0, text="Hello there."),)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def shared_sim() -> Iterator[AssemblyAISimulator]:
    with AssemblyAISimulator() as running:
        yield running


@pytest.fixture
def sim(shared_sim: AssemblyAISimulator) -> AssemblyAISimulator:
    shared_sim.reset()
    return shared_sim


@pytest.fixture
async def account(sim: AssemblyAISimulator) -> AsyncIterator[AssemblyAI]:
    opened = AssemblyAI(sim.api_key, sim.base_url, timeout=5)
    yield opened
    await opened.disconnect()


@pytest.fixture
def audio(sim: AssemblyAISimulator, tmp_path: Path) -> Path:
    """A registered "recording" of three megabytes."""
    path = tmp_path / "audio.wav"
    path.write_bytes(bytes(range(256)) * 12_000)
    sim.answers.register(hashlib.sha256(path.read_bytes()).hexdigest(), TURNS)
    return path


async def finished(account: AssemblyAI, job: Job) -> Job:
    while not (now := await account.fetch(job.id)).ended:
        await asyncio.sleep(0.01)
    return now


async def test_a_file_is_sent_ordered_and_fetched(
    account: AssemblyAI, sim: AssemblyAISimulator, audio: Path
) -> None:
    job = await account.submit(await account.upload(audio), OPTIONS)
    ended = await finished(account, job)
    assert ended.completed
    assert ended.answer is not None
    assert (ended.answer["text"], ended.answer["speech_model_used"]) == ("Hello there.", "universal-3-5-pro")
    (call,) = sim.calls("submit")
    asked = dict(call.body)  # type: ignore[call-overload]
    assert asked.pop("audio_url") == ended.audio_url
    assert asked == {
        "speech_models": ["universal-3-5-pro", "universal-2"],
        "language_code": "en",
        "multichannel": True,
    }


async def test_voices_are_told_apart_and_a_language_detected_when_wanted(
    account: AssemblyAI, sim: AssemblyAISimulator, audio: Path
) -> None:
    await account.submit(await account.upload(audio), Options(None, ("universal-2",), False, 3))
    (call,) = sim.calls("submit")
    asked = dict(call.body)  # type: ignore[call-overload]
    del asked["audio_url"]
    assert asked == {
        "speech_models": ["universal-2"],
        "language_detection": True,
        "speaker_labels": True,
        "speakers_expected": 3,
    }


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        ("429:7", RateLimited),
        ("quota", QuotaExceeded),
        ("401", AuthenticationFailed),
        ("400", BadRequest),
        ("500", ProviderFailed),
        ("reset", NetworkFailed),
        ("truncated", ProviderFailed),
        ("wrong_type", ProviderFailed),
    ],
)
async def test_each_failure_has_its_class(
    account: AssemblyAI, sim: AssemblyAISimulator, audio: Path, fault: str, failure: type[CallPipelineError]
) -> None:
    url = await account.upload(audio)
    job = await account.submit(url, OPTIONS)
    for route in ("upload", "submit", "poll", "list", "delete"):
        sim.faults.script(route, fault)
    for request in (
        account.upload(audio),
        account.submit(url, OPTIONS),
        account.fetch(job.id),
        account.check(),
        account.cancel(job.id),
    ):
        with pytest.raises(failure) as raised:
            await request
        assert type(raised.value) is failure
        if isinstance(raised.value, RateLimited):
            assert raised.value.retry_after == 7


async def test_answers_of_many_tasks_are_not_mixed_up(
    account: AssemblyAI, sim: AssemblyAISimulator, audio: Path
) -> None:
    job = await finished(account, await account.submit(await account.upload(audio), OPTIONS))

    async def ask(number: int) -> str:
        name = job.id if number % 2 else f"unknown-{number}"
        try:
            return (await account.fetch(name)).id
        except JobGone as error:
            return name if name in str(error) else f"{name}: {error}"

    answers = await asyncio.gather(*(ask(n) for n in range(40)))
    assert answers[1::2] == [job.id] * 20
    assert answers[::2] == [f"unknown-{n}" for n in range(0, 40, 2)]


async def test_a_wrong_key_is_an_authentication_failure(sim: AssemblyAISimulator, audio: Path) -> None:
    stranger = AssemblyAI("wrong", sim.base_url, timeout=5)
    for request in (stranger.check(), stranger.upload(audio)):
        with pytest.raises(AuthenticationFailed):
            await request
    await stranger.disconnect()


async def test_a_job_is_found_by_its_upload_many_pages_back(
    account: AssemblyAI, sim: AssemblyAISimulator, audio: Path
) -> None:
    wanted, other = [await account.upload(audio) for _ in range(2)]
    job = await account.submit(wanted, OPTIONS)
    for _ in range(120):
        await account.submit(other, OPTIONS)
    found = await account.find(wanted)
    assert found is not None
    assert found.id == job.id
    listed = sim.stats.routes["list"].requests
    assert listed == 2
    assert await account.find(f"{wanted}0") is None
    assert (await account.find(f"{wanted}0", since=4e9)) is None  # all of them are older: one page will do
    assert sim.stats.routes["list"].requests == listed + 3


async def test_a_cancelled_or_expired_job_is_gone(
    account: AssemblyAI, sim: AssemblyAISimulator, audio: Path
) -> None:
    url = await account.upload(audio)
    done = await finished(account, await account.submit(url, OPTIONS))
    await account.cancel(done.id)
    with pytest.raises(JobGone):
        await account.fetch(done.id)  # the answer says "completed", and "Deleted by user." as the text
    expired = await account.submit(url, OPTIONS)
    sim.faults.script("poll", "expired")
    for request in (account.fetch(expired.id), account.cancel(expired.id)):
        with pytest.raises(JobGone):
            await request


async def test_a_missing_file_and_a_provider_that_is_not_there(account: AssemblyAI, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable):
        await account.upload(tmp_path / "none.wav")
    nobody = AssemblyAI("key", "http://127.0.0.1:9", timeout=1)
    with pytest.raises(NotReached):
        await nobody.check()
    nowhere = AssemblyAI("key", "api.assemblyai.com", timeout=1)
    with pytest.raises(NotConfigured, match="ASSEMBLYAI_BASE_URL"):
        await nowhere.check()
    for client in (nobody, nowhere):
        await client.disconnect()


@pytest.mark.parametrize(
    "address", ["http://me:s3cret@127.0.0.1:9", "http://me:s3/cret@127.0.0.1:9", "me:s3cret@127.0.0.1:9"]
)
async def test_a_password_in_the_address_is_in_no_message(address: str) -> None:
    nobody = AssemblyAI("key", address, timeout=1)
    with pytest.raises(CallPipelineError) as raised:
        await nobody.check()
    await nobody.disconnect()
    assert isinstance(raised.value, NotReached | NotConfigured)
    assert "s3" not in str(raised.value)


@pytest.mark.parametrize("key", ["", " \n", "schlüssel"])
def test_what_cannot_be_a_key_is_refused_before_anything_is_sent(key: str) -> None:
    with pytest.raises(NotConfigured):
        AssemblyAI(key, "http://127.0.0.1:9", timeout=1)


def test_each_event_loop_has_connections_of_its_own(sim: AssemblyAISimulator) -> None:
    account = AssemblyAI(sim.api_key, sim.base_url, timeout=5)

    async def check() -> None:
        await account.check()
        await account.check()
        await account.disconnect()

    for _ in range(2):
        asyncio.run(check())


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("en", "en"),
        ("EN-us", "en_us"),
        ("en_GB", "en_uk"),
        ("pt-BR", "pt"),
        ("nb", "no"),
        ("auto", None),
        ("", None),
    ],
)
def test_languages_are_written_as_assemblyai_writes_them(given: str, asked: str | None) -> None:
    assert language_code(given) == asked


def test_a_language_by_its_name_is_refused() -> None:
    with pytest.raises(NotFit, match="two-letter"):
        language_code("English")
