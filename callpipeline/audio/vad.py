"""When somebody speaks, on which channel: from speech probabilities to stretches of time with exact edges.

What belongs here: the rules that turn probabilities and levels into regions. What does not: the network
(``silero``), telling cross-talk from speech (``crosstalk``), who a voice belongs to beyond its channel.

The figures are chosen for telephone calls, where "did the agent speak at all" and "did the first word come
after 5.0 s" hang on a tenth of a second; the tests hold them to speech with known edges.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from callpipeline.audio.channels import role_of_channel, voice_channels
from callpipeline.audio.crosstalk import split_crosstalk
from callpipeline.audio.decode import blocks, display_name
from callpipeline.audio.levels import decibels, true_runs
from callpipeline.audio.silero import SAMPLE_RATE, WINDOW, SileroStream
from callpipeline.failures import SourceUnavailable
from callpipeline.model import AudioInfo, ChannelSpeech, Region, Role, SpeechActivity

DETECTOR = "silero-v6+edges-1+crosstalk-1"

FRAME = 256
"""Samples of one level frame, 16 ms: half a window of the network."""

FRAME_SECONDS = FRAME / SAMPLE_RATE
FRAMES_PER_WINDOW = WINDOW // FRAME

SPEECH_PROBABILITY = 0.5
"""Speech starts here; it lasts until the probability falls under ``SILENCE_PROBABILITY`` (Silero's own
figures)."""

SILENCE_PROBABILITY = 0.35
MIN_PAUSE = 0.3
"""Shorter gaps are pauses for breath within one region, in seconds."""

MIN_REGION = 0.2
"""Shorter regions are lip noise, blips and single notes of music, in seconds; a short "hello?" has 0.35 s."""

MAX_SOFT_ONSET = 0.25
"""The network hears a soft first sound ("h", "s") up to this late; the level tells where it began, in
seconds."""

SOFT_ONSET_OVER_FLOOR_DB = 8.0
SOFT_ONSET_UNDER_SPEECH_DB = 30.0
MAX_DIFFERENCE = 0.1
"""The same bytes decode to the same length; more than this apart, in seconds, and they are not the same."""

_FLOOR_FRAMES = round(1.0 / FRAME_SECONDS)

Powers = npt.NDArray[np.float32]
"""Mean square of each 16 ms frame of one channel."""


class _Listener:
    """Collects the probabilities and levels of one channel: 14 MB for ten hours."""

    def __init__(self) -> None:
        self._network = SileroStream()
        self._rest: npt.NDArray[np.float32] = np.zeros(0, np.float32)
        self._probabilities: list[npt.NDArray[np.float32]] = [np.zeros(0, np.float32)]
        self._powers: list[Powers] = [np.zeros(0, np.float32)]

    def add(self, samples: npt.NDArray[np.float32]) -> None:
        self._probabilities.append(self._network.add(samples))
        joined = np.concatenate([self._rest, samples])
        whole = joined.size // FRAME * FRAME
        self._rest = joined[whole:].copy()
        frames = joined[:whole].reshape(-1, FRAME)
        self._powers.append(np.einsum("fn,fn->f", frames, frames) / np.float32(FRAME))

    def finish(self) -> tuple[npt.NDArray[np.float32], Powers]:
        """Return (probability, power) of every level frame."""
        self._probabilities.append(self._network.finish())
        probabilities = np.repeat(np.concatenate(self._probabilities), FRAMES_PER_WINDOW)
        powers = np.concatenate(self._powers)
        missing = max(0, probabilities.size - powers.size)
        return probabilities, np.pad(powers, (0, missing))[: probabilities.size]


def speech_activity(
    path: str | os.PathLike[str], info: AudioInfo, *, channel_roles: dict[int, Role] | None = None
) -> SpeechActivity:
    """Find the speech of a recording, channel by channel, in bounded memory whatever its length.

    Stereo that only repeats one sound is heard as mono. Where the other party's voice has leaked into a
    channel, the stretch is listed as ``dropped`` instead of speech.

    Args:
        path: The recording.
        info: What ``probe`` found in it.
        channel_roles: Roles that override the usual ones (0 agent, 1 customer).

    Raises:
        SourceUnavailable: The file is gone, or is not the one that was probed.
        EmptyFile, NotAudio, CorruptAudio: See ``decode.open_recording``.
    """
    channels = voice_channels(info)
    listeners = [_Listener() for _ in channels]
    seconds = 0.0
    for block in blocks(path, rate=SAMPLE_RATE):
        seconds += block.shape[1] / SAMPLE_RATE
        if block.shape[0] != info.channels:
            raise _replaced(path, f"{block.shape[0]} channels, not {info.channels}")
        for channel, listener in zip(channels, listeners, strict=True):
            listener.add(block[channel])
    if abs(seconds - info.duration) > MAX_DIFFERENCE:
        raise _replaced(path, f"{seconds:.1f} s, not {info.duration:.1f} s")
    heard = [listener.finish() for listener in listeners]
    powers = [power for _, power in heard]
    found: list[ChannelSpeech] = []
    for channel, (probability, power) in zip(channels, heard, strict=True):
        others = [p for c, p in zip(channels, powers, strict=True) if c != channel]
        kept, dropped = split_crosstalk(speech_frames(probability, power), power, others)
        found.append(
            ChannelSpeech(
                channel=channel,
                role=role_of_channel(channel, info, channel_roles),
                speech=_regions(kept, info.duration),
                dropped=_regions(dropped, info.duration),
            )
        )
    return SpeechActivity(duration=info.duration, channels=tuple(found), source="vad", detector=DETECTOR)


def speech_of(samples: npt.NDArray[np.float32]) -> tuple[Region, ...]:
    """Find the speech in samples of one channel at 16 kHz, shape (n,): the rules are those of recordings."""
    listener = _Listener()
    listener.add(samples)
    return _regions(speech_frames(*listener.finish()), samples.size / SAMPLE_RATE)


def speech_frames(probability: npt.NDArray[np.float32], power: Powers) -> list[tuple[int, int]]:
    """Return (first, one past the last) frame of each stretch of speech of one channel.

    Args:
        probability: Speech probability of each 16 ms frame.
        power: Mean square of each frame.
    """
    level = decibels(power)
    joined: list[tuple[int, int]] = []
    for first, last in true_runs(probability >= SILENCE_PROBABILITY):
        strong = np.flatnonzero(probability[first:last] >= SPEECH_PROBABILITY)
        if not strong.size:
            continue
        start = _onset(level, first + int(strong[0]), last)
        if joined and (start - joined[-1][1]) * FRAME_SECONDS < MIN_PAUSE:
            joined[-1] = joined[-1][0], last
        else:
            joined.append((start, last))
    return [(a, b) for a, b in joined if (b - a) * FRAME_SECONDS >= MIN_REGION]


def _onset(level: npt.NDArray[np.float64], start: int, end: int) -> int:
    """Walk back from where the network is sure over frames that stand out of the floor before it."""
    before = level[max(0, start - _FLOOR_FRAMES) : start]
    if not before.size:
        return start
    floor = float(np.percentile(before, 20))
    speech = float(np.percentile(level[start:end], 90))
    threshold = max(floor + SOFT_ONSET_OVER_FLOOR_DB, speech - SOFT_ONSET_UNDER_SPEECH_DB)
    earliest = max(0, start - round(MAX_SOFT_ONSET / FRAME_SECONDS))
    quiet = np.flatnonzero(level[earliest:start] < threshold)
    return earliest + int(quiet[-1]) + 1 if quiet.size else earliest


def _regions(frames: list[tuple[int, int]], duration: float) -> tuple[Region, ...]:
    times = ((a * FRAME_SECONDS, min(b * FRAME_SECONDS, duration)) for a, b in frames)
    return tuple(Region(start=round(a, 3), end=round(b, 3)) for a, b in times if a < b)


def _replaced(path: str | os.PathLike[str], difference: str) -> SourceUnavailable:
    return SourceUnavailable(
        f"{display_name(path)} is not the file that was examined: it has {difference}.",
        hint="It was replaced meanwhile: take it in again.",
    )
