"""Evaluation on labelled dialogues: the counts, and what happens to lines that cannot be used."""

from __future__ import annotations

import json
from typing import Any

from callpipeline.model import Verdict
from callpipeline.qa.evaluate import evaluate_rebuttal

PITCH = ("agent", "hi i'm calling to see if you'd like to sell your house on oak street")
REFUSAL = ("customer", "no i'm not interested in selling")
CLOSE = ("agent", "okay thank you have a good day")
PUSH = ("agent", "okay and do you have any other property you want to sell")


def line(name: str, label: str, *turns: tuple[str, str], duration: float = 30.0) -> str:
    timed = [
        {"speaker": who, "start": 3.0 * i, "end": 3.0 * i + 2, "text": text}
        for i, (who, text) in enumerate(turns)
    ]
    data: dict[str, Any] = {"id": name, "duration_s": duration, "turns": timed, "label": label}
    return json.dumps(data)


def test_figures_are_counted_from_the_confusion() -> None:
    result = evaluate_rebuttal(
        [
            line("right", "no_attempt", PITCH, REFUSAL, CLOSE),
            line("wrong-flag", "attempted", PITCH, REFUSAL, CLOSE),
            line("lost-flag", "no_attempt", PITCH, REFUSAL, PUSH),
            line("fine", "attempted", PITCH, REFUSAL, PUSH),
        ]
    )
    assert (result.n, result.accuracy) == (4, 0.5)
    assert result.wrong_flag_rate == 0.5
    assert result.fair_flags_kept == 0.5
    assert result.confusion[Verdict.ATTEMPTED][Verdict.NO_ATTEMPT] == 1
    assert [c.id for c in result.cases if c.got is not c.expected] == ["wrong-flag", "lost-flag"]


def test_short_calls_are_judged_not_skipped() -> None:
    result = evaluate_rebuttal([line("short", "no_attempt", PITCH, REFUSAL, CLOSE, duration=6.0)])
    assert result.cases[0].got is Verdict.NO_ATTEMPT


def test_bad_lines_are_reported_with_their_number_and_the_rest_counts() -> None:
    result = evaluate_rebuttal(
        [
            "not json",
            line("good", "no_attempt", PITCH, REFUSAL, CLOSE),
            "",
            json.dumps({"id": "x", "turns": []}),
            line("odd", "perhaps", PITCH),
            line("skip", "skipped", PITCH),
            json.dumps({"id": "y", "label": "attempted", "turns": [{"speaker": "agent", "text": "hi"}]}),
            "[1, 2]",
        ]
    )
    assert result.n == 1
    assert [bad.number for bad in result.bad_lines] == [1, 4, 5, 6, 7, 8]
    assert all(bad.message for bad in result.bad_lines)


def test_nothing_to_divide_gives_no_figures() -> None:
    result = evaluate_rebuttal([])
    assert (result.n, result.accuracy, result.wrong_flag_rate, result.fair_flags_kept) == (
        0,
        None,
        None,
        None,
    )
