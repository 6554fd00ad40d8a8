"""Where a long recording is cut for an engine that works in chunks: by the settings, and by what the engine takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callpipeline.model import AudioInfo, ChunkPlan, SpeechActivity
from callpipeline.speech.chunk_files import CODECS
from callpipeline.speech.chunks import plan_chunks
from callpipeline.speech.engines.base import ChunkLimits
from callpipeline.speech.trimming import HIGHEST_RATE

if TYPE_CHECKING:
    from callpipeline.settings import Settings


def plan_of(info: AudioInfo, activity: SpeechActivity, settings: Settings, limits: ChunkLimits) -> ChunkPlan:
    """Return the chunks of a recording; see ``chunks.plan_chunks``."""
    codec = settings.chunk_codec
    return plan_chunks(
        info,
        activity,
        target_seconds=settings.chunk_seconds,
        longest_seconds=limits.seconds,
        longest_bytes=limits.bytes,
        bytes_per_second=CODECS[codec].bytes_per_second(min(info.sample_rate, HIGHEST_RATE)),
        codec=codec,
        overlap=settings.chunk_overlap,
    )
