"""Where a long recording is cut into chunks that a provider takes, by time.

What belongs here: choosing the cuts, and what of a chunk is sent. What does not: writing chunks
(``chunk_files``), putting their transcripts together (``merging``).

The cuts do not hang on what silences are left out of the sent audio: another setting for those is no reason to
pay for a chunk again.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from callpipeline.model import AudioInfo, Chunk, ChunkPlan, Region, SpeechActivity
from callpipeline.speech.trimming import HIGHEST_RATE, Cut, voice

SHORTEST_SILENCE = 0.3
"""A silence this long (s) separates words; shorter ones may be the closure of a "t"."""

LONG_SILENCE = 2.0
"""Of longer silences (s) none is better than another."""

DEEP = 5.0
"""A cut lies in the middle of its silence; in longer ones, at least this far (s) from both ends."""

SHORTEST_SENT = 0.1
"""Providers refuse less audio than this (s); of a cut through a silence, less is no more than its padding."""

ENDS = (0.25, 0.5, 0.75)
"""The first chunks, and the last ones the other way round, are shorter than the others by these shares. Several are
away at once: so the first leave soon, and at the end none is waited for alone for long."""

_BETWEEN = 3
"""Recordings with fewer chunks than this between such ends have all chunks alike."""

_EARLIEST = 0.25
"""A chunk is at least this share of what was aimed at."""

_NEARNESS = 0.75
"""How much a cut that is off by the length of its chunk counts against a silence of ``LONG_SILENCE``."""


@dataclass(frozen=True, slots=True)
class _Silence:
    """A stretch in samples where one may cut. ``sure``: no voice is heard in it, and it is quiet too."""

    start: int
    end: int
    sure: bool


@dataclass(frozen=True, slots=True)
class _Lengths:
    """All in samples."""

    total: int
    target: int
    longest: int
    overlap: int


def plan_chunks(
    info: AudioInfo,
    activity: SpeechActivity,
    *,
    target_seconds: float = 600.0,
    longest_seconds: float,
    longest_bytes: int,
    bytes_per_second: float,
    codec: str = "opus",
    overlap: float = 3.0,
) -> ChunkPlan:
    """Cut a recording into chunks of about ``target_seconds``, none of them too long or too large.

    Each cut is in a silence: one in which no voice is heard on any channel and that is quiet, else one without
    a voice; long ones are preferred, and those near the target. Where there is no silence of 0.3 s the next chunk
    begins ``overlap`` seconds before the cut, so that each word is whole in one of the two. When no voice was found
    at all, quiet stretches are silences.

    Args:
        info: What the recording is.
        activity: The voices in it.
        target_seconds: Length to aim at. Of many chunks the first and the last few are shorter (``ENDS``), the
            others come out alike.
        longest_seconds: The longest that the provider takes.
        longest_bytes: The largest file that it takes.
        bytes_per_second: The most that a second takes once it is encoded.
        codec: A name of ``chunk_files.CODECS``.
        overlap: In seconds.

    Raises:
        ValueError: nothing can be cut into so little, or lengths are not positive.
    """
    if min(target_seconds, longest_seconds, longest_bytes, bytes_per_second) <= 0 or overlap < 0:
        raise ValueError("chunks need positive lengths")
    rate = min(info.sample_rate, HIGHEST_RATE)
    most = min(longest_seconds, longest_bytes / bytes_per_second)
    longest, shared = math.floor(most * rate), round(overlap * rate)
    target = min(round(target_seconds * rate), longest)
    # No sample is in three chunks.
    shortest = max(round(_EARLIEST * target), 2 * shared, 1)
    if longest <= shortest:
        raise ValueError(f"chunks of {most:g} s are too short for an overlap of {overlap:g} s")
    lengths = _Lengths(round(info.duration * rate), max(target, shortest), longest, shared)
    return ChunkPlan(
        chunks=tuple(_chunks(lengths, _silences(info, activity, rate), rate)),
        rate=rate,
        duration=info.duration,
        longest_seconds=most,
        codec=codec,
    )


def cut_of(chunk: Chunk, plan: ChunkPlan, whole: Cut) -> Cut:
    """Return what is sent of a chunk: its part of what is sent of the recording.

    Without ``kept`` there is nothing to send, and nothing to hear.

    Raises:
        ValueError: the cut has another grid than the plan.
    """
    if whole.rate != plan.rate:
        raise ValueError(f"the cut is on samples of {whole.rate} Hz, the plan on {plan.rate} Hz")
    rate = plan.rate
    first, last = round(chunk.start * rate), round(chunk.end * rate)
    pieces = [(max(first, round(r.start * rate)), min(last, round(r.end * rate))) for r in whole.kept]
    kept = tuple(Region(start=a / rate, end=b / rate) for a, b in pieces if a < b)
    found = Cut(kept, rate, whole.duration)
    return found if found.seconds >= SHORTEST_SENT else Cut((), rate, whole.duration)


# --- choosing the cuts -------------------------------------------------------------------------------------


def _chunks(lengths: _Lengths, silences: Sequence[_Silence], rate: int) -> Iterator[Chunk]:
    index, begin, shared = 0, 0, 0
    seam: Literal["start", "silence", "overlap"] = "start"
    shares = _shares(lengths)
    while begin < lengths.total:
        # The rest is divided anew after each cut.
        rest, shares = lengths.total - begin, _enough(shares, lengths.total - begin, lengths.longest)
        aim = round(rest * shares[0] / sum(shares))
        shortest = max(round(_EARLIEST * aim), 2 * lengths.overlap, 1)
        found = None
        end = lengths.total
        if rest > min(lengths.longest, 2 * shortest) and len(shares) > 1:
            earliest, latest = begin + shortest, begin + lengths.longest
            latest = max(min(latest, lengths.total - shortest), earliest)
            ideal = min(max(begin + aim, earliest), latest)
            found = _best(silences, earliest, latest, ideal, rate, aim)
            end = ideal if found is None else found
        yield Chunk(index=index, start=begin / rate, end=end / rate, overlap=shared / rate, seam=seam)
        if end >= lengths.total:
            return
        seam, shared = ("silence", 0) if found is not None else ("overlap", lengths.overlap)
        index, begin, shares = index + 1, end - shared, shares[1:]


def _shares(lengths: _Lengths) -> list[float]:
    """Return how long the chunks are to be, compared with each other."""
    parts = lengths.total / lengths.target
    between = round(parts - 2 * sum(ENDS))
    if between < _BETWEEN:
        return [1.0] * max(1, round(parts))
    return [*ENDS, *[1.0] * between, *reversed(ENDS)]


def _enough(shares: list[float], rest: int, longest: int) -> list[float]:
    """Return as many shares as it takes to have none longer than allowed."""
    shares = list(shares) or [1.0]
    while rest * max(shares) > longest * sum(shares):
        shares.insert(len(shares) // 2, 1.0)
    return shares


def _best(
    silences: Sequence[_Silence], earliest: int, latest: int, ideal: int, rate: int, aim: int
) -> int | None:
    """Return the best sample to cut at, ``None`` where there is no silence."""
    best: tuple[bool, float, int] | None = None
    for silence in silences:
        place = _place(silence, ideal, rate)
        if not earliest <= place <= latest:
            continue
        length = min((silence.end - silence.start) / rate, LONG_SILENCE)
        score = length / LONG_SILENCE - _NEARNESS * abs(place - ideal) / aim
        best = max(best or (False, -math.inf, 0), (silence.sure, score, place))
    return best[2] if best else None


def _place(silence: _Silence, ideal: int, rate: int) -> int:
    middle, deep = (silence.start + silence.end) // 2, round(DEEP * rate)
    return min(max(ideal, min(middle, silence.start + deep)), max(middle, silence.end - deep))


# --- where one may cut -------------------------------------------------------------------------------------


def _silences(info: AudioInfo, activity: SpeechActivity, rate: int) -> list[_Silence]:
    """Return stretches of at least ``SHORTEST_SILENCE`` in order."""
    shortest, speech = round(SHORTEST_SILENCE * rate), voice(activity, None)
    quiet = [_samples(region, rate) for region in info.silences]
    if not speech:
        return [_Silence(a, b, sure=True) for a, b in quiet if b - a >= shortest]
    starts, ends = [a for a, _ in quiet], [b for _, b in quiet]
    found: list[_Silence] = []
    for first, last in _between(speech, round(info.duration * rate), rate):
        # A voice too soft for the detector is no silence: the level decides, where it tells.
        beside = quiet[bisect_right(ends, first) : bisect_left(starts, last)]
        both = [(max(first, a), min(last, b)) for a, b in beside]
        sure = [_Silence(a, b, sure=True) for a, b in both if b - a >= shortest]
        found += sure or ([_Silence(first, last, sure=False)] if last - first >= shortest else [])
    return found


def _between(speech: Sequence[Region], total: int, rate: int) -> Iterator[tuple[int, int]]:
    """Yield the samples between stretches of speech, which are in order of start."""
    heard = 0
    for region in speech:
        first, last = _samples(region, rate)
        if heard < first:
            yield heard, first
        heard = max(heard, last)
    if heard < total:
        yield heard, total


def _samples(region: Region, rate: int) -> tuple[int, int]:
    return round(region.start * rate), round(region.end * rate)
