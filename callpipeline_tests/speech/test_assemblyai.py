"""AssemblyAI as an engine: the real SDK, the whole gate and the shipped samples against the simulator."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pickle
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from callpipeline.failures import (
    AuthenticationFailed,
    BudgetExceeded,
    CallPipelineError,
    DeadlineExceeded,
    NotAudio,
    NotConfigured,
    ProviderFailed,
    QuotaExceeded,
)
from callpipeline.limits.ledger import Reuse
from callpipeline.limits.ledger_rows import CallState
from callpipeline.model import Transcript
from callpipeline.settings import Settings, TranscriberName
from callpipeline.speech.engines.assemblyai import SLOWEST_WORK, AssemblyAITranscriber
from callpipeline.speech.engines.assemblyai_answer import transcript_of
from callpipeline.speech.engines.assemblyai_request import Wanted
from callpipeline.speech.engines.base import SpeechJob
from callpipeline.speech.trimming import write_audio
from callpipeline_tests.simulators import AssemblyAISimulator, SpokenTurn
from callpipeline_tests.simulators.words import words_of
from callpipeline_tests.speech.conftest import DATA, Call, job_of, sample, write_wav
from callpipeline_tests.speech.remote import remote_engine

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
MakeSettings = Callable[..., Settings]
CALM = ("homes-surrender", "homes-already-listed", "homes-do-not-call", "homes-influencer")
MONO = ("mono-homes-attempted", "mono-homes-wrong-number")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def make_sim() -> Iterator[Callable[..., AssemblyAISimulator]]:
    running: list[AssemblyAISimulator] = []

    def make(**about: Any) -> AssemblyAISimulator:
        running.append(AssemblyAISimulator(dialogues=DATA / "samples_src", **about).start())
        return running[-1]

    yield make
    for sim in running:
        sim.stop()


@pytest.fixture
def sim(make_sim: Callable[..., AssemblyAISimulator]) -> AssemblyAISimulator:
    """Jobs take no time."""
    return make_sim()


@pytest.fixture
def settings_for(tmp_path: Path) -> Callable[[AssemblyAISimulator], MakeSettings]:
    def for_sim(sim: AssemblyAISimulator) -> MakeSettings:
        def make(**changes: Any) -> Settings:
            values: dict[str, Any] = {
                "store_dir": tmp_path / "store",
                "transcriber": TranscriberName.ASSEMBLYAI,
                "assemblyai_api_key": sim.api_key,
                "assemblyai_base_url": sim.base_url,
                "cut_silences": False,
                "retry_delay_scale": 0.001,
            }
            return Settings(**(values | changes))

        return make

    return for_sim


@pytest.fixture
def settings(sim: AssemblyAISimulator, settings_for: Callable[..., MakeSettings]) -> Settings:
    """Settings that send the samples as they are."""
    return settings_for(sim)()


@pytest.fixture(scope="session")
def long_silence() -> Call:
    return sample("homes-long-silence")


@pytest.fixture(scope="session")
def six_calls() -> list[Call]:
    return [sample(name) for name in (*CALM, *MONO)]


async def bought(settings: Settings, job: SpeechJob, **how: Any) -> Transcript:
    async with remote_engine(settings, **how) as (engine, _):
        return await engine.transcribe(job)


def turn(line: dict[str, Any], *, moved: float = 0.0, stereo: bool = True) -> SpokenTurn:
    return SpokenTurn(
        speaker=line["speaker"],
        start=round(line["start"] - moved, 3),
        end=round(line["end"] - moved, 3),
        text=line["text"],
        channel=int(stereo and line["speaker"] == "customer"),
    )


def said(transcript: Transcript, channel: int) -> str:
    return " ".join(s.text for s in transcript.segments if s.channel == channel)


def paid_for_once(sim: AssemblyAISimulator, count: int = 1) -> bool:
    return (sim.stats.paid.calls, sim.stats.paid.duplicates) == (count, 0)


# --- what comes back --------------------------------------------------------------------------------------


async def test_a_stereo_call_goes_as_it_is_and_comes_back_with_its_channels(
    sim: AssemblyAISimulator, settings: Settings, stereo_call: Call
) -> None:
    transcript = await bought(settings, stereo_call.job)
    for channel, speaker in enumerate(("agent", "customer")):
        assert said(transcript, channel) == stereo_call.text_of(speaker)
    expected = [word for line in stereo_call.dialogue for word in words_of(turn(line))]
    words = [word for segment in transcript.segments for word in segment.words]
    assert [(w.text, w.start, w.end, w.confidence) for w in words] == [
        (w.text, w.start / 1000, w.end / 1000, w.confidence) for w in expected
    ]
    assert {s.speaker for s in transcript.segments} == {None}
    assert transcript.duration == stereo_call.job.info.duration
    assert transcript.engine_version == "assemblyai+1 universal-3-5-pro,universal-2"
    (upload,) = sim.calls("upload")
    assert upload.body["sha256"] == hashlib.sha256(stereo_call.job.path.read_bytes()).hexdigest()  # type: ignore[index]
    (order,) = sim.calls("submit")
    assert order.body["multichannel"] is True  # type: ignore[index]


async def test_voices_of_a_mono_call_are_told_apart(
    sim: AssemblyAISimulator, settings: Settings, mono_call: Call
) -> None:
    transcript = await bought(settings, mono_call.job)
    for letter, speaker in (("A", "customer"), ("B", "agent")):
        heard = " ".join(s.text for s in transcript.segments if s.speaker == letter)
        assert heard == mono_call.text_of(speaker)
    assert {s.channel for s in transcript.segments} == {None}
    (order,) = sim.calls("submit")
    assert (order.body["speaker_labels"], order.body["speakers_expected"]) == (True, 2)  # type: ignore[index]


def test_of_a_hearing_the_provider_is_told_how_many_speak_only_if_that_is_known(
    settings: Settings, mono_call: Call, stereo_call: Call
) -> None:
    def asked(job: SpeechJob) -> tuple[bool, int | None]:
        options = Wanted(job, settings).options
        return options.multichannel, options.speakers

    assert asked(mono_call.job) == (False, 2)
    assert asked(replace(mono_call.job, hearing=True)) == (False, None)
    assert asked(replace(mono_call.job, hearing=True, speakers=5)) == (False, 5)
    assert asked(replace(stereo_call.job, hearing=True))[0]
    both = stereo_call.job.activity.channels[0]
    room = (both, both.model_copy(update={"channel": 1}))
    activity = stereo_call.job.activity.model_copy(update={"channels": room})
    one_room = replace(stereo_call.job, activity=activity, hearing=True)
    assert asked(one_room) == (False, None)
    assert Wanted(one_room, settings).channels is None


async def test_silences_are_left_out_and_the_times_are_those_of_the_recording(
    sim: AssemblyAISimulator,
    settings_for: Callable[..., MakeSettings],
    long_silence: Call,
    tmp_path: Path,
) -> None:
    settings = settings_for(sim)(cut_silences=True)
    moved = answer_for_cut(sim, settings, long_silence, tmp_path)
    transcript = await bought(settings, long_silence.job)
    lines = list(zip(long_silence.dialogue, moved, strict=True))
    expected = [(w, shift) for line, shift in lines for w in words_of(turn(line, moved=shift))]
    words = [word for segment in transcript.segments for word in segment.words]
    assert [w.text for w in words] == [w.text for w, _ in expected]
    for word, (sent, shift) in zip(words, expected, strict=True):
        assert word.start == pytest.approx(sent.start / 1000 + shift, abs=0.0005)
        assert word.end == pytest.approx(sent.end / 1000 + shift, abs=0.0005)
    assert transcript.duration == long_silence.job.info.duration
    assert sim.stats.paid.audio_seconds < long_silence.job.info.duration - 5
    assert not list((settings.store / "sending").iterdir())


def answer_for_cut(sim: AssemblyAISimulator, settings: Settings, call: Call, folder: Path) -> list[float]:
    """Teach the simulator what is said in the shortened call; return by how much each line moved."""
    cut = Wanted(call.job, settings).cut()
    assert not cut.whole
    gone = []
    for line in call.dialogue:
        before = [k for k in cut.kept if k.start <= line["start"] + 0.001]
        gone.append(before[-1].start - sum(k.duration for k in before[:-1]))
    write_audio(call.job.path, cut, folder / "sent.flac", channels=None)
    digest = hashlib.sha256((folder / "sent.flac").read_bytes()).hexdigest()
    turns = [turn(line, moved=shift) for line, shift in zip(call.dialogue, gone, strict=True)]
    sim.answers.register(digest, turns, duration=cut.seconds, channels=2)
    return gone


async def test_what_was_paid_is_the_price_list_s(
    sim: AssemblyAISimulator, settings: Settings, stereo_call: Call, mono_call: Call
) -> None:
    async with remote_engine(settings) as (engine, supplies):
        for call in (stereo_call, mono_call):
            (plan,) = engine.planned(call.job)
            assert sim.stats.all.requests == 0 or call is mono_call
            await engine.transcribe(call.job)
            row = supplies.ledger.call(plan.request_hash)
            assert row is not None
            hours = round(call.job.info.duration) / 3600
            assert row.cost == pytest.approx(hours * (0.21 if call is stereo_call else 0.23), rel=1e-5)
            assert row.cost == pytest.approx(plan.cost, rel=0.05)
            assert plan.seconds == pytest.approx(call.job.info.duration, abs=1e-4)
            assert plan.bytes == call.job.path.stat().st_size
        assert supplies.costs.totals(run="run").open == 0


def test_an_answer_without_utterances_is_read_from_its_words() -> None:
    words = [
        {"text": "Hi", "start": 100, "end": 300, "confidence": 0.9, "speaker": "A", "channel": None},
        {"text": "there.", "start": 300, "end": 500, "confidence": 0.9, "speaker": "A", "channel": None},
        {"text": "Hello.", "start": 900, "end": 1200, "confidence": 0.9, "speaker": "B", "channel": None},
    ]
    answer = {
        "text": "Hi there. Hello.",
        "words": words,
        "speech_model_used": "universal-2",
        "language_code": "en_us",
    }
    transcript = transcript_of(
        answer, engine_version="v", multichannel=False, duration=2.0, preferred="universal-3-5-pro"
    )
    assert [(s.speaker, s.text, s.start, s.end) for s in transcript.segments] == [
        ("A", "Hi there.", 0.1, 0.5),
        ("B", "Hello.", 0.9, 1.2),
    ]
    assert transcript.notes == ("AssemblyAI used universal-2.",)
    assert transcript.language == "en"


@pytest.mark.parametrize("answer", [{}, {"text": None}, {"text": "Hi", "utterances": [{"words": []}]}])
def test_nonsense_is_a_failure_and_no_empty_transcript(answer: dict[str, Any]) -> None:
    with pytest.raises(ProviderFailed):
        transcript_of(answer, engine_version="v", multichannel=False, duration=2.0, preferred="m")


# --- faults -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["upload", "submit", "poll"])
@pytest.mark.parametrize(
    "fault", ["429:0.02", "500", "500@after", "reset", "reset@after", "truncated", "wrong_type"]
)
async def test_a_hiccup_costs_nothing(
    sim: AssemblyAISimulator, settings: Settings, stereo_call: Call, route: str, fault: str
) -> None:
    sim.faults.script(route, fault)
    transcript = await bought(settings, stereo_call.job)
    assert said(transcript, 0) == stereo_call.text_of("agent")
    assert not any(sim.faults.waiting().values())
    assert paid_for_once(sim)


async def test_a_job_that_fails_or_expires_is_ordered_again(
    sim: AssemblyAISimulator, settings: Settings, stereo_call: Call, mono_call: Call
) -> None:
    sim.faults.script("submit", "job_error")
    assert said(await bought(settings, stereo_call.job), 0) == stereo_call.text_of("agent")
    assert (sim.stats.jobs.submitted, sim.stats.jobs.failed) == (2, 1)
    assert paid_for_once(sim)
    sim.faults.script("poll", "expired")
    assert (await bought(settings, mono_call.job)).text.startswith(mono_call.dialogue[0]["text"])
    assert sim.stats.jobs.submitted == 4


async def test_a_job_that_always_fails_is_a_failure_and_is_not_charged(
    sim: AssemblyAISimulator, settings: Settings, stereo_call: Call
) -> None:
    sim.faults.script("submit", *["job_error"] * 3)
    async with remote_engine(settings) as (engine, supplies):
        with pytest.raises(ProviderFailed, match="Simulated failure"):
            await engine.transcribe(stereo_call.job)
        row = supplies.ledger.call(engine.planned(stereo_call.job)[0].request_hash)
        assert row is not None
        assert (row.state, row.sends, row.error_class) == (CallState.FAILED, 3, "api")
        assert supplies.costs.totals().total == 0
    assert paid_for_once(sim, 0)
    assert (await bought(settings, stereo_call.job)).segments  # the next run may try again
    assert paid_for_once(sim)


async def test_a_file_that_was_damaged_since_is_encoded_anew_and_then_called_what_it_is(
    sim: AssemblyAISimulator, settings: Settings, stereo_call: Call, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.mp3"
    damaged.write_bytes(b"no audio at all " * 1000)
    with pytest.raises(NotAudio):
        await bought(settings, replace(stereo_call.job, path=damaged))
    assert sim.stats.jobs.submitted == 1
    assert paid_for_once(sim, 0)


async def test_a_refused_key_is_asked_once(
    sim: AssemblyAISimulator, settings_for: Callable[..., MakeSettings], six_calls: list[Call]
) -> None:
    settings = settings_for(sim)(assemblyai_api_key="wrong")
    async with remote_engine(settings) as (engine, _):
        for call in six_calls:
            with pytest.raises(AuthenticationFailed, match="Check the API key"):
                await engine.transcribe(call.job)
        assert sim.stats.all.requests == 1
        key, *models = await engine.probe()
    assert (key.passed, [m.passed for m in models]) == (False, [True, True])
    assert "API key" in key.message


async def test_a_good_key_and_priced_models_pass_the_probe(
    sim: AssemblyAISimulator, settings_for: Callable[..., MakeSettings]
) -> None:
    settings = settings_for(sim)(assemblyai_models="universal-2, brand-new")
    async with remote_engine(settings) as (engine, _):
        findings = await engine.probe()
    assert [f.passed for f in findings] == [True, True, False]
    assert "CALLPIPELINE_PRICES_FILE" in findings[2].hint
    assert findings[2].error_class == "not_configured"
    assert sim.stats.paid.calls == 0


async def test_no_key_is_a_setting_that_is_missing(
    sim: AssemblyAISimulator, settings_for: Callable[..., MakeSettings]
) -> None:
    settings = settings_for(sim)(assemblyai_api_key=None)
    with pytest.raises(NotConfigured, match="ASSEMBLYAI_API_KEY"):
        async with remote_engine(settings):
            pass


async def test_a_broken_budget_stops_before_the_upload_and_lets_shorter_calls_through(
    sim: AssemblyAISimulator, settings_for: Callable[..., MakeSettings], long_silence: Call, stereo_call: Call
) -> None:
    settings = settings_for(sim)(budget_per_run=25 / 3600 * 0.21)
    async with remote_engine(settings) as (engine, _):
        with pytest.raises(BudgetExceeded):
            await engine.transcribe(long_silence.job)
        assert sim.stats.all.requests == 0
        assert (await engine.transcribe(stereo_call.job)).segments


# --- slots, time-outs, deadlines --------------------------------------------------------------------------


async def test_no_more_jobs_are_in_flight_than_the_pool_has_slots(
    make_sim: Callable[..., AssemblyAISimulator],
    settings_for: Callable[..., MakeSettings],
    six_calls: list[Call],
) -> None:
    sim = make_sim(latency="fixed:0.1")
    async with remote_engine(settings_for(sim)(assemblyai_slots=2)) as (engine, _):
        await asyncio.gather(*(engine.transcribe(call.job) for call in six_calls))
    assert sim.stats.jobs.in_flight_max == 2
    assert paid_for_once(sim, 6)


async def test_looking_at_many_jobs_leaves_half_of_the_request_rate_for_new_ones(
    sim: AssemblyAISimulator, settings_for: Callable[..., MakeSettings]
) -> None:
    async with remote_engine(settings_for(sim)(assemblyai_requests_per_minute=4000)) as (engine, _):
        assert isinstance(engine, AssemblyAITranscriber)
        engine.watched = 5
        assert [engine.pause(age) for age in (0.0, 10.0, 600.0)] == [0.15, 0.5, 3.0]
        engine.watched = 200
        assert {engine.pause(age) for age in (0.0, 600.0)} == {6.0}


async def test_waiting_in_the_provider_s_queue_is_not_counted_as_its_work(
    make_sim: Callable[..., AssemblyAISimulator],
    settings_for: Callable[..., MakeSettings],
    six_calls: list[Call],
) -> None:
    sim = make_sim(latency="fixed:0.4", concurrency=1)
    settings = settings_for(sim)(assemblyai_slots=6, call_timeout=1.2)
    async with remote_engine(settings) as (engine, _):
        found = await asyncio.gather(*(engine.transcribe(call.job) for call in six_calls))
    assert all(transcript.segments for transcript in found)
    assert paid_for_once(sim, 6)


async def test_a_long_recording_may_take_longer_than_one_call(
    make_sim: Callable[..., AssemblyAISimulator],
    settings_for: Callable[..., MakeSettings],
    stereo_call: Call,
) -> None:
    sim = make_sim(latency="fixed:1")
    assert SLOWEST_WORK * stereo_call.job.info.duration > 5
    transcript = await bought(settings_for(sim)(call_timeout=0.3), stereo_call.job)
    assert transcript.segments
    assert sim.stats.jobs.cancelled == 0
    assert paid_for_once(sim)


async def test_a_job_that_takes_too_long_is_stopped_and_not_charged(
    make_sim: Callable[..., AssemblyAISimulator],
    settings_for: Callable[..., MakeSettings],
    tmp_path: Path,
) -> None:
    sim = make_sim(latency="fixed:60")
    job = job_of(write_wav(tmp_path / "short.wav", np.zeros((1, 12_000)), 16_000))
    async with remote_engine(settings_for(sim)(call_timeout=0.5)) as (engine, supplies):
        with pytest.raises(ProviderFailed, match="CALLPIPELINE_CALL_TIMEOUT"):
            await engine.transcribe(job)
        assert supplies.costs.totals().total == 0
    assert sim.stats.jobs.cancelled == 1
    assert paid_for_once(sim, 0)


async def test_a_job_that_is_not_ready_at_the_deadline_is_fetched_by_the_next_run(
    make_sim: Callable[..., AssemblyAISimulator],
    settings_for: Callable[..., MakeSettings],
    stereo_call: Call,
) -> None:
    sim = make_sim(latency="fixed:1")
    settings = settings_for(sim)()
    with pytest.raises(DeadlineExceeded):
        await bought(settings, stereo_call.job, seconds=0.5)
    assert said(await bought(settings, stereo_call.job), 0) == stereo_call.text_of("agent")
    assert paid_for_once(sim)


async def test_a_cancelled_call_leaves_its_job_to_the_next(
    make_sim: Callable[..., AssemblyAISimulator],
    settings_for: Callable[..., MakeSettings],
    stereo_call: Call,
) -> None:
    sim = make_sim(latency="fixed:0.5")
    settings = settings_for(sim)()
    async with remote_engine(settings) as (engine, _):
        task = asyncio.create_task(engine.transcribe(stereo_call.job))
        while not sim.stats.jobs.submitted:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await bought(settings, stereo_call.job)).segments
    assert paid_for_once(sim)


# --- never paid twice -------------------------------------------------------------------------------------


async def test_what_was_bought_is_used_again_however_silences_are_cut_now(
    sim: AssemblyAISimulator,
    settings_for: Callable[..., MakeSettings],
    long_silence: Call,
    tmp_path: Path,
) -> None:
    make = settings_for(sim)
    answer_for_cut(sim, make(cut_silences=True), long_silence, tmp_path)
    first = await bought(make(cut_silences=True), long_silence.job)
    before = sim.stats.all.requests
    assert await bought(make(cut_silences=False), long_silence.job) == first
    assert sim.stats.all.requests == before
    assert await bought(make(), replace(long_silence.job, key="same bytes", sha256="")) != first
    await bought(make(cut_silences=True), long_silence.job, force_paid=True)
    assert sim.stats.jobs.submitted == 3


async def test_a_lost_result_is_fetched_with_the_cut_that_was_sent(
    sim: AssemblyAISimulator,
    settings_for: Callable[..., MakeSettings],
    long_silence: Call,
    tmp_path: Path,
) -> None:
    make = settings_for(sim)
    answer_for_cut(sim, make(cut_silences=True), long_silence, tmp_path)
    first = await bought(make(cut_silences=True), long_silence.job)
    shutil.rmtree(make().store / "paid")
    assert await bought(make(cut_silences=False), long_silence.job) == first
    assert paid_for_once(sim)


async def test_what_is_kept_went_through_the_cleaning(
    sim: AssemblyAISimulator, settings: Settings, stereo_call: Call
) -> None:
    def clean(transcript: Transcript) -> Transcript:
        segments = tuple(s.model_copy(update={"text": "[hidden]", "words": ()}) for s in transcript.segments)
        return transcript.model_copy(update={"segments": segments})

    assert set((await bought(settings, stereo_call.job, clean=clean)).text.split()) == {"[hidden]"}
    (kept,) = (settings.store / "paid").iterdir()
    assert stereo_call.dialogue[0]["text"] not in kept.read_text()


async def test_an_order_whose_answer_was_lost_is_looked_for_by_the_next_run(
    sim: AssemblyAISimulator, settings_for: Callable[..., MakeSettings], stereo_call: Call
) -> None:
    sim.faults.script("submit", "reset@after")
    with pytest.raises(DeadlineExceeded):  # before the second try, which is five seconds away
        await bought(settings_for(sim)(retry_delay_scale=1.0), stereo_call.job, seconds=1.0)
    assert said(await bought(settings_for(sim)(), stereo_call.job), 0) == stereo_call.text_of("agent")
    assert (sim.stats.jobs.submitted, sim.stats.routes["upload"].requests) == (1, 1)


@pytest.mark.parametrize("refusal", ["401", "quota", "429:0.01", "400", "reset"])
async def test_an_order_stays_in_doubt_when_it_cannot_be_looked_for(
    sim: AssemblyAISimulator, settings: Settings, stereo_call: Call, refusal: str
) -> None:
    sim.faults.script("submit", "reset@after")
    sim.faults.rate(f"list/{refusal}=1.0")
    async with remote_engine(settings) as (engine, supplies):
        with pytest.raises(CallPipelineError):
            await engine.transcribe(stereo_call.job)
        assert sim.stats.routes["list"].requests
        (row,) = supplies.ledger.unfinished()
        assert (row.state, row.reference is not None) == (CallState.SENDING, True)
        assert supplies.costs.totals().open > 0
    sim.faults.clear()
    assert said(await bought(settings, stereo_call.job), 0) == stereo_call.text_of("agent")
    assert (sim.stats.jobs.submitted, sim.stats.routes["upload"].requests) == (1, 1)


async def test_a_refused_order_does_not_clear_the_one_before_it(
    sim: AssemblyAISimulator, settings: Settings, stereo_call: Call
) -> None:
    sim.faults.script("submit", "reset", "429:0.01", "401")
    async with remote_engine(settings) as (engine, supplies):
        with pytest.raises(AuthenticationFailed):
            await engine.transcribe(stereo_call.job)
        assert sim.stats.routes["list"].requests == 2
        (row,) = supplies.ledger.unfinished()
        assert (row.state, row.sends) == (CallState.SENDING, 3)
    assert (await bought(settings, stereo_call.job)).segments
    assert sim.stats.routes["upload"].requests == 1
    assert paid_for_once(sim)


async def test_a_refused_order_that_is_the_only_one_is_closed_and_costs_nothing(
    sim: AssemblyAISimulator, settings: Settings, stereo_call: Call
) -> None:
    sim.faults.script("submit", "429:0.01", "401")
    async with remote_engine(settings) as (engine, supplies):
        with pytest.raises(AuthenticationFailed):
            await engine.transcribe(stereo_call.job)
        assert supplies.ledger.unfinished() == []
        assert supplies.costs.totals().total == 0
    assert sim.stats.routes.keys() == {"upload", "submit"}


async def test_the_refusal_of_one_recording_s_look_up_does_not_close_the_order_of_another(
    sim: AssemblyAISimulator, settings: Settings, stereo_call: Call, mono_call: Call
) -> None:
    calls = (stereo_call, mono_call)
    sim.faults.script("submit", "reset@after", "reset@after")
    sim.faults.script("list", "quota")
    async with remote_engine(settings) as (engine, supplies):
        ended = await asyncio.gather(*(engine.transcribe(c.job) for c in calls), return_exceptions=True)
        assert [type(end) for end in ended] == [QuotaExceeded, QuotaExceeded]
        assert len(supplies.ledger.unfinished()) == 2
    for call in calls:
        assert (await bought(settings, call.job)).segments
    assert paid_for_once(sim, 2)


async def test_no_budget_is_needed_for_an_order_that_was_made_before(
    sim: AssemblyAISimulator, settings_for: Callable[..., MakeSettings], stereo_call: Call
) -> None:
    sim.faults.script("submit", "reset@after")
    sim.faults.script("list", "401")
    with pytest.raises(AuthenticationFailed):
        await bought(settings_for(sim)(), stereo_call.job)
    poor = settings_for(sim)(budget_per_run=0.0)
    assert (await bought(poor, stereo_call.job)).segments
    assert paid_for_once(sim)


async def test_an_order_in_doubt_stays_in_doubt_when_the_budget_says_no(
    sim: AssemblyAISimulator, settings_for: Callable[..., MakeSettings], stereo_call: Call
) -> None:
    sim.faults.script("submit", "reset")
    sim.faults.script("list", "401")
    with pytest.raises(AuthenticationFailed):
        await bought(settings_for(sim)(), stereo_call.job)
    async with remote_engine(settings_for(sim)(budget_per_run=0.0)) as (engine, supplies):
        with pytest.raises(BudgetExceeded):
            await engine.transcribe(stereo_call.job)
        (row,) = supplies.ledger.unfinished()
        assert row.reference
        assert supplies.costs.totals().open > 0
    assert (await bought(settings_for(sim)(), stereo_call.job)).segments
    assert paid_for_once(sim)


async def test_what_was_bought_is_still_there_when_buying_it_again_fails(
    sim: AssemblyAISimulator, settings: Settings, stereo_call: Call
) -> None:
    first = await bought(settings, stereo_call.job)
    sim.faults.script("submit", *["job_error"] * 3)
    with pytest.raises(ProviderFailed):
        await bought(settings, stereo_call.job, force_paid=True)
    assert await bought(settings, stereo_call.job) == first
    assert sim.stats.paid.calls == 1


async def test_what_was_kept_before_cleaning_was_switched_on_is_cleaned_when_it_is_used(
    sim: AssemblyAISimulator, settings: Settings, stereo_call: Call
) -> None:
    def clean(transcript: Transcript) -> Transcript:
        segments = tuple(s.model_copy(update={"text": "[hidden]", "words": ()}) for s in transcript.segments)
        return transcript.model_copy(update={"segments": segments})

    await bought(settings, stereo_call.job)
    (kept,) = (settings.store / "paid").iterdir()
    assert stereo_call.dialogue[0]["text"] in kept.read_text()
    again = await bought(settings, stereo_call.job, clean=clean)
    assert set(again.text.split()) == {"[hidden]"}
    assert stereo_call.dialogue[0]["text"] not in kept.read_text()
    assert await bought(settings, stereo_call.job) == again
    assert paid_for_once(sim)


async def test_killed_again_and_again_all_calls_are_transcribed_and_none_is_paid_twice(
    make_sim: Callable[..., AssemblyAISimulator],
    settings_for: Callable[..., MakeSettings],
    six_calls: list[Call],
    tmp_path: Path,
) -> None:
    sim = make_sim(latency="fixed:0.15", http_latency="fixed:0.01")
    settings = settings_for(sim)(assemblyai_slots=3)
    jobs = tmp_path / "jobs.pickle"
    jobs.write_bytes(pickle.dumps([call.job for call in six_calls]))
    environment = os.environ | sim.environment()
    environment |= {
        "CALLPIPELINE_STORE_DIR": str(settings.store),
        "CALLPIPELINE_TRANSCRIBER": "assemblyai",
        "CALLPIPELINE_CUT_SILENCES": "0",
        "CALLPIPELINE_ASSEMBLYAI_SLOTS": "3",
        "CALLPIPELINE_RETRY_DELAY_SCALE": "0.001",
    }
    chance = random.Random(7)
    kills = 0
    while kills < 8 and one_process(jobs, environment, chance.uniform(0.02, 0.4)):
        kills += 1
    assert kills
    assert not one_process(jobs, environment, None)
    async with remote_engine(settings) as (engine, supplies):
        hashes = [engine.planned(call.job)[0].request_hash for call in six_calls]
        assert all(isinstance(supplies.ledger.attach(of), Reuse) for of in hashes)
        assert supplies.costs.totals().open == 0
    assert paid_for_once(sim, 6)
    assert sim.stats.jobs.in_flight_max <= 3


def one_process(jobs: Path, environment: dict[str, str], seconds: float | None) -> bool:
    """Transcribe in a process of its own; return whether it was killed, so many seconds after it began."""
    command = [sys.executable, "-m", "callpipeline_tests.speech.remote", str(jobs)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=ROOT)
    try:
        assert process.stdout
        assert process.stdout.readline() == b"begun\n"
        if seconds is not None:
            time.sleep(seconds)
            process.kill()
        status = process.wait(60)
        assert status in (0, -9)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    return status == -9
