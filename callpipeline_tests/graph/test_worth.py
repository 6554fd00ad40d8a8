"""What is left out before anything is looked for: only what nobody could find anything in."""

from __future__ import annotations

import pytest

from callpipeline.graph.worth import low_value, priority

VOICEMAIL = (
    "Your call has been forwarded to an automatic voice message system. Sam Carter is not available. At the tone, please "
    "record your message. When you have finished recording, you may hang up or press one for more options."
)
MENU = "for sales press one for service press two or remain on the line for the next available representative"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no words"),
        ("... - ?", "no words"),
        ("uh yeah okay right", "no content words"),
        ("Hello? Hello?", "greetings and small talk only"),
        ("hi good morning how are you\nfine thanks and you have a nice day", "greetings and small talk only"),
        (VOICEMAIL, "voicemail or a menu"),
        (VOICEMAIL.lower().replace(".", "").replace(",", ""), "voicemail or a menu"),
        (MENU, "voicemail or a menu"),
        ("the number you have dialed is not in service", "voicemail or a menu"),
        ("la la la la " * 12, "the same words over and over"),
    ],
)
def test_nothing_can_be_found_in_it(text: str, reason: str) -> None:
    assert low_value(text) == reason


@pytest.mark.parametrize(
    "text",
    [
        "hello this is sam about your house\nno thank you",
        "can I leave a message for Tom about the mortgage and the roof?",
        "We told people to press one for help, and the flood line in Ashford took four hundred calls that night.",
        "Sleep.",
        "Guten Tag, hier spricht Müller aus Köln.",
        "我们今天讨论睡眠",
        "I was so happy",
    ],
)
def test_something_may_be_found_in_it(text: str) -> None:
    assert low_value(text) is None


def test_causes_names_and_figures_go_before_small_talk() -> None:
    rich = (
        "Regular exercise leads to deeper sleep because it reduces cortisol, says Maria Lopez of Stanford: 30 minutes a day "
        "improve recovery by 12 percent, and that in turn prevents burnout in nurses."
    )
    plain = (
        "So we went there and then we came back and it was kind of a long day you know and she said we should do "
        "it again some other time and I said yes of course we should really do that again some time."
    )
    assert 0 <= priority(plain) < priority(rich) <= 1
