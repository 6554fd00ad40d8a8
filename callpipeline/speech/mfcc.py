"""Mel-frequency cepstral coefficients: a small picture of how a voice sounds, a hundred times a second.

What belongs here: the transform, in numpy. What does not: what is done with it.
Method: Davis and Mermelstein, IEEE Trans. ASSP 28 (1980), with the usual triangular filters on the mel scale.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

RATE = 16_000
FRAME = 400
HOP = 160
"""Frames of 25 ms, every 10 ms."""

FFT = 512
FILTERS = 32
BAND = (100.0, 3800.0)
"""Hz. The band of a telephone: voices of a call sound alike whatever rate it was recorded at."""

COEFFICIENTS = 20
_FLOOR = 1e-8


def mfcc(samples: Array) -> Array:
    """Return coefficients 1-20 of mono samples at 16 kHz, shape (frames, 20).

    Coefficient 0, the loudness, is left out: it tells how far the telephone is, not whose voice it is.
    Fewer samples than a frame give no rows.
    """
    if samples.size < FRAME:
        return np.zeros((0, COEFFICIENTS), np.float32)
    emphasised = np.append(samples[:1], samples[1:] - np.float32(0.97) * samples[:-1])
    frames = np.lib.stride_tricks.sliding_window_view(emphasised, FRAME)[::HOP]
    spectrum = np.fft.rfft(frames * np.hamming(FRAME).astype(np.float32), FFT)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) / FFT
    energies = np.log(np.maximum(power @ _mel_filters().T, _FLOOR))
    return np.asarray(energies @ _cosines().T, dtype=np.float32)


@lru_cache(maxsize=1)
def _mel_filters() -> Array:
    def mel(hertz: float) -> float:
        return float(2595 * np.log10(1 + hertz / 700))

    edges = 700 * (10 ** (np.linspace(mel(BAND[0]), mel(BAND[1]), FILTERS + 2) / 2595) - 1)
    bins = np.arange(FFT // 2 + 1) * RATE / FFT
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


@lru_cache(maxsize=1)
def _cosines() -> Array:
    orders = np.arange(1, COEFFICIENTS + 1)[:, None]
    return np.cos(np.pi * orders * (np.arange(FILTERS) + 0.5) / FILTERS).astype(np.float32)
