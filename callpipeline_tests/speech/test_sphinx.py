"""The offline demo engine on shipped samples: what it understands, where it puts it, what it says of
itself."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import jiwer
import pytest

from callpipeline.failures import EmptyFile, NotAudio, NotConfigured, SourceUnavailable
from callpipeline.model import Transcript
from callpipeline.pipeline.workers import Workers
from callpipeline.settings import Settings
from callpipeline.speech.engines import transcriber
from callpipeline.speech.engines.base import CpuRunner, SpeechJob
from callpipeline_tests.speech.conftest import Call, tools_of

WORST_WER = {"stereo_call": 0.25, "telephone_call": 0.30}


def transcribe(job: SpeechJob, cpu: CpuRunner) -> Transcript:
    return asyncio.run(transcriber(Settings(transcriber="sphinx"), tools_of(cpu)).transcribe(job))


def plain(text: str) -> str:
    return " ".join(re.sub(r"[^a-z' ]", " ", text.lower()).split())


@pytest.fixture(scope="module")
def transcript(stereo_call: Call, cpu: CpuRunner) -> Transcript:
    return transcribe(stereo_call.job, cpu)


@pytest.fixture
def silent_job(stereo_call: Call) -> SpeechJob:
    silent = tuple(c.model_copy(update={"speech": ()}) for c in stereo_call.job.activity.channels)
    activity = stereo_call.job.activity.model_copy(update={"channels": silent})
    return replace(stereo_call.job, activity=activity)


@pytest.mark.parametrize("name", WORST_WER)
def test_most_words_of_a_clear_call_are_understood(
    name: str, cpu: CpuRunner, request: pytest.FixtureRequest
) -> None:
    call: Call = request.getfixturevalue(name)
    found = transcribe(call.job, cpu)

    heard = {c: " ".join(s.text for s in found.segments if s.channel == c) for c in (0, 1)}
    spoken = [plain(call.text_of("agent")), plain(call.text_of("customer"))]
    assert jiwer.wer(spoken, [plain(heard[0]), plain(heard[1])]) <= WORST_WER[name]


def test_everything_says_that_it_is_a_demo(transcript: Transcript) -> None:
    assert transcript.engine == "sphinx"
    assert transcript.demo
    assert any("demo" in note for note in transcript.notes)


def test_words_lie_where_they_are_spoken(transcript: Transcript, stereo_call: Call) -> None:
    def spoken_at(text: str, speaker: str) -> tuple[float, float]:
        line = next(d for d in stereo_call.dialogue if d["speaker"] == speaker and text in d["text"].lower())
        return line["start"] - 0.3, line["end"] + 0.3

    for channel, speaker, text in (
        (0, "agent", "calling"),
        (1, "customer", "interested"),
        (0, "agent", "thank"),
    ):
        start, end = spoken_at(text, speaker)
        words = [w for s in transcript.segments if s.channel == channel for w in s.words if w.text == text]
        assert any(
            start <= w.start and w.end <= end for w in words if w.start is not None and w.end is not None
        )


def test_every_word_has_times_inside_its_segment_and_a_confidence(transcript: Transcript) -> None:
    for segment in transcript.segments:
        assert segment.text == " ".join(w.text for w in segment.words)
        for word in segment.words:
            assert word.start is not None
            assert word.end is not None
            assert segment.start <= word.start <= word.end <= segment.end <= transcript.duration
            assert word.confidence is not None
            assert 0 <= word.confidence <= 1


def test_segments_are_in_order_of_start(transcript: Transcript) -> None:
    starts = [s.start for s in transcript.segments]
    assert starts == sorted(starts)


def test_another_process_and_smaller_pieces_give_the_same_text(
    transcript: Transcript, stereo_call: Call, here: CpuRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callpipeline.speech.engines.sphinx.PIECE_SECONDS", 7.0)
    assert transcribe(stereo_call.job, here) == transcript


def test_mono_words_have_no_channel(one_voice_call: Call, here: CpuRunner) -> None:
    found = transcribe(one_voice_call.job, here)
    assert found.segments
    assert {s.channel for s in found.segments} == {None}


def test_another_language_is_refused_and_the_alternative_named(stereo_call: Call, here: CpuRunner) -> None:
    with pytest.raises(NotConfigured, match="CALLPIPELINE_TRANSCRIBER=whisper"):
        transcribe(replace(stereo_call.job, language="es"), here)


def test_a_silent_recording_has_an_empty_transcript(silent_job: SpeechJob, here: CpuRunner) -> None:
    assert transcribe(silent_job, here).segments == ()


def test_regional_english_is_english(silent_job: SpeechJob, here: CpuRunner) -> None:
    assert transcribe(replace(silent_job, language="en-GB"), here).language == "en"


def test_a_recording_that_is_gone_is_named_across_processes(stereo_call: Call, cpu: CpuRunner) -> None:
    job = replace(stereo_call.job, path=stereo_call.job.path.with_name("gone.mp3"))
    with pytest.raises((SourceUnavailable, NotAudio, EmptyFile), match="gone"):
        transcribe(job, cpu)


def test_threads_side_by_side_give_the_same_text_as_one_after_the_other(one_voice_call: Call) -> None:
    whole = one_voice_call.job
    (channel,) = whole.activity.channels
    begun = channel.model_copy(update={"speech": channel.speech[:1]})
    job = replace(whole, activity=whole.activity.model_copy(update={"channels": (begun,)}))
    threads = Workers(2, processes=False)

    async def both() -> list[Transcript]:
        engine = transcriber(Settings(transcriber="sphinx"), tools_of(threads.cpu))
        return await asyncio.gather(engine.transcribe(job), engine.transcribe(job))

    first, second = asyncio.run(both())
    alone = transcribe(job, threads.cpu)
    threads.close()
    assert first == second == alone
    assert first.segments
