"""Dialogues that somebody else wrote and nothing was trained on: the figures of docs/quality.md stay true."""

from __future__ import annotations

from pathlib import Path

from callpipeline.model import Role, Verdict
from callpipeline.qa.evaluate import evaluate_rebuttal
from callpipeline.qa.rebuttal import reader

UNSEEN = Path(__file__).parents[2] / "data" / "rebuttal_unseen.jsonl"


def test_figures_on_unseen_dialogues_do_not_fall() -> None:
    result = evaluate_rebuttal(UNSEEN.read_text("utf-8").splitlines())
    assert result.n == 160
    assert result.accuracy is not None
    assert result.accuracy >= 0.86
    assert result.wrong_flag_rate is not None
    assert result.wrong_flag_rate <= 0.13
    assert result.fair_flags_kept is not None
    assert result.fair_flags_kept >= 0.70


def test_the_reader_points_at_the_turns_that_decide() -> None:
    call = [
        (Role.AGENT, "hello would you think about selling the house on elm road"),
        (Role.CUSTOMER, "no we are not interested in selling"),
        (Role.AGENT, "would you consider it if the price was right"),
        (Role.CUSTOMER, "no thank you goodbye"),
    ]
    reading = reader.read(call)
    assert max(reading.verdicts, key=lambda verdict: reading.verdicts[verdict]) is Verdict.ATTEMPTED
    assert reading.objection.index(max(reading.objection)) == 1
    assert reading.rebuttal.index(max(reading.rebuttal)) == 2


def test_the_reader_takes_calls_of_any_length() -> None:
    long = [
        (Role.AGENT if n % 2 else Role.CUSTOMER, "we talked about the roof again " * 9) for n in range(400)
    ]
    reading = reader.read(long)
    assert abs(sum(reading.verdicts.values()) - 1.0) < 1e-3
    assert len(reading.objection) == len(reading.rebuttal) == 400
    assert reader.read([]).objection == ()
