import pytest

from callpipeline.failures import EngineFailed
from callpipeline.model import Verdict
from callpipeline.qa import late_hello, releasing
from callpipeline.qa.detections import errored
from callpipeline_tests.qa.builders import activity, mono


def judge(heard, **more):
    return late_hello.detect(heard, releasing.detect(heard, min_speech=0.3), after=5.0, **more)


@pytest.mark.parametrize(
    ("agent", "verdict"),
    [
        ([(4.999, 8.0)], Verdict.NO),
        ([(5.0, 8.0)], Verdict.NO),
        ([(5.001, 8.0)], Verdict.YES),
        ([(0.0, 1.0)], Verdict.NO),
        ([(1.0, 1.2), (9.0, 12.0)], Verdict.YES),
        ([(1.0, 1.2), (4.0, 4.2), (4.9, 8.0)], Verdict.NO),
        ([], Verdict.NOT_APPLICABLE),
        ([(1.0, 1.2)], Verdict.NOT_APPLICABLE),
    ],
    ids=[
        "4.999",
        "5.0",
        "5.001",
        "at once",
        "a click is no hello",
        "in time after clicks",
        "silence",
        "only a blip",
    ],
)
def test_late_is_strictly_later_than_the_limit(agent, verdict):
    assert judge(activity(agent)).verdict is verdict


def test_the_evidence_is_the_wait_and_the_hello():
    found = judge(activity([(7.5, 9.0)], customer=[(0.5, 1.2)]))
    assert [(e.start, e.end) for e in found.evidence] == [(0.0, 7.5), (7.5, 9.0)]
    assert "7.0 s after the customer" in found.reason


def test_near_the_limit_is_less_sure():
    near, far = (judge(activity([(s, 12.0)])).confidence for s in (5.01, 9.0))
    assert near < far


def test_inferred_roles_cap_the_confidence():
    assert judge(activity([(9.0, 12.0)]), role_confidence=0.6).confidence == 0.6


def test_mono_without_roles_is_skipped_and_not_a_no():
    assert judge(mono([(1.0, 9.0)])).verdict is Verdict.SKIPPED


def test_a_failed_releasing_never_becomes_a_no():
    broken = errored("releasing", "releasing-1", EngineFailed("the detector broke"))
    found = late_hello.detect(activity([(1.0, 2.0)]), broken, after=5.0)
    assert found.verdict is Verdict.ERROR
    assert found.error_class == "engine_failed"
    assert "the detector broke" in found.reason
