"""Local Whisper with a tiny model that says a known text: its words, its places, its weights and its
refusals."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from callpipeline.failures import NotConfigured
from callpipeline.model import Transcript
from callpipeline.settings import Settings
from callpipeline.speech.engines import transcriber
from callpipeline.speech.engines.base import CpuRunner, SpeechJob
from callpipeline_tests.speech.conftest import Call, job_of, tools_of, write_wav
from callpipeline_tests.tiny_whisper import tiny_whisper

SAID = " hello world this is a test call"


@pytest.fixture(scope="session")
def english(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper(tmp_path_factory.mktemp("whisper") / "english", SAID)


@pytest.fixture(scope="session")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper(tmp_path_factory.mktemp("whisper") / "multilingual", SAID, multilingual=True)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every attempt to reach the network is noted and fails at once."""
    attempts: list[object] = []

    def refuse(*args: object, **kwargs: object) -> None:
        attempts.append(args)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return attempts


def with_model(model: str | Path, **settings: object) -> Settings:
    return Settings.model_validate({"transcriber": "whisper", "whisper_model": str(model), **settings})


def transcribe(job: SpeechJob, model: Path, cpu: CpuRunner, **settings: object) -> Transcript:
    return asyncio.run(transcriber(with_model(model, **settings), tools_of(cpu)).transcribe(job))


def text_of(transcript: Transcript, channel: int | None) -> str:
    return " ".join(s.text for s in transcript.segments if s.channel == channel)


def test_each_channel_is_transcribed_by_itself(stereo_call: Call, english: Path, here: CpuRunner) -> None:
    found = transcribe(stereo_call.job, english, here)

    assert found.engine == "whisper"
    assert not found.demo
    assert text_of(found, 0) == SAID.strip()
    assert text_of(found, 1) == SAID.strip()


def test_words_lie_in_speech_of_their_channel(stereo_call: Call, english: Path, here: CpuRunner) -> None:
    found = transcribe(stereo_call.job, english, here)
    speech = {c.channel: c.speech for c in stereo_call.job.activity.channels}

    words = [(s.channel, w) for s in found.segments for w in s.words]
    assert len(words) == 2 * len(SAID.split())
    for channel, word in words:
        assert type(word.start) is float
        assert type(word.end) is float
        assert word.start <= word.end
        assert any(
            r.start - 0.2 <= word.start and word.end <= r.end + 0.2 for r in speech[channel or 0]
        ) or any(
            a.start - 0.2 <= word.start and word.end <= b.end + 0.2 and b.start - a.end < 0.5
            for a, b in zip(speech[channel or 0], speech[channel or 0][1:], strict=False)
        )


def test_times_never_pass_the_end_of_the_audio(stereo_call: Call, english: Path, here: CpuRunner) -> None:
    found = transcribe(stereo_call.job, english, here)
    assert all(0 <= s.start <= s.end <= found.duration for s in found.segments)
    assert all(w.end is not None and w.end <= found.duration for s in found.segments for w in s.words)


def test_the_same_sound_on_both_channels_is_heard_once(
    dual_mono_call: Call, english: Path, here: CpuRunner
) -> None:
    found = transcribe(dual_mono_call.job, english, here)
    assert {s.channel for s in found.segments} == {None}


def test_a_long_recording_is_heard_in_windows_and_in_order(
    mono_call: Call, english: Path, here: CpuRunner, tmp_path: Path
) -> None:
    from callpipeline.audio.decode import read

    once = read(mono_call.job.path)
    job = job_of(write_wav(tmp_path / "long.wav", np.tile(once, 8)))
    found = transcribe(job, english, here)

    windows = text_of(found, None).split().count("hello")
    speech = sum(r.duration for r in job.activity.channels[0].speech)
    assert speech / 30 <= windows <= speech / 15
    assert [s.start for s in found.segments] == sorted(s.start for s in found.segments)
    assert found.segments[-1].start > job.info.duration - 60


def test_a_multilingual_model_takes_the_language_of_the_recording(
    one_voice_call: Call, multilingual: Path, here: CpuRunner
) -> None:
    found = transcribe(replace(one_voice_call.job, language="es-MX"), multilingual, here)
    assert found.language == "es"
    assert found.segments


def test_an_english_model_refuses_another_language(
    one_voice_call: Call, english: Path, here: CpuRunner
) -> None:
    with pytest.raises(NotConfigured, match=r"small, not small\.en"):
        transcribe(replace(one_voice_call.job, language="es"), english, here)


def test_recordings_share_one_model(
    stereo_call: Call, one_voice_call: Call, english: Path, here: CpuRunner
) -> None:
    async def both() -> list[Transcript]:
        engine = transcriber(with_model(english), tools_of(here))
        return await asyncio.gather(*(engine.transcribe(c.job) for c in (stereo_call, one_voice_call)))

    first, second = asyncio.run(both())
    assert text_of(first, 0) == text_of(second, None) == SAID.strip()


def test_a_cuda_device_that_is_not_there_is_a_setting_to_change(
    one_voice_call: Call, english: Path, here: CpuRunner
) -> None:
    import ctranslate2

    if ctranslate2.get_cuda_device_count():
        pytest.skip("this machine has CUDA")
    with pytest.raises(NotConfigured, match="CALLPIPELINE_WHISPER_DEVICE"):
        transcribe(one_voice_call.job, english, here, whisper_device="cuda")


def test_auto_device_works_without_cuda(one_voice_call: Call, english: Path, here: CpuRunner) -> None:
    assert transcribe(one_voice_call.job, english, here, whisper_device="auto").segments


def test_missing_weights_say_what_to_do(
    one_voice_call: Call,
    here: CpuRunner,
    no_network: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(NotConfigured, match="could not be downloaded") as refusal:
        transcribe(one_voice_call.job, Path("tiny.en"), here)
    assert "CALLPIPELINE_WHISPER_MODEL" in str(refusal.value)
    assert "CALLPIPELINE_TRANSCRIBER=sphinx" in str(refusal.value)


@pytest.mark.parametrize("missing", ["model.bin", "tokenizer.json", "config.json"])
def test_an_incomplete_model_folder_names_the_missing_file(
    missing: str,
    one_voice_call: Call,
    english: Path,
    here: CpuRunner,
    no_network: list[object],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in english.iterdir():
        if file.name != missing:
            (folder / file.name).symlink_to(file)

    with pytest.raises(NotConfigured, match=missing):
        transcribe(one_voice_call.job, folder, here)
    assert not no_network


def test_a_model_name_that_does_not_exist_lists_those_that_do(
    one_voice_call: Call, here: CpuRunner, no_network: list[object]
) -> None:
    with pytest.raises(NotConfigured, match=r"no Whisper model 'gigantic'.*small\.en"):
        transcribe(one_voice_call.job, Path("gigantic"), here)
    assert not no_network


def test_the_version_changes_with_the_model(english: Path, multilingual: Path, here: CpuRunner) -> None:
    versions = {transcriber(with_model(model), tools_of(here)).version for model in (english, multilingual)}
    assert len(versions) == 2
