"""A service in a process of its own, to be killed: ``python -m callpipeline_tests.service.process PORT``.

Its engine hears nothing and never ends, so that whatever was begun is under way when the process goes.
"""

from __future__ import annotations

import asyncio
import sys

import uvicorn

from bench.recordings import InstantTranscriber
from callpipeline.model import Transcript
from callpipeline.service.app import create_app
from callpipeline.settings import Settings
from callpipeline.speech.engines.base import SpeechJob


class EndlessTranscriber(InstantTranscriber):
    """Is at it for ever."""

    async def transcribe(self, job: SpeechJob) -> Transcript:
        await asyncio.Event().wait()
        raise AssertionError


if __name__ == "__main__":
    uvicorn.run(
        create_app(Settings(), engine=EndlessTranscriber()), port=int(sys.argv[1]), log_level="warning"
    )
