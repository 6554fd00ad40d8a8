"""Text chunks: a conversation cut into slices of about 2,000 characters, each with its speakers and its seconds.

What belongs here: where to cut, and which second each word of a chunk is said at. What does not: whether a chunk is
worth looking into (``worth``), and what is found in it (``extractors``).

Between turns is the best place to cut, then between sentences, then after a comma, then between words; never in a
word. Chunks follow each other without overlap: together they are all that was said, once.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate, groupby

from callpipeline.graph import worth
from callpipeline.knowledge import ChunkLine, TextChunk, TextChunks
from callpipeline.model import Diarization, SpeakerTurns, Transcript, Turn
from callpipeline.speech.attribution import spoken_words

RULE_VERSION = "text_chunks-1"

LEAST = 0.5
"""Share of the wanted length from which on a chunk may end at a good place instead of being filled up."""

MOST = 1.15
"""What is left may be this many times the wanted length before it is cut: so the last chunk is never tiny."""

_NOBODY = Diarization(engine="none", engine_version="1", spans=(), roles={}, role_confidence=0.0)
"""Whose words they are stands in the turns already; here only their times are wanted."""

_ENDS_SENTENCE = re.compile(r"[.?!…。？！][\"'”’»)\]]*$")
_ENDS_CLAUSE = re.compile(r"[,;:–—][\"'”’»)\]]*$")
_ABBREVIATION = re.compile(
    r"(?:[a-z]|mr|mrs|ms|dr|prof|sen|rep|gov|gen|lt|sgt|capt|rev|hon|st|no|vs|etc|e\.g|i\.e|u\.s|a\.m|p\.m)\.",
    re.IGNORECASE,
)

AHEAD = 50
"""So many words of others are passed over at most between two words of a turn."""

_TIMES_ROUNDED = 0.001
"""Seconds: a turn's own times are rounded to them."""

_Timed = tuple[str, float, float]
"""A word, when it begins, when it ends."""


class _Border(IntEnum):
    """How good a place to cut the end of a word is."""

    WORD = 0
    CLAUSE = 1
    SENTENCE = 2
    TURN = 3


@dataclass(frozen=True, slots=True)
class _Said:
    """One word of a turn. ``start``/``end`` are ``None`` where the transcript's words do not tell them."""

    text: str
    turn: Turn
    start: float | None
    end: float | None
    border: _Border


def text_chunks(
    turns: SpeakerTurns,
    transcript: Transcript,
    *,
    recording: str,
    title: str,
    language: str,
    characters: int = 2000,
) -> TextChunks:
    """Cut a conversation into chunks of about ``characters``; none if nobody says anything.

    No chunk is longer than 1.15 times ``characters``, unless one word is. Words without a time of their own have the
    place that the transcript's segment gives them.
    """
    words = _words(turns, transcript)
    chunks = (
        _chunk(recording, index, words[first:last])
        for index, (first, last) in enumerate(_cuts(words, characters))
    )
    return TextChunks(recording=recording, title=title, language=language, chunks=tuple(chunks))


# --- words and their times ----------------------------------------------------------------------------


def _words(turns: SpeakerTurns, transcript: Transcript) -> list[_Said]:
    """Return the words of all turns in order, with the times that the transcript's words give them."""
    timed = sorted(spoken_words(transcript, _NOBODY), key=lambda word: (word.start, word.segment))
    spoken = [(text, word.start, word.end) for word in timed for text in word.text.split()]
    starts = [start for _, start, _ in spoken]
    found: list[_Said] = []
    for turn in turns.turns:
        first = bisect_left(starts, turn.start - _TIMES_ROUNDED)
        last = bisect_right(starts, turn.end + _TIMES_ROUNDED)
        found += _words_of(turn, spoken[first:last])
    return found


def _words_of(turn: Turn, spoken: Sequence[_Timed]) -> Iterator[_Said]:
    """Yield the words of a turn, each with the time of the next equal word that is said while the turn lasts.

    Others may talk meanwhile: their words are passed over. A word of theirs that is the very one awaited puts the
    turn's own no further off than the pause before it.
    """
    texts = turn.text.split()
    place = 0
    for number, text in enumerate(texts):
        found = next(
            (at for at in range(place, min(place + AHEAD, len(spoken))) if spoken[at][0] == text), None
        )
        _, start, end = (text, None, None) if found is None else spoken[found]
        place = place if found is None else found + 1
        last = number + 1 == len(texts)
        yield _Said(
            text,
            turn,
            turn.start if start is None and number == 0 else start,
            turn.end if last else end,
            _Border.TURN if last else _border(text),
        )


def _border(text: str) -> _Border:
    if _ENDS_SENTENCE.search(text) and not _ABBREVIATION.fullmatch(text):
        return _Border.SENTENCE
    return _Border.CLAUSE if _ENDS_CLAUSE.search(text) else _Border.WORD


# --- where to cut -------------------------------------------------------------------------------------


def _cuts(words: Sequence[_Said], characters: int) -> Iterator[tuple[int, int]]:
    """Yield for each chunk its first word and the one after its last."""
    ends = [0, *accumulate(len(word.text) + 1 for word in words)]
    first = 0
    while first < len(words):
        begin = ends[first]
        if ends[-1] - begin - 1 <= characters * MOST:
            yield first, len(words)
            return
        last = max(first + 1, bisect_right(ends, begin + characters + 1) - 1)
        least = bisect_left(ends, begin + characters * LEAST, first + 1, last)
        cut = max(range(least, last + 1), key=lambda end: (words[end - 1].border, end))
        yield first, cut
        first = cut


# --- chunks -------------------------------------------------------------------------------------------


def _chunk(recording: str, index: int, words: Sequence[_Said]) -> TextChunk:
    lines: list[ChunkLine] = []
    texts: list[str] = []
    begin = 0
    for _, group in groupby(words, key=lambda word: (word.turn.speaker, word.turn.role)):
        stretch = list(group)
        line = _line(stretch, begin)
        lines.append(line)
        texts.append(" ".join(word.text for word in stretch))
        begin = line.finish + 1
    text = "\n".join(texts)
    reason = worth.low_value(text)
    return TextChunk(
        id=f"{recording}:{index}",
        recording=recording,
        index=index,
        text=text,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        start=min(line.start for line in lines),
        end=max(line.end for line in lines),
        lines=tuple(lines),
        low_value=reason,
        priority=0.0 if reason else worth.priority(text),
    )


def _line(words: Sequence[_Said], begin: int) -> ChunkLine:
    """Return what one speaker says without another between, in one turn or in several."""
    begins = accumulate((len(word.text) + 1 for word in words), initial=begin)
    marks = tuple(
        (at, round(word.start, 3)) for at, word in zip(begins, words, strict=False) if word.start is not None
    )
    start = marks[0][1] if marks else words[0].turn.start
    end = next((word.end for word in reversed(words) if word.end is not None), start)
    return ChunkLine(
        begin=begin,
        finish=begin + sum(len(word.text) + 1 for word in words) - 1,
        speaker=words[0].turn.speaker,
        role=words[0].turn.role,
        start=start,
        end=round(max(start, end), 3),
        marks=marks,
    )
