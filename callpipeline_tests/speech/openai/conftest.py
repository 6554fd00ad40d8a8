"""A simulated OpenAI, a store with its limits, and a stereo call that the simulator knows."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from callpipeline.limits.retry import RetryPolicy
from callpipeline.limits.supplies import Supplies, open_supplies
from callpipeline.model import Transcript
from callpipeline.settings import Settings
from callpipeline.speech.engines import transcriber
from callpipeline.speech.engines.base import CpuRunner, EngineTools, RemoteTranscriber, SpeechJob
from callpipeline.speech.trimming import Cut, cut, voice, write_audio
from callpipeline_tests.simulators import OpenAISimulator, SpokenTurn
from callpipeline_tests.speech.conftest import DATA, Call

PER_MINUTE = 0.006
ROUTE = "transcriptions"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def running_sim() -> Iterator[OpenAISimulator]:
    with OpenAISimulator(dialogues=DATA / "samples_src") as running:
        yield running


@pytest.fixture
def sim(running_sim: OpenAISimulator) -> OpenAISimulator:
    running_sim.reset()
    return running_sim


class House:
    """A store with its limits, and engines that work in it."""

    def __init__(self, root: Path, thread: CpuRunner, **settings: Any) -> None:
        self.settings = Settings(
            store_dir=root, openai_audio_requests_per_minute=60_000, **{"transcriber": "openai", **settings}
        )
        self.supplies: Supplies = open_supplies(self.settings, policy=RetryPolicy().scaled(0.0))
        self._thread = thread
        self._engines: list[RemoteTranscriber] = []

    def engine(self, **tools: Any) -> RemoteTranscriber:
        values = {"clean": lambda transcript: transcript, **tools}
        own = EngineTools(cpu=self._thread, thread=self._thread, supplies=lambda: self.supplies, **values)
        engine = transcriber(self.settings, own)
        assert isinstance(engine, RemoteTranscriber)
        self._engines.append(engine)
        return engine

    async def transcribe(self, job: SpeechJob, **tools: Any) -> Transcript:
        return await self.engine(**tools).transcribe(job)

    @property
    def spent(self) -> tuple[float, float, float]:
        """Dollars settled, open and unsure."""
        totals = self.supplies.costs.totals()
        return totals.settled, totals.open, totals.unsure

    async def close(self) -> None:
        for engine in self._engines:
            await engine.disconnect()
        self.supplies.close()


Open = Callable[..., House]


@pytest.fixture
async def open_house(tmp_path: Path, here: CpuRunner, sim: OpenAISimulator) -> AsyncIterator[Open]:
    """Open the store of this test, as another process would after the last one."""
    houses: list[House] = []

    def open_(**settings: Any) -> House:
        at_sim = {"openai_api_key": sim.api_key, "openai_base_url": sim.base_url}
        houses.append(House(tmp_path / "store", here, **{**at_sim, **settings}))
        return houses[-1]

    yield open_
    for house in houses:
        await house.close()


def cut_of(job: SpeechJob, channel: int) -> Cut:
    """What of a channel the engine sends by itself: half a second stays around its speech."""
    return cut(job.info, voice(job.activity, [channel]), longest_silence=1.0)


def said_in(piece: int, channel: int) -> str:
    return f"Piece {piece}, channel {channel}: isn't it well-known?"


@pytest.fixture
def answered(sim: OpenAISimulator, stereo_call: Call, tmp_path: Path) -> Call:
    """The stereo call; in each piece that is sent of a channel, a sentence begins after 0.2 s."""
    for channel in (0, 1):
        sent = cut_of(stereo_call.job, channel)
        path = tmp_path / f"{channel}.flac"
        write_audio(stereo_call.job.path, sent, path, channels=[channel])
        turns, begin = [], 0.0
        for number, region in enumerate(sent.kept):
            end = begin + region.duration
            turns.append(
                SpokenTurn(
                    speaker="x", start=begin + 0.2, end=end - 0.2, text=said_in(number, channel), channel=0
                )
            )
            begin = end
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        sim.answers.register(digest, turns, duration=sent.seconds)
    return stereo_call
