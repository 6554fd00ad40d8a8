"""The figures that the rule must hold on dialogues it was not trained on, plain and damaged like weak transcripts."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from callpipeline.qa.evaluate import evaluate_rebuttal
from callpipeline_tests.qa.rebuttal import dialogues


@pytest.mark.parametrize(
    ("damage", "accuracy", "wrong_flags", "kept"),
    [
        (dialogues.none, 0.92, 0.08, 0.92),
        (dialogues.no_punctuation, 0.92, 0.08, 0.92),
        (dialogues.wrong_words, 0.82, 0.17, 0.78),
        (dialogues.split_turns, 0.88, 0.12, 0.88),
        (dialogues.swapped, 0.80, 0.17, 0.82),
        (dialogues.unnamed, 0.86, 0.12, 0.88),
        (dialogues.bleeding, 0.86, 0.12, 0.85),
    ],
)
def test_figures_on_unseen_dialogues(
    damage: Callable[[dialogues.Dialogue, random.Random], None],
    accuracy: float,
    wrong_flags: float,
    kept: float,
) -> None:
    result = evaluate_rebuttal(dialogues.damaged(damage))
    assert not result.bad_lines
    assert result.accuracy is not None
    assert result.accuracy >= accuracy
    assert result.wrong_flag_rate is not None
    assert result.wrong_flag_rate <= wrong_flags
    assert result.fair_flags_kept is not None
    assert result.fair_flags_kept >= kept


def test_confidence_tells_sure_verdicts_from_doubtful_ones() -> None:
    damages = (dialogues.none, dialogues.wrong_words, dialogues.unnamed, dialogues.split_turns)
    cases = [case for damage in damages for case in evaluate_rebuttal(dialogues.damaged(damage)).cases]
    sure = [c.got is c.expected for c in cases if c.confidence >= 0.9]
    doubtful = [c.got is c.expected for c in cases if c.confidence < 0.8]
    assert sum(sure) / len(sure) >= 0.9
    assert sum(sure) / len(sure) > sum(doubtful) / len(doubtful)
