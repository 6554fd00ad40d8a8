"""What is not sent at all, and what is found out before anything is spent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from callpipeline.failures import NotConfigured, ProviderFailed
from callpipeline.model import AudioInfo, ChannelSpeech, Region, Role, SpeechActivity
from callpipeline.speech.engines.base import CpuRunner, SpeechJob
from callpipeline_tests.simulators import OpenAISimulator
from callpipeline_tests.speech.conftest import write_wav
from callpipeline_tests.speech.openai.conftest import ROUTE, House, Open

pytestmark = pytest.mark.anyio


# --- what does not fit in one request ---------------------------------------------------------------------


def made_up(path: Path, seconds: float, rate: int = 16_000) -> SpeechJob:
    """A mono recording in which somebody speaks all the time."""
    info = AudioInfo(
        format="wav",
        codec="pcm_s16le",
        sample_rate=rate,
        channels=1,
        duration=seconds,
        claimed_duration=seconds,
        bytes=path.stat().st_size if path.exists() else round(2 * rate * seconds),
        bit_rate=None,
        levels=(),
        loudness_lufs=None,
        silences=(),
        decode_errors=0,
    )
    speech = ChannelSpeech(channel=0, role=Role.UNKNOWN, speech=(Region(start=0.0, end=seconds),))
    activity = SpeechActivity(duration=seconds, channels=(speech,), source="vad", detector="none")
    return SpeechJob("made-up", path, info, activity, "en", sha256=f"{path.name} {seconds}")


async def test_more_than_may_fit_in_one_request_is_planned_in_chunks(
    open_house: Open, sim: OpenAISimulator, tmp_path: Path
) -> None:
    engine = open_house(chunk_seconds=400.0).engine()
    assert [len(engine.planned(made_up(tmp_path / "n.wav", s))) for s in (700.0, 800.0)] == [1, 2]
    assert sim.stats.all.requests == 0


async def test_an_original_that_is_too_large_goes_out_smaller(
    open_house: Open, sim: OpenAISimulator, tmp_path: Path
) -> None:
    rate, seconds = 48_000, 260
    tone = 0.3 * np.sin(np.arange(rate * seconds) / 40)
    path = write_wav(tmp_path / "tone.wav", tone[None], rate)
    assert path.stat().st_size > 24_000_000
    await open_house().transcribe(made_up(path, seconds, rate))
    (call,) = sim.calls(ROUTE)
    assert isinstance(call.body, dict)
    assert call.body["file"]["filename"] == "audio.flac"
    assert call.body["file"]["bytes"] < 12_000_000


# --- before anything is spent -----------------------------------------------------------------------------


async def test_a_probe_says_whether_it_would_work(open_house: Open, sim: OpenAISimulator) -> None:
    (fine,) = await open_house().engine().probe()
    assert (fine.passed, fine.message.endswith("accepts the key; whisper-1 is served")) == (True, True)
    (refused,) = await open_house(openai_api_key="sk-wrong").engine().probe()
    assert (refused.passed, refused.hint) == (False, "Check the API key of OpenAI.")
    assert "401" in refused.message
    (unknown,) = await open_house(openai_transcribe_model="whisper-9").engine().probe()
    assert (unknown.passed, "whisper-9" in unknown.message) == (False, True)
    sim.faults.script("model", "503")
    with pytest.raises(ProviderFailed):
        await open_house().engine().probe()
    assert sim.stats.paid.calls == 0


def test_without_a_key_the_engine_says_what_to_set(tmp_path: Path, here: CpuRunner) -> None:
    house = House(tmp_path / "store", here)
    with pytest.raises(NotConfigured, match="OPENAI_API_KEY"):
        house.engine()
    house.supplies.close()
