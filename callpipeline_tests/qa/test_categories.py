import json

import pytest

from callpipeline.failures import NotConfigured
from callpipeline.model import Role
from callpipeline.qa.categories import default_table, find_categories, load_table
from callpipeline_tests.qa.builders import said, turns


@pytest.mark.parametrize(
    ("role", "text", "category"),
    [
        (Role.AGENT, "Hello, good morning!", "greeting"),
        (Role.AGENT, "my name is nora", "introduction"),
        (Role.AGENT, "i'm calling on a recorded line", "recording_notice"),
        (Role.CUSTOMER, "take me off your list please", "do_not_call"),
        (Role.CUSTOMER, "DON’T call me again", "do_not_call"),
        (Role.CUSTOMER, "how much would you pay", "price_talk"),
        (Role.AGENT, "have a great day", "closing"),
        (Role.CUSTOMER, "please leave your name after the beep", "voicemail"),
    ],
)
def test_a_phrase_is_found_with_its_place(role, text, category):
    found = find_categories(turns((Role.UNKNOWN, "and"), (role, text)).turns)
    assert [(e.turn, e.start) for e in found[category]] == [(1, 5.0)]


def test_absence_is_said_for_every_category():
    found = find_categories(said("so").turns)
    assert set(found) == set(default_table().categories)
    assert set(found.values()) == {()}


def test_words_of_the_wrong_speaker_do_not_count_but_those_of_an_unknown_one_do():
    text = "this call is recorded"
    assert not find_categories(turns((Role.CUSTOMER, text)).turns)["recording_notice"]
    assert find_categories(turns((Role.UNKNOWN, text)).turns)["recording_notice"]


def test_phrases_match_whole_words():
    assert not find_categories(said("this high thing").turns)["greeting"]


def test_a_table_of_ones_own(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"version": "v", "categories": {"pool": {"phrases": ["swimming pool"]}}}))
    found = find_categories(said("it has a swimming pool").turns, load_table(path))
    assert len(found["pool"]) == 1


@pytest.mark.parametrize(
    "text", ["{", '{"version": "v"}', '{"version": "v", "categories": {"a": {"speaker": "dog"}}}']
)
def test_a_broken_table_says_what_it_should_be(tmp_path, text):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(NotConfigured, match="phrases"):
        load_table(path)
