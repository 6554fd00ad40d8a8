"""Diarization of mono recordings by how voices sound, without weights: MFCC statistics and spectral
clustering.

What belongs here: from voice activity to spans of numbered speakers. What does not: dividing windows into clusters
(``clustering``), who of them is the agent (``roles`` reads that from the words).

Method: mean and deviation of the MFCC of windows, clustered. In a call of two, windows are 1.0 s every 0.25 s:
diarization error (collar 0.25 s, no overlap) on a real telephone call .16, on two real voices .01. In hearings, and of
more voices, they are 2.0 s every 0.5 s, which tells more voices apart: of 18 hearings of 10 minutes with 2-5 synthetic
voices (half of them with hiss at 24 dB and one voice that has half of the time or more) the number of voices was found
in 15 and was wrong by one in 3; the error was .02 where it was right, and up to .27 where it was not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from callpipeline.model import Diarization, Region, SpeakerSpan
from callpipeline.speech.diarizers import clustering
from callpipeline.speech.diarizers.base import of_strangers
from callpipeline.speech.diarizers.clustering import Labels
from callpipeline.speech.engines.base import CpuRunner, SpeechJob
from callpipeline.speech.mfcc import COEFFICIENTS, mfcc
from callpipeline.speech.utterances import Track, tracks, utterances

VERSION = "2"

LONGEST = 20.0
"""Most speech (s) held in memory at once; the clustering knows nothing of these pieces."""


class Window(NamedTuple):
    """Frames (10 ms) of a window, and from one to the next."""

    frames: int
    step: int

    @property
    def seconds(self) -> float:
        """From one window to the next."""
        return self.step / 100

    @property
    def steps(self) -> int:
        """After so many windows, the next has nothing of the first."""
        return self.frames // self.step


OF_TWO = Window(100, 25)
OF_MANY = Window(200, 50)

FEWEST_WINDOWS = 6
"""Less speech (about 2 s) tells nothing about the number of voices."""

TWO_VOICES = 0.05
TWO_VOICES_BY_CHANCE = 5.0
"""Least evidence for more than one voice (``_evidence``): 0.05 + 5 / windows, because few windows fall apart
into neat clusters by chance. On 31 two-party calls of synthetic voices mixed down to mono and 58 single
channels of them it finds both voices in 96 % of the calls, and two in 5 % of the single voices. Calls in
which both parties are the same synthetic voice at another pitch are beyond it."""

Array = npt.NDArray[np.float32]


class SpectralDiarizer:
    """Tells voices apart, or says that there is one. Runs in a worker process.

    There are as many as the job says; ``speakers`` in a call of which nothing is said; in a hearing they are counted.
    """

    name = "spectral"
    version = VERSION

    def __init__(self, speakers: int, cpu: CpuRunner) -> None:
        self._speakers = speakers
        self._cpu = cpu

    async def diarize(self, job: SpeechJob) -> Diarization:
        """Return spans of ``speaker_0``, ``speaker_1`` ... in order of appearance; their roles are unknown.

        Raises:
            SourceUnavailable, EmptyFile, NotAudio, CorruptAudio: see ``audio.decode.blocks``.
        """
        expected = job.expected(self._speakers)
        spans, notes = await self._cpu(
            who_speaks,
            str(job.path),
            speech_of(job),
            tracks(job.info, job.activity, by_channel=False),
            expected,
            window=OF_TWO if expected in (1, 2) and not job.hearing else OF_MANY,
        )
        return of_strangers(self, spans, notes)


def speech_of(job: SpeechJob) -> tuple[Region, ...]:
    """Return when anybody speaks, on whatever channel."""
    found: list[Region] = []
    for region in sorted((r for c in job.activity.channels for r in c.speech), key=lambda r: r.start):
        if found and region.start <= found[-1].end and len(job.activity.channels) > 1:
            found[-1] = Region(start=found[-1].start, end=max(found[-1].end, region.end))
        elif region.duration > 0:
            found.append(region)
    return tuple(found)


def who_speaks(
    path: str,
    regions: tuple[Region, ...],
    heard: Sequence[Track],
    speakers: int | None,
    *,
    window: Window,
) -> tuple[tuple[SpeakerSpan, ...], tuple[str, ...]]:
    """Return the spans of each speaker, and what is to be said about them. Runs in a worker process.

    Args:
        path: The recording.
        regions: When somebody speaks.
        heard: What is heard of it.
        speakers: How many there are, ``None``: to be counted.
        window: What is clustered.
    """
    statistics, places = _windows(Path(path), heard, window)
    labels: Labels = np.zeros(len(places), np.int64)
    if speakers != 1 and len(places) >= max(FEWEST_WINDOWS, 2 * (speakers or 1)):
        windows = clustering.normalised(statistics)
        clustered = clustering.cluster(windows, speakers)
        needed = TWO_VOICES + TWO_VOICES_BY_CHANCE / len(places)
        if _evidence(windows, clustered, places, window) >= needed:
            labels = clustered
    note = expected_note(speakers, len(np.unique(labels))) if len(places) else ""
    return tuple(spans_of(regions, places, labels, window)), (note,) if note else ()


def expected_note(speakers: int | None, found: int) -> str:
    """Say how the number of voices came about, where somebody may want to correct it."""
    if speakers is None:
        voices = f"{found} voices were" if found > 1 else "one voice was"
        return f"{voices} counted by their sound; the metadata field speakers says how many there are"
    return f"{speakers} voices were expected, but they sound like one" if speakers > 1 and found < 2 else ""


def _windows(path: Path, heard: Sequence[Track], window: Window) -> tuple[Array, Array]:
    """Return the statistics of each window of speech, shape (windows, 40), and the second at which each
    begins."""
    rows = [np.zeros((0, 2 * COEFFICIENTS), np.float32)]
    places = [np.zeros(0, np.float32)]
    for piece in utterances(path, heard, longest=LONGEST):
        coefficients = mfcc(piece.samples)
        if len(coefficients):
            firsts = np.arange(0, max(1, len(coefficients) - window.frames + 1), window.step)
            rows.append(_statistics(coefficients, firsts, min(window.frames, len(coefficients))))
            places.append((piece.start + firsts / 100).astype(np.float32))
    return np.concatenate(rows), np.concatenate(places)


def _statistics(coefficients: Array, firsts: npt.NDArray[np.int64], frames: int) -> Array:
    """Return mean and deviation of so many frames from each of ``firsts`` on."""
    begin = np.zeros((1, coefficients.shape[1]))
    sums = np.concatenate([begin, np.cumsum(coefficients, axis=0, dtype=np.float64)])
    squares = np.concatenate([begin, np.cumsum(coefficients.astype(np.float64) ** 2, axis=0)])
    mean = (sums[firsts + frames] - sums[firsts]) / frames
    variance = (squares[firsts + frames] - squares[firsts]) / frames - mean**2
    return np.concatenate([mean, np.sqrt(np.maximum(variance, 0))], axis=1).astype(np.float32)


def _evidence(windows: Array, labels: Labels, places: Array, window: Window) -> float:
    """Say how different the clusters are, about -0.5 (one voice) to 0.7 (two very different ones).

    The silhouette says how well they are apart. Clusters of one voice are clusters of its sounds: from one second to the
    next within a phrase the label flips nearly as often as by chance, where real speakers change between phrases.
    """
    share = np.bincount(labels) / len(labels)
    by_chance = 1.0 - float((share**2).sum())
    if by_chance == 0.0:
        return -1.0
    ahead = window.steps
    followed = places[ahead:] - places[:-ahead] < 1.5 * window.frames / 100
    flips = float((labels[ahead:] != labels[:-ahead])[followed].mean()) if followed.any() else 0.0
    return clustering.silhouette(windows, labels) - 0.3 * flips / by_chance


def spans_of(
    regions: Sequence[Region], places: Array, labels: Labels, window: Window
) -> Iterator[SpeakerSpan]:
    """Give every step of speech to the speaker whom most windows over it name."""
    speakers = _speaker_of_slots(places, labels, window)
    for region in regions:
        first = min(int(region.start / window.seconds), len(speakers) - 1)
        slots = speakers[first : int(np.ceil(region.end / window.seconds))]
        begin = region.start
        for slot in np.flatnonzero(np.diff(slots)) + 1:
            end = float((first + slot) * window.seconds)
            yield SpeakerSpan(speaker=f"speaker_{slots[slot - 1]}", start=begin, end=end)
            begin = end
        yield SpeakerSpan(speaker=f"speaker_{slots[-1]}", start=begin, end=region.end)


def _speaker_of_slots(places: Array, labels: Labels, window: Window) -> Labels:
    """Return the speaker of each step of the recording, numbered in order of appearance.

    Slots that no window covers get the speaker of the nearest one that a window does.
    """
    if not len(places):
        return np.zeros(1, np.int64)
    _, first_seen, numbers = np.unique(labels, return_index=True, return_inverse=True)
    speakers = np.argsort(np.argsort(first_seen))[numbers]
    slots = np.rint(places / window.seconds).astype(np.int64)
    votes = np.zeros((int(slots.max()) + window.steps, int(speakers.max()) + 1), np.int32)
    for ahead in range(window.steps):
        np.add.at(votes, (slots + ahead, speakers), 1)
    covered = np.flatnonzero(votes.any(axis=1))
    wanted = np.arange(len(votes))
    after = np.clip(np.searchsorted(covered, wanted), 0, len(covered) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.abs(covered[before] - wanted) < np.abs(covered[after] - wanted)
    nearest = covered[np.where(nearer, before, after)]
    return np.asarray(votes.argmax(axis=1)[nearest], dtype=np.int64)
