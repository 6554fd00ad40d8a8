"""Answers of transcription models, whole and broken, as segments and words."""

from __future__ import annotations

from typing import Any

import pytest

from callpipeline.model import Region, Segment, Word
from callpipeline.speech.engines.openai_answers import model_of, placed, segments_of


def heard(*words: str) -> list[dict[str, Any]]:
    """Words that begin every half second and last 0.4 s."""
    return [{"word": word, "start": n / 2, "end": n / 2 + 0.4} for n, word in enumerate(words)]


def segments(answer: dict[str, Any]) -> list[tuple[str, list[tuple[str, float | None, float | None]]]]:
    found = segments_of({"text": "", **answer}, "verbose_json", 60.0, None)
    return [(s.text, [(w.text, w.start, w.end) for w in s.words]) for s in found]


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("Hello, I'm here.", ["Hello", "I'm", "here"], [("Hello,", 0.0), ("I'm", 0.5), ("here.", 1.0)]),
        (
            "A well-known $5 - yes!",
            ["A", "well", "known", "5", "yes"],
            [("A", 0), ("well-known", 0.5), ("$5", 1.5), ("yes!", 2)],
        ),
        ("New York", ["NewYork"], [("New", 0.0), ("York", 0.0)]),
        ("¿Qué?", [" Qué"], [("¿Qué?", 0.0)]),
    ],
)
def test_words_are_spelled_as_in_the_text(
    text: str, words: list[str], expected: list[tuple[str, float]]
) -> None:
    ((_, found),) = segments({"segments": [{"start": 0, "end": 9, "text": text}], "words": heard(*words)})
    assert [(word, start) for word, start, _ in found] == expected


def test_a_token_of_several_heard_words_lasts_as_long_as_they_do() -> None:
    ((_, found),) = segments(
        {"segments": [{"start": 0, "end": 9, "text": "well-known."}], "words": heard("well", "known")}
    )
    assert found == [("well-known.", 0.0, 0.9)]


def test_words_that_are_not_those_of_the_text_go_by_their_times() -> None:
    parts = [
        {"start": 0.0, "end": 1.0, "text": "One, two."},
        {"start": 1.0, "end": 2.0, "text": "Three, four."},
    ]
    found = segments({"segments": parts, "words": heard("one", "too", "three", "four")})
    assert [[word for word, _, _ in words] for _, words in found] == [["one", "too"], ["Three,", "four."]]


@pytest.mark.parametrize(
    "answer",
    [
        {"text": "Good morning."},
        {"text": "Good morning.", "segments": None, "words": None},
        {"text": "Good morning.", "segments": [{"text": "Good morning."}], "words": [{"word": "Good"}]},
        {"text": "Good morning.", "segments": ["?"], "words": heard()},
        {"text": "", "segments": [{"start": 0, "end": 1e9, "text": "Good morning.", "avg_logprob": "?"}]},
    ],
)
def test_no_text_is_lost_when_a_part_of_the_answer_is_broken(answer: dict[str, Any]) -> None:
    (segment,) = segments_of(answer, "verbose_json", 60.0, 1)
    assert segment == Segment(start=0.0, end=60.0, text="Good morning.", channel=1)


def test_words_alone_are_the_words_of_the_text() -> None:
    assert segments({"text": "Good morning.", "words": heard("Good", "morning")}) == [
        ("Good morning.", [("Good", 0.0, 0.4), ("morning.", 0.5, 0.9)])
    ]


def test_nothing_said_is_no_segment() -> None:
    assert segments_of({"text": " ", "segments": []}, "verbose_json", 60.0, None) == ()


def test_a_channel_says_more_than_a_label() -> None:
    answer = {"text": "Hi.", "segments": [{"start": 0.0, "end": 1.0, "text": "Hi.", "speaker": "A"}]}
    assert [segments_of(answer, "diarized_json", 9.0, c)[0].speaker for c in (None, 0)] == ["A", None]


def test_a_text_is_divided_over_speech_by_its_length() -> None:
    text = Segment(start=0.0, end=60.0, text="one two six ten and the end", channel=1)
    speech = [Region(start=5.0, end=6.0), Region(start=6.5, end=9.0), Region(start=20.0, end=24.0)]
    first, second = placed(text, speech)
    assert (first.start, first.end, first.text) == (5.0, 9.0, "one two six ten")
    assert (second.start, second.end, second.text, second.channel) == (20.0, 24.0, "and the end", 1)
    assert placed(text, []) == [text]


def test_words_without_length_keep_their_place() -> None:
    answer = {
        "text": "a",
        "segments": [{"start": 3.0, "end": 2.0, "text": "a"}],
        "words": [{"word": "a", "start": 3.0, "end": 2.0}],
    }
    (segment,) = segments_of(answer, "verbose_json", 60.0, None)
    assert (segment.start, segment.end, segment.words) == (3.0, 3.0, (Word(text="a", start=3.0, end=3.0),))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("whisper-1", ("verbose_json", None)),
        ("gpt-transcribe", ("json", None)),
        ("gpt-4o-mini-transcribe-2025-12-15", ("json", 1400.0)),
        ("gpt-4o-transcribe-diarize", ("diarized_json", 1400.0)),
        ("gpt-9-transcribe", ("json", None)),
        ("Systran/faster-whisper-small", ("verbose_json", None)),
    ],
)
def test_what_a_model_gives(name: str, expected: tuple[str, float | None]) -> None:
    assert (model_of(name).format, model_of(name).longest) == expected
