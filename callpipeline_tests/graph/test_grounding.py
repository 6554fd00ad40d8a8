"""Where a quotation stands in a text chunk: its characters, seconds and speaker. What does not stand there has no place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callpipeline.graph.grounding import locate
from callpipeline.knowledge import ChunkLine, TextChunk
from callpipeline.model import Role
from callpipeline_tests.graph.remote import chunks_of

CHUNK = chunks_of(
    "r",
    [
        [
            ("Ann", "Sleep loss reduces attention, and it costs $4.2 million a year."),
            ("Ben", "Well I don’t know. Caffeine helps you focus, don't you think?"),
        ]
    ],
).chunks[0]
"""A word each half second; Ann's line has 11 words, so that Ben begins at 5.5 s."""


@pytest.mark.parametrize(
    ("quote", "words", "start", "speaker"),
    [
        ("Sleep loss", "Sleep loss", 0.0, "Ann"),
        ("sleep  LOSS; reduces", "Sleep loss reduces", 0.0, "Ann"),
        ("attention and it costs", "attention, and it costs", 1.5, "Ann"),
        ("loss reduce attention and it costs", "loss reduces attention, and it costs", 0.5, "Ann"),
        ("$4.2 million", "$4.2 million", 3.5, "Ann"),
        ("I don't know", "I don’t know", 6.0, "Ben"),
        ("cafeine helps you focus", "Caffeine helps you focus", 7.5, "Ben"),
    ],
)
def test_a_quotation_is_found_in_spite_of_case_punctuation_and_slips(
    quote: str, words: str, start: float, speaker: str
) -> None:
    span = locate(CHUNK, quote)
    assert span is not None
    assert (span.quote, span.start, span.speaker) == (words, start, speaker)
    assert CHUNK.text[span.begin : span.finish] == span.quote


@pytest.mark.parametrize(
    "quote",
    [
        "",
        "...",
        "leep",
        "art",
        "sleep helps attention",
        "it costs $4.7 million a year",
        "quantum chromodynamics explains it",
        "Sleep loss reduces attention, and it costs four million, " * 9,
    ],
)
def test_what_is_not_said_has_no_place(quote: str) -> None:
    assert locate(CHUNK, quote) is None


def test_it_ends_with_its_last_word_and_not_with_the_pause_after_it() -> None:
    text = "It rained. Then"
    line = ChunkLine(
        begin=0,
        finish=15,
        speaker="A",
        role=Role.AGENT,
        start=0.0,
        end=31.0,
        marks=((0, 0.0), (3, 0.4), (11, 30.0)),
    )
    chunk = TextChunk(
        id="r:0", recording="r", index=0, text=text, sha256="-", start=0.0, end=31.0, lines=(line,)
    )
    span = locate(chunk, "it rained")
    assert span is not None
    assert (span.start, span.role) == (0.0, Role.AGENT)
    assert 0.8 <= span.end <= 2.0


def test_without_times_of_words_the_line_is_the_place() -> None:
    line = ChunkLine(begin=0, finish=13, speaker="A", role=Role.UNKNOWN, start=3.0, end=9.0)
    chunk = TextChunk(
        id="r:0", recording="r", index=0, text="so be it then", sha256="-", start=3.0, end=9.0, lines=(line,)
    )
    span = locate(chunk, "be it")
    assert span is not None
    assert (span.start, span.end) == (3.0, 9.0)


def test_words_of_a_script_without_spaces_are_found_within_a_run() -> None:
    text = "睡眠不足会降低注意力"
    line = ChunkLine(begin=0, finish=10, speaker="A", role=Role.UNKNOWN, start=0.0, end=3.0)
    chunk = TextChunk(
        id="r:0", recording="r", index=0, text=text, sha256="-", start=0.0, end=3.0, lines=(line,)
    )
    span = locate(chunk, "注意力")
    assert span is not None
    assert (span.begin, span.finish) == (7, 10)


@given(st.data())
def test_any_words_of_a_chunk_are_found_in_it(data: st.DataObject) -> None:
    words = CHUNK.text.split()
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, len(words) - 1))
    span = locate(CHUNK, " ".join(words[first : last + 1]))
    assert span is not None
    assert CHUNK.start <= span.start <= span.end <= CHUNK.end
    found = CHUNK.text[span.begin : span.finish].split()
    assert [word.strip(".,?") for word in found] == [word.strip(".,?") for word in words[first : last + 1]]
