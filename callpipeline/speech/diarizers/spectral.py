"""Diarization of mono recordings by how voices sound, without weights: MFCC statistics and spectral
clustering.

What belongs here: from voice activity to spans of numbered speakers. What does not: who of them is the agent
(``roles`` reads that from the words).

Method: windows of 1.0 s every 0.25 s, mean and deviation of their MFCC, affinity cosine ** 8, spectral
clustering with ``cluster_qr``. Diarization error (collar 0.25 s, no overlap): real telephone call .16, two
real voices .01.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from callpipeline.model import Diarization, Region, Role, SpeakerSpan
from callpipeline.speech.engines.base import CpuRunner, SpeechJob
from callpipeline.speech.mfcc import mfcc
from callpipeline.speech.utterances import Track, joined, utterances

VERSION = "1"

WINDOW = 100
STEP = 25
"""Frames (10 ms) of a window and from one to the next."""

STEP_SECONDS = STEP / 100
LONGEST = 60.0
"""Most speech (s) held in memory at once; the clustering knows nothing of these pieces."""

SAMPLE = 1500
"""Windows that are clustered; in a longer recording the others join the nearest cluster. The affinity matrix
of 1500 windows takes 9 MB, that of a 10 h recording would take 80 GB."""

FEWEST_WINDOWS = 6
"""Less speech (about 2 s) tells nothing about the number of voices."""

TWO_VOICES = 0.05
TWO_VOICES_BY_CHANCE = 5.0
"""Least evidence for more than one voice (``_evidence``): 0.05 + 5 / windows, because few windows fall apart
into neat clusters by chance. On 31 two-party calls of synthetic voices mixed down to mono and 58 single
channels of them it finds both voices in 96 % of the calls, and two in 5 % of the single voices. Calls in
which both parties are the same synthetic voice at another pitch are beyond it."""

Array = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


class SpectralDiarizer:
    """Tells ``speakers`` voices apart, or says that there is one. Runs in a worker process."""

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
        first = min(job.activity.channels, key=lambda c: c.channel, default=None)
        regions = tuple(r for r in first.speech if r.duration > 0) if first is not None else ()
        spans, notes = await self._cpu(who_speaks, str(job.path), regions, job.info.duration, self._speakers)
        return Diarization(
            engine=self.name,
            engine_version=self.version,
            spans=spans,
            roles={span.speaker: Role.UNKNOWN for span in spans},
            role_confidence=0.0,
            notes=notes,
        )


def who_speaks(
    path: str, regions: tuple[Region, ...], duration: float, speakers: int
) -> tuple[tuple[SpeakerSpan, ...], tuple[str, ...]]:
    """Return the spans of each speaker, and what is to be said about them. Runs in a worker process."""
    statistics, places = _windows(Path(path), regions, duration)
    notes: tuple[str, ...] = ()
    labels: Labels = np.zeros(len(places), np.int64)
    if speakers > 1 and len(places) >= max(FEWEST_WINDOWS, 2 * speakers):
        clustered = cluster(statistics, speakers)
        needed = TWO_VOICES + TWO_VOICES_BY_CHANCE / len(places)
        if _evidence(_normalised(statistics), clustered, places) >= needed:
            labels = clustered
    if speakers > 1 and not labels.any():
        notes = (f"{speakers} voices were expected, but they sound like one",)
    return tuple(_spans(regions, places, labels)), notes


def _windows(path: Path, regions: Sequence[Region], duration: float) -> tuple[Array, list[float]]:
    """Return the statistics of each window of speech, shape (windows, 40), and the second at which each
    begins."""
    rows: list[Array] = []
    places: list[float] = []
    track = Track(0, None, joined(regions, duration=duration))
    for piece in utterances(path, (track,), longest=LONGEST):
        coefficients = mfcc(piece.samples)
        for first in range(0, max(1, len(coefficients) - WINDOW + 1), STEP):
            window = coefficients[first : first + WINDOW]
            if len(window):
                rows.append(np.concatenate([window.mean(axis=0), window.std(axis=0)]))
                places.append(piece.start + first / 100)
    return np.asarray(rows, dtype=np.float32), places


def _normalised(statistics: Array) -> Array:
    """Bring every figure to mean 0 and deviation 1 over the recording, and every window to length 1."""
    scaled = (statistics - statistics.mean(axis=0)) / (statistics.std(axis=0) + 1e-6)
    return np.asarray(scaled / (np.linalg.norm(scaled, axis=1, keepdims=True) + 1e-9), dtype=np.float32)


def cluster(statistics: Array, speakers: int) -> Labels:
    """Return a speaker number for each window, by spectral clustering of at most ``SAMPLE`` of them."""
    from sklearn.cluster import SpectralClustering

    windows = _normalised(statistics)
    chosen = np.unique(np.linspace(0, len(windows) - 1, min(SAMPLE, len(windows))).astype(np.int64))
    sample = windows[chosen]
    # The small floor keeps the graph connected: without it a window unlike all others is an island.
    affinity = np.clip(sample @ sample.T, 0, 1) ** 8 + 1e-6
    model = SpectralClustering(speakers, affinity="precomputed", assign_labels="cluster_qr", random_state=0)
    found = model.fit(affinity.astype(np.float64)).labels_
    if len(sample) == len(windows):
        return np.asarray(found, dtype=np.int64)
    numbers = np.unique(found)
    centres = np.stack([sample[found == n].mean(axis=0) for n in numbers])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True) + 1e-9
    return np.asarray(numbers[(windows @ centres.T).argmax(axis=1)], dtype=np.int64)


def _evidence(windows: Array, labels: Labels, places: Sequence[float]) -> float:
    """Say how different the clusters are, about -0.5 (one voice) to 0.7 (two very different ones).

    The silhouette (Rousseeuw 1987, cosine distance) says how well they are apart. Clusters of one voice are
    clusters of its sounds: from one second to the next within a phrase the label flips nearly as often as by
    chance, where real speakers change between phrases.
    """
    from sklearn.metrics import silhouette_score

    share = np.bincount(labels) / len(labels)
    by_chance = 1.0 - float((share**2).sum())
    if by_chance == 0.0:
        return -1.0
    ahead = WINDOW // STEP
    begins = np.asarray(places)
    followed = begins[ahead:] - begins[:-ahead] < 1.5 * WINDOW / 100
    flips = float((labels[ahead:] != labels[:-ahead])[followed].mean()) if followed.any() else 0.0
    size = min(SAMPLE, len(labels))
    silhouette = float(silhouette_score(windows, labels, metric="cosine", sample_size=size, random_state=0))
    return silhouette - 0.3 * flips / by_chance


def _spans(regions: Sequence[Region], places: Sequence[float], labels: Labels) -> Iterator[SpeakerSpan]:
    """Give every quarter of a second of speech to the speaker whom most windows over it name."""
    speakers = _speaker_of_slots(places, labels)
    for region in regions:
        first = min(int(region.start / STEP_SECONDS), len(speakers) - 1)
        slots = speakers[first : int(np.ceil(region.end / STEP_SECONDS))]
        begin = region.start
        for slot in np.flatnonzero(np.diff(slots)) + 1:
            end = float((first + slot) * STEP_SECONDS)
            yield SpeakerSpan(speaker=f"speaker_{slots[slot - 1]}", start=begin, end=end)
            begin = end
        yield SpeakerSpan(speaker=f"speaker_{slots[-1]}", start=begin, end=region.end)


def _speaker_of_slots(places: Sequence[float], labels: Labels) -> Labels:
    """Return the speaker of each ``STEP_SECONDS`` of the recording, numbered in order of appearance.

    Slots that no window covers get the speaker of the nearest one that a window does.
    """
    if not places:
        return np.zeros(1, np.int64)
    _, first_seen, numbers = np.unique(labels, return_index=True, return_inverse=True)
    speakers = np.argsort(np.argsort(first_seen))[numbers]
    slots = np.rint(np.asarray(places) / STEP_SECONDS).astype(np.int64)
    votes = np.zeros((int(slots.max()) + WINDOW // STEP, int(speakers.max()) + 1), np.int32)
    for ahead in range(WINDOW // STEP):
        np.add.at(votes, (slots + ahead, speakers), 1)
    covered = np.flatnonzero(votes.any(axis=1))
    wanted = np.arange(len(votes))
    after = np.clip(np.searchsorted(covered, wanted), 0, len(covered) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.abs(covered[before] - wanted) < np.abs(covered[after] - wanted)
    nearest = covered[np.where(nearer, before, after)]
    return np.asarray(votes.argmax(axis=1)[nearest], dtype=np.int64)
