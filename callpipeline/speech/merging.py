"""The transcripts of a recording's chunks as one.

What belongs here: deciding, where chunks overlap, which words of both are the same, and marking what is missing. What
does not: sending chunks, and mapping their times to the recording (``trimming.restored``).

Where a chunk begins in a silence its words simply follow those of the chunk before. Where it begins in the midst of
speech, the words of the overlap were heard twice: whole by one side, and cut off, or guessed, near the edge by the
other. The seam goes through the words on which both agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise, product, zip_longest
from typing import NamedTuple

from callpipeline.model import Chunk, ChunkPlan, Gap, Segment, Transcript, Word
from callpipeline.speech.trimming import text_parts

SAME_TIME = 0.5
"""Seconds that the times of a word heard twice may differ."""

ESTIMATED_TIME = 10.0
"""The same for words whose times are estimated from where speech was."""

FEWEST_ESTIMATED = 3
"""Without times, fewer equal words in a row may be chance."""

_DECIMALS = 6


_NEVER = 1000.0
"""Seconds in which no overlap is: without times, what is nearer is only a little better."""


class ChunkText(NamedTuple):
    """What came of a chunk: its transcript, with the times of the recording, or why there is none."""

    chunk: Chunk
    said: Transcript | Gap


@dataclass(slots=True)
class _Token:
    """A word of a segment. ``word`` is ``None`` where a text has no words of its own."""

    plain: str
    text: str
    start: float
    end: float
    segment: int
    word: Word | None
    timed: bool
    kept: bool = True

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


@dataclass(slots=True)
class _Line:
    """What one chunk has of one channel. No word of it reaches over ``low`` and ``high``."""

    chunk: Chunk
    segments: list[Segment]
    tokens: list[_Token] = field(default_factory=list)
    low: float = 0.0
    high: float = 0.0


class _Run(NamedTuple):
    """Equal words in a row: the first of each side, how many, and how much they weigh."""

    old: int
    new: int
    length: int
    weight: float


def merge(parts: Sequence[ChunkText], plan: ChunkPlan, *, duration: float) -> Transcript:
    """Return one transcript of all chunks, with gaps where chunks failed.

    No word that was heard outside an overlap is lost, none is there twice, and all are in order. A gap is what no other
    chunk has heard. Speakers are only told apart within a chunk: "A" of the third becomes "A3".

    Args:
        parts: One for each chunk of the plan; one that had nothing to send has an empty transcript.
        plan: Where the recording is cut.
        duration: Length of the recording in seconds.

    Raises:
        ValueError: parts are missing, or none has a transcript.
    """
    parts = sorted(parts, key=lambda part: part.chunk.index)
    if [part.chunk for part in parts] != list(plan.chunks):
        raise ValueError("the parts are not those of the plan")
    heard = [(part.chunk, part.said) for part in parts if isinstance(part.said, Transcript)]
    if not heard:
        raise ValueError("no chunk has a transcript")
    by_chunk = sum(any(s.speaker for s in said.segments) for _, said in heard) > 1
    if by_chunk:
        heard = _with_own_speakers(heard)
    channels = dict.fromkeys(s.channel for _, said in heard for s in said.segments)
    segments = [segment for channel in channels for segment in _merged(heard, channel, duration)]
    segments.sort(key=lambda s: (s.start, s.channel or 0))
    said = [transcript for _, transcript in heard]
    known = [s.confidence for s in segments if s.confidence is not None]
    skipped = [transcript.skipped_reason for transcript in said]
    return Transcript(
        engine=said[0].engine,
        engine_version=said[0].engine_version,
        language=next((t.language for t in said if t.language), None),
        duration=duration,
        segments=tuple(segments),
        confidence=round(sum(known) / len(known), 3) if known else None,
        demo=any(t.demo for t in said),
        notes=tuple(dict.fromkeys(note for t in said for note in t.notes)),
        skipped_reason=None if None in skipped else skipped[0],
        gaps=tuple(_gaps(parts, duration)),
        labels_by_chunk=by_chunk,
    )


def _with_own_speakers(heard: Sequence[tuple[Chunk, Transcript]]) -> list[tuple[Chunk, Transcript]]:
    """Give the speakers of each chunk names of their own: nobody knows whether two "A" are one person."""
    return [
        (chunk, said.model_copy(update={"segments": tuple(_named(said.segments, chunk.index + 1))}))
        for chunk, said in heard
    ]


def _named(segments: Sequence[Segment], number: int) -> Iterator[Segment]:
    for segment in segments:
        name = f"{segment.speaker}{number}" if segment.speaker else None
        yield segment.model_copy(update={"speaker": name})


def _gaps(parts: Sequence[ChunkText], duration: float) -> Iterator[Gap]:
    """Yield what is missing, without what the chunks before and after have of it."""
    known = 0.0
    for part, following in zip_longest(parts, parts[1:]):
        chunk, said = part
        if isinstance(said, Gap):
            shared = following is not None and isinstance(following.said, Transcript)
            end = min(following.chunk.start if shared else chunk.end, duration)
            start = min(max(chunk.start, known), end)
            yield said.model_copy(update={"start": start, "end": end, "chunk": chunk.index})
        known = chunk.end


# --- one channel -------------------------------------------------------------------------------------------


def _merged(
    heard: Sequence[tuple[Chunk, Transcript]], channel: int | None, duration: float
) -> Iterator[Segment]:
    lines = [_line(chunk, [s for s in said.segments if s.channel == channel]) for chunk, said in heard]
    for before, after in pairwise(lines):
        if before.chunk.index + 1 == after.chunk.index and after.chunk.overlap:
            _sew(before, after)
    for line in lines:
        # The last sample of the sent audio may end a hair after that of the recording.
        line.high = min(line.high, duration)
        yield from _kept(line)


def _line(chunk: Chunk, segments: list[Segment]) -> _Line:
    line = _Line(chunk, segments, low=chunk.start, high=chunk.end)
    for number, segment in enumerate(segments):
        line.tokens += _of_words(segment, number) if segment.words else _of_text(segment, number)
    return line


def _of_words(segment: Segment, number: int) -> Iterator[_Token]:
    time = segment.start
    for word in segment.words:
        start = time if word.start is None else word.start
        end = time = start if word.end is None else word.end
        yield _Token(_plain(word.text), word.text, start, end, number, word, timed=word.start is not None)


def _of_text(segment: Segment, number: int) -> Iterator[_Token]:
    """Yield the words of a text; its time is shared out by their lengths."""
    texts = segment.text.split()
    share = (segment.end - segment.start) / max(1, sum(len(text) + 1 for text in texts))
    time = segment.start
    for text in texts:
        end = time + share * (len(text) + 1)
        yield _Token(_plain(text), text, time, end, number, None, timed=False)
        time = end


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum()) or text


def _kept(line: _Line) -> Iterator[Segment]:
    """Yield the segments with the words that are kept, none of them outside the line."""
    for number, group in groupby(line.tokens, key=lambda token: token.segment):
        tokens, segment = list(group), line.segments[number]
        runs = [(kept, list(run)) for kept, run in groupby(tokens, key=lambda token: token.kept)]
        texts = _texts(segment, [run for _, run in runs])
        for (kept, run), text in zip(runs, texts, strict=True):
            if kept:
                start = segment.start if run[0] is tokens[0] else run[0].start
                end = segment.end if run[-1] is tokens[-1] else run[-1].end
                words = tuple(_within(token.word, line) for token in run if token.word is not None)
                place = {"start": _clamped(start, line), "end": _clamped(end, line)}
                yield segment.model_copy(update={**place, "text": text, "words": words})


def _texts(segment: Segment, runs: Sequence[Sequence[_Token]]) -> list[str]:
    if len(runs) == 1:
        return [segment.text]
    if segment.words:
        return text_parts(segment.text, [[t.word for t in run if t.word is not None] for run in runs])
    return [" ".join(token.text for token in run) for run in runs]


def _within(word: Word, line: _Line) -> Word:
    times = {"start": word.start, "end": word.end}
    return word.model_copy(update={k: None if t is None else _clamped(t, line) for k, t in times.items()})


def _clamped(time: float, line: _Line) -> float:
    return min(max(time, line.low), line.high)


# --- overlaps ----------------------------------------------------------------------------------------------


def _sew(before: _Line, after: _Line) -> None:
    """Keep each word of the overlap of two chunks once."""
    first, last = after.chunk.start, before.chunk.end
    olds, news = _near(before, after, ESTIMATED_TIME)
    timed = all(token.timed for token in (*olds, *news))
    if timed:
        olds, news = _near(before, after, SAME_TIME)
    run, middle = _agreement(olds, news, timed=timed), (first + last) / 2
    if run is not None:
        old, new = _through(olds, news, run, middle)
        dropped = [*olds[old:], *news[:new]]
    else:
        seam = _seam(olds, news, first, last) if timed else middle
        dropped = [*(t for t in olds if t.middle >= seam), *(t for t in news if t.middle < seam)]
    for token in dropped:
        token.kept = False
    _bound(before, after)


def _near(before: _Line, after: _Line, slack: float) -> tuple[list[_Token], list[_Token]]:
    """Return the words of the overlap and those that are less than ``slack`` beside it."""
    first, last = after.chunk.start - slack, before.chunk.end + slack
    olds, news = sum(t.end <= first for t in before.tokens), sum(t.start < last for t in after.tokens)
    return before.tokens[olds:], after.tokens[:news]


def _bound(before: _Line, after: _Line) -> None:
    """Let what is kept of two chunks not reach over the seam, so that all stays in order."""
    old = next((token for token in reversed(before.tokens) if token.kept), None)
    new = next((token for token in after.tokens if token.kept), None)
    if old is None or new is None:
        return
    seam = round((old.end + new.start) / 2, _DECIMALS)
    seam = min(max(seam, after.chunk.start), before.chunk.end)
    before.high, after.low = min(before.high, seam), max(after.low, seam)


def _agreement(olds: Sequence[_Token], news: Sequence[_Token], *, timed: bool) -> _Run | None:
    """Return the longest run of equal words; words far apart in time count less."""
    best: _Run | None = None
    runs: dict[tuple[int, int], _Run] = {}
    for (i, old), (j, new) in product(enumerate(olds), enumerate(news)):
        apart = abs(old.middle - new.middle)
        if old.plain != new.plain or (timed and apart >= SAME_TIME):
            continue
        weight = 1 - apart / (SAME_TIME if timed else _NEVER)
        run = runs.get((i - 1, j - 1), _Run(i, j, 0, 0.0))
        run = runs[i, j] = _Run(run.old, run.new, run.length + 1, run.weight + weight)
        if (timed or run.length >= FEWEST_ESTIMATED) and (best is None or run.weight > best.weight):
            best = run
    return best


def _through(olds: Sequence[_Token], news: Sequence[_Token], run: _Run, middle: float) -> tuple[int, int]:
    """Return how many words of the first are kept, and how many of the second are not.

    The seam is before, in or after the run, as near the middle of the overlap as the times of both allow: a word must
    not begin before the one before it ends, and each side has heard best what is far from its edge.
    """

    def cost(count: int) -> tuple[float, float]:
        ends = [token.end for token in olds[: run.old + count][-1:]]
        begins = [token.start for token in news[run.new + count :][:1]]
        edges, collision = [*ends, *begins], ends[0] - begins[0] if ends and begins else 0.0
        return round(max(0.0, collision), 2), abs(sum(edges) / len(edges) - middle)

    count = min(range(run.length + 1), key=cost)
    return run.old + count, run.new + count


def _seam(olds: Sequence[_Token], news: Sequence[_Token], first: float, last: float) -> float:
    """Return where to cut between words on which nobody agrees.

    In the middle of the overlap, or as near to it as there is a place where no word is cut, where no word is lost that
    only one side heard, and none is kept beside another of the same time.
    """
    middle = (first + last) / 2

    def cost(seam: float) -> tuple[int, int, float]:
        old, new = [t for t in olds if t.middle < seam], [t for t in news if t.middle >= seam]
        lost = sum(not _meets(t, new) for t in olds if t.middle >= seam)
        lost += sum(not _meets(t, old) for t in news if t.middle < seam)
        return lost, sum(_meets(t, new) for t in old), abs(seam - middle)

    tokens = (*olds, *news)
    free = [t for token in tokens for t in (token.start, token.end) if first <= t <= last]
    places = [t for t in free if not any(token.start < t < token.end for token in tokens)]
    return min((middle, first, last, *places), key=cost)


def _meets(token: _Token, others: Sequence[_Token]) -> bool:
    return any(token.start < other.end and other.start < token.end for other in others)
