"""One long recording whose words are known, and where in it any piece of it lies, by listening.

Belongs here: a timeline with its file, and finding pieces that were cut out of the recording, joined over left out
stretches, and coded with losses. Does not: how a provider writes what is said in them.

A recording is known by its envelope: its level every 10 ms. What was cut out of it is a few stretches of the
same envelope with constant distances to it. The distances are found by correlating windows of the piece, near the
last one first; then each frame of the piece goes to the distance that fits it, changing as seldom as can be.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from callpipeline_tests.simulators.audio import NotAudioError
from callpipeline_tests.simulators.words import SpokenTurn, in_order, words_of

FRAMES = 100
"""Frames of an envelope per second."""

_RATE = 8000
_SAMPLES = _RATE // FRAMES
_FLOOR = 1e-5
"""Mean squares below this (-50 dBFS) are silence: coders change what nobody hears."""

_SHORT_WINDOW = 2 * FRAMES
_HOP = FRAMES // 2
_LIVELY = 0.3
"""A window whose levels differ less than this (standard deviation, in bel) is silence, which is everywhere."""

_SAME = 0.9
"""Correlation of a piece with its own place; other places, with other words, come to 0.8 at most."""

_FITS = 0.25
"""Mean difference in bel of a piece from its own place."""

_AHEAD = ((_SHORT_WINDOW, 40 * FRAMES), (8 * FRAMES, 300 * FRAMES))
"""Where a piece goes on is sought with a window of this length, this far ahead, one after the other."""

_ANYWHERE = ((20 * FRAMES, 8 * FRAMES), (3 * FRAMES,))
"""Windows with which it is sought everywhere. Some turns are said again at nearly the same speed: what is around
them tells them apart, so short windows are for pieces that have no other."""

_SURE = 4
"""So many windows tell where a piece really is."""

_BESIDE = 60 * FRAMES
"""What is too short for a window is sought this far before and after what was found."""

_LOST = 5 * FRAMES
"""A piece is lost when nothing was found for so long: only then it is sought everywhere."""

_CHANGE = 20.0
"""What a change of the distance costs, in bel x frames."""

_BEAT = 10
"""What does not fit is looked at in stretches of at least this (frames)."""

_ROUNDS = 4
"""Each finds what lies between the finds of the one before."""

_EQUAL = 3.0
"""Bel x frames that make no difference."""

_EDGE = 2
"""A word of which less than this is missing (frames) is whole: times are exact to a frame."""

Envelope = npt.NDArray[np.float32]
"""Level in bel over silence, 0 to about 5."""


@dataclass(frozen=True)
class Heard:
    """A piece: what is said in it, in its own times, and its length in seconds."""

    turns: tuple[SpokenTurn, ...]
    duration: float
    channels: int


@dataclass(frozen=True)
class _Run:
    """Frames ``first`` to ``last`` of a piece are those of the recording ``distance`` later."""

    first: int
    last: int
    distance: int


class Timeline:
    """The words of a recording, and its envelope to know pieces of it by."""

    def __init__(self, turns: Iterable[SpokenTurn], envelope: Envelope) -> None:
        """Take what is said, and the recording's envelope (``envelope_of``)."""
        self.turns = in_order(turns)
        self._reference = envelope
        self._spectrum: npt.NDArray[np.complex64] | None = None

    @classmethod
    def of(cls, recording: Path, turns: Iterable[SpokenTurn]) -> Timeline:
        """Listen to a recording.

        Raises:
            NotAudioError: it cannot be decoded.
        """
        return cls(turns, envelope_of(recording)[0])

    @classmethod
    def load(cls, path: Path) -> Timeline:
        """Read a file that ``save`` wrote."""
        with np.load(path) as stored:
            turns = json.loads(stored["turns"].tobytes())
            return cls([SpokenTurn.model_validate(turn) for turn in turns], stored["envelope"])

    def save(self, path: Path) -> None:
        """Write a file (npz) for the simulators' option ``timeline``."""
        turns = json.dumps([turn.model_dump(mode="json") for turn in self.turns]).encode()
        with path.open("wb") as file:
            np.savez(file, envelope=self._reference, turns=np.frombuffer(turns, np.uint8))

    def heard(self, path: Path) -> Heard | None:
        """Return the words that are wholly in a piece of the recording; ``None`` if it is none of it.

        Raises:
            NotAudioError: it cannot be decoded.
        """
        piece, duration, channels = envelope_of(path)
        runs = self._runs(piece)
        if not runs:
            return None
        parts = sorted(
            (turn for run in runs for turn in self._said_in(run, duration)), key=lambda turn: turn.start
        )
        return Heard(tuple(parts), duration, channels)

    # --- words of a stretch -------------------------------------------------------------------------------

    def _said_in(self, run: _Run, duration: float) -> Iterator[SpokenTurn]:
        first, last = (run.first + run.distance) / FRAMES, (run.last + run.distance) / FRAMES
        for turn in self.turns:
            if turn.end <= first or turn.start >= last:
                continue
            texts, times = [], []
            for text, word in zip(turn.text.split(), words_of(turn), strict=True):
                start, end = word.start / 1000, word.end / 1000
                if first - _EDGE / FRAMES <= start and end <= last + _EDGE / FRAMES:
                    moved = [time - run.distance / FRAMES for time in (start, end)]
                    low, high = (round(min(max(time, 0.0), duration), 3) for time in moved)
                    texts.append(text)
                    times.append((low, high))
            if texts:
                yield turn.model_copy(
                    update={
                        "start": times[0][0],
                        "end": times[-1][1],
                        "text": " ".join(texts),
                        "times": tuple(times),
                    }
                )

    # --- where a piece lies -------------------------------------------------------------------------------

    def _runs(self, piece: Envelope) -> list[_Run]:
        """Return the stretches of the recording that a piece is made of, in order; none if it is not of it."""
        distances = next(filter(None, (self._distances(piece, windows) for windows in _ANYWHERE)), [])
        runs: list[_Run] = []
        for _ in range(_ROUNDS if distances else 0):
            misfits = np.stack([self._misfit(piece, d) for d in distances])
            runs = [_Run(a, b, distances[row]) for a, b, row in _in_silence(_covered(misfits), misfits)]
            more = self._between(piece, runs) - set(distances)
            if not more:
                break
            distances = sorted({*distances, *more})
        return runs

    def _between(self, piece: Envelope, runs: Sequence[_Run]) -> set[int]:
        """Return distances of what is too short for a window: it lies between two runs, or at an end."""
        misfit = np.concatenate([self._misfit(piece[: r.last], r.distance)[r.first :] for r in runs])
        around = np.convolve(misfit, np.full(_BEAT, 1 / _BEAT), "same")
        found: set[int] = set()
        for first, last in _stretches(around > _FITS):
            window = piece[first : min(last, first + _SHORT_WINDOW)]
            if len(window) < _BEAT or window.std() < _LIVELY:
                continue
            before = [r.distance for r in runs if r.last <= first]
            after = [r.distance for r in runs if r.first >= last]
            here = [r.distance for r in runs if r.last > first and r.first < last]
            lowest = before[-1] if before else min(here) - _BESIDE
            highest = after[0] if after else max(here) + _BESIDE
            begin = max(0, first + lowest)
            there = self._reference[begin : max(0, first + highest + len(window))]
            if len(there) < len(window):
                continue
            places = np.lib.stride_tricks.sliding_window_view(there, len(window))
            differences = np.abs(places - window).mean(axis=1)
            if differences.min() < _FITS:
                found.add(begin + int(differences.argmin()) - first)
        return found

    def _misfit(self, piece: Envelope, distance: int) -> Envelope:
        """Return each frame's difference from the recording there; what is outside of it fits nothing."""
        places = np.arange(len(piece)) + distance
        inside = (places >= 0) & (places < len(self._reference))
        there = self._reference[places.clip(0, len(self._reference) - 1)]
        return np.where(inside, np.abs(piece - there), np.float32(5)).astype(np.float32)

    def _distances(self, piece: Envelope, windows: Sequence[int]) -> list[int]:
        """Return all distances of windows of the piece, in order; with ``windows`` they are sought anywhere."""
        found: Counter[int] = Counter()
        fitted = -_LOST
        length = min(_SHORT_WINDOW, len(piece))
        for first in [*range(0, len(piece) - length, _HOP), len(piece) - length]:
            window = piece[first : first + length]
            if window.std() < _LIVELY:
                continue
            fits = [d for d in found if self._misfit(window, first + d).mean() < _FITS]
            if not fits:
                # What only fitted a moment may be other words that sound alike.
                sure = [d for d, times in found.items() if times >= _SURE] or list(found)
                distance = self._sought(piece, first, sure[-1] if sure else None)
                if distance is None and first - fitted >= _LOST:
                    distance = self._found_anywhere(piece, first, windows)
                fits = [] if distance is None else [distance]
            found.update(fits)
            fitted = first if fits else fitted
        return sorted(found)

    def _sought(self, piece: Envelope, first: int, last: int | None) -> int | None:
        """Return the distance of what begins at a frame, if it is ahead of the last one's."""
        for length, reach in _AHEAD if last is not None else ():
            begin = max(0, first + (last or 0) - _HOP)
            place = _best_place(self._reference[begin : begin + reach], piece[first : first + length])
            if place is not None:
                return begin + place - first
        return None

    def _found_anywhere(self, piece: Envelope, first: int, windows: Sequence[int]) -> int | None:
        if self._spectrum is None:
            self._spectrum = np.fft.rfft(self._reference, _size(len(self._reference))).astype(np.complex64)
        for length in windows:
            place = _best_place(self._reference, piece[first : first + length], self._spectrum)
            if place is not None:
                return place - first
        return None


def envelope_of(path: Path) -> tuple[Envelope, float, int]:
    """Return a file's envelope, its length in seconds and its channels; it is decoded as a stream.

    Raises:
        NotAudioError: it cannot be decoded.
    """
    import av

    levels: list[npt.NDArray[np.float64]] = []
    rest, channels, seconds = np.zeros(0, np.float32), 0, 0.0
    resampler: av.AudioResampler | None = None
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(audio=0):
                seconds += frame.samples / frame.sample_rate
                frame.pts = None
                if resampler is None:
                    channels = frame.layout.nb_channels
                    resampler = av.AudioResampler(
                        format="fltp", layout=frame.layout, rate=_RATE, frame_size=_RATE
                    )
                for part in resampler.resample(frame):
                    rest = np.concatenate([rest, part.to_ndarray().mean(axis=0)])
                whole = rest.size // _SAMPLES * _SAMPLES
                if whole:
                    levels.append((rest[:whole].reshape(-1, _SAMPLES).astype(np.float64) ** 2).mean(axis=1))
                    rest = rest[whole:]
    except (av.error.FFmpegError, IndexError, ValueError) as error:
        raise NotAudioError(str(error)) from error
    if resampler is None:
        raise NotAudioError("no audio samples")
    for part in resampler.resample(None):
        rest = np.concatenate([rest, part.to_ndarray().mean(axis=0)])
    levels.append((rest[: rest.size // _SAMPLES * _SAMPLES].reshape(-1, _SAMPLES) ** 2).mean(axis=1))
    # Smoothed, so that it matters little where in the sound the frames of a piece begin.
    smooth = np.convolve(np.pad(np.concatenate(levels), 1, mode="edge"), (0.25, 0.5, 0.25), "valid")
    return np.log10(np.maximum(smooth, _FLOOR) / _FLOOR).astype(np.float32), seconds, channels


def _best_place(
    reference: Envelope, window: Envelope, spectrum: npt.NDArray[np.complex64] | None = None
) -> int | None:
    """Return where a window correlates best with a longer envelope, unless it is not the same there."""
    count = len(window)
    if len(reference) < count:
        return None
    size = _size(len(reference))
    centred = window - window.mean()
    known = np.fft.rfft(reference, size) if spectrum is None else spectrum
    products = np.fft.irfft(known * np.conj(np.fft.rfft(centred, size)), size)[: len(reference) - count + 1]
    sums, squares = (
        np.concatenate([[0.0], np.cumsum(reference.astype(np.float64) ** power)]) for power in (1, 2)
    )
    means = (sums[count:] - sums[:-count]) / count
    spreads = np.sqrt(np.maximum((squares[count:] - squares[:-count]) / count - means**2, _LIVELY**2 / 4))
    scores = products / (count * spreads * max(float(window.std()), 1e-6))
    best = int(scores.argmax())
    return best if scores[best] >= _SAME else None


def _size(frames: int) -> int:
    """Return a length that FFTs are fast with; nothing wraps round at the places that are looked at."""
    return 1 << (frames - 1).bit_length()


def _covered(misfits: npt.NDArray[np.float32]) -> list[tuple[int, int, int]]:
    """Return (first column, last column, row) so that little does not fit and rows seldom change; they only go up."""
    rows, columns = misfits.shape
    before = np.full(columns + 1, np.inf)
    before[0] = 0.0
    change = np.full(columns + 1, _CHANGE)
    change[0] = 0.0
    row_before = np.full((rows + 1, columns + 1), -1)
    entered = np.zeros((rows, columns + 1), np.int64)
    for row in range(rows):
        so_far = np.concatenate([[0.0], np.cumsum(misfits[row], dtype=np.float64)])
        enter = before + change - so_far
        lowest = np.minimum.accumulate(enter)
        entered[row] = np.maximum.accumulate(np.where(enter <= lowest, np.arange(columns + 1), 0))
        cost = so_far + lowest
        row_before[row + 1] = np.where(cost < before, row, row_before[row])
        before = np.minimum(cost, before)
    found: list[tuple[int, int, int]] = []
    last, row = columns, int(row_before[rows][columns])
    while last > 0:
        first = int(entered[row][last])
        found.append((first, last, row))
        last, row = first, int(row_before[row][first])
    return found[::-1]


def _in_silence(
    runs: Sequence[tuple[int, int, int]], misfits: npt.NDArray[np.float32]
) -> list[tuple[int, int, int]]:
    """Return runs with each change in the middle of where it does as well: the middle of a silence."""
    edges = [0]
    for (first, change, row), (_, last, after) in pairwise(runs):
        worse = np.concatenate([[0.0], np.cumsum(misfits[row, first:last] - misfits[after, first:last])])
        place = change - first
        equal = np.concatenate([[False], worse - worse[place] < _EQUAL, [False]])
        begin = place - int(equal[: place + 1][::-1].argmin()) + 1
        end = place + int(equal[place + 1 :].argmin())
        edges.append(first + (begin + end) // 2)
    edges.append(misfits.shape[1])
    return [(a, b, row) for (a, b), (_, _, row) in zip(pairwise(edges), runs, strict=True)]


def _stretches(where: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], where, [False]]).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


__all__: Sequence[str] = ("Heard", "Timeline", "envelope_of")
