"""Turns: every word once, with the right speaker, in the order of the conversation."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callpipeline.model import (
    Diarization,
    Role,
    Segment,
    SpeakerSpan,
    SpeakerTurns,
    Transcript,
    Word,
)
from callpipeline.speech.turns import PAUSE, speaker_turns

Timed = tuple[str, float, float]
BY_CHANNEL = {0: "agent", 1: "customer"}


def timed(*words: Timed, channel: int | None = None, speaker: str | None = None) -> Segment:
    return Segment(
        start=words[0][1],
        end=words[-1][2],
        text=" ".join(w[0] for w in words),
        channel=channel,
        speaker=speaker,
        words=tuple(Word(text=t, start=a, end=b, confidence=0.5) for t, a, b in words),
    )


def untimed(
    text: str, start: float, end: float, channel: int | None = None, speaker: str | None = None
) -> Segment:
    return Segment(start=start, end=end, text=text, channel=channel, speaker=speaker)


def transcript(*segments: Segment, demo: bool = False, notes: tuple[str, ...] = ()) -> Transcript:
    return Transcript(
        engine="test",
        engine_version="1",
        language="en",
        duration=100,
        segments=segments,
        demo=demo,
        notes=notes,
    )


def by_voice(*spans: tuple[str, float, float]) -> Diarization:
    return Diarization(
        engine="spectral",
        engine_version="1",
        spans=tuple(SpeakerSpan(speaker=s, start=a, end=b) for s, a, b in spans),
        roles={s: Role.UNKNOWN for s, _, _ in spans},
        role_confidence=0.0,
    )


def by_channel(*spans: tuple[int, float, float], roles: dict[int, str] | None = None) -> Diarization:
    names = roles or BY_CHANNEL
    return Diarization(
        engine="channels",
        engine_version="1",
        spans=tuple(SpeakerSpan(speaker=names[c], start=a, end=b, channel=c) for c, a, b in spans),
        roles={name: Role(name) for name in names.values()},
        role_confidence=1.0,
    )


STEREO = by_channel((0, 0, 5), (1, 5, 10))


def lines(turns: SpeakerTurns) -> list[tuple[str, str]]:
    return [(t.speaker, t.text) for t in turns.turns]


# --- channels -----------------------------------------------------------------------------------------


def test_a_channel_is_its_speaker() -> None:
    found = speaker_turns(
        transcript(timed(("hello", 0, 1), channel=1), timed(("hi", 1.5, 2), ("john", 2, 2.5), channel=0)),
        STEREO,
    )
    assert lines(found) == [("customer", "hello"), ("agent", "hi john")]
    assert [t.role for t in found.turns] == [Role.CUSTOMER, Role.AGENT]
    assert [t.index for t in found.turns] == [0, 1]
    assert found.role_confidence == 1.0


def test_the_channel_decides_even_where_the_diarization_heard_the_other_party() -> None:
    found = speaker_turns(transcript(timed(("hello", 7, 8), channel=0)), STEREO)
    assert lines(found) == [("agent", "hello")]


def test_a_channel_without_voice_activity_still_has_its_speaker() -> None:
    found = speaker_turns(transcript(untimed("hello", 1, 2, channel=1)), by_channel((0, 0, 5)))
    assert [(t.speaker, t.role) for t in found.turns] == [("customer", Role.CUSTOMER)]


def test_a_channel_nobody_knows_is_numbered() -> None:
    found = speaker_turns(transcript(untimed("hello", 1, 2, channel=4)), STEREO)
    assert [(t.speaker, t.role) for t in found.turns] == [("channel_4", Role.UNKNOWN)]


def test_given_channel_roles_have_the_last_word() -> None:
    segments = transcript(timed(("hello", 0, 1), channel=0), timed(("hi", 2, 3), channel=1))
    found = speaker_turns(segments, STEREO, channel_roles={0: Role.CUSTOMER, 1: Role.AGENT})
    assert [t.role for t in found.turns] == [Role.CUSTOMER, Role.AGENT]
    assert found.role_confidence == 1.0


# --- turns --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pause", "turns"), [(PAUSE - 0.1, 1), (PAUSE + 0.1, 2)])
def test_a_long_pause_begins_a_new_turn(pause: float, turns: int) -> None:
    segment = timed(("are", 0, 1), ("you", 1 + pause, 2 + pause), channel=0)
    assert len(speaker_turns(transcript(segment), STEREO).turns) == turns


def test_an_answer_in_a_short_gap_ends_the_turn() -> None:
    found = speaker_turns(
        transcript(
            timed(("ready", 0, 1), ("great", 1.9, 2.4), channel=0),
            timed(("yes", 1.2, 1.6), channel=1),
        ),
        STEREO,
    )
    assert lines(found) == [("agent", "ready"), ("customer", "yes"), ("agent", "great")]


def test_mhm_into_running_speech_does_not_chop_the_sentence() -> None:
    found = speaker_turns(
        transcript(
            timed(("we", 0, 0.4), ("buy", 0.4, 0.8), ("houses", 0.85, 1.5), channel=0),
            timed(("mhm", 0.5, 0.9), channel=1),
        ),
        STEREO,
    )
    assert lines(found) == [("agent", "we buy houses"), ("customer", "mhm")]


def test_people_who_talk_at_once_keep_their_own_sentences() -> None:
    found = speaker_turns(
        transcript(
            timed(("i", 0, 0.3), ("am", 0.3, 0.6), ("calling", 0.6, 1.2), ("you", 1.2, 1.5), channel=0),
            timed(("who", 0.1, 0.4), ("is", 0.4, 0.7), ("this", 0.7, 1.1), channel=1),
        ),
        STEREO,
    )
    assert lines(found) == [("agent", "i am calling you"), ("customer", "who is this")]


def test_turn_times_and_confidence_are_those_of_its_words() -> None:
    (turn,) = speaker_turns(transcript(timed(("a", 1.0, 1.2), ("b", 1.3, 1.9), channel=0)), STEREO).turns
    assert (turn.start, turn.end, turn.confidence) == (1.0, 1.9, 0.5)


# --- mono ---------------------------------------------------------------------------------------------

TWO_VOICES = by_voice(("speaker_0", 0, 2), ("speaker_1", 2, 6), ("speaker_0", 7, 9))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(
            [("hello?", 0.5, 1), ("hi", 2.5, 3), ("john", 3, 3.5)],
            [("speaker_0", "hello?"), ("speaker_1", "hi john")],
            id="one segment, two speakers",
        ),
        pytest.param(
            [("i", 1.7, 1.95), ("am", 2.05, 2.3), ("calling", 2.3, 2.8), ("you", 2.8, 3.0)],
            [("speaker_1", "i am calling you")],
            id="a stray word joins its sentence",
        ),
        pytest.param(
            [("yes.", 1.6, 1.95), ("i", 2.05, 2.3), ("am", 2.3, 2.4), ("calling", 2.4, 2.8)],
            [("speaker_0", "yes."), ("speaker_1", "i am calling")],
            id="a full stop ends the sentence",
        ),
        pytest.param(
            [("yes", 1.2, 1.6), ("i", 2.05, 2.3), ("am", 2.3, 2.4), ("calling", 2.4, 2.8)],
            [("speaker_0", "yes"), ("speaker_1", "i am calling")],
            id="a pause ends the sentence",
        ),
        pytest.param([("so", 6.1, 6.2)], [("speaker_1", "so")], id="between spans the nearer one"),
        pytest.param([("so", 6.8, 6.9)], [("speaker_0", "so")], id="between spans the nearer one, after"),
        pytest.param([("bye", 50, 51)], [("speaker_0", "bye")], id="after the last span"),
        pytest.param([("hi", 2.5, 2.5)], [("speaker_1", "hi")], id="a word without length"),
    ],
)
def test_mono_words_go_to_the_voice_at_their_time(
    words: list[Timed], expected: list[tuple[str, str]]
) -> None:
    assert lines(speaker_turns(transcript(timed(*words)), TWO_VOICES)) == expected


def test_words_without_times_are_placed_by_their_position() -> None:
    found = speaker_turns(transcript(untimed("one two three. four five six.", 0.5, 3.5)), TWO_VOICES)
    assert lines(found) == [("speaker_0", "one two three."), ("speaker_1", "four five six.")]


def test_a_word_without_time_lies_between_its_neighbours() -> None:
    words = (Word(text="hello.", start=0.5, end=1), Word(text="hi"), Word(text="there", start=3, end=4))
    segment = Segment(start=0.5, end=4, text="hello. hi there", words=words)
    found = speaker_turns(transcript(segment), by_voice(("speaker_0", 0, 1.1), ("speaker_1", 1.1, 5)))
    assert lines(found) == [("speaker_0", "hello."), ("speaker_1", "hi there")]


def test_without_any_span_there_is_one_speaker() -> None:
    found = speaker_turns(transcript(untimed("hello there", 0, 1)), by_voice())
    assert lines(found) == [("speaker_0", "hello there")]


def test_mono_roles_come_from_the_words_and_are_less_than_sure() -> None:
    found = speaker_turns(
        transcript(
            timed(("hello?", 0.5, 1)),
            timed(("my", 2.2, 2.4), ("name", 2.4, 2.7), ("is", 2.7, 2.8), ("ann", 2.8, 3), ("i'm", 3.2, 3.4)),
            timed(("calling", 3.4, 3.6), ("about", 3.6, 3.8), ("your", 3.8, 4.0), ("house", 4.0, 4.2)),
        ),
        TWO_VOICES,
    )
    assert [t.role for t in found.turns][:2] == [Role.CUSTOMER, Role.AGENT]
    assert 0.7 < found.role_confidence < 1.0


# --- labels of the transcript -------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [("agent", "customer"), ("Agent", "Customer"), ("rep", "homeowner")])
def test_labels_that_name_a_role_are_believed(labels: tuple[str, str]) -> None:
    found = speaker_turns(
        transcript(
            untimed("not interested", 0, 1, speaker=labels[0]), untimed("hi", 2, 3, speaker=labels[1])
        ),
        TWO_VOICES,
    )
    assert [(t.speaker, t.role) for t in found.turns] == [(labels[0], Role.AGENT), (labels[1], Role.CUSTOMER)]
    assert found.role_confidence == 1.0


@pytest.mark.parametrize("labels", [("A", "B"), ("SPEAKER_00", "SPEAKER_01"), ("1", "2")])
def test_other_labels_are_kept_and_their_roles_inferred(labels: tuple[str, str]) -> None:
    found = speaker_turns(
        transcript(
            untimed("Hello?", 0, 1, speaker=labels[0]),
            untimed("My name is Ann, I'm calling about your house.", 2, 6, speaker=labels[1]),
        ),
        by_voice(),
    )
    assert [(t.speaker, t.role) for t in found.turns] == [(labels[0], Role.CUSTOMER), (labels[1], Role.AGENT)]
    assert 0.5 < found.role_confidence < 1.0


def test_labels_get_the_roles_of_the_channels_they_talk_on() -> None:
    found = speaker_turns(
        transcript(untimed("la la", 1, 4, speaker="A"), untimed("la la", 6, 9, speaker="B")),
        by_channel((0, 5, 10), (1, 0, 5)),
    )
    assert [(t.speaker, t.role) for t in found.turns] == [("A", Role.CUSTOMER), ("B", Role.AGENT)]
    assert found.role_confidence == 1.0


def test_labels_of_chunks_are_joined_by_who_speaks_at_their_times() -> None:
    heard = transcript(
        untimed("good morning", 0, 5, speaker="A1"),
        untimed("good day", 5, 9, speaker="B1"),
        untimed("next item", 10, 14.5, speaker="A2"),
        untimed("I object", 14, 20, speaker="B2"),
        untimed("noted", 20, 20.5, speaker="C2"),
    )
    whole = by_voice(("speaker_0", 0, 5), ("speaker_1", 5, 14), ("speaker_0", 14, 20), ("speaker_2", 20, 21))
    apart = speaker_turns(heard, whole)
    assert [turn.speaker for turn in apart.turns] == ["A1", "B1", "A2", "B2", "C2"]
    joined = speaker_turns(heard.model_copy(update={"labels_by_chunk": True}), whole)
    assert lines(joined) == [
        ("speaker_0", "good morning"),
        ("speaker_1", "good day next item"),
        ("speaker_0", "I object"),
        ("speaker_2", "noted"),
    ]


def test_labels_of_chunks_stay_where_nobody_was_told_apart() -> None:
    heard = transcript(untimed("good morning", 0, 5, speaker="A1")).model_copy(
        update={"labels_by_chunk": True}
    )
    assert [turn.speaker for turn in speaker_turns(heard, by_voice()).turns] == ["A1"]


# --- hearings -----------------------------------------------------------------------------------------


def test_a_hearing_has_no_agent_and_no_customer() -> None:
    said = transcript(
        timed(("hello?", 0.5, 1)),
        timed(
            ("i'm", 3.2, 3.4),
            ("calling", 3.4, 3.6),
            ("about", 3.6, 3.8),
            ("your", 3.8, 4.0),
            ("house", 4.0, 4.2),
        ),
    )
    found = speaker_turns(said, TWO_VOICES, parties=False)
    assert {turn.role for turn in found.turns} == {Role.UNKNOWN}
    assert found.role_confidence == 0.0
    assert lines(found) == lines(speaker_turns(said, TWO_VOICES))


def test_what_the_metadata_of_a_hearing_tells_of_its_channels_counts() -> None:
    names = {0: "channel_0", 1: "channel_1"}
    spans = by_channel((0, 0, 5), (1, 5, 10), roles={0: "agent", 1: "customer"})
    unknown = spans.model_copy(
        update={
            "spans": tuple(s.model_copy(update={"speaker": names[s.channel or 0]}) for s in spans.spans),
            "roles": dict.fromkeys(names.values(), Role.UNKNOWN),
            "role_confidence": 0.0,
        }
    )
    said = transcript(timed(("hello", 1, 2), channel=0), timed(("hi", 6, 7), channel=1))
    found = speaker_turns(said, unknown, channel_roles={1: Role.AGENT}, parties=False)
    assert [turn.role for turn in found.turns] == [Role.UNKNOWN, Role.AGENT]
    assert found.role_confidence == 1.0


def test_lines_without_times_keep_their_order() -> None:
    segments = [
        untimed(text, 0, 0, speaker=name) for text, name in (("a", "A"), ("b", "B"), ("c", "A"), ("d", "B"))
    ]
    assert lines(speaker_turns(transcript(*segments), by_voice())) == [
        ("A", "a"),
        ("B", "b"),
        ("A", "c"),
        ("B", "d"),
    ]


# --- what goes along ----------------------------------------------------------------------------------


def test_an_empty_transcript_has_no_turns() -> None:
    for segments in ((), (untimed("  ", 0, 1, channel=0),)):
        assert speaker_turns(transcript(*segments), STEREO).turns == ()


def test_the_demo_mark_engines_and_notes_go_along() -> None:
    found = speaker_turns(transcript(untimed("hi", 0, 1, channel=0), demo=True, notes=("a note",)), STEREO)
    assert found.demo
    assert (found.transcript_engine, found.diarization_engine) == ("test", "channels")
    assert found.notes == ("a note",)


# --- whatever comes -----------------------------------------------------------------------------------

times = st.floats(0, 60, allow_nan=False)
some_words = st.lists(
    st.builds(
        Word, text=st.sampled_from(["a", "b.", "c?", "don't"]), start=times | st.none(), end=times | st.none()
    ),
    max_size=6,
)
some_spans = st.lists(
    st.builds(
        SpeakerSpan, speaker=st.sampled_from(["x", "y", "agent"]), start=times, end=times, channel=st.none()
    ),
    max_size=6,
)


@st.composite
def some_segments(draw: st.DrawFn) -> Segment:
    words = tuple(draw(some_words))
    start, end = sorted((draw(times), draw(times)))
    return Segment(
        start=start,
        end=end,
        text=" ".join(w.text for w in words),
        words=words if draw(st.booleans()) else (),
        channel=draw(st.sampled_from([None, 0, 1])),
        speaker=draw(st.sampled_from([None, "agent", "B", " "])),
    )


@settings(deadline=None)
@given(st.lists(some_segments(), max_size=8), some_spans, st.booleans())
def test_no_word_is_lost_and_turns_are_in_order(
    segments: list[Segment], spans: list[SpeakerSpan], channels: bool
) -> None:
    diarization = STEREO if channels else by_voice().model_copy(update={"spans": tuple(spans)})
    found = speaker_turns(transcript(*segments), diarization)

    said = Counter(word for segment in segments for word in segment.text.split())
    assert Counter(word for turn in found.turns for word in turn.text.split()) == said
    assert [t.start for t in found.turns] == sorted(t.start for t in found.turns)
    assert [t.index for t in found.turns] == list(range(len(found.turns)))
    assert all(t.text and t.start <= t.end for t in found.turns)
    assert 0 <= found.role_confidence <= 1


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c.", "d"]), min_size=1, max_size=30), some_spans)
def test_words_of_one_segment_keep_their_order(words: list[str], spans: list[SpeakerSpan]) -> None:
    numbered = [f"{number}{word}" for number, word in enumerate(words)]
    segment = timed(*((word, n * 0.5, n * 0.5 + 0.4) for n, word in enumerate(numbered)))
    found = speaker_turns(transcript(segment), by_voice().model_copy(update={"spans": tuple(spans)}))
    assert [word for turn in found.turns for word in turn.text.split()] == numbered
