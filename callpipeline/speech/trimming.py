"""Leaving long silences out of what a provider is paid to hear, and putting its times back where they belong.

What belongs here: which stretches are sent, the way back from a time of the sent audio to the recording, and
writing what is sent. What does not: sending it, and finding speech (``audio.vad``).

A cut is made on the samples of the sent audio, after any resampling: the resampler runs once over the whole
recording, so no cut adds an error to the times after it. ``Cut.rate`` is that grid, the recording's own rate
or 16 kHz, whichever is lower. Sample k of a recording sent at its own rate is sample k of the recording; of
one that is resampled, it is the sound at k / 16,000 s, which lies within half a sample of 16 kHz (0.03 ms).
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby, pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from callpipeline.audio.decode import Samples, blocks, display_name
from callpipeline.cancellation import checkpoint
from callpipeline.failures import NotFit, SourceUnavailable
from callpipeline.model import AudioInfo, Region, Segment, SpeechActivity, Transcript, Word
from callpipeline.store.files import writing

HIGHEST_RATE = 16_000
"""Samples per second beyond which providers hear no better: their models were made for this rate."""

PAD = 0.5
"""Silence that stays before and after speech (s): voice detectors cut soft sounds, and engines end a sentence
at a pause."""

LONE_SOUND = 2.0
"""Sounds between silences that are no longer than this (s) are sent even if no voice was found in them."""

BLOCK_SECONDS = 5.0

_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")
"""Channel layouts by number of channels: all that FLAC has."""

MAX_MISSING = 0.1
"""The same bytes decode to the same length; more than this short (s), and they are not the same."""

_DECIMALS = 6

Pcm = npt.NDArray[np.int16]


# --- what is sent, and the way back -----------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """The stretches of a recording that are sent, end to end, in place of all of it.

    ``kept`` are in seconds of the recording, on samples of ``rate`` (samples per second of the sent audio), in
    order and apart. ``duration`` is the recording's, in seconds. Without ``kept`` there is nothing to send, and
    times cannot be mapped.
    """

    kept: tuple[Region, ...]
    rate: int
    duration: float

    @property
    def seconds(self) -> float:
        """Length of the sent audio."""
        return sum(last - first for first, last in self._pieces) / self.rate

    @property
    def whole(self) -> bool:
        """Whether nothing was cut."""
        return self._pieces == [(0, _samples(self.duration, self.rate))]

    def original(self, t: float) -> float:
        """Return the time in the recording of second ``t`` of the sent audio; before and after it, its edges.

        At a seam it is the later piece's first sample.
        """
        return self._moved(t, self._piece_at(t))

    def span(self, start: float, end: float) -> tuple[float, float]:
        """Return start and end in the recording of a word of the sent audio.

        A word lies in one piece, that of its middle: what reaches over a seam ends there.
        """
        low, high = min(start, end), max(start, end)
        piece = self._piece_at((low + high) / 2)
        return self._moved(low, piece), self._moved(high, piece)

    def stretch(self, start: float, end: float) -> tuple[float, float]:
        """Return start and end in the recording of untimed words, which may go on over several pieces.

        An edge that is less than ``PAD`` over a seam was meant to be at the seam: there is no speech beside it.
        """
        low, high = min(start, end), max(start, end)
        first, last = self._piece_at(low), self._piece_at(high)
        if first < last and self._begins[first + 1] / self.rate - low <= PAD:
            first += 1
        if first < last and high - self._begins[last] / self.rate <= PAD:
            last -= 1
        return self._moved(low, first), self._moved(high, last)

    def piece(self, start: float, end: float) -> int:
        """Return the number of the kept piece in which a word of the sent audio lies."""
        return self._piece_at((start + end) / 2)

    def to_json(self) -> str:
        """Return the cut as a short text: samples left out and kept, by turns."""
        edges = [0, *(edge for piece in self._pieces for edge in piece)]
        runs = [b - a for a, b in pairwise(edges)]
        return json.dumps({"rate": self.rate, "duration": self.duration, "runs": runs}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Cut:
        """Return the cut that ``to_json`` wrote.

        Raises:
            ValueError: the text is not one of ours.
        """
        try:
            stored = json.loads(text)
            rate, duration = int(stored["rate"]), float(stored["duration"])
            edges = list(accumulate(int(run) for run in stored["runs"]))
            pieces = list(zip(edges[::2], edges[1::2], strict=True))
            return cls(_regions(pieces, rate), rate, duration)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ValueError(f"not a stored cut: {text[:80]!r}") from error

    @cached_property
    def _pieces(self) -> list[tuple[int, int]]:
        """First and one past the last sample of each kept piece, in the recording."""
        return [(_samples(r.start, self.rate), _samples(r.end, self.rate)) for r in self.kept]

    @cached_property
    def _begins(self) -> list[int]:
        """First sample of each piece in the sent audio."""
        return [0, *accumulate(last - first for first, last in self._pieces[:-1])] if self._pieces else []

    def _position(self, t: float) -> float:
        """Return a time in samples; times on a sample are whole numbers."""
        return round(t * self.rate, 3)

    def _piece_at(self, t: float) -> int:
        return max(0, bisect_right(self._begins, self._position(t)) - 1)

    def _moved(self, t: float, piece: int) -> float:
        if not self._pieces:
            raise ValueError("nothing was sent, so no time of it can be mapped")
        first, last = self._pieces[piece]
        position = first + self._position(t) - self._begins[piece]
        return round(min(max(position, first), last) / self.rate, _DECIMALS)


def cut(
    info: AudioInfo, regions: Sequence[Region], *, longest_silence: float | None, pad: float = PAD
) -> Cut:
    """Choose what is sent of a recording: its speech, and silences that are no longer than ``longest_silence``.

    Of a longer silence ``pad`` seconds stay beside the speech. A silence that the pads fill is not cut.

    Args:
        info: What the recording is.
        regions: All speech in it, in any order (``voice``). None at all: nothing is sent.
        longest_silence: In seconds; ``None`` = nothing is cut.
        pad: In seconds.
    """
    rate = min(info.sample_rate, HIGHEST_RATE)
    total = _samples(info.duration, rate)
    if longest_silence is None:
        return Cut(_regions([(0, total)], rate), rate, info.duration)
    margin = _samples(pad, rate)
    longest = max(_samples(longest_silence, rate), 2 * margin)
    pieces = [(a - margin, b + margin) for a, b in _joined(regions, rate, total, longest)]
    if pieces and pieces[0][0] + margin <= longest:
        pieces[0] = 0, pieces[0][1]
    if pieces and total - (pieces[-1][1] - margin) <= longest:
        pieces[-1] = pieces[-1][0], total
    return Cut(_regions(pieces, rate), rate, info.duration)


def _joined(regions: Sequence[Region], rate: int, total: int, longest: int) -> list[tuple[int, int]]:
    """Return the speech in samples, joined over silences of at most ``longest``."""
    found: list[tuple[int, int]] = []
    for region in sorted(regions, key=lambda r: r.start):
        first, last = max(0, _samples(region.start, rate)), min(total, _samples(region.end, rate))
        if first >= last:
            continue
        if found and first - found[-1][1] <= longest:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return found


def lone_sounds(info: AudioInfo, regions: Sequence[Region]) -> tuple[Region, ...]:
    """Return short sounds between silences in which no voice was found: a lone "hello" may have been missed.

    Longer ones are music or noise. All channels are heard together.
    """
    found = []
    quiet = [(0.0, 0.0), *((r.start, r.end) for r in info.silences), (info.duration, info.duration)]
    spoken = sorted(regions, key=lambda r: r.start)
    starts, ends = [r.start for r in spoken], list(accumulate((r.end for r in spoken), max))
    for (_, begin), (end, _) in pairwise(quiet):
        before = bisect_left(starts, end)
        if 0 < end - begin <= LONE_SOUND and (before == 0 or ends[before - 1] <= begin):
            found.append(Region(start=begin, end=end))
    return tuple(found)


def voice(activity: SpeechActivity, channels: Iterable[int] | None) -> tuple[Region, ...]:
    """Return all speech of these channels (``None``: all) in order of start.

    Where several channels are heard, what was taken for cross-talk counts too: should it be a soft voice after
    all, it must not be cut, and a true leak has its loud original beside it, so that it costs nothing. Where one
    is heard by itself it does not count: it would be paid for twice, and its words given to the wrong person.
    """
    wanted = None if channels is None else set(channels)
    heard = [c for c in activity.channels if wanted is None or c.channel in wanted]
    together = len(heard) > 1
    found = (region for c in heard for region in (*c.speech, *(c.dropped if together else ())))
    return tuple(sorted(found, key=lambda r: (r.start, r.end)))


def _samples(seconds: float, rate: int) -> int:
    return round(seconds * rate)


def _regions(pieces: Iterable[tuple[int, int]], rate: int) -> tuple[Region, ...]:
    return tuple(Region(start=first / rate, end=last / rate) for first, last in pieces)


# --- putting a transcript back -----------------------------------------------------------------------------


def restored(transcript: Transcript, cut: Cut, *, duration: float, channel: int | None = None) -> Transcript:
    """Return a transcript of the sent audio with the times of the recording.

    A segment whose timed words lie on both sides of a cut becomes one for each side: the speaker was silent in
    between. One without timed words cannot be divided and reaches over the cut.

    Args:
        transcript: What was heard in the sent audio.
        cut: What was sent.
        duration: Length of the recording in seconds.
        channel: The channel that was sent by itself; ``None`` leaves the channels that the engine gave.
    """
    if not transcript.segments:
        return transcript.model_copy(update={"duration": duration})
    found = [part for segment in transcript.segments for part in _parts(segment, cut)]
    if channel is not None:
        found = [segment.model_copy(update={"channel": channel}) for segment in found]
    found.sort(key=lambda s: (s.start, s.channel or 0))
    return transcript.model_copy(update={"segments": tuple(found), "duration": duration})


def _parts(segment: Segment, cut: Cut) -> Iterator[Segment]:
    groups = _by_piece(segment.words, cut)
    if not groups:
        start, end = cut.stretch(segment.start, segment.end)
        yield segment.model_copy(update={"start": start, "end": end})
        return
    texts = text_parts(segment.text, [words for _, words in groups])
    for text, (piece, words) in zip(texts, groups, strict=True):
        moved = tuple(_moved(word, cut) for word in words)
        times = [t for word in moved for t in (word.start, word.end) if t is not None]
        times += [cut.original(t) for t in (segment.start, segment.end) if cut.piece(t, t) == piece]
        yield segment.model_copy(
            update={"start": min(times), "end": max(times), "text": text, "words": moved}
        )


def _by_piece(words: Sequence[Word], cut: Cut) -> list[tuple[int, list[Word]]]:
    """Return words in runs of one kept piece; a word without a time goes with the one before it."""
    pieces = [
        None if w.start is None else cut.piece(w.start, w.start if w.end is None else w.end) for w in words
    ]
    first = next((piece for piece in pieces if piece is not None), None)
    if first is None:
        return []
    placed = accumulate(pieces, lambda before, piece: before if piece is None else piece, initial=first)
    runs = groupby(zip(list(placed)[1:], words, strict=True), key=lambda item: item[0])
    return [(piece or 0, [word for _, word in run]) for piece, run in runs]


def _moved(word: Word, cut: Cut) -> Word:
    if word.start is None:
        return word
    if word.end is None:
        return word.model_copy(update={"start": cut.original(word.start)})
    start, end = cut.span(word.start, word.end)
    return word.model_copy(update={"start": start, "end": end})


def text_parts(text: str, groups: Sequence[Sequence[Word]]) -> list[str]:
    """Divide a segment's text before the first word of each group but the first.

    The text has the punctuation that some engines leave out of their words, so the words are looked up in it;
    where one does not come next, the words are the text.
    """
    starts: list[int] = []
    position = 0
    for words in groups:
        for number, word in enumerate(words):
            found = re.compile(rf"[\W_]*?({re.escape(word.text.strip())})", re.IGNORECASE).match(
                text, position
            )
            if found is None:
                return [" ".join(w.text.strip() for w in group) for group in groups]
            if number == 0:
                space = text.rfind(" ", position, found.start(1))
                starts.append(found.start(1) if space < 0 else space + 1)
            position = found.end()
    edges = [0, *starts[1:], len(text)]
    return [text[a:b].strip() for a, b in pairwise(edges)]


# --- writing what is sent ----------------------------------------------------------------------------------


def write_audio(path: Path, cut: Cut, target: Path, *, channels: Sequence[int] | None) -> int:
    """Write the kept stretches as 16-bit FLAC and return its length in bytes.

    The recording is decoded as a stream, a few seconds at a time, whatever its length. The same recording and
    cut give the same bytes.

    Args:
        path: The recording.
        cut: What of it is sent.
        target: Where the file appears when it is whole; missing folders are made.
        channels: What to send, in this order, as 0-based channels; ``None``: all. One channel makes a mono file.

    Raises:
        SourceUnavailable: the file is gone, or is not the one that was examined.
        EmptyFile, NotAudio, CorruptAudio: see ``audio.decode.open_recording``.
        NotFit: more channels than FLAC can hold.
        OSError: the target cannot be written.
        ValueError: nothing was kept.
    """
    if not cut.kept:
        raise ValueError("nothing of the recording is kept, so there is no audio to write")
    with writing(target) as file:
        _encode(_kept_samples(path, cut, channels), cut.rate, file)
    return target.stat().st_size


def _kept_samples(path: Path, cut: Cut, channels: Sequence[int] | None) -> Iterator[Pcm]:
    """Yield what is kept, shape (channels, samples)."""
    pieces = [(_samples(r.start, cut.rate), _samples(r.end, cut.rate)) for r in cut.kept]
    heard, last_end = 0, pieces[-1][1]
    for block in blocks(path, rate=cut.rate, block_seconds=BLOCK_SECONDS):
        checkpoint()
        rows = _rows(path, block.shape[0], channels)
        for first, last in pieces:
            a, b = max(0, first - heard), min(block.shape[1], last - heard)
            if a < b:
                yield pcm(block[rows, a:b])
        heard += block.shape[1]
        if heard >= last_end:
            return
    if heard < last_end - MAX_MISSING * cut.rate:
        raise replaced(path, f"{heard / cut.rate:.1f} s, not {cut.duration:.1f} s")


def pcm(samples: Samples) -> Pcm:
    """Return samples of 16 bits, full scale and rounding as FFmpeg has them: 16-bit audio comes out as it went in."""
    rounded: Pcm = np.rint(samples * 32768.0).clip(-32768, 32767).astype(np.int16)
    return rounded


def _rows(path: Path, present: int, channels: Sequence[int] | None) -> list[int]:
    rows = list(range(present)) if channels is None else list(channels)
    if any(row >= present for row in rows):
        raise replaced(path, f"{present} channels, not {max(rows) + 1}")
    if len(rows) > len(_LAYOUTS):
        raise NotFit(
            f"{display_name(path)} has {present} channels; {len(_LAYOUTS)} at most can be sent.",
            hint="Export it with fewer channels.",
        )
    return rows


def _encode(stretches: Iterable[Pcm], rate: int, file: BinaryIO) -> None:
    import av
    from av.audio.frame import AudioFrame

    # "bitexact": no versions of libraries in the bytes.
    with av.open(file, "w", format="flac", container_options={"fflags": "+bitexact"}) as container:
        stream = None
        for samples in stretches:
            layout = _LAYOUTS[samples.shape[0] - 1]
            if stream is None:
                options = {"flags": "+bitexact"}
                stream = container.add_stream("flac", rate=rate, options=options, layout=layout, format="s16")
            interleaved = np.ascontiguousarray(samples.T).reshape(1, -1)
            frame = AudioFrame.from_ndarray(interleaved, format="s16", layout=layout)
            frame.sample_rate = rate
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode(None))


def replaced(path: Path, difference: str) -> SourceUnavailable:
    """Return the failure of a recording that is not the one that was examined: it has ``difference``."""
    return SourceUnavailable(
        f"{display_name(path)} is not the file that was examined: it has {difference}.",
        hint="It was replaced meanwhile: take it in again.",
    )
