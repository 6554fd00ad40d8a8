import pytest

from callpipeline.failures import EngineFailed
from callpipeline.model import Role, Verdict
from callpipeline.qa.detections import errored
from callpipeline.qa.scores import band, intro_score
from callpipeline_tests.qa.builders import detection, said, turns

FULL = "hi is this mister orrin this is karim with bluefinch i'm calling about your house on quillmarsh road"
NOTHING = "yeah so what do you think"


def score(conversation, *, releasing=Verdict.NO, late=Verdict.NO, rebuttal=Verdict.NO_OBJECTION):
    return intro_score(
        conversation,
        detection("releasing", releasing),
        detection("late_hello", late),
        detection("rebuttal", rebuttal),
    )


@pytest.mark.parametrize(
    ("text", "late", "rebuttal", "expected"),
    [
        (FULL, Verdict.NO, Verdict.ATTEMPTED, (100, "excellent")),
        (FULL, Verdict.NO, Verdict.NO_ATTEMPT, (83, "excellent")),
        (FULL, Verdict.NO, Verdict.NO_OBJECTION, (100, "excellent")),
        (FULL, Verdict.YES, Verdict.NO_ATTEMPT, (67, "good")),
        (FULL, Verdict.YES, Verdict.SKIPPED, (80, "good")),
        (NOTHING, Verdict.NO, Verdict.ATTEMPTED, (50, "good")),
        (NOTHING, Verdict.NO, Verdict.UNUSABLE, (40, "needs_training")),
        (NOTHING, Verdict.YES, Verdict.NO_ATTEMPT, (17, "needs_training")),
    ],
)
def test_the_score_is_the_mean_of_the_items_that_apply(text, late, rebuttal, expected):
    found = score(said(text), late=late, rebuttal=rebuttal)
    assert (found.score, found.band) == expected


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (100, "excellent"),
        (83, "excellent"),
        (500 / 6, "excellent"),
        (82.4, "good"),
        (50, "good"),
        (49.4, "needs_training"),
        (100 / 6, "needs_training"),
        (16.4, "critical"),
        (0, "critical"),
    ],
)
def test_bands_begin_at_their_limits(value, name):
    assert band(value) == name


def test_an_item_that_does_not_apply_is_left_out_and_no_pass():
    found = score(said(FULL), rebuttal=Verdict.NO_OBJECTION)
    assert found.items["rebuttal_when_owed"] is None
    assert found.reason == "5 of 5 items"


def test_a_releasing_call_scores_zero_without_a_transcript():
    found = score(None, releasing=Verdict.YES, late=Verdict.NOT_APPLICABLE, rebuttal=Verdict.SKIPPED)
    assert (found.score, found.band) == (0, "critical")
    assert {name for name, passed in found.items.items() if passed is None} == {
        "agent_introduces",
        "names_owner",
        "names_property",
        "no_late_hello",
        "rebuttal_when_owed",
    }


def test_a_missing_transcript_is_an_error_and_not_a_low_score():
    found = score(None)
    assert found.verdict is Verdict.ERROR
    assert found.error_class == "upstream_missing"
    assert found.score is None


@pytest.mark.parametrize("broken", ["releasing", "late_hello", "rebuttal"])
def test_a_failed_part_makes_the_score_an_error(broken):
    parts = {name: detection(name, Verdict.NO) for name in ("releasing", "late_hello")}
    parts["rebuttal"] = detection("rebuttal", Verdict.ATTEMPTED)
    parts[broken] = errored(broken, "1", EngineFailed("it broke"))
    found = intro_score(said(FULL), parts["releasing"], parts["late_hello"], parts["rebuttal"])
    assert found.verdict is Verdict.ERROR
    assert found.score is None
    assert broken in found.reason


def test_an_agent_whose_words_are_missing_is_unusable_and_not_critical():
    conversation = turns((Role.CUSTOMER, "hello who is this"))
    assert score(conversation).verdict is Verdict.UNUSABLE


def test_unknown_roles_are_skipped():
    conversation = turns((Role.UNKNOWN, FULL), role_confidence=0.0)
    assert score(conversation, releasing=Verdict.SKIPPED, late=Verdict.SKIPPED).verdict is Verdict.SKIPPED


def test_demo_text_and_inferred_roles_lower_the_confidence():
    sure = score(said(FULL)).confidence
    assert score(said(FULL).model_copy(update={"demo": True})).confidence < sure
    assert score(said(FULL).model_copy(update={"role_confidence": 0.4})).confidence == 0.4


def test_the_evidence_quotes_what_was_heard():
    found = score(said("yeah hello", FULL))
    assert any(
        "introduces themselves" in e.note and "karim" in e.note and e.turn == 1 for e in found.evidence
    )
