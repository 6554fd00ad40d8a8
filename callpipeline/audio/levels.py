"""Levels of a recording, measured while it streams by: RMS, peaks, clipping, quiet stretches, loudness.

What belongs here: arithmetic on samples, fed block by block. What does not: opening files, and judging
whether the figures are acceptable (``probe``).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from callpipeline.audio.decode import Samples
from callpipeline.model import ChannelLevel, Region

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

FLOOR_DB = -120.0
WINDOW_SECONDS = 0.02
FULL_SCALE = 0.98
"""A sample at or above this counts as clipped: mu-law ends at 0.980, 8-bit at 0.992, 16-bit at 1.0."""

COLUMNS = 600
MIN_SILENCE = 0.5

_COPY_MAX_RESIDUAL = 0.01
_COPY_MAX_POWER_RATIO = 2.0


def decibels(power: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return 10 log10 of mean squares, -120 at the lowest."""
    floor = 10.0 ** (FLOOR_DB / 10.0)
    level: npt.NDArray[np.float64] = 10.0 * np.log10(np.maximum(np.asarray(power, dtype=np.float64), floor))
    return level


class LevelMeter:
    """Takes blocks of samples (channels, n) in order; keeps 20 ms windows (2.2 MB an hour for stereo)."""

    def __init__(self, channels: int, sample_rate: int) -> None:
        self.samples = 0
        self._window = max(1, round(sample_rate * WINDOW_SECONDS))
        self._rest: Samples = np.zeros((channels, 0), np.float32)
        self._power = np.zeros(channels)
        self._shared = np.zeros(channels)
        self._clipped = np.zeros(channels, np.int64)
        self._peak = np.zeros(channels, np.float32)
        self._lows: list[npt.NDArray[np.float16]] = []
        self._highs: list[npt.NDArray[np.float16]] = []
        self._loudest: list[npt.NDArray[np.float32]] = []

    def add(self, samples: Samples) -> None:
        """Take the next block."""
        self.samples += samples.shape[1]
        joined = np.concatenate([self._rest, samples], axis=1) if self._rest.shape[1] else samples
        whole = joined.shape[1] // self._window * self._window
        self._measure(joined[:, :whole], self._window)
        self._rest = joined[:, whole:].copy()

    def finish(self) -> None:
        """Take what is left over of the last window. Call it once, after the last block."""
        self._measure(self._rest, self._rest.shape[1])
        self._rest = self._rest[:, :0]

    def _measure(self, samples: Samples, window: int) -> None:
        if samples.shape[1] == 0:
            return
        windows = samples.reshape(samples.shape[0], -1, window)
        power = np.einsum("cwn,cwn->cw", windows, windows)
        lows, highs = windows.min(axis=2), windows.max(axis=2)
        self._power += power.sum(axis=1, dtype=np.float64)
        self._shared += np.einsum("n,cn->c", samples[0], samples)
        peak = np.maximum(highs.max(axis=1), -lows.min(axis=1))
        self._peak = np.maximum(self._peak, peak)
        if peak.max() >= FULL_SCALE:
            self._clipped += np.count_nonzero(np.abs(samples) >= FULL_SCALE, axis=1)
        self._lows.append(lows.astype(np.float16))
        self._highs.append(highs.astype(np.float16))
        self._loudest.append(power.max(axis=0) / np.float32(window))

    def levels(self) -> tuple[ChannelLevel, ...]:
        """Return the figures of each channel."""
        rms = decibels(self._power / max(1, self.samples))
        peak = decibels(self._peak.astype(np.float64) ** 2)
        clipped = self._clipped / max(1, self.samples)
        return tuple(
            ChannelLevel(rms_db=round(r, 2), peak_db=round(p, 2), clipped_ratio=round(c, 6))
            for r, p, c in zip(rms.tolist(), peak.tolist(), clipped.tolist(), strict=True)
        )

    def channels_are_copies(self) -> bool:
        """Tell whether all channels carry the same sound.

        That is: as loud within 3 dB, and 99 % of each explained by the first. Cross-talk is a copy too, but
        a far quieter one; two silent channels are not one voice.
        """
        first, others = self._power[0], self._power[1:]
        if others.size == 0 or np.any(self._power <= 0):
            return False
        residual = 1.0 - self._shared[1:] ** 2 / (first * others)
        ratio = np.maximum(first / others, others / first)
        return bool(np.all(residual <= _COPY_MAX_RESIDUAL) and np.all(ratio <= _COPY_MAX_POWER_RATIO))

    def peaks(self, columns: int = COLUMNS) -> tuple[tuple[tuple[float, float], ...], ...]:
        """Return (lowest, highest) sample of at most ``columns`` equal stretches for each channel."""
        lows, highs = np.concatenate(self._lows, axis=1), np.concatenate(self._highs, axis=1)
        windows = lows.shape[1]
        starts = np.unique(np.linspace(0, windows, min(columns, windows), endpoint=False).astype(np.int64))
        low = np.minimum.reduceat(lows, starts, axis=1).clip(-1, 1).astype(np.float64).round(3)
        high = np.maximum.reduceat(highs, starts, axis=1).clip(-1, 1).astype(np.float64).round(3)
        return tuple(tuple(zip(a, b, strict=True)) for a, b in zip(low.tolist(), high.tolist(), strict=True))

    def silences(self, duration: float) -> tuple[Region, ...]:
        """Return stretches of at least 0.5 s in which all channels are quiet.

        Quiet is relative, so that a hissing line and a soft recording both have pauses: within 3 dB of the
        floor (10th percentile), or 35 dB under the loud parts (95th percentile), but never above -38 dBFS and
        always below -70 dBFS.
        """
        level = decibels(np.concatenate(self._loudest))
        floor, loud = np.percentile(level, [10, 95])
        threshold = float(np.clip(max(floor + 3.0, loud - 35.0), -70.0, -38.0))
        seconds = self._window * duration / self.samples
        return tuple(
            Region(start=round(a * seconds, 3), end=round(min(duration, b * seconds), 3))
            for a, b in true_runs(level < threshold)
            if min(duration, b * seconds) - a * seconds >= MIN_SILENCE
        )


def true_runs(mask: npt.NDArray[np.bool_]) -> Sequence[tuple[int, int]]:
    """Return (first, one past the last) of every run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


class LoudnessMeter:
    """Integrated loudness after EBU R 128, by FFmpeg's ``ebur128`` filter.

    It about doubles the decode of an mp3 (measured: 65 ms for three minutes of 8 kHz stereo).
    """

    def __init__(self) -> None:
        self._graph: Any = None  # its nodes do not keep it alive
        self._source: Any = None
        self._sink: Any = None
        self._integrated: float | None = None

    def add(self, frame: AudioFrame) -> None:
        """Take the next frame; all frames are of one kind."""
        from av.error import BlockingIOError as NothingYet

        if self._graph is None:
            self._graph, self._source, self._sink = _loudness_graph(frame)
        self._source.push(frame)
        while True:
            try:
                measured = self._sink.pull().metadata.get("lavfi.r128.I")
            except (NothingYet, EOFError):
                return
            self._integrated = float(measured) if measured else self._integrated

    def integrated(self) -> float | None:
        """Return LUFS; ``None`` when nothing was long and loud enough (0.4 s over -70 LUFS) to measure."""
        if self._integrated is None or self._integrated <= -70.0:
            return None
        return round(self._integrated, 1)


def _loudness_graph(frame: AudioFrame) -> tuple[Any, Any, Any]:
    from av.filter import Graph

    graph = Graph()
    source = graph.add_abuffer(
        sample_rate=frame.sample_rate,
        format=frame.format.name,
        layout=frame.layout.name,
        time_base=Fraction(1, frame.sample_rate),
    )
    meter = graph.add("ebur128", "metadata=1")
    sink = graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    return graph, source, sink
