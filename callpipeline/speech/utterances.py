"""Pieces of speech that an engine can take at once, cut out of a recording while it is decoded.

What belongs here: which channels to listen to, joining and cutting voice regions into utterances, and handing
out their samples with bounded memory however long the recording is. What does not: recognising anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from callpipeline.audio.channels import channels_differ, voice_channels
from callpipeline.audio.decode import blocks
from callpipeline.cancellation import checkpoint
from callpipeline.model import AudioInfo, Region, SpeechActivity

RATE = 16_000
"""Samples per second of what engines hear: the rate that all of their models were made for."""

JOIN_GAP = 0.5
"""Voice regions closer than this (s) are one utterance: a language model wants whole phrases."""

PAD = 0.15
"""Sound before and after an utterance (s): voice detectors cut soft first and last consonants."""

_FRAME = 160
_SMOOTH_FRAMES = 10

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Track:
    """What an engine hears as one source: a row of the decoded samples and the voice regions in it.

    ``row``: ``None`` = the mean of all. ``channel`` is what results carry: ``None`` when the recording is mono, the
    same on all channels, or one room.
    """

    row: int | None
    channel: int | None
    regions: tuple[Region, ...]


@dataclass(frozen=True)
class Utterance:
    """One piece of speech: ``samples`` of one channel at 16 kHz, ``start`` and ``end`` in the recording."""

    channel: int | None
    start: float
    end: float
    samples: Samples


def tracks(info: AudioInfo, activity: SpeechActivity, *, by_channel: bool = True) -> tuple[Track, ...]:
    """Return what there is to hear: each channel by itself, or one track where channels do not differ.

    Without ``by_channel`` channels that differ are heard as one.
    """
    separate = channels_differ(info)
    if separate and not by_channel:
        return room(info, activity)
    speech = {c.channel: c.speech for c in activity.channels}
    found = (
        Track(row, row if separate else None, joined(speech.get(row, ()), duration=info.duration))
        for row in voice_channels(info)
    )
    return tuple(track for track in found if track.regions)


def room(info: AudioInfo, activity: SpeechActivity) -> tuple[Track, ...]:
    """Return all channels as one track, with the speech of any of them; none where nobody speaks."""
    regions = (region for channel in activity.channels for region in channel.speech)
    track = Track(None, None, joined(regions, duration=info.duration))
    return (track,) if track.regions else ()


def joined(regions: Iterable[Region], *, duration: float) -> tuple[Region, ...]:
    """Join regions closer than ``JOIN_GAP`` and pad them, inside the recording and never into a neighbour."""
    merged: list[tuple[float, float]] = []
    for region in sorted(regions, key=lambda r: r.start):
        if merged and region.start - merged[-1][1] < JOIN_GAP:
            merged[-1] = (merged[-1][0], max(merged[-1][1], region.end))
        elif region.end > region.start:
            merged.append((region.start, region.end))
    padded = (Region(start=max(0.0, a - PAD), end=min(duration, b + PAD)) for a, b in merged)
    return tuple(region for region in padded if region.duration > 0)


def utterances(path: Path, sources: Sequence[Track], *, longest: float) -> Iterator[Utterance]:
    """Yield the utterances of all tracks, in order of end within a track, while the recording is decoded.

    An utterance longer than ``longest`` seconds is cut at its quietest spot. Memory is a decoded block plus
    at most ``longest`` seconds a channel.

    Raises:
        SourceUnavailable, EmptyFile, NotAudio, CorruptAudio: see ``audio.decode.blocks``.
    """
    cutters = [_Cutter(track, longest) for track in sources if track.regions]
    last_end = max((c.last_end for c in cutters), default=0.0)
    heard = 0
    for block in blocks(path, rate=RATE, block_seconds=10.0):
        if heard >= last_end * RATE:
            return
        checkpoint()
        heard += block.shape[1]
        for cutter in cutters:
            row = cutter.track.row
            yield from cutter.take(block.mean(axis=0) if row is None else block[min(row, block.shape[0] - 1)])
    for cutter in cutters:
        yield from cutter.rest()


@dataclass
class _Cutter:
    """The utterances of one track: holds samples from the first utterance still open."""

    track: Track
    longest: float
    waiting: deque[tuple[int, int]] = field(init=False)
    held: Samples = field(init=False, default_factory=lambda: np.zeros(0, np.float32))
    offset: int = 0

    def __post_init__(self) -> None:
        self.waiting = deque((round(r.start * RATE), round(r.end * RATE)) for r in self.track.regions)

    @property
    def last_end(self) -> float:
        return self.track.regions[-1].end

    def take(self, samples: Samples) -> Iterator[Utterance]:
        self.held = np.concatenate([self.held, samples])
        yield from self._ready(final=False)
        keep_from = self.waiting[0][0] if self.waiting else self.offset + self.held.size
        drop = min(max(0, keep_from - self.offset), self.held.size)
        self.held = self.held[drop:].copy()
        self.offset += drop

    def rest(self) -> Iterator[Utterance]:
        yield from self._ready(final=True)

    def _ready(self, *, final: bool) -> Iterator[Utterance]:
        most = round(self.longest * RATE)
        while self.waiting:
            start, end = self.waiting[0]
            available = self.offset + self.held.size
            wanted = min(end, start + most)
            if wanted > available and not final:
                return
            self.waiting.popleft()
            samples = self.held[start - self.offset : wanted - self.offset]
            if end - start > most and samples.size == most:
                samples = samples[: quietest(samples)]
                self.waiting.appendleft((start + samples.size, end))
            if samples.size:
                yield Utterance(
                    self.track.channel, start / RATE, (start + samples.size) / RATE, samples.copy()
                )


def quietest(samples: Samples) -> int:
    """Return where to cut: the middle of the quietest 0.1 s in the second half of ``samples``."""
    first = samples.size // 2
    frames = samples[first : first + (samples.size - first) // _FRAME * _FRAME].reshape(-1, _FRAME)
    if frames.shape[0] <= _SMOOTH_FRAMES:
        return samples.size
    power = np.convolve((frames**2).mean(axis=1), np.ones(_SMOOTH_FRAMES), mode="valid")
    return first + (int(power.argmin()) + _SMOOTH_FRAMES // 2) * _FRAME
