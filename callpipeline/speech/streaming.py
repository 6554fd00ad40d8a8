"""Utterances of sound that is still coming in: where one ends is decided a moment after it did.

What belongs here: turning pieces of PCM into utterances with bounded memory. What does not: recognising them, and
connections.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from callpipeline.audio.vad import speech_of
from callpipeline.speech.utterances import JOIN_GAP, PAD, RATE, Samples, Utterance, quietest

PAUSE = JOIN_GAP + PAD
"""Silence (s) after which an utterance has ended."""

LONGEST = 15.0
"""Longest utterance (s); a longer one is cut at its quietest spot."""

STEP = 0.5
"""Seconds of new sound after which it is looked for speech: 17 s are looked at in about 40 ms."""

WARM_UP = 2.0
"""Seconds of sound before what is new that the detector hears again, see ``audio.silero``."""


class Resampler:
    """Makes 16 kHz samples of 16-bit PCM (little-endian, one channel) of any rate, in pieces of any size."""

    def __init__(self, rate: int) -> None:
        from av import AudioResampler

        self._rate = rate
        self._odd = b""
        self._resampler: Any = AudioResampler(format="flt", layout="mono", rate=RATE)

    def add(self, pcm: bytes) -> Samples:
        """Return the samples that a piece gives."""
        from av import AudioFrame

        pcm = self._odd + pcm
        whole = len(pcm) // 2 * 2
        self._odd = pcm[whole:]
        if not whole:
            return np.zeros(0, np.float32)
        values: npt.NDArray[np.int16] = np.frombuffer(pcm[:whole], "<i2").reshape(1, -1)
        frame = AudioFrame.from_ndarray(values, format="s16", layout="mono")
        frame.sample_rate = self._rate
        return self._joined(self._resampler.resample(frame))

    def finish(self) -> Samples:
        """Return what is left."""
        return self._joined(self._resampler.resample(None))

    @staticmethod
    def _joined(frames: list[Any]) -> Samples:
        parts = [np.asarray(frame.to_ndarray()[0], np.float32) for frame in frames]
        return np.concatenate([np.zeros(0, np.float32), *parts])


class Cutter:
    """Cuts a stream of 16 kHz samples into utterances. Holds about ``LONGEST`` + ``WARM_UP`` seconds."""

    def __init__(self) -> None:
        self._held: Samples = np.zeros(0, np.float32)
        self._offset = 0
        self._done = 0
        self._looked = 0
        self.open: Utterance | None = None
        """What has been said so far of the utterance that has not ended."""

    @property
    def heard(self) -> float:
        """Seconds of sound that came in."""
        return (self._offset + self._held.size) / RATE

    def add(self, samples: Samples) -> list[Utterance]:
        """Take samples; return the utterances that have ended."""
        found: list[Utterance] = []
        step = round(STEP * RATE)
        for first in range(0, samples.size, step):
            self._held = np.concatenate([self._held, samples[first : first + step]])
            if self._offset + self._held.size - self._looked >= step:
                found += self._look(final=False)
        return found

    def finish(self, rest: Samples) -> list[Utterance]:
        """Take the last samples; return what is left: the stream has ended."""
        return [*self.add(rest), *self._look(final=True)]

    def _look(self, *, final: bool) -> Iterator[Utterance]:
        end = self._looked = self._offset + self._held.size
        self.open = None
        spans = self._spans(end)
        for start, stop in spans:
            if final or (start, stop) != spans[-1] or end - stop >= (PAUSE - PAD) * RATE:
                yield from self._closed(start, stop)
            elif end - start >= LONGEST * RATE:
                longest = self._cut(start, start + round(LONGEST * RATE))
                yield self._taken(start, start + quietest(longest.samples))
                self.open = self._cut(self._done, end)
            else:
                self.open = self._cut(start, end)
        first = round(self.open.start * RATE) if self.open else end
        keep = max(self._offset, min(first, end) - round(WARM_UP * RATE))
        self._held = self._held[keep - self._offset :].copy()
        self._offset = keep

    def _closed(self, start: int, stop: int) -> Iterator[Utterance]:
        while stop - start > LONGEST * RATE:
            longest = self._cut(start, start + round(LONGEST * RATE))
            found = self._taken(start, start + quietest(longest.samples))
            yield found
            start = self._done
        yield self._taken(start, stop)

    def _spans(self, end: int) -> list[tuple[int, int]]:
        """Return (first, one past the last) sample of the utterances after what is done, padded."""
        pad = round(PAD * RATE)
        spans: list[tuple[int, int]] = []
        for region in speech_of(self._held):
            start = max(self._done, self._offset + round(region.start * RATE) - pad)
            stop = min(end, self._offset + round(region.end * RATE) + pad)
            if stop - pad <= self._done or stop <= start:
                continue
            if spans and start - spans[-1][1] < (JOIN_GAP - 2 * PAD) * RATE:
                spans[-1] = spans[-1][0], stop
            else:
                spans.append((start, stop))
        return spans

    def _taken(self, start: int, stop: int) -> Utterance:
        self._done = stop
        return self._cut(start, stop)

    def _cut(self, start: int, stop: int) -> Utterance:
        samples = self._held[start - self._offset : stop - self._offset].copy()
        return Utterance(None, start / RATE, stop / RATE, samples)
