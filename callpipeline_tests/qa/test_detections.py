import pytest

from callpipeline.failures import CorruptAudio
from callpipeline.model import Verdict
from callpipeline.qa.detections import combine, errored
from callpipeline_tests.qa.builders import detection


@pytest.mark.parametrize(
    ("releasing", "late_hello", "rebuttal", "reasons"),
    [
        (Verdict.NO, Verdict.NO, Verdict.ATTEMPTED, ()),
        (Verdict.NO, Verdict.NO, Verdict.NO_OBJECTION, ()),
        (Verdict.YES, Verdict.NOT_APPLICABLE, Verdict.SKIPPED, ("releasing",)),
        (Verdict.NO, Verdict.YES, Verdict.UNUSABLE, ("late_hello",)),
        (Verdict.NO, Verdict.NO, Verdict.NO_ATTEMPT, ("rebuttal",)),
        (Verdict.NO, Verdict.YES, Verdict.NO_ATTEMPT, ("late_hello", "rebuttal")),
        (Verdict.ERROR, Verdict.ERROR, Verdict.ERROR, ()),
        (Verdict.ERROR, Verdict.YES, Verdict.ERROR, ("late_hello",)),
    ],
)
def test_the_flag_is_made_of_three_verdicts(releasing, late_hello, rebuttal, reasons):
    found = combine(
        detection("rebuttal", rebuttal),
        detection("late_hello", late_hello),
        detection("releasing", releasing),
    )
    assert found.flag_reasons == reasons
    assert found.flag is bool(reasons)


def test_a_low_score_alone_does_not_flag():
    assert not combine(detection("intro_score", Verdict.SCORED, score=0.0, band="critical")).flag


def test_the_same_detection_twice_is_a_fault():
    with pytest.raises(ValueError, match="twice"):
        combine(detection("releasing", Verdict.NO), detection("releasing", Verdict.YES))


def test_an_error_keeps_its_class_and_message():
    found = errored("rebuttal", "rebuttal-1", CorruptAudio("half of it does not decode"))
    assert (found.verdict, found.error_class) == (Verdict.ERROR, "corrupt_audio")
    assert found.reason == "half of it does not decode"


def test_an_unknown_exception_is_an_error_too():
    assert errored("rebuttal", "1", KeyError("x")).error_class == "internal:KeyError"
