"""NeMo's streaming Sortformer: who speaks when, up to four voices, overlaps included.

What belongs here: handing it the sound and reading its spans. What does not: weights and devices (``nemo_weights``).

The streaming variant works through a recording in steps with a cache of speakers, so its memory does not grow with the
square of the length as that of the offline one does. Full-size with random weights: 2.4-3 times as fast as real time
on 2 cores, 1.7 GB.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from callpipeline.audio.decode import blocks
from callpipeline.cancellation import checkpoint, in_thread
from callpipeline.failures import NotFit
from callpipeline.model import Diarization, SpeakerSpan
from callpipeline.speech.diarizers import nemo_weights
from callpipeline.speech.diarizers.base import of_strangers
from callpipeline.speech.engines.base import SpeechJob

if TYPE_CHECKING:
    from callpipeline.settings import Settings

REVISION = "1"
RATE = 16_000
MOST_SPEAKERS = 4
LONGEST = 3 * 3600.0
"""Longest recording (s): its samples are handed over in one piece, 230 MB for each hour."""

Samples = npt.NDArray[np.float32]


class SortformerDiarizer:
    """Runs in a thread: torch gives the interpreter's lock free, so a transcription can run beside it."""

    name = "sortformer"

    def __init__(self, settings: Settings) -> None:
        self._model = settings.sortformer_model
        self._device = settings.nemo_device

    @property
    def version(self) -> str:
        """Package version, model and our revision."""
        nemo = version("nemo_toolkit") if nemo_weights.installed() else "missing"
        return f"nemo-{nemo}+{REVISION} {self._model}"

    async def diarize(self, job: SpeechJob) -> Diarization:
        """Return spans of ``speaker_0`` ... in order of appearance; their roles are unknown.

        Raises:
            NotConfigured: NeMo or the weights are missing.
            NotFit: the recording is too long to be held in memory.
            EngineFailed, ResourceExhausted: the model broke, or memory gave out.
        """
        if job.info.duration > LONGEST:
            raise NotFit(
                f"{job.info.duration / 3600:.1f} h are too long for the diarization engine sortformer (3 h).",
                hint="Set CALLPIPELINE_DIARIZER=spectral.",
            )
        return await in_thread(self._diarize, job)

    def _diarize(self, job: SpeechJob) -> Diarization:
        loaded = nemo_weights.load("sortformer", self._model, self._device)
        samples = mono(job.path)
        said = nemo_weights.use(loaded, lambda model: _heard(model, samples)) if samples.size else []
        spans = spans_of(said, duration=job.info.duration)
        notes = [loaded.note] if loaded.note else []
        expected = job.expected(0)
        if expected and expected > MOST_SPEAKERS:
            notes.append(f"{expected} speakers were told of; sortformer tells {MOST_SPEAKERS} apart at most")
        return of_strangers(self, spans, notes)


def mono(path: Path) -> Samples:
    """Return all of a recording as one channel at 16 kHz."""
    kept: list[Samples] = []
    for block in blocks(path, rate=RATE, block_seconds=10.0):
        checkpoint()
        kept.append(block.mean(axis=0, dtype=np.float32))
    return np.concatenate(kept) if kept else np.zeros(0, np.float32)


def _heard(model: Any, samples: Samples) -> list[str]:
    return list(model.diarize(audio=samples, sample_rate=RATE, batch_size=1, verbose=False)[0])


def spans_of(lines: list[str], *, duration: float) -> tuple[SpeakerSpan, ...]:
    """Read NeMo's ``start end speaker_n``, numbered anew in order of appearance and kept within the recording."""
    names: dict[str, str] = {}
    spans = []
    for start, end, label in sorted((float(a), float(b), c) for a, b, c in map(str.split, lines)):
        begin, stop = max(0.0, start), min(end, duration)
        if stop > begin:
            speaker = names.setdefault(label, f"speaker_{len(names)}")
            spans.append(SpeakerSpan(speaker=speaker, start=round(begin, 3), end=round(stop, 3)))
    return tuple(spans)
