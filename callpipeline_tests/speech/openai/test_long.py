"""Long recordings in chunks: no word lost, few files, nothing paid twice, and what fails is a gap."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from callpipeline.failures import AuthenticationFailed, BudgetExceeded, ProviderFailed
from callpipeline.limits.retry import RetryPolicy
from callpipeline.limits.supplies import Supplies, open_supplies
from callpipeline.model import ChunkPlan, ChunkState, Transcript
from callpipeline.pipeline.workers import Workers
from callpipeline.settings import Settings
from callpipeline.speech.engines import transcriber
from callpipeline.speech.engines.base import EngineTools, SpeechJob
from callpipeline.speech.engines.chunking import plan_of
from callpipeline.speech.engines.openai import OpenAITranscriber
from callpipeline_tests.simulators import OpenAISimulator
from callpipeline_tests.speech.chunking import known, speech_of, voices
from callpipeline_tests.speech.conftest import DATA, write_wav
from callpipeline_tests.speech.openai.conftest import ROUTE
from callpipeline_tests.speech.openai.test_own_servers import OwnServer
from callpipeline_tests.tone_speech import ToneWord, script, spoken

pytestmark = pytest.mark.anyio

SECONDS = 100.0
RATE = 8000
TIME = 0.03
"""How exactly tone words are heard (s) after Opus."""


@pytest.fixture(scope="module")
def listener() -> Iterator[OpenAISimulator]:
    """Hears what is said, and takes a while for it."""
    with OpenAISimulator(hearing="tones", latency="fixed:0.1") as running:
        yield running


@pytest.fixture
def sim(listener: OpenAISimulator) -> OpenAISimulator:
    listener.reset()
    return listener


@dataclass(frozen=True)
class Hearing:
    """A recording, and what is said in it."""

    job: SpeechJob
    words: Sequence[ToneWord]

    def between(self, start: float, end: float) -> list[str]:
        return [word.text for word in self.words if start <= word.start < end]

    def without(self, start: float, end: float) -> list[str]:
        return [word.text for word in self.words if not start <= word.start < end]


def hearing(folder: Path, seed: int = 1, seconds: float = SECONDS, **how: Any) -> Hearing:
    words = script(seed, seconds, **how)
    path = write_wav(folder / f"{seed}.wav", spoken(words, seconds, RATE)[None], RATE)
    info = known(seconds, RATE)
    activity = voices(seconds, speech_of(words))
    return Hearing(SpeechJob(f"hearing-{seed}", path, info, activity, "en", sha256=f"{seed}"), words)


@pytest.fixture(scope="module")
def long_one(tmp_path_factory: pytest.TempPathFactory) -> Hearing:
    return hearing(tmp_path_factory.mktemp("long"))


class House:
    """A store and an engine in it, as one run has them; counts the files that lie on the disk."""

    def __init__(self, root: Path, sim: OpenAISimulator, **settings: Any) -> None:
        values = {
            "openai_api_key": sim.api_key,
            "openai_base_url": sim.base_url,
            "transcriber": "openai",
            "openai_audio_requests_per_minute": 60_000,
            "chunk_seconds": 20.0,
            **settings,
        }
        self.settings = Settings(store_dir=root, **values)
        self.supplies: Supplies = open_supplies(self.settings, policy=RetryPolicy().scaled(0.0))
        self.workers = Workers(2)
        self.states: list[ChunkState] = []
        self.most_files = 0
        self.engine = self._engine()

    def _engine(self, **tools: Any) -> OpenAITranscriber:
        own = EngineTools(
            cpu=self.workers.cpu,
            thread=self.workers.thread,
            supplies=lambda: self.supplies,
            progress=self._note,
            look_ahead=lambda: self.settings.chunk_look_ahead,
            **{"clean": lambda transcript: transcript, **tools},
        )
        engine = transcriber(self.settings, own)
        assert isinstance(engine, OpenAITranscriber)
        return engine

    def _note(self, state: ChunkState) -> None:
        self.states.append(state)
        self.most_files = max(self.most_files, len(self.files))

    @property
    def files(self) -> list[Path]:
        folder = self.settings.store / "sending"
        return list(folder.iterdir()) if folder.exists() else []

    def plan(self, job: SpeechJob) -> ChunkPlan:
        return plan_of(job.info, job.activity, self.settings, self.engine.chunk_limits)

    async def transcribe(self, job: SpeechJob, **tools: Any) -> Transcript:
        engine = self._engine(**tools) if tools else self.engine
        try:
            return await engine.transcribe(replace(job, plan=self.plan(job)))
        finally:
            await engine.disconnect()

    def close(self) -> None:
        self.workers.close()
        self.supplies.close()


Open = Callable[..., House]


@pytest.fixture
def open_house(tmp_path: Path, sim: OpenAISimulator) -> Iterator[Open]:
    """Open the store of this test, as another run would after the last one."""
    houses: list[House] = []

    def open_(**settings: Any) -> House:
        houses.append(House(tmp_path / "store", sim, **settings))
        return houses[-1]

    yield open_
    for house in houses:
        house.close()


def heard(transcript: Transcript) -> list[str]:
    return [word.text.lower().strip(".") for segment in transcript.segments for word in segment.words]


def times(transcript: Transcript) -> list[float]:
    return [word.start or 0.0 for segment in transcript.segments for word in segment.words]


# --- words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["opus", "flac", "mp3"])
async def test_every_word_comes_back_once_at_its_time(
    open_house: Open, sim: OpenAISimulator, long_one: Hearing, codec: str
) -> None:
    house = open_house(chunk_codec=codec)
    transcript = await house.transcribe(long_one.job)
    assert heard(transcript) == [word.text for word in long_one.words]
    assert times(transcript) == pytest.approx([word.start for word in long_one.words], abs=TIME)
    assert (transcript.gaps, transcript.duration) == ((), SECONDS)
    assert sim.stats.paid.calls == len(house.plan(long_one.job).chunks)
    assert not house.files


async def test_where_nobody_pauses_chunks_overlap_and_no_word_is_there_twice(
    open_house: Open, sim: OpenAISimulator, tmp_path: Path
) -> None:
    breathless = hearing(tmp_path, 2, 60.0, breath=(0.06, 0.14), phrase=(300, 300))
    house = open_house()
    plan = house.plan(breathless.job)
    assert {chunk.seam for chunk in plan.chunks[1:]} == {"overlap"}
    assert heard(await house.transcribe(breathless.job)) == [word.text for word in breathless.words]


async def test_long_silences_are_neither_sent_nor_paid_for(
    open_house: Open, sim: OpenAISimulator, tmp_path: Path
) -> None:
    paused = hearing(tmp_path, 3, 90.0, hushes=[(20.0, 60.0)])
    transcript = await open_house().transcribe(paused.job)
    assert heard(transcript) == [word.text for word in paused.words]
    assert times(transcript) == pytest.approx([word.start for word in paused.words], abs=TIME)
    assert sim.stats.paid.audio_seconds < 55.0


async def test_parties_on_channels_of_their_own_stay_apart(
    open_house: Open, sim: OpenAISimulator, tmp_path: Path
) -> None:
    import numpy as np

    seconds = 60.0
    turns = [(10.0 * n, 10.0 * (n + 1)) for n in range(6)]
    one = script(4, seconds, hushes=turns[1::2])
    other = script(5, seconds, hushes=turns[0::2])
    sound = np.stack([spoken(words, seconds, RATE) for words in (one, other)])
    info = known(seconds, RATE).model_copy(update={"channels": 2})
    activity = voices(seconds, speech_of(one), speech_of(other))
    job = SpeechJob("stereo", write_wav(tmp_path / "stereo.wav", sound, RATE), info, activity, "en")
    transcript = await open_house().transcribe(job)
    for channel, words in enumerate((one, other)):
        own = [s for s in transcript.segments if s.channel == channel]
        assert heard(transcript.model_copy(update={"segments": tuple(own)})) == [w.text for w in words]


async def test_microphones_in_one_room_are_heard_as_one(
    open_house: Open, sim: OpenAISimulator, long_one: Hearing, tmp_path: Path
) -> None:
    import numpy as np

    sound = spoken(long_one.words, SECONDS, RATE)
    path = write_wav(tmp_path / "room.wav", np.stack([sound, 0.8 * sound]), RATE)
    speech = speech_of(long_one.words)
    info = long_one.job.info.model_copy(update={"channels": 2})
    job = replace(long_one.job, path=path, info=info, activity=voices(SECONDS, speech, speech), sha256="room")
    house = open_house()
    assert heard(await house.transcribe(job)) == [word.text for word in long_one.words]
    assert sim.stats.paid.calls == len(house.plan(job).chunks)


# --- limits and files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [0, 2])
async def test_three_chunks_are_away_at_a_time_and_few_files_lie_on_the_disk(
    open_house: Open, sim: OpenAISimulator, long_one: Hearing, ahead: int
) -> None:
    house = open_house(openai_audio_slots=3, chunk_look_ahead=ahead, chunk_seconds=10.0)
    assert len(house.plan(long_one.job).chunks) >= 8
    await house.transcribe(long_one.job)
    assert 1 < sim.stats.routes[ROUTE].in_flight_max <= 3
    assert 1 < house.most_files <= 3 + ahead
    assert not house.files


async def test_ten_at_once_keep_to_the_limits(open_house: Open, sim: OpenAISimulator, tmp_path: Path) -> None:
    house = open_house(openai_audio_slots=3, chunk_look_ahead=2, chunk_seconds=10.0)
    many = [hearing(tmp_path, 100 + n, 26.0) for n in range(10)]
    found = await asyncio.gather(
        *(house.engine.transcribe(replace(h.job, plan=house.plan(h.job))) for h in many)
    )
    await house.engine.disconnect()
    assert [heard(t) for t in found] == [[word.text for word in h.words] for h in many]
    assert 1 < sim.stats.routes[ROUTE].in_flight_max <= 3
    assert house.most_files <= 3 + 2 * 2
    assert sim.stats.paid.duplicates == 0


async def test_what_is_planned_is_what_is_sent(
    open_house: Open, sim: OpenAISimulator, long_one: Hearing
) -> None:
    house = open_house()
    job = replace(long_one.job, plan=house.plan(long_one.job))
    planned = house.engine.planned(job)
    assert sim.stats.all.requests == 0
    await house.transcribe(long_one.job)
    rows = {row.request_hash: row for row in house.supplies.ledger.calls()}
    assert {call.request_hash for call in planned} == rows.keys()
    assert {row.purpose for row in rows.values()} == {
        f"chunk {n}/{len(planned)}" for n in range(1, len(planned) + 1)
    }
    sizes = [call.body["file"]["bytes"] for call in sim.calls(ROUTE) if isinstance(call.body, dict)]
    assert max(sizes) <= max(call.bytes for call in planned)
    assert sum(sizes) < 0.3 * SECONDS * RATE * 2, "it was not sent compressed"


async def test_what_a_model_does_not_take_at_once_is_cut(
    open_house: Open, sim: OpenAISimulator, tmp_path: Path
) -> None:
    words = script(6, 30.0)
    path = write_wav(tmp_path / "long.wav", spoken(words, 30.0, RATE)[None], RATE)
    job = SpeechJob("x", path, known(1500.0, RATE), voices(1500.0, [(0.0, 1500.0)]), "en", sha256="x")
    engine = open_house(openai_transcribe_model="gpt-4o-transcribe", chunk_seconds=1400.0).engine
    assert not engine.fits(job.info, job.activity)
    planned = engine.planned(job)
    assert len(planned) == 2
    assert max(call.seconds for call in planned) < 1400.0
    assert engine.fits(known(1300.0, RATE), voices(1300.0, [(0.0, 1300.0)]))


# --- what fails -------------------------------------------------------------------------------------------


async def test_a_chunk_that_fails_for_good_is_a_gap_and_the_next_run_sends_it_alone(
    open_house: Open, sim: OpenAISimulator, long_one: Hearing
) -> None:
    sim.faults.script(ROUTE, "ok", "ok", "400")
    house = open_house(openai_audio_slots=1)
    plan = house.plan(long_one.job)
    transcript = await house.transcribe(long_one.job)
    [gap] = transcript.gaps
    lost = plan.chunks[2]
    assert (gap.chunk, gap.start, gap.end, gap.error_class) == (2, lost.start, lost.end, "bad_request")
    assert heard(transcript) == long_one.without(lost.start, lost.end)
    assert {s.index for s in house.states if s.state == "failed"} == {2}
    bought = sim.stats.paid.calls
    assert bought == len(plan.chunks) - 1

    again = open_house()
    whole = await again.transcribe(long_one.job)
    assert whole.gaps == ()
    assert heard(whole) == [word.text for word in long_one.words]
    assert (sim.stats.paid.calls, sim.stats.paid.duplicates) == (bought + 1, 0)
    assert sum(s.state == "reused" for s in again.states) == bought


async def test_what_the_provider_cannot_read_is_cut_anew_and_sent_once_more(
    open_house: Open, long_one: Hearing
) -> None:
    refusal = {"error": {"message": "Audio file might be corrupted or unsupported", "code": "invalid_value"}}
    answers = [(200, {"text": f"Chunk {n}."}) for n in range(4)]
    server = OwnServer(answers[0], (400, refusal), answers[1], (400, refusal), (400, refusal), *answers[2:])
    async with server.running() as address:
        house = open_house(openai_base_url=address, openai_audio_slots=1)
        assert len(house.plan(long_one.job).chunks) == 5
        transcript = await house.transcribe(long_one.job)
    assert transcript.text == "Chunk 0. Chunk 1. Chunk 2. Chunk 3."
    assert [(gap.chunk, gap.error_class) for gap in transcript.gaps] == [(2, "corrupt_chunk")]
    sent = [body[body.index(b"OggS") : body.rindex(b"OggS")] for body in server.bodies]
    assert sent[1] == sent[2] != sent[3]
    assert sent[3] == sent[4]
    assert not house.files


async def test_passing_faults_leave_no_gap(open_house: Open, sim: OpenAISimulator, long_one: Hearing) -> None:
    sim.faults.script(ROUTE, "500", "429", "reset", "truncated", "503@after")
    transcript = await open_house().transcribe(long_one.job)
    assert heard(transcript) == [word.text for word in long_one.words]
    assert transcript.gaps == ()


async def test_a_provider_that_is_away_is_not_asked_for_every_chunk(
    open_house: Open, sim: OpenAISimulator, long_one: Hearing
) -> None:
    house = open_house(openai_audio_slots=1)
    chunks = len(house.plan(long_one.job).chunks)
    sim.faults.script(ROUTE, "ok", *["503"] * 100)
    transcript = await house.transcribe(long_one.job)
    assert len(transcript.gaps) == chunks - 1
    assert sim.stats.routes[ROUTE].requests == 1 + 3 * 3
    sim.faults.clear()
    assert (await open_house().transcribe(long_one.job)).gaps == ()
    sim.reset()
    sim.faults.rate(f"{ROUTE}/503=1")
    with pytest.raises(ProviderFailed):
        await open_house().transcribe(replace(long_one.job, sha256="another"))


@pytest.mark.parametrize(
    ("settings", "failed"),
    [({"openai_api_key": "sk-wrong"}, AuthenticationFailed), ({"budget_per_run": 0.005}, BudgetExceeded)],
)
async def test_what_ends_a_recording_ends_it_and_what_was_paid_stays(
    open_house: Open,
    sim: OpenAISimulator,
    long_one: Hearing,
    settings: dict[str, Any],
    failed: type[Exception],
) -> None:
    with pytest.raises(failed):
        await open_house(**settings).transcribe(long_one.job)
    before = sim.stats.paid.calls
    assert before == (2 if "budget_per_run" in settings else 0)
    house = open_house()
    assert heard(await house.transcribe(long_one.job)) == [word.text for word in long_one.words]
    assert not house.files
    assert (sim.stats.paid.calls, sim.stats.paid.duplicates) == (len(house.plan(long_one.job).chunks), 0)


async def test_cancelling_leaves_no_file_and_keeps_what_was_paid(
    open_house: Open, sim: OpenAISimulator, long_one: Hearing
) -> None:
    house = open_house()
    task = asyncio.create_task(house.transcribe(long_one.job))
    while not any(state.state == "done" for state in house.states):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not house.files
    again = open_house()
    assert heard(await again.transcribe(long_one.job)) == [word.text for word in long_one.words]
    assert any(state.state == "reused" for state in again.states)
    assert sim.stats.paid.duplicates <= 3


async def test_a_killed_process_costs_at_most_the_chunks_that_were_away(
    open_house: Open, sim: OpenAISimulator, long_one: Hearing, tmp_path: Path
) -> None:
    house = open_house(openai_audio_slots=3)
    job = replace(long_one.job, plan=house.plan(long_one.job))
    (tmp_path / "jobs").write_bytes(pickle.dumps([job]))
    sim.faults.script(ROUTE, "ok", "ok", "stall", "stall", "stall")
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
        while sim.stats.paid.calls < 5:
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < end, "it never sent anything"
            await asyncio.sleep(0.02)
        process.kill()
    assert house.files, "it was killed too late"
    transcript = await house.transcribe(long_one.job)
    assert heard(transcript) == [word.text for word in long_one.words]
    assert (sim.stats.paid.calls, sim.stats.paid.duplicates) == (len(job.plan.chunks) + 3, 3)


# --- context and progress ---------------------------------------------------------------------------------


async def test_in_context_each_chunk_is_sent_with_the_words_before_it(
    open_house: Open, sim: OpenAISimulator, long_one: Hearing
) -> None:
    house = open_house(chunk_context=True)
    plan = house.plan(long_one.job)
    sim.faults.script(ROUTE, "ok", "ok", "400")
    transcript = await house.transcribe(long_one.job)
    prompts = [call.body.get("prompt") for call in sim.calls(ROUTE) if isinstance(call.body, dict)]
    assert sim.stats.routes[ROUTE].in_flight_max == 1
    said = [long_one.between(chunk.start, chunk.end) for chunk in plan.chunks]
    assert prompts[0] is None
    # The third chunk was refused before anybody looked at it; the fourth gets the last words that are known.
    assert [p.lower().replace(".", "").split() for p in prompts[1:]] == [said[0], said[1], *said[3:-1]]
    assert len(transcript.gaps) == 1
    bought = sim.stats.paid.calls
    assert (await open_house(chunk_context=True).transcribe(long_one.job)).gaps == ()
    assert sim.stats.paid.calls == bought + 1


async def test_every_chunk_is_told_of_from_waiting_to_done(
    open_house: Open, sim: OpenAISimulator, long_one: Hearing
) -> None:
    house = open_house()
    count = len(house.plan(long_one.job).chunks)
    await house.transcribe(long_one.job)
    for index in range(count):
        told = [state for state in house.states if state.index == index]
        assert [state.state for state in told] == ["waiting", "cutting", "waiting", "sending", "done"]
        last = told[-1]
        assert (last.of, last.recording) == (count, long_one.job.key)
        assert last.bytes > 0
        assert last.started is not None
        assert last.finished is not None
        assert last.started <= last.finished
