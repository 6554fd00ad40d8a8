"""Which engine is taken, and what ``doctor`` says about all of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from callpipeline.failures import NotConfigured
from callpipeline.settings import Settings
from callpipeline.speech.diarizers import diarizer
from callpipeline.speech.engines import available, transcriber
from callpipeline.speech.engines.base import CpuRunner, SpeechJob
from callpipeline_tests.speech.conftest import Call, tools_of
from callpipeline_tests.tiny_whisper import tiny_whisper


@pytest.fixture(autouse=True)
def _empty_hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def test_auto_takes_the_demo_engine_when_there_are_no_weights(here: CpuRunner) -> None:
    engine = transcriber(Settings(transcriber="auto"), tools_of(here))
    assert engine.name == "sphinx"
    assert engine.demo
    assert not engine.remote


def test_auto_takes_whisper_when_its_weights_are_here(here: CpuRunner, tmp_path: Path) -> None:
    weights = tiny_whisper(tmp_path / "model", " hello")
    assert (
        transcriber(Settings(transcriber="auto", whisper_model=str(weights)), tools_of(here)).name
        == "whisper"
    )


def test_auto_takes_whisper_from_the_hub_cache(
    here: CpuRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "hub"
    repository = cache / "models--Systran--faster-whisper-tiny.en"
    commit = "0" * 40
    tiny_whisper(repository / "snapshots" / commit, " hello")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))

    assert (
        transcriber(Settings(transcriber="auto", whisper_model="tiny.en"), tools_of(here)).name == "whisper"
    )
    assert (
        transcriber(Settings(transcriber="auto", whisper_model="small.en"), tools_of(here)).name == "sphinx"
    )


def test_a_half_downloaded_model_is_not_taken(here: CpuRunner, tmp_path: Path) -> None:
    weights = tiny_whisper(tmp_path / "model", " hello")
    (weights / "model.bin").unlink()
    assert (
        transcriber(Settings(transcriber="auto", whisper_model=str(weights)), tools_of(here)).name == "sphinx"
    )


def test_auto_takes_assemblyai_when_its_key_is_set_and_never_openai(
    here: CpuRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a key")
    assert transcriber(Settings(transcriber="auto"), tools_of(here)).name == "sphinx"
    monkeypatch.setenv("ASSEMBLYAI_API_KEY", "a key")
    assert transcriber(Settings(transcriber="auto"), tools_of(here)).name == "assemblyai"


@pytest.mark.parametrize("name", ["assemblyai", "openai"])
def test_a_cloud_engine_without_a_key_says_which_variable_to_set(name: str, here: CpuRunner) -> None:
    with pytest.raises(NotConfigured, match=f"{name.upper()}_API_KEY"):
        transcriber(Settings(transcriber=name), tools_of(here))


def test_doctor_lists_every_engine_and_the_chosen_ones() -> None:
    rows = available(Settings(transcriber="auto"))

    assert {r.name for r in rows if r.kind == "transcription"} == {
        "whisper",
        "sphinx",
        "assemblyai",
        "openai",
    }
    assert {r.name for r in rows if r.kind == "diarization"} == {
        "channels",
        "spectral",
        "titanet",
        "sortformer",
    }
    assert {r.name for r in rows if r.chosen} == {"sphinx", "channels", "spectral"}
    assert all(r.hint for r in rows if not r.ready)
    assert "demo" in next(r.detail for r in rows if r.name == "sphinx")


def test_doctor_marks_a_chosen_engine_that_is_not_ready() -> None:
    row = next(
        r for r in available(Settings(transcriber="whisper")) if r.chosen and r.kind == "transcription"
    )
    assert row.name == "whisper"
    assert not row.ready
    assert "CALLPIPELINE_WHISPER_MODEL" in row.hint


def test_stereo_is_diarized_by_channel_and_mono_by_voice(
    stereo_call: Call, mono_call: Call, dual_mono_call: Call, here: CpuRunner
) -> None:
    def chosen(job: SpeechJob, name: str = "auto") -> str:
        return diarizer(Settings(diarizer=name), here, job).name

    assert chosen(stereo_call.job) == "channels"
    assert chosen(mono_call.job) == "spectral"
    assert chosen(dual_mono_call.job) == "spectral"
    assert chosen(stereo_call.job, "spectral") == "spectral"


def test_a_diarizer_without_its_model_says_what_to_do(stereo_call: Call, here: CpuRunner) -> None:
    engine = diarizer(
        Settings(diarizer="sortformer", sortformer_model="/no/such.nemo"), here, stereo_call.job
    )
    with pytest.raises(NotConfigured, match=r"callpipeline\[nemo\]|CALLPIPELINE_SORTFORMER_MODEL"):
        asyncio.run(engine.diarize(stereo_call.job))
