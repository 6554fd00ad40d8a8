import pytest
from hypothesis import given
from hypothesis import strategies as st

from callpipeline.model import Role, Segment, Transcript, Word
from callpipeline.qa.redaction import luhn, redact, redact_transcript, redact_turns
from callpipeline_tests.qa.builders import turns


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("call me at 555-0142 okay", "call me at [PHONE] okay"),
        ("my number is (303) 555-0199.", "my number is [PHONE]."),
        ("303.555.0199 or 3035550199", "[PHONE] or [PHONE]"),
        ("+1 303 555 0199 or 1-800-555-0199", "[PHONE] or [PHONE]"),
        ("+44 20 7946 0958 in london", "[PHONE] in london"),
        ("five five five oh one nine one", "[PHONE]"),
        ("it's Five five five, one two three, four five six seven.", "it's [PHONE]."),
        ("three oh three uh five five five dash twenty two eleven", "[PHONE]"),
        ("double five five one two three four", "[PHONE]"),
        ("5 5 5 0 1 4 2", "[PHONE]"),
        ("john.doe+x@gmail.com", "[EMAIL]"),
        ("write j o h n dot doe at gmail dot com", "write [EMAIL]"),
        ("offers at copperkite dot com", "[EMAIL]"),
        ("card 4111 1111 1111 1111 thanks", "card [CARD] thanks"),
        ("4111111111111111", "[CARD]"),
        ("four" + " one" * 15, "[CARD]"),
        ("my card is 4111 1111 1111 1112", "my card is [CARD]"),
        ("123-45-6789 and 123 45 6789", "[SSN] and [SSN]"),
        ("my social is 123456789", "my social is [SSN]"),
        ("social security one two three four five six seven eight nine", "social security [SSN]"),
    ],
)
def test_what_identifies_a_person_is_masked(text, masked):
    assert redact(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "it was $185,000 in 2019 and 1,250,000 in 2021",
        "$1250000 or 1250000 dollars",
        "one eighty five thousand or two hundred",
        "twenty twenty one twenty twenty two",
        "three ten three twenty",
        "one two three four five six seven thousand dollars",
        "i live at 1175 ellerby court denver 80202-1234",
        "on 2026-11-20 at 10:32 or 12/11/2026",
        "in 2024 2025 and 2026",
        "between 150 2000 square feet",
        "four oh nine ostler drive",
        "three bedroom two bath one car garage",
        "parcel 1234567",
        "page 4111 1111 1111 1112",
        "meet me at the corner dot dot dot",
        "",
    ],
)
def test_prices_years_dates_and_addresses_stay_readable(text):
    assert redact(text) == text


def test_redacting_twice_changes_nothing():
    once = redact("call 555-0142 or john@x.org, card 4111 1111 1111 1111")
    assert redact(once) == once


def test_a_number_over_two_turns_of_one_speaker_is_masked():
    masked = redact_turns(
        turns(
            (Role.CUSTOMER, "it's five five five"),
            (Role.AGENT, "okay"),
            (Role.CUSTOMER, "oh one four two yes"),
        )
    )
    assert [t.text for t in masked.turns] == ["it's [PHONE]", "okay", "yes"]


def test_numbers_of_two_speakers_are_not_one_number():
    before = turns((Role.CUSTOMER, "nine one five"), (Role.AGENT, "two two six seven"))
    assert redact_turns(before) == before


def test_no_digit_of_a_masked_number_stays_in_the_words():
    spoken = ["call", "five", "five", "five", "oh", "one", "four", "two", "now"]
    words = tuple(Word(text=w, start=float(i), end=i + 0.5, confidence=0.9) for i, w in enumerate(spoken))
    before = Transcript(
        engine="whisper",
        engine_version="1",
        language="en",
        duration=10.0,
        segments=(Segment(start=0.0, end=9.0, text=" ".join(spoken), words=words),),
    )
    segment = redact_transcript(before).segments[0]
    assert segment.text == "call [PHONE] now"
    assert [(w.text, w.start, w.end) for w in segment.words] == [
        ("call", 0.0, 0.5),
        ("[PHONE]", 1.0, 7.5),
        ("now", 8.0, 8.5),
    ]


@given(
    area=st.integers(200, 999),
    exchange=st.integers(200, 999),
    line=st.integers(0, 9999),
    shape=st.sampled_from(["{}-{}-{}", "({}) {}-{}", "{}.{}.{}", "{} {} {}", "+1 {} {} {}", "{}{}{}"]),
)
def test_no_phone_number_survives_however_it_is_written(area, exchange, line, shape):
    number = shape.format(area, exchange, f"{line:04d}")
    assert redact(f"call {number}, please") == "call [PHONE], please"


@given(
    st.lists(
        st.sampled_from(
            ["zero", "oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
        ),
        min_size=7,
    )
)
def test_no_spelled_number_survives(words):
    assert redact(f"it is {' '.join(words)} yes") in {f"it is {label} yes" for label in ("[PHONE]", "[CARD]")}


@given(st.text())
def test_any_text_can_be_masked(text):
    assert isinstance(redact(text), str)


@pytest.mark.parametrize(("digits", "right"), [("4111111111111111", True), ("4111111111111112", False)])
def test_luhn(digits, right):
    assert luhn(digits) is right
