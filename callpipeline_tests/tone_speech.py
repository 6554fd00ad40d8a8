"""Artificial speech that a program can hear: each word is a burst of four tones which spell its number.

Belongs here: words to sound, and any piece of such sound back to words with times, whatever codec it went through.
Does not: anything of callpipeline, or of a provider; it knows no transcript but the one that it hears.

A word is 250 ms of one tone out of each of four groups of eight, so that there are 4,096 of them, each with a text of
four syllables. Words of a phrase are at least 50 ms apart. Of a word that is cut off, as much is heard as is there: some
of its syllables, or nothing when it is less than 60 ms; a whole word is heard when a fifth of it is missing.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

WORD = 0.25
"""Seconds of a word."""

SHORTEST_PAUSE = 0.05
"""Seconds between words; with less, two of them are one sound."""

VOCABULARY = 8**4

_RATE = 8000
"""Samples per second at which it is listened to: all tones are below 3 kHz."""

_LEVEL = 0.12
_LOWEST, _STEP = 500.0, 80.0
_FADE = 0.005
_HOP = 20
"""Samples between two looks at the level: 2.5 ms."""

_BEAT = 5
"""Looks in 12.5 ms, which is the time in which tones that are 80 Hz apart rise and fall."""

_LOUD = 0.025
"""RMS above this is a word, whose own level is 0.17, or half of that in a mix of two channels."""

_DIP = 0.025
"""Seconds that a word may be soft in its midst: Opus does that in the first second of a file."""

_WHOLE = 0.8 * WORD
_SHORTEST_HEARD = 0.06
_EDGE = 0.01

_FIRST = "bdfgklmn"
_VOWELS = "aeio"

Sound = npt.NDArray[np.float32]
"""Samples of one channel."""


class ToneWord(NamedTuple):
    """A word and where it is, in seconds."""

    text: str
    start: float
    end: float


# --- words --------------------------------------------------------------------------------------------------


def text_of(number: int) -> str:
    """Return the word of a number, 0-4095: a syllable for each octal digit, none of which is in two places."""
    return "".join(_syllables(number))


def _syllables(number: int) -> list[str]:
    digits = [number >> 3 * place & 7 for place in (3, 2, 1, 0)]
    return [_FIRST[digit] + vowel for digit, vowel in zip(digits, _VOWELS, strict=True)]


def _number(text: str) -> int:
    return int("".join(str(_FIRST.index(text[place])) for place in (0, 2, 4, 6)), 8)


def script(
    seed: int,
    seconds: float,
    *,
    phrase: tuple[int, int] = (3, 9),
    between: tuple[float, float] = (0.06, 0.14),
    breath: tuple[float, float] = (0.5, 0.9),
    hushes: Sequence[tuple[float, float]] = (),
    vocabulary: int = VOCABULARY,
) -> tuple[ToneWord, ...]:
    """Invent what is said in a recording of so many seconds; the same for the same arguments.

    Args:
        seed: Of the random numbers.
        seconds: Length of the recording.
        phrase: Least and most words of a phrase.
        between: Least and most seconds between words of a phrase.
        breath: The same between phrases.
        hushes: Stretches, in seconds, in which nothing is said.
        vocabulary: Number of words to choose from; with few, many are said twice in a row.
    """
    rng = random.Random(seed)
    known = rng.sample(range(VOCABULARY), vocabulary)
    words: list[ToneWord] = []
    time, left = rng.uniform(*breath), rng.randint(*phrase)
    while time + WORD <= seconds:
        hush = next((h for h in hushes if h[0] < time + WORD and h[1] > time), None)
        if hush is not None:
            time, left = hush[1] + 0.01, rng.randint(*phrase)
            continue
        words.append(ToneWord(text_of(rng.choice(known)), time, time + WORD))
        left -= 1
        time += WORD + rng.uniform(*(between if left else breath))
        left = left or rng.randint(*phrase)
    return tuple(words)


# --- words to sound -----------------------------------------------------------------------------------------


def spoken(words: Iterable[ToneWord], seconds: float, rate: int, *, noise: float = 0.001) -> Sound:
    """Return the sound of words, over a little noise."""
    sound = np.random.default_rng(rate).normal(0.0, noise, round(seconds * rate)).astype(np.float32)
    for word in words:
        burst, start = _burst(word.text, rate), round(word.start * rate)
        sound[start : start + burst.size] += burst[: sound.size - start]
    return sound


@cache
def _tones() -> npt.NDArray[np.float64]:
    """Frequencies, shape (group, digit)."""
    return (_LOWEST + _STEP * np.arange(32)).reshape(4, 8)


def _burst(text: str, rate: int) -> Sound:
    number = _number(text)
    time = np.arange(round(WORD * rate)) / rate
    pitches = [_tones()[group, number >> 3 * (3 - group) & 7] for group in range(4)]
    sound = _LEVEL * sum(np.sin(2 * np.pi * pitch * time + group) for group, pitch in enumerate(pitches))
    fade = np.minimum(1.0, np.minimum(time, time[::-1]) / _FADE)
    return (sound * fade).astype(np.float32)


# --- sound to words -----------------------------------------------------------------------------------------


def hear(path: Path) -> list[list[ToneWord]]:
    """Return what is said on each channel of any file that FFmpeg reads."""
    import av

    blocks: list[npt.NDArray[np.float32]] = []
    with av.open(str(path)) as container:
        resampler: av.AudioResampler | None = None
        for frame in container.decode(audio=0):
            frame.pts = None
            if resampler is None:
                resampler = av.AudioResampler(format="fltp", layout=frame.layout, rate=_RATE)
            blocks += [part.to_ndarray() for part in resampler.resample(frame)]
        blocks += [part.to_ndarray() for part in (resampler.resample(None) if resampler else [])]
    return [listen(channel) for channel in np.concatenate(blocks, axis=1)]


def listen(sound: Sound) -> list[ToneWord]:
    """Return the words of 8 kHz sound."""
    bursts = [(a, b) for a, b in _bursts(sound) if b - a >= _SHORTEST_HEARD * _RATE]
    numbers = _numbers([sound[a:b] for a, b in bursts])
    return [_heard(number, *burst) for number, burst in zip(numbers, bursts, strict=True)]


def _bursts(sound: Sound) -> Iterator[tuple[int, int]]:
    """Yield first and one past the last sample of each sound that is loud enough."""
    whole = sound[: sound.size // _HOP * _HOP].reshape(-1, _HOP).astype(np.float64)
    power = (whole**2).sum(axis=1)
    # Before and after a piece there is nothing, not silence: a word that it cuts is loud up to the edge.
    beats = np.convolve(np.pad(power, _BEAT // 2, mode="edge"), np.ones(_BEAT), "valid") / (_BEAT * _HOP)
    loud = np.concatenate([[False], np.sqrt(beats) > _LOUD, [False]])
    edges = (np.flatnonzero(np.diff(loud.astype(np.int8))) * _HOP).tolist()
    apart = [n for n in range(1, len(edges) - 1, 2) if edges[n + 1] - edges[n] > _DIP * _RATE]
    firsts, lasts = [0, *(n + 1 for n in apart)], [*apart, len(edges) - 1]
    if edges:
        yield from ((edges[a], edges[b]) for a, b in zip(firsts, lasts, strict=True))


def _heard(number: int, first: int, last: int) -> ToneWord:
    syllables, seconds = _syllables(number), (last - first) / _RATE
    if seconds < _WHOLE:
        count = min(3, max(1, int(4 * seconds / WORD)))
        syllables = syllables[-count:] if first <= _EDGE * _RATE else syllables[:count]
    return ToneWord("".join(syllables), first / _RATE, last / _RATE)


def _numbers(bursts: Sequence[Sound]) -> list[int]:
    """Return what each burst spells: the strongest tone of each group."""
    # So long that each tone is one of the frequencies of the transform.
    length = round(_RATE / _STEP * 24)
    compared = np.zeros((len(bursts), length), np.float32)
    for row, burst in zip(compared, bursts, strict=True):
        taken = burst[:length]
        row[: taken.size] = taken * np.hanning(taken.size)
    places = np.rint(_tones().reshape(-1) * length / _RATE).astype(int)
    digits = np.abs(np.fft.rfft(compared)[:, places]).reshape(-1, 4, 8).argmax(axis=2)
    return [int(number) for number in digits @ (8 ** np.arange(3, -1, -1))]
