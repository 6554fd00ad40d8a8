"""A process that works on one long recording, as a run does, and says when it is warm.

Belongs here: what happens inside such a process. Does not: watching it, and what it shall not exceed
(``hearing``).
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

TRANSCRIBED = ("raw_audio", "speech_activity", "audio_chunks", "transcripts")


@dataclass(frozen=True)
class Place:
    """A folder with one recording, one with those to be watched, a store for both, and the environment's variables.

    ``cut``: afterwards, also cut the recording without sending anything. ``everything``: also what comes after the
    transcript.
    """

    short: Path
    long: Path
    store: Path
    variables: Mapping[str, str]
    cut: bool = False
    everything: bool = False


@dataclass
class Report:
    """What became of the long recordings: seconds of each stage, words with times, seams, what is missing."""

    seconds: dict[str, float] = field(default_factory=dict)
    words: list[tuple[str, float, float]] = field(default_factory=list)
    chunks: list[float] = field(default_factory=list)
    seams: list[str] = field(default_factory=list)
    gaps: int = 0
    wall: float = 0.0
    """Seconds until all had their transcripts."""
    later: dict[str, float] = field(default_factory=dict)
    """Seconds of the stages after the transcript."""
    speakers: list[int] = field(default_factory=list)
    """How many were told apart in each recording."""
    cutting: float = 0.0
    """Seconds to make all chunks, one after another, without sending them."""


def work(connection: Connection, place: Place) -> None:
    """Say ``warm``, then answer each ``go`` with a report: of the transcript, of cutting alone, of everything."""
    os.environ.update({**place.variables, "CALLPIPELINE_STORE_DIR": str(place.store)})
    report = Report()
    _walk(place.short, (), Report())
    gc.collect()
    connection.send("warm")
    connection.recv()
    begun = time.perf_counter()
    _walk(place.long, TRANSCRIBED, report)
    report.wall = time.perf_counter() - begun
    connection.send(report)
    connection.recv()
    if place.cut:
        report.cutting = _cut(place)
    connection.send(report)
    connection.recv()
    if place.everything:
        later = Report()
        _walk(place.long, (), later)
        report.later = {asset: later.seconds[asset] for asset in later.seconds if asset not in report.seconds}
        report.speakers = later.speakers
    connection.send(report)


def _walk(folder: Path, wanted: tuple[str, ...], report: Report) -> None:
    """Take in what is in a folder and make the assets (none named: all)."""
    from callpipeline.intake.scan import scan
    from callpipeline.model import ChunkPlan, Diarization, Transcript
    from callpipeline.pipeline.batch import walk_batch
    from callpipeline.pipeline.stages import ASSETS
    from callpipeline.pipeline.workbench import Workbench
    from callpipeline.settings import Settings

    settings = Settings()
    with Workbench(settings) as bench:
        scan(bench.catalog, folder, settings)
        keys = bench.catalog.order(folder)
        for outcome in asyncio.run(walk_batch(keys, wanted or ASSETS, bench, lambda _: None)):
            for asset, stage in outcome.stages.items():
                if stage.failure is not None:
                    raise RuntimeError(f"{asset}: {stage.failure.message}")
                report.seconds[asset] = round(report.seconds.get(asset, 0.0) + stage.seconds, 3)
                value = stage.stored.value if stage.stored else None
                if isinstance(value, Transcript):
                    words = [word for segment in value.segments for word in segment.words]
                    report.words += [(word.text, word.start or 0.0, word.end or 0.0) for word in words]
                    report.gaps += len(value.gaps)
                if isinstance(value, Diarization):
                    report.speakers.append(len(value.roles))
                if isinstance(value, ChunkPlan):
                    report.chunks += [round(chunk.duration, 1) for chunk in value.chunks]
                    report.seams += [chunk.seam for chunk in value.chunks]


def _cut(place: Place) -> float:
    """Make all chunks as a run does, and let each go at once."""
    from callpipeline.model import AudioInfo, ChunkPlan, SpeechActivity
    from callpipeline.pipeline.case import Case
    from callpipeline.pipeline.workbench import Workbench
    from callpipeline.settings import Settings
    from callpipeline.speech.chunk_files import ChunkFiles
    from callpipeline.speech.trimming import cut, voice

    settings = Settings()
    with Workbench(settings) as bench:
        (key,) = bench.catalog.order(place.long)
        case = Case(key, bench)
        stored = {
            kind: case.bench.store.get(asset, key, kind)
            for asset, kind in (
                ("raw_audio", AudioInfo),
                ("speech_activity", SpeechActivity),
                ("audio_chunks", ChunkPlan),
            )
        }
        info, activity, plan = (found.value for found in stored.values() if found is not None)
        whole = cut(info, voice(activity, None), longest_silence=settings.longest_silence)
        begun = time.perf_counter()

        async def all_of_them() -> None:
            folder = settings.store / "sending"
            async with ChunkFiles(case.audio, plan, whole, folder, thread=bench.workers.thread) as files:
                async for file in files:
                    file.release()

        asyncio.run(all_of_them())
        return time.perf_counter() - begun
