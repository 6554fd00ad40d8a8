"""Sounds of a telephone line that nobody speaks: music, tones, noise.

Belongs here: synthesis of mono sound at ``RATE`` from figures and a seeded generator. Does not: recordings.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sample_maker.voices import RATE, Sound

_CHORDS = ((220.0, 261.63, 329.63), (174.61, 220.0, 261.63), (196.0, 246.94, 293.66), (164.81, 196.0, 246.94))
"""A minor, F major, G major, E minor, in Hz: two seconds each, round and round."""
_CHORD_SECONDS = 2.0


def levelled(sound: Sound, db: float) -> Sound:
    """Return ``sound`` at an RMS of ``db`` dBFS."""
    rms = float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) or 1.0
    return (sound * (10 ** (db / 20) / rms)).astype(np.float32)


def _times(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * RATE)) / RATE


def _faded(sound: np.ndarray, seconds: float) -> np.ndarray:
    ramp = np.minimum(np.arange(len(sound)), np.arange(len(sound))[::-1]) / max(1.0, seconds * RATE)
    return sound * np.minimum(ramp, 1.0)


def _band(rng: np.random.Generator, seconds: float, low: float, high: float, tilt: float) -> np.ndarray:
    """Return noise between ``low`` and ``high`` Hz whose amplitude falls with frequency ** ``tilt``."""
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(rng.standard_normal(count))
    hz = np.fft.rfftfreq(count, 1 / RATE)
    shape = np.where((hz >= low) & (hz <= high), np.maximum(hz, 1.0) ** -tilt, 0.0)
    return np.fft.irfft(spectrum * shape, count)


def line_noise(seconds: float, db: float, rng: np.random.Generator) -> Sound:
    """Return the hiss of a line at ``db`` dBFS; -120 and below is digital silence."""
    if db <= -120:
        return np.zeros(round(seconds * RATE), np.float32)
    return levelled(_band(rng, seconds, 60, 7000, 0.3), db)


def hold_music(seconds: float, rng: np.random.Generator) -> Sound:
    """Return soft electric-piano chords at -24 dBFS with a broken chord above them."""
    t = _times(seconds)
    sound = np.zeros(len(t))
    for index in range(int(seconds / _CHORD_SECONDS) + 1):
        since = t - index * _CHORD_SECONDS
        held = (since >= 0) & (since < _CHORD_SECONDS)
        chord = _CHORDS[index % len(_CHORDS)]
        decay = np.exp(-1.2 * np.maximum(since, 0)) * np.minimum(1, np.maximum(since, 0) / 0.02)
        for hz in chord:
            sound += held * decay * (np.sin(2 * np.pi * hz * t) + 0.25 * np.sin(4 * np.pi * hz * t))
        for step, hz in enumerate((*chord, chord[1])):
            plucked = since - step * _CHORD_SECONDS / 4
            note = np.exp(-6 * np.maximum(plucked, 0)) * np.minimum(1, np.maximum(plucked, 0) / 0.005)
            sound += held * note * 0.6 * np.sin(4 * np.pi * hz * t)
    return levelled(_faded(sound + 1e-4 * rng.standard_normal(len(t)), 0.1), -24)


def ring(seconds: float, rng: np.random.Generator) -> Sound:
    """Return the North American ring-back tone, 440 + 480 Hz, two seconds on and four off, at -26 dBFS."""
    t = _times(seconds)
    tone = np.sin(2 * np.pi * 440 * t) + np.sin(2 * np.pi * 480 * t)
    return levelled(tone * (t % 6.0 < 2.0), -26)


def beep(seconds: float, rng: np.random.Generator) -> Sound:
    """Return the 1 kHz tone after a voicemail greeting, at -20 dBFS."""
    return levelled(_faded(np.sin(2 * np.pi * 1000 * _times(seconds)), 0.01), -20)


def blip(seconds: float, rng: np.random.Generator) -> Sound:
    """Return a short knock and rustle of a headset at -24 dBFS: loud, but nobody speaks."""
    rustle = _band(rng, seconds, 150, 3500, 0.6)
    t = _times(seconds)
    knock = np.sin(2 * np.pi * 170 * t) * np.exp(-t * 40)
    return levelled(_faded(rustle / np.abs(rustle).max() + knock, 0.01), -24)


def babble(seconds: float, rng: np.random.Generator) -> Sound:
    """Return the murmur of a busy room at -40 dBFS: many slowly swelling bands, no words."""
    total = np.zeros(round(seconds * RATE))
    for low in (150, 300, 500, 800, 1200, 1800):
        knots = np.arange(0, seconds + 1, 0.35)
        swell = np.interp(_times(seconds), knots, rng.uniform(0.3, 1, len(knots)))
        total += _band(rng, seconds, low, low * 1.7, 1.0) * swell * low
    return levelled(_faded(total, 0.3), -40)


EFFECTS: dict[str, Callable[[float, np.random.Generator], Sound]] = {
    "hold music": hold_music,
    "ring": ring,
    "beep": beep,
    "blip": blip,
    "babble": babble,
}
"""Name in a dialogue file -> sound of (seconds, generator)."""
