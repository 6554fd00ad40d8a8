"""NeMo's diarizers on real, tiny models: the whole path runs, what the models know is known beforehand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.recordings import SAMPLES
from callpipeline.audio.probe import probe
from callpipeline.audio.vad import speech_activity
from callpipeline.failures import NotConfigured
from callpipeline.model import Diarization
from callpipeline.settings import DiarizerName, Settings
from callpipeline.speech.diarizers import DIARIZERS, available, by_voice, nemo_weights
from callpipeline.speech.engines.base import SpeechJob
from callpipeline_tests.tiny_nemo import tiny_sortformer, tiny_titanet

needs_nemo = pytest.mark.skipif(
    not nemo_weights.installed(), reason="the extra nemo is not installed: pip install -e '.[nemo]'"
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("nemo")
    return {
        "sortformer_model": str(tiny_sortformer(folder / "sortformer.nemo", speaking=2)),
        "titanet_model": str(tiny_titanet(folder / "titanet.nemo")),
    }


@pytest.fixture
def job(tmp_path: Path) -> SpeechJob:
    path = _two_tones(tmp_path)
    info = probe(path, max_duration=60.0, max_bytes=10**8)
    return SpeechJob("key", path, info, speech_activity(path, info), "en", speakers=2)


def _two_tones(folder: Path) -> Path:
    """One real voice, low and high in turns of four seconds: two voices for whoever listens to spectra."""
    import wave

    from callpipeline.audio.decode import read

    speech = read(next(p for p in sorted(SAMPLES.glob("**/*Decision Maker*.mp3"))), rate=16_000)[0]
    loud = speech[np.abs(speech) > 0.005][: 16_000 * 8]
    turns = [
        piece
        for n in range(2)
        for piece in (loud[n * 64_000 : (n + 1) * 64_000], np.repeat(loud, 2)[:64_000])
    ]
    path = folder / "two.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((np.concatenate(turns) * 32767).astype("<i2").tobytes())
    return path


def _diarized(name: DiarizerName, settings: Settings, job: SpeechJob) -> Diarization:
    async def none(fn: Callable[..., object], *args: object) -> object:
        raise AssertionError("works in a thread of its own")

    return asyncio.run(DIARIZERS[name](settings, none).diarize(job))


@needs_nemo
def test_sortformer_names_the_voice_that_its_model_hears(models: dict[str, str], job: SpeechJob) -> None:
    found = _diarized(DiarizerName.SORTFORMER, Settings(**models), job)
    assert found.engine == "sortformer"
    [span] = found.spans
    assert (span.speaker, span.start) == ("speaker_0", 0.0)
    assert span.end == pytest.approx(job.info.duration, abs=0.1)


@needs_nemo
def test_titanet_covers_all_speech_with_the_speakers_asked_for(
    models: dict[str, str], job: SpeechJob
) -> None:
    found = _diarized(DiarizerName.TITANET, Settings(**models), job)
    assert {span.speaker for span in found.spans} == {"speaker_0", "speaker_1"}
    spoken = sum(region.duration for region in job.activity.channels[0].speech)
    assert sum(span.end - span.start for span in found.spans) == pytest.approx(spoken, abs=0.01)


@needs_nemo
def test_where_weights_are_here_they_are_taken_and_said(models: dict[str, str]) -> None:
    settings = Settings(**models)
    assert by_voice(settings) is DiarizerName.TITANET
    rows = {row.name: row for row in available(settings)}
    assert rows["sortformer"].ready
    assert rows["titanet"].chosen
    assert not rows["spectral"].chosen


@needs_nemo
def test_a_model_is_loaded_once_and_forgotten_when_nobody_uses_it(models: dict[str, str]) -> None:
    first = nemo_weights.load("sortformer", models["sortformer_model"], "cpu")
    assert nemo_weights.load("sortformer", models["sortformer_model"], "cpu") is first
    assert nemo_weights.unload(idle_seconds=3600) == 0
    assert nemo_weights.unload() >= 1
    assert nemo_weights.load("sortformer", models["sortformer_model"], "cpu") is not first


@needs_nemo
def test_a_file_that_is_no_model_is_refused_with_what_to_do(tmp_path: Path, job: SpeechJob) -> None:
    wrong = tmp_path / "wrong.nemo"
    wrong.write_bytes(b"not a model")
    with pytest.raises(NotConfigured, match=r"wrong\.nemo.*CALLPIPELINE_SORTFORMER_MODEL"):
        _diarized(DiarizerName.SORTFORMER, Settings(sortformer_model=str(wrong)), job)


def test_without_weights_the_default_goes_on_and_doctor_says_what_is_missing() -> None:
    settings = Settings(sortformer_model="/nowhere/model.nemo", titanet_model="/nowhere/model.nemo")
    assert by_voice(settings) is DiarizerName.SPECTRAL
    rows = {row.name: row for row in available(settings)}
    assert not rows["sortformer"].ready
    assert rows["sortformer"].hint
    assert rows["spectral"].chosen
