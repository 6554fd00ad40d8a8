"""A recording's transcript by the engine: checks, cleaner sound before and better word times after it, where asked for.

What belongs here: the order of these. What does not: engines, and when no transcript is needed (``stages``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from callpipeline.model import Transcript
from callpipeline.pipeline.case import Case
from callpipeline.pipeline.fitness import check
from callpipeline.pipeline.workbench import Workbench
from callpipeline.speech.engines.base import SpeechJob
from callpipeline.store import files

FOLDER = "sending"


async def transcribed(case: Case, job: SpeechJob) -> Transcript:
    """Return what was said; its notes tell what was done to the sound and to the times.

    Raises:
        CallPipelineError: what speaks against sending it, or a failure of the engine.
    """
    bench = case.bench
    await check(bench, job, case.metadata, name=case.name)
    async with _heard(bench, job) as (cleaner, notes):
        with bench.progress.of(case.key):
            transcript = await bench.transcriber.transcribe(cleaner)
    transcript = transcript.model_copy(update={"notes": (*transcript.notes, *notes)})
    if bench.settings.enhanced_alignment:
        from callpipeline.speech.forced_alignment import aligned

        transcript = await aligned(transcript, job, bench.workers.cpu)
    return transcript


@asynccontextmanager
async def _heard(bench: Workbench, job: SpeechJob) -> AsyncIterator[tuple[SpeechJob, tuple[str, ...]]]:
    """Give the job whose sound the engine hears, for a block, and what is to be said about it."""
    if not bench.settings.source_separation:
        yield job, ()
    elif bench.transcriber.remote:
        # What is bought is named by the recording's bytes; a provider reduces noise by itself.
        yield job, ("noise reduction was not used: the provider hears the recording as it is",)
    else:
        from callpipeline.speech import separation

        # Where audio on its way to engines lies: what a killed process leaves there is swept.
        with files.scratch(bench.settings.store / FOLDER / f"{job.key}.cleaned.flac") as target:
            await bench.workers.thread(separation.write_cleaned, job.path, target)
            note = f"noise was reduced before transcription ({separation.METHOD}); no model that separates sources is here"
            yield replace(job, path=target), (note,)


def options(bench: Workbench) -> Mapping[str, object]:
    """Return what decides a transcript beside the engine, where it is asked for."""
    from callpipeline.speech import forced_alignment, separation

    settings = bench.settings
    return {
        **({"source_separation": separation.VERSION} if settings.source_separation else {}),
        **({"enhanced_alignment": forced_alignment.VERSION} if settings.enhanced_alignment else {}),
    }
