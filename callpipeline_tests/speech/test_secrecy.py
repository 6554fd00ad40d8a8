"""What somebody said in a recording stays out of messages of failures, out of the ledger's and out of logs."""

from __future__ import annotations

import hashlib
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from callpipeline.failures import EngineFailed, NotFit, ProviderFailed
from callpipeline.settings import Settings
from callpipeline.speech.engines.assemblyai_answer import transcript_of
from callpipeline_tests.simulators import AssemblyAISimulator, OpenAISimulator, SpokenTurn
from callpipeline_tests.speech.conftest import Call
from callpipeline_tests.speech.remote import remote_engine

pytestmark = pytest.mark.anyio

SAID = "Quarterback insufficient funds, my card is 5558675309, zucchini."
WORDS = ("quarterback", "insufficient", "5558675309", "zucchini")

At = tuple[AssemblyAISimulator | OpenAISimulator, Callable[..., Settings]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["assemblyai", "openai"])
def at(request: pytest.FixtureRequest, tmp_path: Path, mono_call: Call) -> Iterator[At]:
    """A provider that heard the sentence in the mono call, and settings with which it is the engine."""
    name = request.param
    with AssemblyAISimulator() if name == "assemblyai" else OpenAISimulator() as sim:
        digest = hashlib.sha256(mono_call.job.path.read_bytes()).hexdigest()
        said = SpokenTurn(speaker="customer", start=0.5, end=9.0, text=SAID)
        sim.answers.register(digest, [said], duration=mono_call.job.info.duration)

        def make(**changes: Any) -> Settings:
            values = {
                "store_dir": tmp_path / "store",
                "transcriber": name,
                f"{name}_api_key": sim.api_key,
                f"{name}_base_url": sim.base_url,
                "cut_silences": False,
                "redact_pii": True,
                "call_timeout": 0.5,
                "retry_delay_scale": 0.001,
                "openai_audio_requests_per_minute": 60_000,
            }
            return Settings(**(values | changes))

        yield sim, make


def told(*texts: object) -> list[str]:
    """Return which of the words stand in these texts."""
    everything = " ".join(map(str, texts)).lower()
    return [word for word in WORDS if word in everything]


async def test_an_answer_that_is_cut_off_is_described_without_a_word_of_it(
    at: At, mono_call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    sim, make = at
    sim.faults.rate("transcriptions/truncated=1", "poll/truncated=1")
    job = replace(mono_call.job, name="Dana _ 555-0100.mp3")
    with caplog.at_level(logging.DEBUG):
        async with remote_engine(make()) as (engine, supplies):
            with pytest.raises(ProviderFailed, match=r"bytes of application/json") as raised:
                await engine.transcribe(job)
            messages = [call.message for call in supplies.ledger.calls()]
    assert "trying again" in caplog.text
    assert "Dana _ 555-0100.mp3" in caplog.text  # what people call it, not its key
    whole = "".join(traceback.format_exception(raised.value))
    assert told(raised.value, whole, caplog.text, *messages) == []


async def test_what_was_bought_and_is_damaged_is_described_without_a_word_of_it(
    at: At, mono_call: Call
) -> None:
    _, make = at
    async with remote_engine(make()) as (engine, _):
        await engine.transcribe(mono_call.job)
        (file,) = (make().store / "paid").iterdir()
        kept = json.loads(file.read_text())
        kept["result"]["transcript"]["segments"][0]["start"] = kept["result"]["transcript"]["segments"][0][
            "text"
        ]
        file.write_text(json.dumps(kept))
        with pytest.raises(EngineFailed, match=r"segments\.0\.start") as raised:
            await engine.transcribe(mono_call.job)
    assert told("".join(traceback.format_exception(raised.value))) == []


@pytest.mark.parametrize(
    "utterance",
    [
        {"text": SAID, "start": 0, "end": SAID, "channel": "1"},
        {"text": SAID, "start": 0, "end": 9, "channel": "zucchini"},
        {"text": SAID, "start": 0, "channel": "1"},
        {"text": SAID, "start": 0, "end": 9, "channel": "1", "words": [SAID]},
        SAID,
    ],
)
def test_a_transcript_that_cannot_be_read_is_described_without_a_word_of_it(utterance: object) -> None:
    answer = {"text": SAID, "utterances": [utterance]}
    with pytest.raises(ProviderFailed, match="cannot be read") as raised:
        transcript_of(answer, engine_version="v", multichannel=True, duration=2.0, preferred="m")
    assert told("".join(traceback.format_exception(raised.value))) == []


async def test_a_language_that_is_none_is_the_matter_of_one_recording(at: At, mono_call: Call) -> None:
    _, make = at
    odd = replace(mono_call.job, language="Spanish, I think")
    async with remote_engine(make(call_timeout=60)) as (engine, supplies):
        with pytest.raises(NotFit, match="no language code"):
            engine.planned(odd)
        with pytest.raises(NotFit, match="no language code"):
            await engine.transcribe(odd)
        assert supplies.ledger.calls() == []
        assert (await engine.transcribe(mono_call.job)).segments
