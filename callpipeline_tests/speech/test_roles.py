"""Who is the agent, read from the words."""

from __future__ import annotations

import pytest

from callpipeline.model import Role
from callpipeline.speech.roles import SUREST, Said, infer_roles

AGENT_A = {"A": Role.AGENT, "B": Role.CUSTOMER}
AGENT_B = {"A": Role.CUSTOMER, "B": Role.AGENT}


def said(*lines: str) -> list[Said]:
    return [Said(line[0], line[3:]) for line in lines]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(
            [
                "A: Hello?",
                "B: Hi, this is Nora with Copperkite Homes, I'm calling about your house.",
                "A: No thanks.",
            ],
            AGENT_B,
            id="property call",
        ),
        pytest.param(
            ["A: hello", "B: hello my name is peter i was wondering if you would sell", "A: not interested"],
            AGENT_B,
            id="no punctuation",
        ),
        pytest.param(
            ["A: Good morning, may I speak with Mr. Hayes?", "B: Speaking.", "A: How are you today?"],
            AGENT_A,
            id="agent speaks first",
        ),
        pytest.param(
            [
                "A: Thank you for calling Harbor Insurance, how can I help you?",
                "B: I have a question on my bill.",
            ],
            AGENT_A,
            id="inbound service",
        ),
        pytest.param(
            [
                "A: Who is this? How did you get my number?",
                "B: It's on the form you sent, sir.",
                "A: Stop calling.",
            ],
            AGENT_B,
            id="angry customer talks more",
        ),
        pytest.param(
            [
                "A: We'd like to offer you a free quote on solar power.",
                "B: I’m not interested, take me off your list.",
            ],
            AGENT_A,
            id="curly apostrophe",
        ),
        pytest.param(
            [
                "A: You've reached the Millers, leave a message after the tone.",
                "B: Hi, I'm calling from Sunline.",
            ],
            AGENT_B,
            id="voicemail",
        ),
        pytest.param(
            ["A: Hello?", "B: hi mister walker would you consider an ofer on you're hous", "A: Yes"],
            AGENT_B,
            id="misheard words",
        ),
    ],
)
def test_the_agent_is_known_by_wording(lines: list[str], expected: dict[str, Role]) -> None:
    roles, confidence = infer_roles(said(*lines))
    assert roles == expected
    assert 0.6 <= confidence <= SUREST


def test_little_to_go_by_gives_the_better_guess_and_says_so() -> None:
    roles, confidence = infer_roles(
        said("A: Well, it rained a lot up there all of last week.", "B: Yes, it did.")
    )
    assert roles == AGENT_A
    assert confidence < 0.7


def test_nothing_to_go_by_is_a_coin_toss() -> None:
    roles, confidence = infer_roles(said("A: la la", "B: la la"))
    assert set(roles.values()) == {Role.AGENT, Role.CUSTOMER}
    assert confidence == 0.5


def test_more_evidence_makes_it_surer() -> None:
    little = said("A: My name is Ann.", "B: Okay, and?")
    more = [*little, *said("A: I'm calling about your account.", "B: Not interested, take me off your list.")]
    assert infer_roles(little)[1] < infer_roles(more)[1] <= SUREST


def test_a_phrase_said_over_and_over_counts_only_twice() -> None:
    twice = said("A: no thanks no thanks", "B: la la la la")
    often = said(
        "A: no thanks no thanks no thanks no thanks no thanks no thanks",
        "B: la la la la la la la la la la la la",
    )
    assert infer_roles(twice)[1] == infer_roles(often)[1]


def test_further_speakers_stay_unknown() -> None:
    roles, _ = infer_roles(
        said(
            "A: Hello?", "B: I'm calling about your policy.", "C: Who is it, dear?", "A: I'm not interested."
        )
    )
    assert roles == {"A": Role.CUSTOMER, "B": Role.AGENT, "C": Role.UNKNOWN}


def test_known_roles_are_kept_and_the_rest_follows() -> None:
    lines = said("A: I'm calling about your house, my name is Ann.", "B: Not interested.")
    roles, _ = infer_roles(lines, {"B": Role.AGENT})
    assert roles == {"A": Role.CUSTOMER, "B": Role.AGENT}


def test_roles_that_are_all_known_are_sure() -> None:
    known = {"A": Role.CUSTOMER, "B": Role.AGENT}
    assert infer_roles(said("A: hi", "B: hi", "C: hi"), known) == ({**known, "C": Role.UNKNOWN}, 1.0)


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("Hello? Hello? Who is this?", Role.CUSTOMER),
        ("Hi, this is Sam from Sunline, I'm calling about your roof.", Role.AGENT),
        ("Please leave a message after the tone.", Role.CUSTOMER),
        ("The rain in Spain.", Role.UNKNOWN),
    ],
)
def test_a_single_voice_is_judged_by_its_words(text: str, role: Role) -> None:
    roles, confidence = infer_roles([Said("A", text)])
    assert roles == {"A": role}
    assert (confidence == 0.0) == (role is Role.UNKNOWN)


def test_an_empty_conversation_has_no_roles() -> None:
    assert infer_roles([]) == ({}, 0.0)
