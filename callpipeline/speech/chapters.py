"""Chapters of a hearing: what was announced, and where the topic changed without a word about it.

What belongs here: borders, titles and evidence of chapters. What does not: which words announce something
(``agenda``), and how a shift of topic is found (``topics``). No language model: titles of chapters that nobody
announced are their most telling words.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from callpipeline.model import Chapter, Evidence, SpeakerTurns, Turn
from callpipeline.speech import topics
from callpipeline.speech.agenda import Announcement, announcements

SHORTEST = 20.0
"""What is announced sooner (s) after a border, or before the end, begins no chapter, unless it is another item."""

HINT = 6.0
"""How much less a border of topics costs where somebody says words such as "I have a question on"."""

UNTITLED = "Opening"
TERMS = 3
"""Words in the title of a chapter that nobody announced."""


@dataclass(frozen=True)
class _Border:
    turn: int
    at: float
    announcement: Announcement | None


def chapters(turns: SpeakerTurns, *, duration: float) -> tuple[Chapter, ...]:
    """Divide a recording of ``duration`` seconds into chapters, from its beginning to its end; none if nobody speaks.

    A border is at the sentence that announces something, else at the turn that begins a new topic.
    """
    if not turns.turns:
        return ()
    said = [announcement for turn in turns.turns for announcement in announcements(turn)]
    words = [topics.content_words(turn.text) for turn in turns.turns]
    announced = _announced(turns.turns, said)
    borders = [
        b for section in _sections(announced, len(words)) for b in _with_shifts(section, turns, said, words)
    ]
    ends = [*(b.turn for b in borders[1:]), len(words)]
    parts = list(zip(borders, ends, strict=True))
    titles = _key_terms(turns.turns, words, [(border.turn, end) for border, end in parts])
    times = [0.0, *(border.at for border in borders[1:]), max(duration, turns.turns[-1].end)]
    return tuple(
        _chapter(border, title, begin, end, turns.turns[border.turn])
        for (border, _), title, (begin, end) in zip(parts, titles, pairwise(times), strict=True)
    )


# --- borders ------------------------------------------------------------------------------------------------


def _announced(turns: Sequence[Turn], said: Sequence[Announcement]) -> list[_Border]:
    """Return the borders that were announced; the first is the beginning, announced or not."""
    found = [_Border(turns[0].index, turns[0].start, None)]
    for announcement in said:
        if not announcement.opens:
            continue
        last = found[-1]
        border = _Border(announcement.turn, announcement.at, announcement)
        apart = min(announcement.at - last.at, turns[-1].end - announcement.at) >= SHORTEST
        if apart or _another_item(last.announcement, announcement):
            found.append(border)
        elif len(found) == 1 and last.announcement is None:
            found[0] = _Border(last.turn, last.at, announcement)
    return found


def _another_item(last: Announcement | None, announcement: Announcement) -> bool:
    return bool(last and last.item and announcement.item and last.item != announcement.item)


def _sections(announced: Sequence[_Border], turns: int) -> Iterator[tuple[_Border, int]]:
    """Yield each announced border with the turn at which the next one begins."""
    yield from zip(announced, [*(b.turn for b in announced[1:]), turns], strict=True)


def _with_shifts(
    section: tuple[_Border, int],
    turns: SpeakerTurns,
    said: Sequence[Announcement],
    words: Sequence[Sequence[str]],
) -> Iterator[_Border]:
    border, end = section
    yield border
    hinted = {a.turn for a in said if not a.opens}
    hints = [HINT if number in hinted else 0.0 for number in range(border.turn, end)]
    for shift in topics.borders(words[border.turn : end], hints):
        turn = turns.turns[border.turn + shift]
        yield _Border(turn.index, turn.start, None)


# --- titles -------------------------------------------------------------------------------------------------


def _key_terms(
    turns: Sequence[Turn], words: Sequence[Sequence[str]], parts: Sequence[tuple[int, int]]
) -> list[str]:
    """Return for each part the words that it has and the others have not, as they were mostly said."""
    counts = [Counter(word for number in range(*part) for word in words[number]) for part in parts]
    spread = Counter(word for count in counts for word in count)
    titles: list[str] = []
    for count, part in zip(counts, parts, strict=True):
        weight = {word: n * math.log(1 + len(parts) / spread[word]) for word, n in count.items()}
        best = sorted(weight, key=lambda word: (-weight[word], word))[:TERMS]
        forms = _forms(turns[part[0] : part[1]])
        titles.append(", ".join(forms[word] for word in best).capitalize())
    return titles


def _forms(turns: Sequence[Turn]) -> dict[str, str]:
    """Return the commonest form of each content word."""
    forms: dict[str, Counter[str]] = {}
    for turn in turns:
        for form in re.findall(r"[^\W\d_][^\W\d_'-]+", turn.text.lower()):
            for word in topics.content_words(form):
                forms.setdefault(word, Counter())[form] += 1
    return {word: min(found, key=lambda form: (-found[form], form)) for word, found in forms.items()}


def _chapter(border: _Border, terms: str, begin: float, end: float, turn: Turn) -> Chapter:
    announcement = border.announcement
    if announcement is not None:
        note, title = f"announced: {announcement.words}", announcement.title or terms
    elif border.turn == 0:
        note, title = "the beginning", UNTITLED
    else:
        note, title = f"another topic: {terms}", terms
    return Chapter(
        start=begin,
        end=end,
        title=title or UNTITLED,
        turn=border.turn,
        announced=announcement is not None,
        evidence=(Evidence(start=border.at, end=turn.end, note=note, turn=border.turn),),
    )
