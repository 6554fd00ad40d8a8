"""Diarization by NeMo's model of voices (TitaNet): a vector for each window of speech, clustered.

What belongs here: from windows of speech to their vectors. What does not: weights and devices (``nemo_weights``), clusters
(``clustering``), spans of steps (``spectral``, which does the same with MFCC statistics and needs no weights).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from callpipeline.cancellation import checkpoint, in_thread
from callpipeline.model import Diarization
from callpipeline.speech.diarizers import clustering, nemo_weights
from callpipeline.speech.diarizers.base import of_strangers
from callpipeline.speech.diarizers.spectral import (
    FEWEST_WINDOWS,
    LONGEST,
    Window,
    expected_note,
    spans_of,
    speech_of,
)
from callpipeline.speech.engines.base import SpeechJob
from callpipeline.speech.utterances import RATE, Track, tracks, utterances

if TYPE_CHECKING:
    from callpipeline.settings import Settings

REVISION = "1"
WINDOW = Window(150, 75)
"""1.5 s every 0.75 s: the longest of the scales that NeMo's own clustering diarizer takes for telephone speech."""

BATCH = 32

Array = npt.NDArray[np.float32]


class TitanetDiarizer:
    """Runs in a thread: torch gives the interpreter's lock free, so a transcription can run beside it.

    There are as many voices as the job says; ``speakers`` in a call of which nothing is said; in a hearing they are
    counted.
    """

    name = "titanet"

    def __init__(self, settings: Settings) -> None:
        self._model = settings.titanet_model
        self._device = settings.nemo_device
        self._speakers = settings.speakers

    @property
    def version(self) -> str:
        """Package version, model and our revision."""
        nemo = version("nemo_toolkit") if nemo_weights.installed() else "missing"
        return f"nemo-{nemo}+{REVISION} {self._model}"

    async def diarize(self, job: SpeechJob) -> Diarization:
        """Return spans of ``speaker_0`` ... in order of appearance; their roles are unknown.

        Raises:
            NotConfigured: NeMo or the weights are missing.
            EngineFailed, ResourceExhausted: the model broke, or memory gave out.
        """
        return await in_thread(self._diarize, job)

    def _diarize(self, job: SpeechJob) -> Diarization:
        loaded = nemo_weights.load("titanet", self._model, self._device)
        heard = tracks(job.info, job.activity, by_channel=False)
        vectors, places = nemo_weights.use(loaded, lambda model: _vectors(model, job.path, heard))
        expected = job.expected(self._speakers)
        labels = np.zeros(len(places), np.int64)
        if expected != 1 and len(places) >= max(FEWEST_WINDOWS, 2 * (expected or 1)):
            labels = clustering.cluster(vectors, expected)
        note = expected_note(expected, len(np.unique(labels))) if len(places) else ""
        spans = spans_of(speech_of(job), places, labels, WINDOW)
        return of_strangers(self, spans, (loaded.note, note))


def _vectors(model: Any, path: Path, heard: Sequence[Track]) -> tuple[Array, Array]:
    """Return a vector of length 1 for each window, and the second at which each begins."""
    found: list[Array] = []
    places: list[float] = []
    windows = _windows(path, heard)
    while batch := list(islice(windows, BATCH)):
        checkpoint()
        places += [place for place, _ in batch]
        found.append(_embedded(model, [samples for _, samples in batch]))
    if not found:
        return np.zeros((0, 1), np.float32), np.zeros(0, np.float32)
    vectors = np.concatenate(found)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9
    return vectors, np.asarray(places, np.float32)


def _windows(path: Path, heard: Sequence[Track]) -> Iterator[tuple[float, Array]]:
    """Cut speech into windows; what is shorter than one is a window of its own."""
    length, step = WINDOW.frames * RATE // 100, WINDOW.step * RATE // 100
    for piece in utterances(path, heard, longest=LONGEST):
        for first in range(0, max(1, piece.samples.size - length + 1), step):
            yield piece.start + first / RATE, piece.samples[first : first + length]


def _embedded(model: Any, windows: Sequence[Array]) -> Array:
    import torch

    longest = max(window.size for window in windows)
    samples = torch.zeros(len(windows), longest)
    for row, window in enumerate(windows):
        samples[row, : window.size] = torch.from_numpy(np.ascontiguousarray(window))
    lengths = torch.tensor([window.size for window in windows])
    _, vectors = model.forward(
        input_signal=samples.to(model.device), input_signal_length=lengths.to(model.device)
    )
    return np.asarray(vectors.float().cpu().numpy(), dtype=np.float32)
