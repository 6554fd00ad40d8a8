"""Long recordings on a small scale: what is known of them, their chunks, and what is heard in each."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from callpipeline.model import (
    AudioInfo,
    ChannelSpeech,
    ChunkPlan,
    Gap,
    Region,
    Role,
    Segment,
    SpeechActivity,
    Transcript,
    Word,
)
from callpipeline.speech.chunk_files import ChunkFiles
from callpipeline.speech.engines.base import CpuRunner
from callpipeline.speech.merging import ChunkText
from callpipeline.speech.trimming import Cut, restored
from callpipeline_tests.tone_speech import ToneWord, hear

PHRASE = 0.4
"""Words that are less than this apart (s) are one segment."""


def regions(*pairs: tuple[float, float]) -> tuple[Region, ...]:
    return tuple(Region(start=a, end=b) for a, b in pairs)


def known(seconds: float, rate: int = 8000, quiet: Sequence[tuple[float, float]] = ()) -> AudioInfo:
    """What is known of a mono recording of this length."""
    return AudioInfo(
        format="wav", codec="pcm_s16le", sample_rate=rate, channels=1, duration=seconds, claimed_duration=None,
        bytes=1, bit_rate=None, levels=(), loudness_lufs=None, silences=regions(*quiet), decode_errors=0,
    )  # fmt: skip


def voices(seconds: float, *channels: Sequence[tuple[float, float]]) -> SpeechActivity:
    """Speech on each channel, as a detector would give it."""
    return SpeechActivity(
        duration=seconds,
        channels=tuple(
            ChannelSpeech(channel=n, role=Role.UNKNOWN, speech=regions(*speech))
            for n, speech in enumerate(channels)
        ),
        source="vad",
        detector="by hand",
    )


def speech_of(words: Sequence[ToneWord], pause: float = 0.3) -> list[tuple[float, float]]:
    """Return the stretches in which words are said, joined over short pauses."""
    found: list[tuple[float, float]] = []
    for word in words:
        if found and word.start - found[-1][1] < pause:
            found[-1] = found[-1][0], word.end
        else:
            found.append((word.start, word.end))
    return found


def transcript(words: Sequence[ToneWord], duration: float, channel: int | None = None) -> Transcript:
    """Return words as an engine gives them: in segments, which begin with a capital and end with a stop."""
    groups: list[list[ToneWord]] = []
    for word in words:
        if groups and word.start - groups[-1][-1].end < PHRASE:
            groups[-1].append(word)
        else:
            groups.append([word])
    segments = tuple(
        Segment(
            start=group[0].start,
            end=group[-1].end,
            text=" ".join(w.text for w in group).capitalize() + ".",
            channel=channel,
            words=tuple(Word(text=w.text, start=w.start, end=w.end) for w in group),
        )
        for group in groups
    )
    return Transcript(
        engine="openai", engine_version="1", language="en", duration=duration, segments=segments
    )


def failure(index: int) -> Gap:
    return Gap(start=0.0, end=0.0, error_class="api", message="It failed.", chunk=index)


def words_of(said: Transcript, channel: int | None = None) -> Iterator[ToneWord]:
    """Yield what a transcript says, in its order."""
    for segment in said.segments:
        if segment.channel == channel:
            for word in segment.words:
                assert word.start is not None
                assert word.end is not None
                yield ToneWord(word.text, word.start, word.end)


async def heard_in_chunks(
    path: Path,
    plan: ChunkPlan,
    whole: Cut,
    folder: Path,
    thread: CpuRunner,
    *,
    channels: Sequence[int | None] = (None,),
    failing: Collection[int] = (),
) -> list[ChunkText]:
    """Cut, encode and hear a recording of tone speech; the chunks in ``failing`` are never made."""
    found = {chunk.index: [] for chunk in plan.chunks}  # type: dict[int, list[Segment]]
    for channel in channels:
        async with ChunkFiles(
            path, plan, whole, folder, thread=thread, skip=failing, channel=channel
        ) as files:
            async for file in files:
                (words,) = await asyncio.to_thread(hear, file.path)
                said = transcript(words, file.cut.seconds)
                said = restored(said, file.cut, duration=plan.duration, channel=channel)
                found[file.chunk.index] += said.segments
                file.release()
    return [
        ChunkText(
            chunk,
            failure(chunk.index)
            if chunk.index in failing
            else transcript((), plan.duration).model_copy(update={"segments": tuple(found[chunk.index])}),
        )
        for chunk in plan.chunks
    ]
