"""What tests of the paid extractor share: recordings of written text, its tools, and a process that can be killed.

``python -m callpipeline_tests.graph.remote FIRST COUNT [POINT]`` extracts so many ``recording``s side by side, with the
extractor that the environment names, and prints the chunks' states as JSON. At ``POINT`` it kills itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from callpipeline.graph.extractors.base import ExtractionProgress, GraphTools, RemoteGraphExtractor
from callpipeline.graph.extractors.openai import OpenAIExtractor
from callpipeline.graph.extractors.openai.cache import ChunkCache
from callpipeline.knowledge import ChunkLine, KgExtraction, TextChunk, TextChunks
from callpipeline.limits.ledger import Ledger
from callpipeline.limits.retry import RetryPolicy
from callpipeline.limits.supplies import Supplies, open_supplies
from callpipeline.model import Role
from callpipeline.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

WORDS = re.findall(
    r"\w+",
    "attention balance courage distance evening fatigue granite harvest insight journey kitchen learning motion "
    "novelty orchard patience quality rhythm silence tension urgency village weather yellow zenith",
)


def lines_of(turns: Sequence[tuple[str, str]], start: float) -> tuple[str, tuple[ChunkLine, ...]]:
    """Return the text and the lines of turns (speaker, words), a word each half second."""
    text, lines = "", []
    for speaker, words in turns:
        begin = len(text) + bool(text)
        text = f"{text}\n{words}" if text else words
        marks, at = [], begin
        for number, word in enumerate(words.split()):
            at = text.index(word, at)
            marks.append((at, start + number * 0.5))
            at += len(word)
        end = start + len(marks) * 0.5
        line = ChunkLine(
            begin=begin,
            finish=len(text),
            speaker=speaker,
            role=Role.UNKNOWN,
            start=start,
            end=end,
            marks=tuple(marks),
        )
        lines.append(line)
        start = end
    return text, tuple(lines)


def chunks_of(recording: str, chunks: Iterable[Sequence[tuple[str, str]] | str]) -> TextChunks:
    """Return a recording's text chunks: each is turns, or words of one speaker who is named after the recording."""
    made, start = [], 0.0
    for index, turns in enumerate(chunks):
        spoken = [(f"{recording} {index}", turns)] if isinstance(turns, str) else turns
        text, lines = lines_of(spoken, start)
        digest = hashlib.sha256(text.encode()).hexdigest()
        chunk = TextChunk(
            id=f"{recording}:{index}",
            recording=recording,
            index=index,
            text=text,
            sha256=digest,
            start=start,
            end=lines[-1].end,
            lines=lines,
        )
        made.append(chunk)
        start = chunk.end + 1.0
    return TextChunks(recording=recording, title=f"Talk {recording}", language="en", chunks=tuple(made))


def claim(number: int) -> str:
    """Return a sentence that says something of its own."""
    first, second = WORDS[number % len(WORDS)], WORDS[(number // len(WORDS) + 7) % len(WORDS)]
    return f"Stage {number} {first} causes state {number} {second}."


def recording(number: int, chunks: int = 4) -> TextChunks:
    """Return a recording whose chunks each say something that no other chunk says."""
    return chunks_of(f"r{number}", [claim(100 * number + index) for index in range(chunks)])


class Threads:
    """Runs work in a thread."""

    async def __call__(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(fn, *args, **kwargs)


@dataclass
class Running:
    """An extractor that works, and its limits."""

    extractor: RemoteGraphExtractor
    supplies: Supplies
    progress: list[ExtractionProgress] = field(default_factory=list)

    async def extract(self, *recordings: TextChunks) -> list[KgExtraction]:
        """Extract recordings side by side."""
        return list(await asyncio.gather(*(self.extractor.extract(one) for one in recordings)))

    @property
    def spent(self) -> tuple[float, float, float]:
        """Dollars settled, open and unsure."""
        totals = self.supplies.costs.totals()
        return totals.settled, totals.open, totals.unsure


@asynccontextmanager
async def extracting(
    settings: Settings,
    *,
    run: str = "run",
    force_paid: bool = False,
    seconds: float | None = None,
    clean_text: Callable[[str], str] = str,
) -> AsyncIterator[Running]:
    """Open the paid extractor as a run does; ``seconds`` until its deadline."""
    policy = RetryPolicy().scaled(settings.retry_delay_scale)
    with open_supplies(settings, run=run, policy=policy) as supplies:
        progress: list[ExtractionProgress] = []
        tools = GraphTools(
            cpu=Threads(),
            thread=Threads(),
            supplies=lambda: supplies,
            clean_text=clean_text,
            deadline=None if seconds is None else time.monotonic() + seconds,
            force_paid=force_paid,
            progress=progress.append,
        )
        extractor = OpenAIExtractor(settings, tools)
        try:
            yield Running(extractor, supplies, progress)
        finally:
            await extractor.disconnect()


async def extract_all(first: int, count: int) -> Counter[str]:
    """Extract recordings with the settings of the environment; return how many chunks have which state."""
    async with extracting(Settings()) as running:
        found = await running.extract(*(recording(number) for number in range(first, first + count)))
    return Counter(chunk.state.value for one in found for chunk in one.chunks)


POINTS: dict[str, tuple[type, str]] = {
    "composed": (ChunkCache, "begin"),
    "going out": (Ledger, "_sending"),
    "answered": (ChunkCache, "keep"),
    "written down": (Ledger, "_finish"),
}
"""After which of the steps of a purchase a process dies."""


def die_after(point: str) -> None:
    """Have this process killed as soon as it has done a step."""
    owner, name = POINTS[point]
    step = getattr(owner, name)

    def last(*args: Any, **kwargs: Any) -> None:
        step(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, last)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        die_after(sys.argv[3])
    print(json.dumps(asyncio.run(extract_all(int(sys.argv[1]), int(sys.argv[2])))))
