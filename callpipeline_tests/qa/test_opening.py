import pytest
from hypothesis import given
from hypothesis import strategies as st

from callpipeline.model import Role
from callpipeline.qa.opening import OPENING_TURNS, Opening
from callpipeline_tests.qa.builders import said, turns


@pytest.mark.parametrize(
    "text",
    [
        "hi my name is karim and i am calling you",
        "hey uh my name's henry",
        "Hello, sir, this is Diego. I was calling.",
        "hello it's leila from greenmantle",
        "hi mister lund i'm with greenmantle we wanted to make an offer",
        "Hey Lucan, Henry here from Larkmoor.",
        "good afternoon sir i am omar i'm calling for the house",
        "yes i am calling from copperkite homes",
        "hi zebulon it's mike",
        "Hi, Mr. Holloway, Ethan with Thornheron Homes.",
    ],
)
def test_an_introduction_is_found(text):
    assert Opening(said(text)).introduction() is not None


@pytest.mark.parametrize(
    "text",
    [
        "hi i'm calling about your house",
        "this is about the property on oak street",
        "i'm sorry to bother you i'm just looking for the owner",
        "is this the owner",
        "it's okay with me if you want to call",
        "so i'm marking you here as not interested",
        "i am with you on that one",
        "i'm from the same area",
    ],
)
def test_no_introduction_is_heard_where_there_is_none(text):
    assert Opening(said(text)).introduction() is None


@pytest.mark.parametrize(
    "text",
    [
        "hello am i speaking with mister lyle hatcher",
        "am i talking to agatha",
        "Hi, is this Marlene Tosk?",
        "hi is marlon there please",
        "hey i'm looking for philippa",
        "Hi there, I'm trying to reach Bettina Crowe?",
        "Good morning, Ms. Vandersloot, how are you?",
        "hi jasper i wanted to ask you about your cabin",
        "Hi. Can I talk to Rosa Lind Peak, please?",
    ],
)
def test_the_name_of_the_owner_is_found(text):
    assert Opening(said(text)).owner() is not None


@pytest.mark.parametrize(
    "text",
    [
        "hi is this the owner of the house",
        "hello sir how are you doing today",
        "i'm looking for the owner of four oh nine ostler drive",
        "hi there can you hear me",
        "good afternoon ma'am",
        "hello mister. i am calling about it",
    ],
)
def test_the_owner_is_no_name(text):
    assert Opening(said(text)).owner() is None


@pytest.mark.parametrize(
    "text",
    [
        "i'm calling about your property",
        "regarding the proberty on eighteen quillmarsh road",
        "it's about the little house on pinchgut road",
        "the one at twenty two wexcombe avenue",
        "you own 1175 Ellerby Court",
        "about the three bedroom on old pickerel way",
        "about the Sable Street fourplex",
        "your vacant land",
    ],
)
def test_the_property_is_found(text):
    assert Opening(said(text)).property() is not None


@pytest.mark.parametrize(
    "text",
    ["we buy houses for cash", "do you have any other property", "how are you", "it's a good price"],
)
def test_no_property_is_heard_where_none_is_named(text):
    assert Opening(said(text)).property() is None


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("i was calling to see if you would sell", True),
        ("i'm reaching out in regards to your house", True),
        ("we'd like to make you an offer", True),
        ("i was wondering if you are open for it", True),
        ("hello can you hear me", False),
        ("okay sir you too bye bye", False),
    ],
)
def test_the_reason_for_calling(text, there):
    assert (Opening(said(text)).reason() is not None) is there


def test_only_the_agent_is_searched():
    heard = Opening(turns((Role.AGENT, "hello"), (Role.CUSTOMER, "this is walter who is calling")))
    assert heard.introduction() is None


def test_only_the_opening_is_searched():
    late = turns((Role.AGENT, "hello", 0.0, 1.0), (Role.AGENT, "my name is nora", 75.0, 77.0))
    assert Opening(late).introduction() is None
    assert Opening(said(*["okay"] * OPENING_TURNS, "my name is nora")).introduction() is None


def test_the_minute_of_the_opening_begins_with_the_agent_and_not_with_the_call():
    late = turns((Role.AGENT, "hello", 90.0, 91.0), (Role.AGENT, "my name is nora", 95.0, 97.0))
    assert Opening(late).introduction() is not None


def test_the_quote_is_the_sentence():
    found = Opening(said("Yes, hello. This is Nora with Copperkite Homes. How are you?")).introduction()
    assert found is not None
    assert found.note == "… This is Nora with Copperkite Homes. …"


def test_a_long_text_without_punctuation_is_quoted_in_part():
    found = Opening(said("well " * 40 + "my name is nora " + "and so on " * 40)).introduction()
    assert found is not None
    assert "my name is nora" in found.note
    assert len(found.note.split()) < 25


def test_no_words_of_an_agent_is_not_heard():
    assert not Opening(turns((Role.CUSTOMER, "hello"))).heard
    assert not Opening(said("", "  ", "...")).heard


@given(st.lists(st.text(max_size=80), max_size=4))
def test_any_text_can_be_searched(texts):
    opening = Opening(said(*texts))
    for found in (opening.introduction(), opening.owner(), opening.property(), opening.reason()):
        assert found is None or found.note
