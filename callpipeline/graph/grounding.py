"""Where a text chunk says something: the words, their seconds, their speaker.

What belongs here: finding a quotation in the text it is said to come from. Whatever stands nowhere in that text has no
place, and is not kept. What does not: deciding what is worth quoting.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from callpipeline.knowledge import ChunkLine, Span, TextChunk

LEAST_ALIKE = 90.0
"""Percent of rapidfuzz's partial alignment that a quotation must reach when its words are not there as given."""

FEWEST_FUZZY_CHARACTERS = 12
"""Shorter quotations must be there word for word: alike is too easily said of them."""

CONTEXT = 160
"""Characters of the sentence around what is said that are kept: two lines on a page."""

_SENTENCE_END = re.compile(r"[.?!…]+[\"'”’)]*\s+")
_WORD = re.compile(r"[$€£]?\w+(?:['’]\w+)*%?")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Scripts that put no spaces between words (Thai, Lao, Burmese, Khmer, Japanese, Chinese)."""

_SECONDS_PER_CHARACTER = 0.12
_LEAST_SECONDS = 0.4
"""A word of known start ends after this time at the latest: slow speech, 8 characters a second."""


class Word(NamedTuple):
    """A word of a text in plain form, and the characters that it takes there."""

    plain: str
    begin: int
    finish: int


def locate(chunk: TextChunk, quote: str) -> Span | None:
    """Return where ``chunk`` says ``quote``, ``None`` when it does not.

    Looked for as it stands, then whatever the case, the spaces and the punctuation, then at least ``LEAST_ALIKE`` alike
    with the same numbers in it; the first place of the best way counts. Whole words always.
    """
    wanted = words(quote)
    if not wanted:
        return None
    found = (
        _as_given(chunk.text, quote.strip())
        or _word_for_word(chunk.text, wanted)
        or _alike(chunk.text, wanted)
    )
    return span(chunk, *found) if found else None


def span(chunk: TextChunk, begin: int, finish: int) -> Span:
    """Return the place of the characters ``begin`` to ``finish`` of a chunk.

    It starts with the first word; it ends when the next word of the line starts, or earlier where that is a pause.
    """
    line = chunk.line_at(begin)
    start = chunk.second_at(begin)
    return Span(
        begin=begin,
        finish=finish,
        quote=chunk.text[begin:finish],
        start=start,
        end=max(_end(chunk, begin, finish), start),
        speaker=line.speaker,
        role=line.role,
        context=_context(chunk.text, (line.begin, line.finish), begin, finish),
    )


def _context(text: str, line: tuple[int, int], begin: int, finish: int) -> str:
    """Return the sentence around some characters, cut to ``CONTEXT`` of them; nothing for what is long enough itself."""
    if finish - begin >= CONTEXT // 2:
        return ""
    first = max([line[0], *(end.end() for end in _SENTENCE_END.finditer(text, line[0], begin))])
    after = _SENTENCE_END.search(text, finish, line[1])
    last = after.end() if after else line[1]
    room = (CONTEXT - (finish - begin)) // 2
    before, behind = text[max(first, begin - room) : begin], text[finish : min(last, finish + room)]
    if begin - room > first:
        before = "… " + before.partition(" ")[2]
    if finish + room < last:
        behind = behind.rpartition(" ")[0] + " …"
    return " ".join(f"{before}{text[begin:finish]}{behind}".split())


def words(text: str) -> tuple[Word, ...]:
    """Return the words of a text in lower case, with straight apostrophes, without punctuation and signs of money."""
    return tuple(
        Word(match.group().lower().replace("’", "'").strip("$€£%"), match.start(), match.end())
        for match in _WORD.finditer(text)
    )


@lru_cache(maxsize=64)
def _chunk_words(text: str) -> tuple[Word, ...]:
    """The words of a chunk: many quotations are looked for in one."""
    return words(text)


def _as_given(text: str, quote: str) -> tuple[int, int] | None:
    begin = text.find(quote)
    while begin >= 0:
        finish = begin + len(quote)
        if _is_border(text, begin) and _is_border(text, finish):
            return begin, finish
        begin = text.find(quote, begin + 1)
    return None


def _is_border(text: str, at: int) -> bool:
    """Tell whether a word may begin or end before the character ``at``."""
    before, after = text[at - 1 : at], text[at : at + 1]
    if not (before.isalnum() and after.isalnum()):
        return True
    return bool(_UNSPACED.match(before) or _UNSPACED.match(after))


def _word_for_word(text: str, wanted: Sequence[Word]) -> tuple[int, int] | None:
    there = _chunk_words(text)
    plain = [word.plain for word in wanted]
    for at in range(len(there) - len(plain) + 1):
        if there[at].plain == plain[0] and [word.plain for word in there[at : at + len(plain)]] == plain:
            return there[at].begin, there[at + len(plain) - 1].finish
    return None


def _alike(text: str, wanted: Sequence[Word]) -> tuple[int, int] | None:
    from rapidfuzz import fuzz

    quote = " ".join(word.plain for word in wanted)
    there = _chunk_words(text)
    if len(quote) < FEWEST_FUZZY_CHARACTERS or not there:
        return None
    joined = " ".join(word.plain for word in there)
    if len(quote) > len(joined) * 1.1:  # else the alignment looks for the text in the quotation
        return None
    best = fuzz.partial_ratio_alignment(quote, joined, score_cutoff=LEAST_ALIKE)
    if best is None:
        return None
    begins = _begins(there)
    first = max(bisect_right(begins, best.dest_start) - 1, 0)
    if best.dest_start >= begins[first] + len(there[first].plain):
        first += 1
    last = bisect_left(begins, best.dest_end) - 1
    if not first <= last < len(there):
        return None
    place = there[first : last + 1]
    return (place[0].begin, place[-1].finish) if _numbers(place) >= _numbers(wanted) else None


def _begins(there: Sequence[Word]) -> list[int]:
    begins, at = [], 0
    for word in there:
        begins.append(at)
        at += len(word.plain) + 1
    return begins


def _numbers(place: Sequence[Word]) -> set[str]:
    return {word.plain for word in place if any(character.isdigit() for character in word.plain)}


def _end(chunk: TextChunk, begin: int, finish: int) -> float:
    last = chunk.line_at(max(finish - 1, begin))
    starts = [mark for mark, _ in last.marks]
    after = bisect_left(starts, finish)
    end = last.marks[after][1] if after < len(starts) else last.end
    return min(end, _longest_end(last, starts, after, finish))


def _longest_end(line: ChunkLine, starts: Sequence[int], after: int, finish: int) -> float:
    """Return when the words since the last known time are surely over, so that a pause is no part of a place."""
    if after == 0:
        return line.end
    begin, second = line.marks[after - 1]
    return second + max(_LEAST_SECONDS, (finish - begin) * _SECONDS_PER_CHARACTER)
