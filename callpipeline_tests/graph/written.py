"""Written conversations with the facts that stand in them, as recordings of the graph.

Every word has its own second, so that a test can tell where a quotation is said without asking the product.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from callpipeline.graph.text_chunks import text_chunks
from callpipeline.knowledge import Episode, TextChunks
from callpipeline.model import Role, Segment, SpeakerTurns, Transcript, Turn, Word

FOLDER = Path(__file__).parents[1] / "data" / "graph"
NAMES = ("sleep_podcast", "river_hearing", "bees_podcast")
SECONDS_PRECISE = 0.002
"""Times of words are rounded to milliseconds."""

Fact = Mapping[str, str]


@dataclass(frozen=True)
class Written:
    """One conversation. ``spoken`` holds (word in plain form, second, speaker) of all its words."""

    name: str
    title: str
    chunks: TextChunks
    entities: tuple[Fact, ...]
    relations: tuple[Fact, ...]
    spoken: tuple[tuple[str, float, str], ...]

    @property
    def episode(self) -> Episode:
        return Episode(recording=self.name, title=self.title, duration=self.spoken[-1][1] + 1)

    def says(self, quote: str, second: float, speaker: str) -> bool:
        """Tell whether just these words are said from this second on, by this speaker."""
        wanted = plain_words(quote)
        at = [
            number
            for number, (_, start, _) in enumerate(self.spoken)
            if abs(start - second) <= SECONDS_PRECISE
        ]
        return any(
            [word for word, _, _ in self.spoken[one : one + len(wanted)]] == wanted
            and self.spoken[one][2] == speaker
            for one in at
        )


@cache
def written(name: str) -> Written:
    """Return a conversation of the test data."""
    said = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    turns = tuple(Turn(index=index, role=Role.UNKNOWN, **turn) for index, turn in enumerate(said["turns"]))
    segments = tuple(_segment(turn) for turn in turns)
    chunks = text_chunks(
        SpeakerTurns(
            turns=turns, role_confidence=0.0, transcript_engine="written", diarization_engine="written"
        ),
        Transcript(
            engine="written", engine_version="1", language="en", duration=turns[-1].end, segments=segments
        ),
        recording=name,
        title=said["title"],
        language="en",
    )
    return Written(
        name=name,
        title=said["title"],
        chunks=chunks,
        entities=tuple(said["facts"]["entities"]),
        relations=tuple(said["facts"]["relations"]),
        spoken=tuple(
            (plain, word.start, turn.speaker)
            for turn, segment in zip(turns, segments, strict=True)
            for word in segment.words
            for plain in plain_words(word.text)
        ),
    )


def plain_words(text: str) -> list[str]:
    """Return the words of a text in small letters."""
    return re.findall(r"[\w']+", text.lower())


def _segment(turn: Turn) -> Segment:
    texts = turn.text.split()
    step = (turn.end - turn.start) / len(texts)
    starts = [round(turn.start + number * step, 3) for number in range(len(texts) + 1)]
    words = tuple(
        Word(text=text, start=starts[number], end=starts[number + 1]) for number, text in enumerate(texts)
    )
    return Segment(start=turn.start, end=turn.end, text=turn.text, words=words)
