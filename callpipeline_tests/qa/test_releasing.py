import pytest

from callpipeline.model import Diarization, Role, SpeakerSpan, Verdict
from callpipeline.qa.activity import activity_by_role
from callpipeline.qa.releasing import detect
from callpipeline_tests.qa.builders import activity, mono, turns

BLIPS = [(2.0 + 3 * i, 2.15 + 3 * i) for i in range(12)]


@pytest.mark.parametrize(
    ("agent", "verdict"),
    [
        ([], Verdict.YES),
        ([(5.0, 5.29)], Verdict.YES),
        ([(5.0, 5.3)], Verdict.NO),
        ([(5.0, 5.31)], Verdict.NO),
        ([(0.1, 0.4)], Verdict.NO),
        (BLIPS, Verdict.YES),
        ([(3.0, 3.28), (9.0, 9.29)], Verdict.YES),
        ([*BLIPS, (50.0, 51.0)], Verdict.NO),
        ([(5.0, 5.2), (5.3, 5.5)], Verdict.NO),
        ([(5.0, 5.1), (5.25, 5.35)], Verdict.YES),
        ([(5.0, 5.2), (5.1, 5.25)], Verdict.YES),
    ],
    ids=[
        "silence",
        "0.29",
        "0.30",
        "0.31",
        "0.30 early in the call",
        "twelve blips add up to nothing",
        "two long blips far apart",
        "one word after blips",
        "one word with a stop consonant in it",
        "pauses are not voice",
        "doubled regions count once",
    ],
)
def test_releasing_needs_speech_and_not_noise_to_be_cleared(agent, verdict):
    assert detect(activity(agent), min_speech=0.30).verdict is verdict


def test_a_very_short_call_can_be_releasing():
    assert detect(activity(duration=1.5, customer=()), min_speech=0.30).verdict is Verdict.YES


def test_a_higher_limit_counts_all_speech():
    heard = activity([(1.0, 1.6), (9.0, 9.6)])
    assert detect(heard, min_speech=1.3).verdict is Verdict.YES
    assert detect(heard, min_speech=1.2).verdict is Verdict.NO


def test_the_evidence_shows_the_blips_that_were_not_believed():
    found = detect(activity(BLIPS[:2]), min_speech=0.30)
    assert [e.start for e in found.evidence] == [2.0, 5.0]
    assert "2 short sounds" in found.reason


def test_silence_is_surer_than_blips_and_a_long_talk_surer_than_one_word():
    silence, blips = (detect(activity(a), min_speech=0.3).confidence for a in ([], BLIPS))
    word, talk = (detect(activity([(1.0, e)]), min_speech=0.3).confidence for e in (1.35, 20.0))
    assert silence > blips
    assert talk > word


def test_mono_with_no_voice_at_all_is_releasing():
    assert detect(mono([(3.0, 3.1)]), min_speech=0.3).verdict is Verdict.YES


def test_mono_with_a_voice_is_left_open_until_roles_are_known():
    found = detect(mono([(3.0, 9.0)]), min_speech=0.3)
    assert found.verdict is Verdict.SKIPPED
    assert "roles" in found.reason


def _diarization(*spans, roles=None):
    return Diarization(
        engine="spectral",
        engine_version="1",
        spans=tuple(SpeakerSpan(speaker=s, start=a, end=b) for s, a, b in spans),
        roles=roles or {"S1": Role.UNKNOWN, "S2": Role.UNKNOWN},
        role_confidence=0.0,
    )


def _inferred(confidence=0.7):
    conversation = turns((Role.CUSTOMER, "hello"), (Role.AGENT, "hi this is nora"))
    named = {Role.CUSTOMER: "S1", Role.AGENT: "S2"}
    relabelled = tuple(t.model_copy(update={"speaker": named[t.role]}) for t in conversation.turns)
    return conversation.model_copy(update={"turns": relabelled, "role_confidence": confidence})


def test_mono_gets_its_verdict_from_inferred_roles_with_their_confidence():
    conversation = _inferred()
    split = activity_by_role(
        mono([(0.5, 2.0), (6.0, 9.0)]), _diarization(("S1", 0.4, 2.5), ("S2", 6.0, 9.0)), conversation
    )
    found = detect(split, min_speech=0.3, role_confidence=conversation.role_confidence)
    assert found.verdict is Verdict.NO
    assert found.evidence[0].start == 6.0
    assert found.confidence == 0.7


def test_a_span_of_the_diarizer_without_voice_is_no_speech():
    split = activity_by_role(
        mono([(0.5, 2.0)]), _diarization(("S1", 0.4, 2.5), ("S2", 6.0, 9.0)), _inferred()
    )
    assert detect(split, min_speech=0.3).verdict is Verdict.YES


def test_roles_that_nobody_inferred_leave_the_activity_as_it_is():
    before = mono([(0.5, 2.0)])
    assert activity_by_role(before, _diarization(("S1", 0.5, 2.0)), None) == before


def test_known_channels_are_never_overruled_by_a_diarizer():
    before = activity([(1.0, 2.0)])
    assert activity_by_role(before, _diarization(("S2", 6.0, 9.0)), _inferred()) == before
