"""How the work on one recording is spread: side by side or one after the other, in processes or threads."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import pytest

from bench.recordings import InstantTranscriber
from callpipeline.intake.scan import scan
from callpipeline.model import Transcript
from callpipeline.pipeline.walk import walk
from callpipeline.pipeline.workbench import Workbench
from callpipeline.pipeline.workers import Workers
from callpipeline.settings import Settings
from callpipeline.speech.engines.base import SpeechJob
from callpipeline_tests.samples.conftest import SAMPLES

P = ParamSpec("P")
T = TypeVar("T")

ONE_CHANNEL = "Henry Clarke _ 2026-03-06 13-15-20 _ 555-0137 _ Sold.mp3"
WANTED = ("raw_audio", "speech_activity", "transcripts", "diarization", "speaker_turns")


class Watch:
    """Counts who is at work at once."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.two = asyncio.Event()

    @contextmanager
    def working(self) -> Iterator[None]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside == 2:
            self.two.set()
        yield
        self.inside -= 1


class WatchedWorkers(Workers):
    """Threads, in which the diarizer's work is seen."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(2, processes=False)
        self._watch = watch

    async def cpu(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._watch.working():
            return await super().cpu(fn, *args, **kwargs)


class WatchedTranscriber(InstantTranscriber):
    """An engine that waits for the diarizer beside it, if it may."""

    def __init__(self, watch: Watch, *, waits: bool) -> None:
        self._watch = watch
        self._waits = waits

    async def transcribe(self, job: SpeechJob) -> Transcript:
        with self._watch.working():
            if self._waits:
                await asyncio.wait_for(self._watch.two.wait(), 30)
            return await super().transcribe(job)


@pytest.mark.parametrize(("parallel", "most"), [("true", 2), ("false", 1)])
def test_transcription_and_diarization_go_side_by_side_unless_told_otherwise(
    parallel: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARALLEL_PROCESSING", parallel)
    settings = Settings.model_validate({"diarizer": "spectral"})
    settings.uploads.mkdir(parents=True)
    shutil.copy(SAMPLES / ONE_CHANNEL, settings.uploads)
    watch = Watch()
    engine = WatchedTranscriber(watch, waits=settings.parallel_processing)
    with Workbench(settings, engine=engine) as bench:
        bench.workers = WatchedWorkers(watch)
        scan(bench.catalog, settings.uploads, settings)
        [key] = bench.catalog.order()
        ended = asyncio.run(walk(key, WANTED, bench, lambda _: None))
    assert ended.failure is None, ended.failure
    assert watch.most == most


@pytest.mark.parametrize(("pool", "here"), [("true", False), ("false", True)])
def test_python_works_in_processes_or_in_threads_of_the_process_itself(
    pool: str, here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USE_PROCESS_POOL", pool)
    with Workbench(Settings(workers=1), engine=InstantTranscriber()) as bench:
        assert (asyncio.run(bench.workers.cpu(os.getpid)) == os.getpid()) is here
        if here:
            assert asyncio.run(bench.workers.cpu(threading.get_ident)) != threading.get_ident()
