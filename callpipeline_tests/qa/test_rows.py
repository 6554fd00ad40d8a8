import pytest

from callpipeline.failures import EngineFailed
from callpipeline.model import CallMetadata, Gap, Role, Verdict
from callpipeline.qa.detections import combine, errored
from callpipeline.qa.rollups import roll_up
from callpipeline.qa.rows import call_row, day_of
from callpipeline_tests.qa.builders import detection, failure, info, row, turns


def bare(**more):
    return call_row("k", metadata=CallMetadata(), file_name="a.mp3", file_path="x/a.mp3", **more)


def test_a_recording_of_which_nothing_is_known_is_pending():
    found = bare()
    assert found.status == "pending"
    assert (found.agent, found.duration, found.confidence, found.score) == ("", None, None, None)
    assert found.verdict("releasing") is None


def test_a_failed_stage_without_verdicts_is_an_error_with_its_message():
    found = bare(failures=[failure()])
    assert found.status == "error"
    assert found.errors[0].message == "most packets do not decode"
    assert found.verdict("releasing") is None
    assert not found.flag


def test_one_failed_detection_is_partial_and_hides_no_other():
    broken = errored("rebuttal", "1", EngineFailed("it broke"))
    found = bare(detections=combine(detection("late_hello", Verdict.YES), broken))
    assert found.status == "partial"
    assert found.flag
    assert [e.where for e in found.errors] == ["rebuttal"]


def test_a_failed_stage_beside_verdicts_is_partial():
    found = bare(
        detections=combine(detection("releasing", Verdict.NO)), failures=[failure(asset="call_metrics")]
    )
    assert found.status == "partial"


def test_only_errors_is_an_error():
    broken = [errored(name, "1", EngineFailed("it broke")) for name in ("releasing", "late_hello")]
    found = bare(detections=combine(*broken))
    assert found.status == "error"
    assert len(found.errors) == 1


def test_all_verdicts_are_ok():
    assert row().status == "ok"


def test_the_confidence_is_the_least_of_the_decided_verdicts():
    found = bare(
        detections=combine(
            detection("releasing", Verdict.NO, confidence=0.9),
            detection("late_hello", Verdict.YES, confidence=0.6),
            detection("rebuttal", Verdict.SKIPPED, confidence=0.0),
        )
    )
    assert found.confidence == 0.6


def test_what_the_agent_said_is_quoted():
    found = row(
        conversation=turns((Role.AGENT, "hi this is nora i'm calling about your house on oak street"))
    )
    assert (found.intro.said, found.owner.said, found.reason.said) == (True, False, True)
    assert "this is nora" in found.intro.quote


@pytest.mark.parametrize("conversation", [None, turns(), turns((Role.UNKNOWN, "hi this is nora"))])
def test_what_nobody_heard_is_unknown_and_not_a_no(conversation):
    found = row(conversation=conversation)
    assert found.intro.said is None
    assert found.reason.said is None


def test_the_demo_engine_is_said():
    spoken = turns((Role.AGENT, "hi"), demo=True, transcript_engine="sphinx")
    assert row(conversation=spoken).demo
    assert row(conversation=spoken).engine == "sphinx"


def test_a_call_without_words_has_no_text_of_the_demo_engine():
    assert not row(conversation=turns(demo=True)).demo


def test_a_row_survives_storage():
    found = row(conversation=turns((Role.AGENT, "hi")), score=50.0)
    assert type(found).model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("metadata", "day"),
    [
        ({"date": "2026-11-20"}, "2026-11-20"),
        ({"date": "20261120"}, "2026-11-20"),
        ({"timestamp": "2026-11-20 10:32"}, "2026-11-20"),
        ({"timestamp": "11/20/2026 10.32 AM"}, "2026-11-20"),
        ({"timestamp": "1-9-2026"}, "2026-01-09"),
        ({"date": "2026-13-45", "timestamp": "2026-11-20"}, "2026-11-20"),
        ({"timestamp": "10-32 AM"}, ""),
        ({"timestamp": "15550142233"}, ""),
        ({}, ""),
    ],
)
def test_the_day_of_a_call(metadata, day):
    assert day_of(CallMetadata(**metadata)) == day


def test_the_duration_is_the_decoded_one():
    assert bare(info=info(42.5)).duration == 42.5


def test_a_hearing_needs_no_verdicts_and_its_transcript_decides():
    gap = Gap(start=10.0, end=70.0, error_class="rate_limit", message="too many", chunk=1)
    said = turns((Role.UNKNOWN, "The meeting will come to order."))
    assert bare(hearing=True).status == "pending"
    assert bare(hearing=True, failures=[failure()]).status == "error"
    assert bare(hearing=True, turns=said).status == "ok"
    part = bare(
        hearing=True, turns=said, gaps=[gap], failures=[failure(asset="transcripts", permanent=False)]
    )
    assert (part.status, part.missing) == ("partial", 60.0)
    assert roll_up([part, bare(turns=said)]).total.calls == 1
    assert type(part).model_validate_json(part.model_dump_json()) == part
