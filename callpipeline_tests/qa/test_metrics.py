import pytest

from callpipeline.model import Region, Role
from callpipeline.qa.intervals import gaps, merged
from callpipeline.qa.metrics import call_metrics
from callpipeline_tests.qa.builders import activity, info, mono, regions, turns

TALK = turns((Role.AGENT, "one two three four five six", 0.0, 10.0), (Role.CUSTOMER, "no", 12.0, 16.0))


def measure(agent, customer, conversation=TALK, duration=20.0):
    return call_metrics(conversation, activity(agent, customer, duration), info(duration))


def speaker(metrics, role):
    return next(s for s in metrics.speakers if s.role is role)


def test_talk_silence_and_ratio_come_from_the_voice():
    found = measure([(0, 6)], [(7, 9)])
    assert (found.talk_seconds, found.silence_seconds) == (8.0, 12.0)
    assert speaker(found, Role.AGENT).talk_ratio == 0.75
    assert speaker(found, Role.CUSTOMER).talk_seconds == 2.0


def test_words_per_minute_are_per_minute_of_talk():
    assert speaker(measure([(0, 6)], [(7, 9)]), Role.AGENT).words_per_minute == 60.0


def test_words_of_hardly_any_talk_have_no_rate():
    assert speaker(measure([(0, 0.5)], [(7, 9)]), Role.AGENT).words_per_minute is None


def test_loudness_is_that_of_the_channel():
    found = measure([(0, 6)], [(7, 9)])
    assert speaker(found, Role.AGENT).loudness_db == -21.5
    assert speaker(found, Role.CUSTOMER).loudness_db == -27.0


@pytest.mark.parametrize(
    ("agent", "customer", "stretches"),
    [
        ([(0, 6)], [(7.999, 20)], []),
        ([(0, 6)], [(8, 20)], [(6, 8)]),
        ([(2, 6)], [(6.5, 18)], [(0, 2), (18, 20)]),
        ([], [], [(0, 20)]),
        ([(0, 20)], [(3, 4)], []),
    ],
    ids=["1.999", "2.0", "at both ends", "nobody", "no gap"],
)
def test_non_talk_stretches_have_two_seconds_or_more(agent, customer, stretches):
    assert measure(agent, customer).non_talk == regions(stretches)


def test_overlap_is_time_in_which_both_speak():
    assert measure([(0, 6), (8, 10)], [(5, 9)]).overlap_seconds == 2.0


@pytest.mark.parametrize(
    ("agent", "customer", "count"),
    [
        ([(0, 6)], [(4, 8)], 1),
        ([(0, 6)], [(4, 4.9)], 0),
        ([(0, 6)], [(5.8, 9)], 0),
        ([(0, 6)], [(6.2, 9)], 0),
        ([(0, 6), (9, 12)], [(4, 8), (10, 14)], 2),
    ],
    ids=["breaks in", "only mm hmm", "change of turn", "waits", "twice"],
)
def test_an_interruption_breaks_in_and_goes_on(agent, customer, count):
    found = measure(agent, customer)
    assert speaker(found, Role.CUSTOMER).interruptions == count
    assert speaker(found, Role.AGENT).interruptions == 0


@pytest.mark.parametrize(
    ("agent", "customer", "length"),
    [
        ([(0, 4), (5, 9)], [(15, 16)], 9.0),
        ([(0, 4), (5, 9)], [(4.2, 4.8)], 9.0),
        ([(0, 4), (6, 9)], [(4.5, 5.8)], 4.0),
        ([(0, 4), (6, 9)], [(15, 16)], 4.0),
    ],
    ids=["over a short pause", "over a mm hmm", "ended by the other", "ended by silence"],
)
def test_the_longest_monologue(agent, customer, length):
    assert speaker(measure(agent, customer), Role.AGENT).longest_monologue == length


def test_mono_takes_talk_time_from_the_turns_and_silence_from_the_voice():
    found = call_metrics(TALK, mono([(0, 8), (12, 16)], 20.0), info(20.0))
    assert speaker(found, Role.AGENT).talk_seconds == 10.0
    assert speaker(found, Role.AGENT).loudness_db is None
    assert found.silence_seconds == 6.0


@pytest.mark.parametrize("conversation", [None, turns()])
def test_a_call_without_a_transcript_still_has_its_times_and_claims_no_words(conversation):
    found = measure([], [(0, 5)], conversation)
    assert speaker(found, Role.CUSTOMER).talk_seconds == 5.0
    assert speaker(found, Role.CUSTOMER).sentiment is None
    assert found.categories == {}
    assert found.sentiment_by_quarter == ()


def test_a_silent_call_divides_by_nothing():
    found = measure([], [], conversation=turns())
    assert found.talk_seconds == 0.0
    assert {s.talk_ratio for s in found.speakers} == {0.0}


def test_sentiment_is_by_quarter_of_the_call():
    conversation = turns(
        (Role.AGENT, "thank you so much that is wonderful", 0.0, 4.0),
        (Role.CUSTOMER, "i hate this it is terrible stop it", 16.0, 20.0),
    )
    found = measure([(0, 4)], [(16, 20)], conversation)
    first, second, third, last = found.sentiment_by_quarter
    assert first is not None
    assert first > 0.3
    assert (second, third) == (None, None)
    assert last is not None
    assert last < -0.3
    assert speaker(found, Role.CUSTOMER).sentiment == last


def test_intervals_join_and_leave_gaps():
    joined = merged(regions([(5, 6), (0, 2), (1, 3), (3, 3), (3.1, 4)]), gap=0.2)
    assert joined == list(regions([(0, 4), (5, 6)]))
    assert gaps(joined, 10.0, at_least=1.0) == list(regions([(4, 5), (6, 10)]))
    assert gaps([Region(start=0, end=12)], 10.0, at_least=1.0) == []
