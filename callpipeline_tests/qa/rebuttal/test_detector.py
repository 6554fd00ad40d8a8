"""The rebuttal rule as an analyst meets it: verdicts, reasons and where to listen."""

from __future__ import annotations

import pytest

from callpipeline.model import Detection, Role, SpeakerTurns, Turn, Verdict
from callpipeline.qa.rebuttal import NAME, RULE_VERSION, detect

PITCH = "hi i'm calling to see if you'd be interested in selling your house on maple street"


def talk(*lines: str) -> SpeakerTurns:
    """Make turns from "A ..." and "C ..." lines, three seconds each; "?" leaves the side open."""
    roles = {"A": Role.AGENT, "C": Role.CUSTOMER, "?": Role.UNKNOWN}
    turns = tuple(
        Turn(index=i, speaker=line[0], role=roles[line[0]], start=3.0 * i, end=3.0 * i + 2.5, text=line[2:])
        for i, line in enumerate(lines)
    )
    return SpeakerTurns(
        turns=turns, role_confidence=1.0, transcript_engine="provided", diarization_engine="channels"
    )


def judge(*lines: str, duration: float = 60.0, releasing: Detection | None = None) -> Detection:
    return detect(talk(*lines), duration=duration, releasing=releasing, min_duration=20.0, max_duration=600.0)


def releasing(verdict: Verdict) -> Detection:
    return Detection(name="releasing", verdict=verdict, confidence=0.9, rule_version="releasing-1")


@pytest.mark.parametrize(
    "push",
    [
        "okay and do you have any other property you might want to sell",
        "i see would you consider it in the future",
        "what if the price was really good",
        "may i ask why not",
        "no worries we could take over the payments and give you cash for the rest",
        "when would be a better time to call you about it",
        "not even for the right price",
        "so how much would you want for it",
    ],
)
def test_push_after_a_refusal_is_an_attempt(push: str) -> None:
    found = judge(f"A {PITCH}", "C no i'm not interested in selling", f"A {push}", "C no", "A okay bye")
    assert found.verdict is Verdict.ATTEMPTED


@pytest.mark.parametrize(
    "close",
    [
        "okay thank you have a good day",
        "i'm so sorry to bother you ma'am bye",
        "okay so you're not interested i'll make a note of that",
        "no problem if anything changes just give us a call bye",
        "okay i'll remove you from the list",
        "congratulations on the new house enjoy it",
        "okay and how's the weather over there is it raining",
        "okay can you confirm your email for our records",
    ],
)
def test_closing_after_a_refusal_is_no_attempt(close: str) -> None:
    found = judge(f"A {PITCH}", "C no i'm not interested in selling", f"A {close}", "C okay bye")
    assert found.verdict is Verdict.NO_ATTEMPT


@pytest.mark.parametrize(
    "answer",
    [
        "sorry you have the wrong number",
        "i don't own that i just rent here",
        "we already sold it last year",
        "take me off your list and stop calling me",
        "yeah i'd sell it make me an offer",
        "i can't hear you you're breaking up",
        "call me back tomorrow i want to hear your offer",
    ],
)
def test_answer_that_refuses_nothing_is_no_objection(answer: str) -> None:
    assert judge(f"A {PITCH}", f"C {answer}", "A okay sir thank you bye").verdict is Verdict.NO_OBJECTION


def test_no_to_a_permission_question_is_not_a_refusal() -> None:
    found = judge(
        "A hi did i catch you at a bad time", "C no not at all", f"A {PITCH}", "C sure what are you offering"
    )
    assert found.verdict is Verdict.NO_OBJECTION


def test_answers_of_no_to_data_questions_are_not_refusals() -> None:
    found = judge(
        f"A {PITCH}", "C yes i'd like to sell it", "A great is there a mortgage on it", "C no",
        "A any repairs needed", "C no", "A okay i'll call you back with an offer", "C okay",
    )  # fmt: skip
    assert found.verdict is Verdict.NO_OBJECTION


def test_push_before_the_refusal_does_not_count() -> None:
    found = judge(
        "A hi would you sell your house now or in the future or do you have any other property",
        "C no we don't want to sell", "A okay thank you bye",
    )  # fmt: skip
    assert found.verdict is Verdict.NO_ATTEMPT


def test_cut_off_push_counts() -> None:
    assert (
        judge(f"A {PITCH}", "C no i'm not selling", "A okay but what if", "C bye").verdict
        is Verdict.ATTEMPTED
    )


def test_voicemail_is_unusable_even_when_the_message_sounds_like_a_rebuttal() -> None:
    found = judge(
        "C you have reached the voicemail box please leave a message after the tone",
        "A hi this is tom i'm calling about your house would you consider selling it in the future call me back",
    )
    assert found.verdict is Verdict.UNUSABLE
    assert "machine" in found.reason


def test_missing_side_is_unusable() -> None:
    assert judge("C hello", "C hello who is this").verdict is Verdict.UNUSABLE
    assert judge(f"A {PITCH}", "A okay thank you").verdict is Verdict.UNUSABLE


def test_no_turns_at_all_are_unusable_not_an_error() -> None:
    assert judge().verdict is Verdict.UNUSABLE


def test_foreign_language_is_unusable() -> None:
    found = judge(f"A {PITCH}", "C no hablo inglés no entiendo lo que dice señor", "A okay sorry bye")
    assert found.verdict is Verdict.UNUSABLE


def test_flag_points_at_the_objection_and_at_the_answer() -> None:
    found = judge(f"A {PITCH}", "C no we are not selling", "A okay have a good day", "C bye")
    objection, answer = found.evidence
    assert (objection.turn, objection.start) == (1, 3.0)
    assert (answer.turn, answer.start) == (2, 6.0)
    assert "not selling" in objection.note
    assert (found.name, found.rule_version) == (NAME, RULE_VERSION)


def test_attempt_points_at_the_push() -> None:
    found = judge(
        f"A {PITCH}", "C no we are not selling", "A mm", "A what price would you take for it", "C none"
    )
    assert found.evidence[0].turn == 1
    assert found.evidence[1].turn in (2, 3)


def test_swapped_labels_are_put_right_when_the_words_are_clear() -> None:
    found = judge(
        f"C {PITCH}", "A no thank you we are not interested we love our house",
        "C okay and would you consider it next year or do you have any other property to sell", "A no we do not",
        "C okay thank you so much have a great day",
    )  # fmt: skip
    assert found.verdict is Verdict.ATTEMPTED
    assert found.evidence[0].turn == 1


def test_releasing_call_is_skipped() -> None:
    found = judge(f"A {PITCH}", "C no", releasing=releasing(Verdict.YES))
    assert found.verdict is Verdict.SKIPPED
    assert "releasing" in found.reason


def test_call_with_a_working_agent_is_judged() -> None:
    assert (
        judge(f"A {PITCH}", "C no", "A ok bye", releasing=releasing(Verdict.NO)).verdict is Verdict.NO_ATTEMPT
    )


@pytest.mark.parametrize(
    ("duration", "skipped"), [(19.9, True), (20.0, False), (600.0, False), (600.1, True)]
)
def test_duration_limits_are_inclusive(duration: float, skipped: bool) -> None:
    found = judge(f"A {PITCH}", "C no i'm not selling", "A okay bye", duration=duration)
    assert (found.verdict is Verdict.SKIPPED) is skipped
