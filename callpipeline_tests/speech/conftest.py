"""Calls with a known dialogue, and workers for the engines."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pytest

from callpipeline.audio.decode import read
from callpipeline.audio.probe import probe
from callpipeline.audio.vad import speech_activity
from callpipeline.limits.supplies import Supplies
from callpipeline.pipeline.workers import Workers
from callpipeline.speech.engines.base import CpuRunner, EngineTools, SpeechJob

P = ParamSpec("P")
T = TypeVar("T")

DATA = Path(__file__).parents[2] / "data"


@dataclass(frozen=True)
class Call:
    """A recording as a speech engine gets it, and what is said in it."""

    job: SpeechJob
    dialogue: list[dict[str, Any]]

    def text_of(self, speaker: str) -> str:
        return " ".join(line["text"] for line in self.dialogue if line["speaker"] == speaker)


def job_of(path: Path, language: str = "en") -> SpeechJob:
    """Probe a file and find its speech, as the stages before an engine do."""
    info = probe(path, max_duration=36_000, max_bytes=2**30)
    return SpeechJob(path.stem, path, info, speech_activity(path, info), language)


def tools_of(cpu: CpuRunner) -> EngineTools:
    """Return what an engine gets that works on this machine alone."""

    def none() -> Supplies:
        raise AssertionError("a local engine asked for a provider's limits")

    return EngineTools(cpu=cpu, thread=cpu, supplies=none, clean=lambda transcript: transcript)


def sample(name: str) -> Call:
    """Return a shipped sample by the name of its dialogue."""
    truth = json.loads((DATA / "samples_src" / "expected" / f"{name}.json").read_text("utf-8"))
    return Call(job_of(DATA / "samples" / truth["file"]), truth["dialogue"])


def write_wav(path: Path, samples: np.ndarray, rate: int = 16_000) -> Path:
    """Write samples, shape (channels, n), as 16-bit wav."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[0])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples.T, -1, 1) * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="session")
def stereo_call() -> Call:
    return sample("homes-surrender")


@pytest.fixture(scope="session")
def telephone_call() -> Call:
    """8 kHz."""
    return sample("homes-already-listed")


@pytest.fixture(scope="session")
def mono_call() -> Call:
    return sample("mono-homes-attempted")


@pytest.fixture(scope="session")
def dual_mono_call(mono_call: Call, tmp_path_factory: pytest.TempPathFactory) -> Call:
    """The mono call, the same on both channels."""
    samples = read(mono_call.job.path)
    path = write_wav(tmp_path_factory.mktemp("dual") / "dual.wav", np.repeat(samples, 2, axis=0))
    return Call(job_of(path), mono_call.dialogue)


@pytest.fixture(scope="session")
def one_voice_call(telephone_call: Call, tmp_path_factory: pytest.TempPathFactory) -> Call:
    """The agent's channel alone."""
    path = write_wav(tmp_path_factory.mktemp("one") / "agent.wav", read(telephone_call.job.path)[:1])
    return Call(job_of(path), [line for line in telephone_call.dialogue if line["speaker"] == "agent"])


@pytest.fixture(scope="session")
def cpu() -> Iterator[CpuRunner]:
    """Real worker processes."""
    workers = Workers(1)
    yield workers.cpu
    workers.close()


@pytest.fixture(scope="session")
def here() -> CpuRunner:
    """Runs worker functions in this process, for tests of what they return."""

    async def run(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return fn(*args, **kwargs)

    return run
