"""A hearing walks through its stages: chunks, gaps that the next run fills, chapters, and no verdicts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from callpipeline.audio.decode import read
from callpipeline.intake.records import State
from callpipeline.intake.scan import scan
from callpipeline.model import Chapters, ChunkPlan, ChunkState, Role, SpeechActivity, Transcript
from callpipeline.pipeline.batch import walk_batch
from callpipeline.pipeline.forecast import LOCAL_STAGES, Fate, forecast
from callpipeline.pipeline.outcomes import RecordingOutcome, StageOutcome, Status
from callpipeline.pipeline.progress import ProgressStore
from callpipeline.pipeline.stages import ASSETS
from callpipeline.pipeline.workbench import Workbench
from callpipeline.settings import Settings
from callpipeline_tests.simulators import OpenAISimulator
from callpipeline_tests.speech.chunking import speech_of, voices
from callpipeline_tests.speech.conftest import write_wav
from callpipeline_tests.tone_speech import ToneWord, script, spoken

DATA = Path(__file__).parents[1] / "data"
ROUTE = "transcriptions"
SECONDS = 64.0
RATE = 8000
NAMED = {
    "profile": "hearing",
    "title": "Water rights",
    "committee": "Natural Resources",
    "date": "2026-03-02",
}


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAISimulator]:
    """OpenAI, and an environment in which it is the engine and chunks are short."""
    with OpenAISimulator(hearing="tones", latency="fixed:0.1") as simulator:
        for name, value in simulator.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CALLPIPELINE_TRANSCRIBER", "openai")
        monkeypatch.setenv("CALLPIPELINE_RETRY_DELAY_SCALE", "0")
        monkeypatch.setenv("CALLPIPELINE_CHUNK_SECONDS", "15")
        monkeypatch.setenv("CALLPIPELINE_OPENAI_AUDIO_REQUESTS_PER_MINUTE", "60000")
        yield simulator


class Recording:
    """A recording in the store, with voices where tone words are: no detector takes those for speech."""

    def __init__(self, **said_of_it: str) -> None:
        self.words: Sequence[ToneWord] = script(1, SECONDS)
        settings = Settings()
        settings.uploads.mkdir(parents=True)
        path = write_wav(settings.uploads / "hearing.wav", spoken(self.words, SECONDS, RATE)[None], RATE)
        path.with_suffix(".json").write_text(json.dumps(said_of_it))
        with Workbench(settings) as bench:
            scan(bench.catalog, settings.uploads, settings)
            [self.key] = bench.catalog.order()
            asyncio.run(walk_batch([self.key], LOCAL_STAGES[:2], bench, lambda outcome: None))
            header = bench.store.header("speech_activity", self.key)
            assert header is not None
            heard = voices(SECONDS, speech_of(self.words)).model_copy(update={"detector": "by hand"})
            made = {"cache_key": header.cache_key, "code_version": header.code_version}
            bench.store.put("speech_activity", self.key, SpeechActivity.model_validate(heard), **made)

    def walk(
        self, wanted: Sequence[str] = ASSETS, listen: Callable[[], None] = lambda: None, **update: Any
    ) -> RecordingOutcome:
        """Process it in a run of its own."""

        def hear(outcome: StageOutcome | RecordingOutcome) -> None:
            listen()

        with Workbench(Settings().model_copy(update=update)) as bench:
            [outcome] = asyncio.run(walk_batch([self.key], wanted, bench, hear))
            return outcome

    def result(self, asset: str, kind: type[Any]) -> Any:
        with Workbench(Settings()) as bench:
            stored = bench.store.get(asset, self.key, kind)
        return stored.value if stored else None

    @property
    def state(self) -> State:
        with Workbench(Settings()) as bench:
            row = bench.catalog.get(self.key)
        assert row is not None
        return row.recording.state


def statuses(outcome: RecordingOutcome) -> dict[str, Status]:
    return {asset: stage.status for asset, stage in outcome.stages.items()}


def heard(transcript: Transcript) -> list[str]:
    return [word.text.lower().strip(".") for segment in transcript.segments for word in segment.words]


def test_a_hearing_gets_chunks_and_chapters_and_no_verdicts(provider: OpenAISimulator) -> None:
    hearing = Recording(**NAMED)
    outcome = hearing.walk()
    assert outcome.failure is None
    assert statuses(outcome) == {
        **dict.fromkeys(ASSETS, Status.DONE),
        "raw_audio": Status.REUSED,
        "speech_activity": Status.REUSED,
        "detections": Status.NOT_NEEDED,
    }
    plan = hearing.result("audio_chunks", ChunkPlan)
    assert len(plan.chunks) == provider.stats.paid.calls == 4
    assert heard(hearing.result("transcripts", Transcript)) == [word.text for word in hearing.words]
    [*_, last] = hearing.result("chapters", Chapters).chapters
    assert last.end == SECONDS
    assert hearing.state is State.DONE

    again = hearing.walk()
    assert again.reused
    assert provider.stats.paid.calls == 4


def test_a_gap_is_kept_worked_with_and_filled_by_the_next_run(provider: OpenAISimulator) -> None:
    hearing = Recording(**NAMED)
    provider.faults.script(ROUTE, "ok", "400")
    first = hearing.walk(openai_audio_slots=1)
    transcript = first.stages["transcripts"]
    assert transcript.status is Status.FAILED
    assert transcript.stored is not None
    assert transcript.failure is not None
    assert (transcript.failure.error_class, transcript.failure.permanent) == ("bad_request", False)
    plan = hearing.result("audio_chunks", ChunkPlan)
    lost = plan.chunks[1]
    assert (
        f"1 stretch has no transcript: 0:00:{lost.start:04.1f}-0:00:{lost.end:04.1f}"
        in transcript.failure.message
    )
    rest = [word.text for word in hearing.words if not lost.start <= word.start < lost.end]
    assert heard(transcript.stored.value) == rest
    assert first.stages["speaker_turns"].status is Status.DONE
    assert first.stages["chapters"].status is Status.DONE
    assert hearing.state is State.FAILED

    with Workbench(Settings()) as bench:
        [prospect] = forecast(bench, [hearing.key]).prospects
    assert (prospect.fate, len(prospect.wanted.calls), len(prospect.wanted.bought)) == (Fate.SEND, 1, 3)

    second = hearing.walk()
    assert second.failure is None
    assert second.stages["transcripts"].status is Status.DONE
    assert second.stages["audio_chunks"].status is Status.REUSED
    assert second.stages["speaker_turns"].status is Status.DONE
    assert heard(hearing.result("transcripts", Transcript)) == [word.text for word in hearing.words]
    assert (provider.stats.paid.calls, provider.stats.paid.duplicates) == (4, 0)
    assert hearing.state is State.DONE


def test_a_run_of_the_transcript_alone_asks_for_the_chunks_that_it_needs(provider: OpenAISimulator) -> None:
    hearing = Recording(**NAMED)
    failure = hearing.walk(["transcripts"]).failure
    assert failure is not None
    assert failure.error_class == "upstream_missing"
    assert "Materialize audio_chunks first" in failure.message
    assert hearing.walk(["audio_chunks"]).failure is None
    assert hearing.walk(["transcripts"]).failure is None


@pytest.mark.parametrize(
    ("said_of_it", "hearing_from", "hearing"),
    [({}, 60.0, True), ({}, 70.0, False), ({"profile": "call"}, 60.0, False)],
)
def test_its_length_decides_where_nobody_says_what_a_recording_is(
    provider: OpenAISimulator, said_of_it: dict[str, str], hearing_from: float, hearing: bool
) -> None:
    recording = Recording(**said_of_it)
    found = statuses(recording.walk(hearing_from=hearing_from))
    needless = {asset for asset, status in found.items() if status is Status.NOT_NEEDED}
    assert needless == ({"detections"} if hearing else {"audio_chunks", "chapters"})
    assert provider.stats.paid.calls == (4 if hearing else 1)
    assert (recording.result("chapters", Chapters) is not None) == hearing


def test_what_a_recording_needs_no_more_goes_away(provider: OpenAISimulator) -> None:
    recording = Recording()
    recording.walk(hearing_from=60.0)
    assert recording.result("chapters", Chapters) is not None
    recording.walk(hearing_from=70.0)
    assert recording.result("chapters", Chapters) is None
    assert recording.result("audio_chunks", ChunkPlan) is None


def test_a_dry_run_counts_every_chunk(provider: OpenAISimulator) -> None:
    hearing = Recording(**NAMED)
    hearing.walk(LOCAL_STAGES)
    with Workbench(Settings()) as bench:
        found = forecast(bench, [hearing.key])
    assert [len(p.wanted.calls) for p in found.prospects] == [4]
    assert found.cost == pytest.approx(SECONDS / 60 * 0.006, rel=0.05)
    assert provider.stats.all.requests == 0


# --- progress ---------------------------------------------------------------------------------------------


def test_progress_can_be_read_while_it_lasts(
    provider: OpenAISimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callpipeline.pipeline.progress.INTERVAL", 0.01)
    hearing = Recording(**NAMED)
    reader = ProgressStore(Settings().store)
    seen = []

    async def watch() -> None:
        while True:
            if (found := reader.read(hearing.key)) is not None:
                seen.append(found)
            await asyncio.sleep(0.01)

    async def both(bench: Workbench) -> None:
        watching = asyncio.create_task(watch())
        await walk_batch([hearing.key], ASSETS, bench, lambda outcome: None)
        watching.cancel()

    with Workbench(Settings().model_copy(update={"openai_audio_slots": 1})) as bench:
        asyncio.run(both(bench))
    shares = [found.overall for found in seen]
    assert shares == sorted(shares)
    assert any(0 < share < 1 for share in shares)
    assert {len(found.chunks) for found in seen} == {4}
    told = next(found for found in seen if 0 < found.overall < 1)
    assert told.rate
    assert told.chunk_seconds
    assert told.eta
    assert reader.read(hearing.key) is None
    assert not reader.path(hearing.key).exists()


def test_the_progress_of_a_process_that_is_gone_counts_no_more(settings: Settings) -> None:
    state = ChunkState(recording="r", index=0, of=1, start=0.0, end=1.0, state="sending", started=1.0)

    store = ProgressStore(settings.store)
    asyncio.run(_noted(store, state))
    found = store.read("r")
    assert found is not None
    assert [p.recording for p in store.all()] == ["r"]
    for gone in ({"boot": "another"}, {"born": "0"}):
        store.path("r").write_text(found.model_copy(update=gone).model_dump_json())
        assert store.read("r") is None
    asyncio.run(_noted(store, state.model_copy(update={"state": "done"})))
    again = store.read("r")
    assert again is not None
    assert again.overall == 1.0
    store.close()


async def _noted(store: ProgressStore, state: ChunkState) -> None:
    """Note a state and wait until it is written."""
    before = store.read(state.recording)
    store.note(state)
    while store.read(state.recording) in (None, before):
        await asyncio.sleep(0.01)


def test_the_channels_of_a_hearing_are_nobody_s(provider: OpenAISimulator) -> None:
    settings = Settings()
    settings.uploads.mkdir(parents=True)
    sound = read(DATA / "speech" / "agent_intro.flac", rate=RATE)[0]
    silent = np.zeros_like(sound)
    path = write_wav(
        settings.uploads / "hearing.wav", np.stack([np.tile(silent, 8), np.tile(sound, 8)]), RATE
    )
    found = []
    for profile in ("hearing", "call"):
        path.with_suffix(".json").write_text(json.dumps({**NAMED, "profile": profile}))
        with Workbench(settings) as bench:
            scan(bench.catalog, settings.uploads, settings)
            keys = bench.catalog.order()
            [outcome] = asyncio.run(walk_batch(keys, LOCAL_STAGES, bench, lambda outcome: None))
            activity = bench.store.get("speech_activity", keys[0], SpeechActivity)
        assert activity is not None
        roles = [channel.role for channel in activity.value.channels]
        found.append((roles, outcome.stages["audio_chunks"].status))
    nobody = [Role.UNKNOWN, Role.UNKNOWN]
    # Of a call whose agent never speaks nothing is sent.
    assert found == [(nobody, Status.DONE), ([Role.AGENT, Role.CUSTOMER], Status.NOT_NEEDED)]
