"""Simulators and small recordings for the tests of the simulators."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pytest

from callpipeline_tests.simulators import AssemblyAISimulator, OpenAISimulator, SpokenTurn

if TYPE_CHECKING:
    import assemblyai
    import openai


class Closable(Protocol):
    """Holds connections."""

    def close(self) -> None:
        """Let them go."""


TURNS = (
    SpokenTurn(
        speaker="agent", start=0.2, end=1.4, text="Hello, this is Maria. Is it a good time?", channel=0
    ),
    SpokenTurn(speaker="customer", start=1.6, end=2.8, text="Not now, thank you.", channel=1),
)
MakeWav = Callable[..., bytes]
_clients: list[Closable] = []


@pytest.fixture(autouse=True)
def _close_clients() -> Iterator[None]:
    """Close the connections of the clients that a test opened."""
    yield
    while _clients:
        _clients.pop().close()


@pytest.fixture
def make_wav() -> MakeWav:
    """Return a maker of small wav files; another ``seed`` gives other bytes."""

    def make(seconds: float = 3.0, channels: int = 2, rate: int = 8000, seed: int = 0) -> bytes:
        rng = np.random.default_rng(seed)
        samples = rng.integers(-3000, 3000, (round(seconds * rate), channels), dtype=np.int16)
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(samples.tobytes())
        return out.getvalue()

    return make


@pytest.fixture
def assemblyai_sim() -> Iterator[AssemblyAISimulator]:
    """AssemblyAI with its defaults; jobs take no time."""
    with AssemblyAISimulator() as sim:
        yield sim


@pytest.fixture
def openai_sim() -> Iterator[OpenAISimulator]:
    """OpenAI with its defaults; answers take no time."""
    with OpenAISimulator() as sim:
        yield sim


def transcriber(sim: AssemblyAISimulator, **settings: object) -> assemblyai.Transcriber:
    """Return the official synchronous client, polling fast."""
    import assemblyai as aai

    values = {"api_key": sim.api_key, "base_url": sim.base_url, "polling_interval": 0.02, **settings}
    client = aai.Client(settings=aai.Settings(**values))
    _clients.append(client.http_client)
    return aai.Transcriber(client=client)


def openai_client(sim: OpenAISimulator, **settings: object) -> openai.OpenAI:
    """Return the official synchronous client without its retries."""
    import openai

    values = {"api_key": sim.api_key, "base_url": sim.base_url, "max_retries": 0, "timeout": 20, **settings}
    client = openai.OpenAI(**values)
    _clients.append(client)
    return client
