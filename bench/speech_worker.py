"""A process that transcribes and diarizes one recording, alone and side by side, again and again.

``python -m bench.speech_worker``: reads an ``Order`` (JSON) from standard input and writes a ``Report`` to standard output.
A process of its own, because how many threads an engine takes is decided when its library is loaded.

Belongs here: what happens inside such a process. Does not: what the figures mean (``speech``).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.watching import Watch, cpu_seconds

if TYPE_CHECKING:
    from callpipeline.pipeline.workbench import Workbench

TRANSCRIPTION, DIARIZATION = "transcripts", "diarization"
ALONE: tuple[tuple[str, ...], ...] = ((TRANSCRIPTION,), (DIARIZATION,))
TOGETHER = (TRANSCRIPTION, DIARIZATION)


@dataclass(frozen=True)
class Order:
    """Which models to make, if they are not there yet, and how often to do what.

    ``whisper``: the fields of ``tiny_whisper.Size``. ``sortformer``: those of ``tiny_nemo.Size``, none: without NeMo.
    """

    recording: str
    models: str
    rounds: int
    whisper: list[int]
    sortformer: list[int]
    words: int


@dataclass
class Pass:
    """One walk: its seconds, the CPU seconds of all processes, and from when to when each stage was at work."""

    wall: float
    cpu: float
    stages: dict[str, tuple[float, float]]


@dataclass
class Report:
    """All rounds: (transcription alone, diarization alone, both side by side) each."""

    rounds: list[tuple[Pass, Pass, Pass]] = field(default_factory=list)
    engines: list[str] = field(default_factory=list)
    words: int = 0
    memory_mb: float = 0.0


def main() -> None:
    order = Order(**json.loads(sys.stdin.read()))
    out, sys.stdout = sys.stdout, sys.stderr  # libraries print
    out.write(json.dumps(asdict(work(order))))


def work(order: Order) -> Report:
    """Take the recording in, warm up, then measure round after round, each in another order."""
    from callpipeline.intake.scan import scan
    from callpipeline.pipeline.workbench import Workbench
    from callpipeline.settings import DiarizerName, Settings, TranscriberName

    models = Path(order.models)
    _make_models(order, models)
    settings = Settings(
        uploads_dir=Path(order.recording).parent,
        transcriber=TranscriberName.WHISPER,
        whisper_model=str(models / "whisper"),
        whisper_device="cpu",
        diarizer=DiarizerName.SORTFORMER if order.sortformer else DiarizerName.SPECTRAL,
        sortformer_model=str(models / "sortformer.nemo"),
        nemo_device="cpu",
    )
    report = Report()
    with Workbench(settings) as bench:
        scan(bench.catalog, settings.uploads, settings)
        (key,) = bench.catalog.order()
        _walk(bench, key, ("raw_audio", "speech_activity"))
        for wanted in ALONE:
            _walk(bench, key, wanted)
        _note_results(bench, key, report)
        ways = (*ALONE, TOGETHER)
        for number in range(order.rounds):
            done: dict[tuple[str, ...], Pass] = {}
            for place in range(len(ways)):
                wanted = ways[(number + place) % len(ways)]
                done[wanted] = _walk(bench, key, wanted)
            report.rounds.append((done[ways[0]], done[ways[1]], done[ways[2]]))
    report.memory_mb = round(Watch(os.getpid(), models).memory_now())
    return report


def _make_models(order: Order, folder: Path) -> None:
    from callpipeline_tests.tiny_nemo import Size as SortformerSize
    from callpipeline_tests.tiny_nemo import tiny_sortformer
    from callpipeline_tests.tiny_whisper import Size, tiny_whisper

    if not (folder / "whisper").exists():
        said = "".join(f" {word}" for word in _WORDS * (order.words // len(_WORDS) + 1))
        tiny_whisper(folder / "whisper", said, size=Size(*order.whisper))
    if order.sortformer and not (folder / "sortformer.nemo").exists():
        tiny_sortformer(folder / "sortformer.nemo", size=SortformerSize(*order.sortformer))


_WORDS = ["thank", "you", "for", "calling", "how", "may", "we", "help", "with", "your", "house", "today"]


def _walk(bench: Workbench, key: str, wanted: Collection[str]) -> Pass:
    from callpipeline.pipeline.outcomes import RecordingOutcome, StageOutcome
    from callpipeline.pipeline.walk import walk

    for asset in wanted:
        bench.store.remove(asset, key)
    stages: dict[str, tuple[float, float]] = {}

    def ended(outcome: RecordingOutcome | StageOutcome) -> None:
        if isinstance(outcome, StageOutcome):
            end = time.perf_counter() - begun
            stages[outcome.asset] = (end - outcome.seconds, end)

    cpu, begun = cpu_seconds(os.getpid()), time.perf_counter()
    outcome = asyncio.run(walk(key, wanted, bench, ended))
    wall, cpu = time.perf_counter() - begun, cpu_seconds(os.getpid()) - cpu
    if outcome.failure is not None:
        raise RuntimeError(f"{outcome.failure.asset}: {outcome.failure.message}")
    return Pass(wall, cpu, stages)


def _note_results(bench: Workbench, key: str, report: Report) -> None:
    from callpipeline.model import Diarization, Transcript

    transcript = bench.store.get(TRANSCRIPTION, key, Transcript)
    diarization = bench.store.get(DIARIZATION, key, Diarization)
    if transcript is None or diarization is None:
        raise RuntimeError("an engine has no result")
    report.engines = [transcript.value.engine, diarization.value.engine]
    report.words = sum(len(segment.words) for segment in transcript.value.segments)


if __name__ == "__main__":
    main()
