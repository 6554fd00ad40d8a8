"""Cleaner sound before a transcription and better word times after it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from callpipeline.audio.decode import read
from callpipeline.model import Segment, Transcript, Word
from callpipeline.settings import Settings
from callpipeline.speech.engines import transcriber
from callpipeline.speech.engines.base import CpuRunner
from callpipeline.speech.forced_alignment import aligned
from callpipeline.speech.separation import write_cleaned
from callpipeline_tests.speech.conftest import Call, tools_of, write_wav
from callpipeline_tests.tiny_whisper import tiny_whisper

HISS = 0.02


def _error_db(samples: np.ndarray, clean: np.ndarray) -> float:
    return float(10 * np.log10(((samples - clean) ** 2).mean() / (clean**2).mean()))


def test_hiss_goes_and_every_word_stays_where_it_is(one_voice_call: Call, tmp_path: Path) -> None:
    clean = read(one_voice_call.job.path)
    noisy = clean + HISS * np.random.default_rng(0).standard_normal(clean.shape).astype(np.float32)
    write_wav(tmp_path / "noisy.wav", noisy, 16_000)
    write_cleaned(tmp_path / "noisy.wav", tmp_path / "cleaned.flac")
    cleaned = read(tmp_path / "cleaned.flac")
    assert cleaned.shape == noisy.shape
    # An error of a few samples in time alone would be worse than the hiss.
    assert _error_db(cleaned, clean) < _error_db(noisy, clean) - 3


def _heard(call: Call, here: CpuRunner) -> Transcript:
    return asyncio.run(transcriber(Settings(), tools_of(here)).transcribe(call.job))


def test_words_with_wrong_times_are_put_where_they_are_said(stereo_call: Call, here: CpuRunner) -> None:
    heard = _heard(stereo_call, here)
    rough = heard.model_copy(update={"segments": tuple(map(_evenly_spread, heard.segments))})
    found = asyncio.run(aligned(rough, stereo_call.job, here))
    assert _off(found, heard) < 0.1 < _off(rough, heard)
    assert [w.text for s in found.segments for w in s.words] == [
        w.text for s in heard.segments for w in s.words
    ]
    assert any("enhanced alignment" in note for note in found.notes)


def _evenly_spread(segment: Segment) -> Segment:
    """Times as an engine gives them that knows those of the segment only."""
    step = (segment.end - segment.start) / len(segment.words)
    words = tuple(
        word.model_copy(update={"start": segment.start + n * step, "end": segment.start + (n + 1) * step})
        for n, word in enumerate(segment.words)
    )
    return segment.model_copy(update={"words": words})


def _off(found: Transcript, right: Transcript) -> float:
    pairs = zip(
        (w.start for s in found.segments for w in s.words),
        (w.start for s in right.segments for w in s.words),
        strict=True,
    )
    return float(np.mean([abs(a - b) for a, b in pairs if a is not None and b is not None]))


def test_what_cannot_be_aligned_keeps_its_times_and_the_result_says_so(
    stereo_call: Call, here: CpuRunner
) -> None:
    words = tuple(Word(text=t, start=1.0 + n, end=1.5 + n) for n, t in enumerate(("Xyzzq", "Qwrtp", "Zzyzx")))
    strange = Segment(start=1.0, end=4.0, text="Xyzzq Qwrtp Zzyzx", channel=0, words=words)
    given = _heard(stereo_call, here).model_copy(update={"segments": (strange,)})
    found = asyncio.run(aligned(given, stereo_call.job, here))
    assert found.segments == given.segments
    assert "0 of 1 segments; the others keep the engine's times" in found.notes[-1]
    other = asyncio.run(aligned(given.model_copy(update={"language": "es"}), stereo_call.job, here))
    assert other.segments == given.segments
    assert "English" in other.notes[-1]


@pytest.mark.parametrize(("suppressed", "digits"), [(False, True), (True, False)])
def test_numbers_are_written_as_words_when_that_is_asked_for(
    suppressed: bool, digits: bool, one_voice_call: Call, here: CpuRunner, tmp_path: Path
) -> None:
    model = tiny_whisper(tmp_path / "model", " that is 25 dollars")
    settings = Settings(transcriber="whisper", whisper_model=str(model), suppress_numerals=suppressed)
    engine = transcriber(settings, tools_of(here))
    text = " ".join(s.text for s in asyncio.run(engine.transcribe(one_voice_call.job)).segments)
    assert any(sign.isdigit() for sign in text) is digits
    other = transcriber(settings.model_copy(update={"suppress_numerals": not suppressed}), tools_of(here))
    assert engine.version != other.version


def test_a_long_segment_is_left_alone(stereo_call: Call, here: CpuRunner) -> None:
    heard = _heard(stereo_call, here)
    whole = Segment(start=0.0, end=100.0, text="hello there", channel=0, words=())
    job = replace(stereo_call.job, info=stereo_call.job.info.model_copy(update={"duration": 100.0}))
    found = asyncio.run(aligned(heard.model_copy(update={"segments": (whole,)}), job, here))
    assert found.segments == (whole,)
