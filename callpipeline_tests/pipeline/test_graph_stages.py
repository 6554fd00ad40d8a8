"""Text chunks and what is found in them, as stages of a recording: what is made, made again, and told of failures."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.recordings import InstantTranscriber
from callpipeline.failures import NetworkFailed
from callpipeline.intake.scan import scan
from callpipeline.knowledge import (
    ChunkExtraction,
    ChunkState,
    FoundEntity,
    KgExtraction,
    Span,
    TextChunk,
    TextChunks,
)
from callpipeline.model import Finding
from callpipeline.pipeline.batch import walk_batch
from callpipeline.pipeline.outcomes import StageOutcome, Status
from callpipeline.pipeline.stages import ASSETS
from callpipeline.pipeline.workbench import Workbench
from callpipeline.settings import Settings
from callpipeline_tests.simulators.running import OpenAISimulator

HEARD = (
    ("Ann", "What made the Riverside bridge close in March?"),
    ("Bob", "Because of the flood in Ashford the council closed it, and repairs cost 40,000 dollars."),
)


@dataclass
class CapitalsExtractor:
    """Takes each word with a capital for a concept. Chunks with a word of ``broken`` fail."""

    name: str = "capitals"
    version: str = "1"
    ontology: str = "none"
    remote: bool = False
    broken: set[str] = field(default_factory=set)
    looked_into: list[str] = field(default_factory=list)

    async def extract(self, chunks: TextChunks) -> KgExtraction:
        found = tuple(self._found(chunk) for chunk in chunks.chunks)
        return KgExtraction(
            recording=chunks.recording,
            extractor=self.name,
            version=self.version,
            ontology=self.ontology,
            chunks=found,
        )

    def _found(self, chunk: TextChunk) -> ChunkExtraction:
        self.looked_into.append(chunk.id)
        if any(word in chunk.text for word in self.broken):
            failure = NetworkFailed("no answer.")
            return ChunkExtraction(
                chunk=chunk.id,
                state=ChunkState.FAILED,
                error_class=failure.error_class,
                message=str(failure),
            )
        names = sorted({word.strip(".,?") for word in chunk.text.split() if word[0].isupper()})
        entities = tuple(
            FoundEntity(
                id=f"{chunk.id}#e{n}",
                chunk=chunk.id,
                name=name,
                type="Concept",
                confidence=0.9,
                span=_span(chunk, name),
            )
            for n, name in enumerate(names)
        )
        return ChunkExtraction(chunk=chunk.id, state=ChunkState.EXTRACTED, entities=entities)

    async def probe(self) -> tuple[Finding, ...]:
        return ()

    async def disconnect(self) -> None:
        """No connections."""


def _span(chunk: TextChunk, words: str) -> Span:
    begin = chunk.text.index(words)
    line = chunk.line_at(begin)
    at = chunk.second_at(begin)
    return Span(
        begin=begin,
        finish=begin + len(words),
        quote=words,
        start=at,
        end=line.end,
        speaker=line.speaker,
        role=line.role,
    )


@dataclass
class Walked:
    """What the last walk did, by stage, and what is stored."""

    settings: Settings
    keys: list[str]
    outcomes: dict[tuple[str, str], StageOutcome]

    def status(self, asset: str, number: int = 0) -> Status:
        return self.outcomes[self.keys[number], asset].status

    def value(self, asset: str, number: int = 0) -> Any:
        stored = self.outcomes[self.keys[number], asset].stored
        assert stored is not None
        return stored.value


Walk = Callable[..., Walked]


@pytest.fixture
def talks(settings: Settings) -> Path:
    """A recording of which only a transcript is there."""
    folder = settings.uploads
    folder.mkdir(parents=True)
    cues = "".join(
        f"\n00:00:{10 * n:02d}.000 --> 00:00:{10 * n + 8:02d}.000\n<v {speaker}>{text}\n"
        for n, (speaker, text) in enumerate(HEARD)
    )
    (folder / "bridge.vtt").write_text(f"WEBVTT\n{cues}")
    return folder


def walk(settings: Settings, folder: Path, finder: CapitalsExtractor | None, **given: Any) -> Walked:
    outcomes: dict[tuple[str, str], StageOutcome] = {}

    def listen(outcome: Any) -> None:
        if isinstance(outcome, StageOutcome):
            outcomes[outcome.key, outcome.asset] = outcome

    with Workbench(settings, engine=InstantTranscriber(), finder=finder) as bench:
        scan(bench.catalog, folder, settings)
        keys = bench.catalog.order()
        asyncio.run(walk_batch(keys, given.get("wanted", ASSETS), bench, listen))
    return Walked(settings, keys, outcomes)


def test_what_is_found_leads_back_to_speaker_and_second(settings: Settings, talks: Path) -> None:
    walked = walk(settings, talks, CapitalsExtractor())
    assert walked.status("text_chunks") is walked.status("kg_extractions") is Status.DONE
    chunks, found = walked.value("text_chunks"), walked.value("kg_extractions")
    assert chunks.title == "bridge.vtt"
    [place] = [e for chunk in found.chunks for e in chunk.entities if e.name == "Ashford"]
    assert (place.span.speaker, place.chunk) == ("Bob", chunks.chunks[0].id)
    assert 10 < place.span.start < 13


def test_nothing_is_done_twice(settings: Settings, talks: Path) -> None:
    walk(settings, talks, CapitalsExtractor())
    again = walk(settings, talks, finder := CapitalsExtractor())
    assert again.status("text_chunks") is again.status("kg_extractions") is Status.REUSED
    assert finder.looked_into == []


@pytest.mark.parametrize(
    ("finder", "update"),
    [
        (CapitalsExtractor(version="2"), {}),
        (CapitalsExtractor(ontology="another"), {}),
        (CapitalsExtractor(), {"graph_min_confidence": 0.8}),
    ],
    ids=["version", "ontology", "confidence"],
)
def test_another_extractor_looks_again_into_the_same_chunks(
    settings: Settings, talks: Path, finder: CapitalsExtractor, update: dict[str, Any]
) -> None:
    walk(settings, talks, CapitalsExtractor())
    again = walk(settings.model_copy(update=update), talks, finder)
    assert (again.status("text_chunks"), again.status("kg_extractions")) == (Status.REUSED, Status.DONE)


def test_another_length_cuts_again(settings: Settings, talks: Path) -> None:
    walk(settings, talks, CapitalsExtractor())
    again = walk(settings.model_copy(update={"text_chunk_characters": 200}), talks, CapitalsExtractor())
    assert again.status("text_chunks") is Status.DONE
    assert again.status("speaker_turns") is Status.REUSED


def test_a_chunk_that_failed_is_said_and_only_the_extraction_is_made_again(
    settings: Settings, talks: Path
) -> None:
    short = settings.model_copy(update={"text_chunk_characters": 60})
    walked = walk(short, talks, CapitalsExtractor(broken={"Ashford"}))
    assert walked.status("kg_extractions") is Status.FAILED
    failure = walked.outcomes[walked.keys[0], "kg_extractions"].failure
    assert failure is not None
    assert (failure.error_class, failure.permanent) == ("network", False)
    assert failure.message.startswith("1 text chunk has no result, of 3: no answer.")
    kept = walked.value("kg_extractions")
    assert len(kept.failed) == 1
    assert any(chunk.entities for chunk in kept.chunks)

    again = walk(short, talks, CapitalsExtractor())
    assert (again.status("text_chunks"), again.status("kg_extractions")) == (Status.REUSED, Status.DONE)
    assert again.value("kg_extractions").failed == ()


def test_a_recording_without_text_needs_neither(settings: Settings) -> None:
    folder = settings.uploads
    folder.mkdir(parents=True)
    with wave.open(str(folder / "silent.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(4 * 8000))
    walked = walk(settings, folder, finder := CapitalsExtractor())
    assert walked.status("text_chunks") is walked.status("kg_extractions") is Status.NOT_NEEDED
    assert finder.looked_into == []
    alone = walk(settings, folder, finder, wanted=["kg_extractions"])
    assert alone.status("kg_extractions") is Status.NOT_NEEDED


def test_an_extractor_that_cannot_work_here_stops_nothing_but_its_own_stage(
    settings: Settings, talks: Path
) -> None:
    walked = walk(settings.model_copy(update={"extractor": "openai"}), talks, None)
    failure = walked.outcomes[walked.keys[0], "kg_extractions"].failure
    assert failure is not None
    assert failure.error_class == "not_configured"
    assert "OPENAI_API_KEY" in failure.message
    assert not failure.permanent
    assert walked.status("text_chunks") is walked.status("call_metrics") is Status.DONE


def test_the_extraction_alone_reads_its_chunks_from_the_store(settings: Settings, talks: Path) -> None:
    walk(settings, talks, CapitalsExtractor())
    again = walk(settings, talks, CapitalsExtractor(version="2"), wanted=["kg_extractions"])
    assert list(again.outcomes) == [(again.keys[0], "kg_extractions")]
    assert again.status("kg_extractions") is Status.DONE


# --- by a language model at a provider ----------------------------------------------------------------

CLAIMS = ("The flood causes long delays on the bridge.", "Regular drills reduce the fear of floods.")


@pytest.fixture
def provider(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAISimulator]:
    """A simulator that the settings of this test lead to, and a recording for each claim."""
    settings.uploads.mkdir(parents=True)
    for number, claim in enumerate(CLAIMS):
        cue = f"00:00:0{number}.000 --> 00:00:08.000\n<v Ann>{claim}\n"
        (settings.uploads / f"talk {number}.vtt").write_text(f"WEBVTT\n\n{cue}")
    with OpenAISimulator(responder="callpipeline_tests.graph.responding:answer") as simulator:
        for name, value in simulator.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CALLPIPELINE_EXTRACTOR", "openai")
        yield simulator


def chat_calls(provider: OpenAISimulator) -> int:
    return sum(stats.requests for route, stats in provider.stats.routes.items() if "chat" in route)


def test_a_language_model_is_asked_about_all_recordings_of_a_run_together(provider: OpenAISimulator) -> None:
    walked = walk(Settings(), Settings().uploads, None)
    for number, claim in enumerate(CLAIMS):
        assert walked.status("kg_extractions", number) is Status.DONE
        [chunk] = walked.value("kg_extractions", number).chunks
        [relation] = chunk.relations
        assert relation.span.quote.rstrip(".") in claim
        assert relation.span.start >= number
    assert chat_calls(provider) == 1

    again = walk(Settings(graph_min_confidence=0.2), Settings().uploads, None)
    assert again.status("kg_extractions") is Status.DONE
    assert chat_calls(provider) == 1


def test_a_refused_key_is_found_out_once_before_any_text_is_sent(
    provider: OpenAISimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Settings().openai_api_key
    assert key is not None
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-ours")
    walked = walk(Settings(), Settings().uploads, None)
    for number in range(len(CLAIMS)):
        failure = walked.outcomes[walked.keys[number], "kg_extractions"].failure
        assert failure is not None
        assert (failure.error_class, failure.permanent) == ("authentication", False)
        assert f"the text of talk {number}.vtt was not sent to openai" in failure.message
        assert walked.status("text_chunks", number) is walked.status("call_metrics", number) is Status.DONE
    assert chat_calls(provider) == 0
    assert sum(stats.requests for stats in provider.stats.routes.values()) == 1

    monkeypatch.setenv("OPENAI_API_KEY", key.get_secret_value())
    assert walk(Settings(), Settings().uploads, None).status("kg_extractions") is Status.DONE


def test_what_was_bought_needs_no_account(provider: OpenAISimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    walk(Settings(), Settings().uploads, None)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-ours")
    again = walk(Settings(graph_min_confidence=0.2), Settings().uploads, None)
    assert again.status("kg_extractions", 0) is again.status("kg_extractions", 1) is Status.DONE
