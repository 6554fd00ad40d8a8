"""When two ways of writing a name are the same name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callpipeline.graph.names import full_first_name, normal, plain, spelling


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("The Federal Reserve", "federal  reserve", "Organization"),
        ("Acme, Inc.", "ACME", "Organization"),
        ("Procter & Gamble Co.", "Procter and Gamble", "Organization"),
        ("Dr. Ann Lee", "Ann Lee", "Person"),
        ("Senator Smith", "SMITH", "Person"),
        ("Ann Lee, PhD", "ann lee", "Person"),
        ("sleep cycles", "Sleep cycle", "Concept"),
        ("the amygdala's", "amygdala", "Concept"),
        ("memories", "memory", "Concept"),
        ("U.S.", "US", "Place"),
        ("Café", "Cafe\u0301", "Place"),
    ],
)
def test_names_that_are_equal_but_for_their_form(one: str, other: str, kind: str) -> None:
    assert normal(one, kind) == normal(other, kind)


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("John Smith", "Jon Smyth", "Person"),
        ("John Smith Jr.", "John Smith", "Person"),
        ("United States", "United State", "Place"),
        ("C++", "C", "Concept"),
        ("C#", "C", "Concept"),
        ("analysis", "analysi", "Concept"),
        ("news", "new", "Concept"),
        ("COVID-19", "COVID-18", "Concept"),
    ],
)
def test_names_that_differ(one: str, other: str, kind: str) -> None:
    assert normal(one, kind) != normal(other, kind)


def test_nicknames_need_a_family_name() -> None:
    assert full_first_name("bob smith") == full_first_name("robert smith")
    assert full_first_name("bob") == "bob"
    assert full_first_name("chris lee") == "chris lee"  # Christine, Christopher?


def test_spelling_folds_no_two_words_into_one() -> None:
    assert spelling("behaviour", proper=False) == spelling("behavior", proper=False)
    assert spelling("micro biome", proper=False) == spelling("microbiome", proper=False)
    assert spelling("hubberman", proper=True) == spelling("huberman", proper=True)
    for one, other in (("meditation", "medication"), ("dessert", "desert"), ("morality", "mortality")):
        assert spelling(one, proper=False) != spelling(other, proper=False)


@given(st.text(max_size=30), st.sampled_from(["Person", "Place", "Organization", "Event", "Concept"]))
def test_a_name_always_has_a_form_and_it_stays(name: str, kind: str) -> None:
    assert plain(plain(name)) == plain(name)
    assert bool(normal(name, kind)) == bool(plain(name)) == bool(name.split())
