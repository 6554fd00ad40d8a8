"""What was said: turns, the words in them with times, and subtitles.

Belongs here: pure text and time. Does not: where answers come from, or how a provider writes them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


class SpokenTurn(BaseModel):
    """One stretch of one speaker. Times in seconds, ``channel`` 0-based.

    ``times``: start and end of each word, where they are known; else its words share the time of the turn.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    speaker: str
    start: float
    end: float
    text: str
    channel: int = 0
    times: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class SpokenWord:
    """One word. Times in milliseconds, ``start`` < ``end``; confidence 0-1."""

    text: str
    start: int
    end: int
    confidence: float


def words_of(turn: SpokenTurn) -> list[SpokenWord]:
    """Return the words of a turn: unless known, its time is shared out by their lengths; confidences are made up."""
    texts = turn.text.split()
    start, end = round(turn.start * 1000), round(turn.end * 1000)
    total = sum(len(text) + 1 for text in texts)
    words, before = [], 0
    for index, text in enumerate(texts):
        first = start + (end - start) * before // total
        before += len(text) + 1
        last = start + (end - start) * before // total
        if turn.times:
            first, last = (round(1000 * time) for time in turn.times[index])
        digest = hashlib.sha256(f"{turn.start}:{index}:{text}".encode()).digest()
        words.append(
            SpokenWord(text, first, max(first + 1, last - 1), round(0.85 + digest[0] / 255 * 0.14, 4))
        )
    return words


def in_order(turns: Iterable[SpokenTurn]) -> list[SpokenTurn]:
    """Return the turns by start."""
    return sorted(turns, key=lambda turn: (turn.start, turn.end))


def letters(turns: Sequence[SpokenTurn]) -> dict[str, str]:
    """Name the speakers A, B ... in the order in which they first speak, as both providers do."""
    names = dict.fromkeys(turn.speaker for turn in in_order(turns))
    return {speaker: chr(ord("A") + index) for index, speaker in enumerate(names)}


def invented_turns(seed: str, duration: float, channels: int) -> list[SpokenTurn]:
    """Return turns of plain words for audio that nobody registered; the same for the same ``seed``."""
    rng = random.Random(seed)
    turns: list[SpokenTurn] = []
    start = min(0.4, duration / 4)
    while duration - start > 0.3:
        end = min(start + rng.uniform(1.5, 5.0), duration)
        count = max(1, round((end - start) * 2.5))
        who = len(turns) % 2
        text = " ".join(rng.choice(_WORDS) for _ in range(count)).capitalize() + "."
        turns.append(
            SpokenTurn(
                speaker=("agent", "customer")[who],
                start=round(start, 3),
                end=round(end, 3),
                text=text,
                channel=who if channels > 1 else 0,
            )
        )
        start = end + rng.uniform(0.3, 0.8)
    return turns


def srt(cues: Iterable[tuple[float, float, str]]) -> str:
    """Return (start, end, text) in seconds as SubRip."""
    return "\n".join(
        f"{number}\n{_stamp(start, ',')} --> {_stamp(end, ',')}\n{text}\n"
        for number, (start, end, text) in enumerate(cues, 1)
    )


def vtt(cues: Iterable[tuple[float, float, str]]) -> str:
    """Return (start, end, text) in seconds as WebVTT."""
    return "WEBVTT\n\n" + "\n".join(
        f"{_stamp(start, '.')} --> {_stamp(end, '.')}\n{text}\n" for start, end, text in cues
    )


def _stamp(seconds: float, point: str) -> str:
    whole, ms = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{ms:03}"


_WORDS = (
    *(
        "about",
        "again",
        "always",
        "answer",
        "before",
        "better",
        "call",
        "city",
        "day",
        "every",
        "friday",
        "good",
    ),
    *(
        "green",
        "hear",
        "help",
        "home",
        "house",
        "important",
        "know",
        "later",
        "letter",
        "line",
        "maybe",
        "month",
    ),
    *(
        "morning",
        "number",
        "offer",
        "office",
        "paper",
        "people",
        "place",
        "please",
        "question",
        "ready",
        "right",
    ),
    *(
        "should",
        "street",
        "summer",
        "thank",
        "time",
        "today",
        "under",
        "visit",
        "water",
        "week",
        "window",
        "year",
    ),
)
