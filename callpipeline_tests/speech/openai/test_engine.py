"""Shipped calls through the real SDK: words, times, channels, money, and nothing twice."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from callpipeline.failures import (
    NotFit,
    ProviderFailed,
    UsageError,
)
from callpipeline.qa.redaction import redact_transcript
from callpipeline.speech.trimming import voice
from callpipeline_tests.simulators import OpenAISimulator, SpokenTurn
from callpipeline_tests.speech.conftest import DATA, Call
from callpipeline_tests.speech.openai.conftest import PER_MINUTE, ROUTE, Open, cut_of, said_in

pytestmark = pytest.mark.anyio


# --- words, times, channels, money ------------------------------------------------------------------------


async def test_a_mono_call_goes_out_untouched_and_comes_back_word_for_word(
    open_house: Open, sim: OpenAISimulator, mono_call: Call
) -> None:
    house = open_house(cut_silences=False)
    job = mono_call.job
    transcript = await house.transcribe(job)
    assert [(s.start, s.end, s.text) for s in transcript.segments] == [
        (line["start"], line["end"], line["text"]) for line in mono_call.dialogue
    ]
    for segment in transcript.segments:
        assert " ".join(word.text for word in segment.words) == segment.text
        assert segment.words[0].start == segment.start
        assert abs((segment.words[-1].end or 0) - segment.end) <= 0.002
    assert transcript.confidence == pytest.approx(math.exp(-0.12), abs=0.001)
    (call,) = sim.calls(ROUTE)
    assert isinstance(call.body, dict)
    assert call.body["file"]["sha256"] == hashlib.sha256(job.path.read_bytes()).hexdigest()
    assert call.body["file"]["filename"] == "audio.mp3"
    charged = math.ceil(job.info.duration)
    assert house.spent == pytest.approx((charged / 60 * PER_MINUTE, 0.0, 0.0))
    (row,) = house.supplies.ledger.calls()
    assert (row.provider, row.pool, row.recording, row.seconds) == (
        "openai",
        "openai_audio",
        job.key,
        charged,
    )


async def test_each_channel_is_a_request_of_its_own_and_its_words_return_to_their_place(
    open_house: Open, sim: OpenAISimulator, answered: Call
) -> None:
    house = open_house()
    job = answered.job
    transcript = await house.transcribe(job)
    cuts = {channel: cut_of(job, channel) for channel in (0, 1)}
    assert sum(len(c.kept) for c in cuts.values()) > 4, "the call is no test of cuts"
    expected = sorted(
        (round(region.start + 0.2, 3), channel, said_in(number, channel))
        for channel, sent in cuts.items()
        for number, region in enumerate(sent.kept)
    )
    assert [(round(s.start, 3), s.channel, s.text) for s in transcript.segments] == expected
    for segment in transcript.segments:
        assert " ".join(word.text for word in segment.words) == segment.text
        assert segment.speaker is None
        assert abs((segment.words[0].start or 0) - segment.start) <= 0.001
    assert sim.stats.paid.calls == 2
    seconds = [math.ceil(sent.seconds) for sent in cuts.values()]
    assert sum(seconds) < 1.3 * job.info.duration
    assert house.spent == pytest.approx((sum(seconds) / 60 * PER_MINUTE, 0.0, 0.0))
    assert not list((house.settings.store / "sending").iterdir())


async def test_what_is_planned_is_what_is_sent(
    open_house: Open, sim: OpenAISimulator, answered: Call
) -> None:
    house = open_house()
    engine = house.engine()
    planned = engine.planned(answered.job)
    assert sim.stats.all.requests == 0
    await engine.transcribe(answered.job)
    rows = {row.request_hash: row for row in house.supplies.ledger.calls()}
    assert {call.request_hash for call in planned} == rows.keys()
    for call in planned:
        assert call.cost == pytest.approx(rows[call.request_hash].cost)
        assert math.ceil(call.seconds) == rows[call.request_hash].seconds
    sizes = [call.body["file"]["bytes"] for call in sim.calls(ROUTE) if isinstance(call.body, dict)]
    assert all(size < call.bytes for size, call in zip(sizes, planned, strict=True))


async def test_a_channel_on_which_nobody_speaks_is_not_sent(
    open_house: Open, sim: OpenAISimulator, answered: Call
) -> None:
    agent, customer = answered.job.activity.channels
    quiet = customer.model_copy(update={"speech": ()})
    activity = answered.job.activity.model_copy(update={"channels": (agent, quiet)})
    transcript = await open_house().transcribe(replace(answered.job, activity=activity))
    assert {segment.channel for segment in transcript.segments} == {0}
    assert sim.stats.paid.calls == 1
    activity = activity.model_copy(update={"channels": (agent.model_copy(update={"speech": ()}), quiet)})
    nobody = await open_house().transcribe(replace(answered.job, activity=activity))
    assert (nobody.segments, nobody.skipped_reason) == ((), "nobody speaks")
    assert sim.stats.paid.calls == 1


async def test_text_without_times_is_placed_where_somebody_speaks(
    open_house: Open, sim: OpenAISimulator, answered: Call
) -> None:
    transcript = await open_house(openai_transcribe_model="gpt-4o-transcribe").transcribe(answered.job)
    for channel in (0, 1):
        own = [s for s in transcript.segments if s.channel == channel]
        pieces = cut_of(answered.job, channel).kept
        assert " ".join(s.text for s in own) == " ".join(said_in(n, channel) for n in range(len(pieces)))
        speech = voice(answered.job.activity, [channel])
        assert own[0].start == speech[0].start
        assert own[-1].end == speech[-1].end
        assert all(any(s.start == region.start for region in speech) for s in own)
        assert all(0.8 < (s.confidence or 0) < 1.0 and not s.words for s in own)
    assert transcript.notes == (
        "gpt-4o-transcribe tells no times: they are estimated from where speech was heard",
    )
    assert transcript.engine_version.startswith("openai+1 gpt-4o-transcribe")


async def test_models_that_are_charged_by_tokens_have_their_tokens_in_the_ledger(
    open_house: Open, sim: OpenAISimulator, mono_call: Call
) -> None:
    house = open_house(openai_transcribe_model="gpt-4o-mini-transcribe-2025-12-15", cut_silences=False)
    await house.transcribe(mono_call.job)
    (row,) = house.supplies.ledger.calls()
    assert row.tokens_in == math.ceil(mono_call.job.info.duration * 10)
    assert row.tokens_out > 50
    assert row.cost == pytest.approx(mono_call.job.info.duration / 60 * 0.003)
    assert house.supplies.gate.stats["openai_audio"].tokens == row.tokens_in + row.tokens_out


async def test_the_tokens_of_a_model_count_against_the_account_s_limit(
    open_house: Open, sim: OpenAISimulator, mono_call: Call
) -> None:
    settings = {"openai_transcribe_model": "gpt-4o-transcribe", "cut_silences": False}
    tokens = mono_call.job.info.duration * 20
    house = open_house(**settings, openai_audio_tokens_per_minute=0.9 * tokens)
    with pytest.raises(UsageError, match="tokens per minute"):
        await house.transcribe(mono_call.job)
    assert sim.stats.all.requests == 0
    assert house.spent == (0.0, 0.0, 0.0)
    house = open_house(**settings, openai_audio_tokens_per_minute=1.1 * tokens)
    assert (await house.transcribe(mono_call.job)).segments


async def test_a_diarizing_model_names_the_speakers_of_a_mono_call(
    open_house: Open, sim: OpenAISimulator, mono_call: Call
) -> None:
    house = open_house(openai_transcribe_model="gpt-4o-transcribe-diarize", cut_silences=False)
    transcript = await house.transcribe(mono_call.job)
    letters = {"customer": "A", "agent": "B"}
    assert mono_call.dialogue[0]["speaker"] == "customer"
    assert [(s.start, s.text, s.speaker) for s in transcript.segments] == [
        (line["start"], line["text"], letters[line["speaker"]]) for line in mono_call.dialogue
    ]


async def test_the_provider_is_told_the_language(
    open_house: Open, sim: OpenAISimulator, mono_call: Call
) -> None:
    house = open_house()
    transcript = await house.transcribe(replace(mono_call.job, language="es-MX"))
    assert transcript.language == "es"
    (call,) = sim.calls(ROUTE)
    assert isinstance(call.body, dict)
    assert call.body["language"] == "es"
    with pytest.raises(NotFit, match="no language code"):
        await house.transcribe(replace(mono_call.job, language="Spanish, I think"))


# --- never twice ------------------------------------------------------------------------------------------


async def test_what_was_bought_is_there_after_the_results_are_gone(
    open_house: Open, sim: OpenAISimulator, answered: Call
) -> None:
    job = replace(answered.job, sha256=hashlib.sha256(answered.job.path.read_bytes()).hexdigest())
    first = await open_house().transcribe(job)
    again = await open_house(cut_silences=False).transcribe(replace(job, key="another name"))
    wrong_key = await open_house(openai_api_key="sk-wrong").transcribe(job)
    assert first == again == wrong_key
    assert sim.stats.paid.calls == 2
    await open_house().transcribe(job, force_paid=True)
    assert sim.stats.paid.calls == 4


async def test_a_channel_that_was_bought_stays_when_the_other_fails(
    open_house: Open, sim: OpenAISimulator, answered: Call
) -> None:
    sim.faults.script(ROUTE, "ok", "500", "500", "500")
    with pytest.raises(ProviderFailed):
        await open_house().transcribe(answered.job)
    assert sim.stats.paid.calls == 1
    transcript = await open_house().transcribe(answered.job)
    assert {segment.channel for segment in transcript.segments} == {0, 1}
    assert (sim.stats.paid.calls, sim.stats.paid.duplicates) == (2, 0)


async def test_two_that_want_the_same_recording_pay_once(
    open_house: Open, sim: OpenAISimulator, answered: Call
) -> None:
    one, two = await asyncio.gather(*(open_house().transcribe(answered.job) for _ in range(2)))
    assert one == two
    assert sim.stats.paid.calls == 2


async def test_a_killed_process_costs_at_most_the_call_that_was_under_way(
    open_house: Open, sim: OpenAISimulator, answered: Call, tmp_path: Path
) -> None:
    sim.faults.script(ROUTE, "ok", "stall")
    (tmp_path / "jobs").write_bytes(pickle.dumps([answered.job]))
    variables = {
        "CALLPIPELINE_TRANSCRIBER": "openai",
        "CALLPIPELINE_STORE_DIR": str(tmp_path / "store"),
        "CALLPIPELINE_OPENAI_AUDIO_REQUESTS_PER_MINUTE": "60000",
        **sim.environment(),
    }
    command = [sys.executable, "-m", "callpipeline_tests.speech.remote", str(tmp_path / "jobs")]
    with subprocess.Popen(
        command, env={**os.environ, **variables}, cwd=DATA.parent, stdout=subprocess.DEVNULL
    ) as process:
        end = time.monotonic() + 60
        while sim.stats.paid.calls < 2:
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < end, "it never sent anything"
            await asyncio.sleep(0.02)
        process.kill()
    house = open_house()
    transcript = await house.transcribe(answered.job)
    assert {segment.channel for segment in transcript.segments} == {0, 1}
    assert (sim.stats.paid.calls, sim.stats.paid.duplicates) == (3, 1)
    first, second = (cut_of(answered.job, channel).seconds for channel in (0, 1))
    settled = (math.ceil(first) + math.ceil(second)) / 60 * PER_MINUTE
    assert house.spent == pytest.approx((settled, 0.0, math.ceil(second) / 60 * PER_MINUTE))


async def test_only_clean_text_is_written_down(
    open_house: Open, sim: OpenAISimulator, mono_call: Call
) -> None:
    job = mono_call.job
    digest = hashlib.sha256(job.path.read_bytes()).hexdigest()
    said = SpokenTurn(speaker="agent", start=1.0, end=5.0, text="My number is 555-867-5309, call me.")
    with OpenAISimulator() as other:
        other.answers.register(digest, [said], duration=job.info.duration)
        house = open_house(openai_base_url=other.base_url, cut_silences=False, prices_file=None)
        transcript = await house.transcribe(job, clean=redact_transcript)
        assert "5309" not in transcript.text
        (row,) = house.supplies.ledger.calls()
        kept = house.supplies.ledger.paid_path(row.request_hash)
        assert "5309" not in kept.read_text()

        await house.transcribe(job, force_paid=True)
        assert "5309" in kept.read_text()
        assert await house.transcribe(job, clean=redact_transcript) == transcript
        assert "5309" not in kept.read_text()
        assert other.stats.paid.calls == 2
