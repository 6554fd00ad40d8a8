"""Nearly equal texts: none is missed, none is invented."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callpipeline.graph.similar import SimilarTexts

WORDS = [f"word{n}" for n in range(12)]
TALK = " ".join(f"part{n}" for n in range(300))


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def index(threshold: float, *texts: str) -> SimilarTexts:
    found = SimilarTexts(threshold)
    for text in texts:
        found.add(sha(text), text)
    return found


def changed(*places: int) -> str:
    return " ".join("other" if n in places else word for n, word in enumerate(TALK.split()))


def test_a_text_with_one_other_word_is_nearly_equal() -> None:
    found = index(0.92, TALK).nearest(changed(150))
    assert found == (sha(TALK), pytest.approx(295 / 301))


def test_a_text_with_many_other_words_is_another_text() -> None:
    assert index(0.92, TALK).nearest(changed(*range(0, 300, 25))) is None


def test_case_and_punctuation_make_no_difference() -> None:
    assert index(0.92, "It rains, doesn't it?").nearest("it rains doesn't it") == (
        sha("It rains, doesn't it?"),
        1.0,
    )


def test_order_of_words_does() -> None:
    assert index(0.92, "the dog bit the man").nearest("the man bit the dog") is None


def test_the_most_similar_one_is_taken_whatever_came_first() -> None:
    texts = [changed(10, 100), changed(10), changed(10, 100, 200)]
    for order in (texts, texts[::-1]):
        assert index(0.9, *order).nearest(TALK) == (sha(changed(10)), pytest.approx(295 / 301))


def test_a_single_word_and_no_word_at_all() -> None:
    found = index(0.92, "yes", "...")
    assert len(found) == 1
    assert found.nearest("Yes!") == (sha("yes"), 1.0)
    assert found.nearest("?") is None


def test_at_one_only_exactly_equal_texts_count_and_those_have_one_hash() -> None:
    assert index(1.0, TALK).nearest(TALK.upper()) is None


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=25), min_size=1, max_size=12),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=25),
    st.floats(0.51, 0.999),
)
def test_it_finds_what_comparing_with_every_text_finds(
    texts: list[list[str]], asked: list[str], threshold: float
) -> None:
    def runs(words: list[str]) -> set[tuple[str, ...]]:
        size = min(3, len(words))
        return {tuple(words[n : n + size]) for n in range(len(words) - size + 1)}

    shares = [len(runs(text) & runs(asked)) / len(runs(text) | runs(asked)) for text in texts]
    best = max(shares)
    found = index(threshold, *(" ".join(text) for text in texts)).nearest(" ".join(asked))
    if best < threshold - 1e-6:
        assert found is None
    elif best > threshold + 1e-6:
        assert found is not None
        assert found[1] == pytest.approx(best)
