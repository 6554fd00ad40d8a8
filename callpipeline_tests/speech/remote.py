"""What tests of an engine at a provider share: its tools, and a process of its own that can be killed.

``python -m callpipeline_tests.speech.remote JOBS`` transcribes the jobs of a pickle with the engine that the
environment names, prints "begun" when it begins, and ends when all are done.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from callpipeline.limits.retry import RetryPolicy
from callpipeline.limits.supplies import Supplies, open_supplies
from callpipeline.model import Transcript
from callpipeline.pipeline.workers import Workers
from callpipeline.settings import Settings
from callpipeline.speech.engines import transcriber
from callpipeline.speech.engines.base import EngineTools, RemoteTranscriber, SpeechJob


@asynccontextmanager
async def remote_engine(
    settings: Settings,
    *,
    run: str = "run",
    force_paid: bool = False,
    seconds: float | None = None,
    clean: Callable[[Transcript], Transcript] = lambda transcript: transcript,
) -> AsyncIterator[tuple[RemoteTranscriber, Supplies]]:
    """Open the engine of the settings as a run does; ``seconds`` until its deadline."""
    workers = Workers(2)
    policy = RetryPolicy().scaled(settings.retry_delay_scale)
    with open_supplies(settings, run=run, policy=policy) as supplies:
        tools = EngineTools(
            cpu=workers.cpu,
            thread=workers.thread,
            supplies=lambda: supplies,
            clean=clean,
            force_paid=force_paid,
            deadline=None if seconds is None else time.monotonic() + seconds,
        )
        engine = transcriber(settings, tools)
        assert isinstance(engine, RemoteTranscriber)
        try:
            yield engine, supplies
        finally:
            await engine.disconnect()
            workers.close()


async def transcribe(jobs: Sequence[SpeechJob], settings: Settings) -> list[Transcript]:
    async with remote_engine(settings) as (engine, _):
        print("begun", flush=True)
        return await asyncio.gather(*(engine.transcribe(job) for job in jobs))


if __name__ == "__main__":
    asyncio.run(transcribe(pickle.loads(Path(sys.argv[1]).read_bytes()), Settings()))
