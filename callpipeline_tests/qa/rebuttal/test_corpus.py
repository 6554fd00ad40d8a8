"""The corpus that users may add to, and the weights made from it."""

from __future__ import annotations

import re

import pytest

from callpipeline.qa.rebuttal.acts import ActModel, corpus_fingerprint
from callpipeline.qa.rebuttal.words import concept, corpus_rows, known_share, tokens


def test_shipped_weights_were_made_from_the_shipped_corpus() -> None:
    """Fails after a change of a TSV file: run ``python -m callpipeline.qa.rebuttal.train`` and keep the result."""
    assert ActModel().fingerprint == corpus_fingerprint()


@pytest.mark.parametrize("name", ["agent.tsv", "customer.tsv", "dialogues.tsv"])
def test_every_corpus_line_is_complete(name: str) -> None:
    rows = corpus_rows(name)
    assert len(rows) > 500
    assert all(row["act"] and tokens(row["text"]) for row in rows)


def test_every_set_phrase_is_a_valid_pattern() -> None:
    for row in corpus_rows("phrases.tsv"):
        re.compile(row["pattern"])
        assert 0 < float(row["boost"]) <= 3


def test_words_lose_case_and_punctuation_but_not_their_n_t() -> None:
    assert tokens("No, I don’t -- I CAN'T sell!") == ["no", "i", "dont", "i", "cant", "sell"]


@pytest.mark.parametrize(("misheard", "meant"), [("proberty", "property"), ("intrested", "interested")])
def test_misspelt_key_word_keeps_its_meaning(misheard: str, meant: str) -> None:
    assert concept(misheard) == concept(meant) is not None


def test_another_language_is_told_from_english() -> None:
    assert known_share(tokens("well i told you we are not going to sell the house")) > 0.9
    assert known_share(tokens("mwen pa konprann sa w ap di a eskize m")) < 0.6
