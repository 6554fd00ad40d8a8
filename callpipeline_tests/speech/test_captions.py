from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callpipeline.intake.transcript_files import read_transcript
from callpipeline.model import Chapter, Diarization, Gap, Role, Segment, SpeakerSpan, Transcript, Word
from callpipeline.speech import captions
from callpipeline.speech.captions import Cue
from callpipeline.speech.turns import speaker_turns
from callpipeline_tests.speech.hearings import NAMES, hearing

NOBODY_KNOWN = Diarization(engine="x", engine_version="1", spans=(), roles={}, role_confidence=1.0)

Line = tuple[float, float, str | None, str]


def read_back(found: Sequence[Cue], folder: Path) -> dict[str, list[Line]]:
    """Write cues in both formats and read them as a ready-made transcript."""
    read: dict[str, list[Line]] = {}
    for ending, content in (("srt", captions.srt(found)), ("vtt", captions.vtt(found))):
        path = folder / f"a.{ending}"
        path.write_text(content, "utf-8")
        read[ending] = [(s.start, s.end, s.speaker, s.text) for s in read_transcript(path).segments]
    return read


def plain(found: Sequence[Cue]) -> list[Line]:
    return [(cue.start, cue.end, cue.speaker, " ".join(cue.lines)) for cue in found]


def made(*said: tuple[str | None, float, float, str], **more: object) -> Transcript:
    segments = tuple(Segment(start=a, end=b, text=text, speaker=who) for who, a, b, text in said)
    fields = {"engine": "x", "engine_version": "1", "language": "en", "duration": 60.0, **more}
    return Transcript(segments=segments, **fields)


def cues_of(transcript: Transcript, diarization: Diarization = NOBODY_KNOWN) -> tuple[Cue, ...]:
    return captions.cues(transcript, diarization, speaker_turns(transcript, diarization))


@pytest.mark.parametrize("name", NAMES)
def test_a_hearing_is_read_back_as_it_was_written(name: str, tmp_path: Path) -> None:
    whole = hearing(name)
    found = captions.cues(whole.transcript, whole.diarization, whole.turns)
    assert read_back(found, tmp_path) == {"srt": plain(found), "vtt": plain(found)}
    for speaker in {cue.speaker for cue in found}:
        said = " ".join(text for _, _, who, text in plain(found) if who == speaker)
        assert said == " ".join(s.text for s in whole.transcript.segments if s.speaker == speaker)


@pytest.mark.parametrize("name", NAMES)
def test_cues_can_be_read_in_the_time_they_are_shown(name: str) -> None:
    whole = hearing(name)
    found = captions.cues(whole.transcript, whole.diarization, whole.turns)
    assert all(len(cue.lines) <= 2 for cue in found)
    shown = captions.srt(found).splitlines()
    assert max(len(line) for line in shown) <= 42
    lengths = [round(cue.end - cue.start, 3) for cue in found]
    assert max(lengths) <= 7.0
    assert sum(length < 1.0 for length in lengths) <= 0.02 * len(lengths)
    ends = [cue.lines[-1][-1] in ".?!" for cue in found]
    assert sum(ends) >= sum(s.text.count(".") for s in whole.transcript.segments) * 0.7


def test_cues_end_with_their_sentences_and_lines_are_even() -> None:
    text = (
        "The bridge carries eleven thousand cars a day. It is safe. If we do nothing, the limit drops to "
        "eight tons within three years, and then fire engines cannot cross."
    )
    assert [cue.lines for cue in cues_of(made(("A", 0, 14, text), ("B", 19, 20, "I see.")))] == [
        ("The bridge carries", "eleven thousand cars a day."),
        ("It is safe.",),
        ("If we do nothing, the limit drops", "to eight tons within three years,"),
        ("and then fire engines cannot cross.",),
        ("I see.",),
    ]


def test_a_cue_has_the_times_of_its_words_and_a_short_one_stays_a_second() -> None:
    words = (Word(text="Yes.", start=3.21, end=3.4), Word(text="Why?", start=9.0, end=9.512))
    segment = Segment(start=3, end=10, text="Yes. Why?", speaker="Ann", words=words)
    other = Segment(start=3.5, end=5.0, text="good", speaker="Bob")
    transcript = made().model_copy(update={"segments": (segment, other)})
    assert [(cue.start, cue.end, cue.speaker) for cue in cues_of(transcript)] == [
        (3.21, 4.21, "Ann"),
        (3.5, 5.0, "Bob"),
        (9.0, 10.0, "Ann"),
    ]


def test_cues_of_one_speaker_make_room_for_each_other() -> None:
    found = cues_of(made(("Ann", 0.0, 0.4, "No."), ("Bob", 0.45, 0.7, "What?"), ("Ann", 0.8, 2.0, "No!")))
    assert [(cue.start, cue.end) for cue in found if cue.speaker == "Ann"] == [(0.0, 0.8), (0.8, 2.0)]


@pytest.mark.parametrize(
    ("labels", "roles", "names"),
    [
        (("A", "B", "SPEAKER_02"), {}, ("Speaker A", "Speaker B", "Speaker 02")),
        (("agent", "customer"), {}, ("Agent", "Customer")),
        (("speaker_0", "speaker_1", "speaker_2"), {}, ("Speaker 1", "Speaker 2", "Speaker 3")),
        (("channel_0", "channel_1", "channel_2"), {}, ("Speaker 1", "Speaker 2", "Speaker 3")),
        (
            ("speaker_0", "speaker_1"),
            {"speaker_0": Role.AGENT, "speaker_1": Role.CUSTOMER},
            ("Agent", "Customer"),
        ),
        (("Chair", "Ms. Varga"), {}, ("Chair", "Ms. Varga")),
        ((None,), {}, (None,)),
    ],
)
def test_speakers_are_called_by_what_is_known_of_them(
    labels: tuple[str | None, ...], roles: dict[str, Role], names: tuple[str | None, ...]
) -> None:
    voices = NOBODY_KNOWN.model_copy(update={"roles": roles})
    transcript = made(*((label, 3.0 * n, 3.0 * n + 2, "good morning") for n, label in enumerate(labels)))
    assert tuple(cue.speaker for cue in cues_of(transcript, voices)) == names


def test_channels_name_the_speakers_of_a_call() -> None:
    voices = Diarization(
        engine="channels",
        engine_version="1",
        spans=tuple(
            SpeakerSpan(speaker=f"channel_{c}", start=3.0 * c, end=3.0 * c + 2, channel=c) for c in (0, 1)
        ),
        roles={"channel_0": Role.CUSTOMER, "channel_1": Role.AGENT},
        role_confidence=1.0,
    )
    segments = tuple(Segment(start=3.0 * c, end=3.0 * c + 2, text="hello there", channel=c) for c in (0, 1))
    transcript = made().model_copy(update={"segments": segments})
    assert [cue.speaker for cue in cues_of(transcript, voices)] == ["Customer", "Agent"]


def test_guessed_roles_name_nobody_in_a_committee() -> None:
    said = [(who, 10.0 * n, 10.0 * n + 5, "I am calling about your house") for n, who in enumerate("ABC")]
    assert {cue.speaker for cue in cues_of(made(*said))} == {"Speaker A", "Speaker B", "Speaker C"}


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    gap = Gap(start=600.0, end=1200.5, error_class="network", message="no answer", chunk=1)
    transcript = made(("Ann", 0, 2, "before"), ("Bob", 1201, 1203, "after"), duration=1300.0, gaps=(gap,))
    turns = speaker_turns(transcript, NOBODY_KNOWN)
    found = captions.cues(transcript, NOBODY_KNOWN, turns)
    line = "[0:10:00 to 0:20:00 is missing (network)]"
    assert (600.0, 1200.5, None, line) in plain(found)
    assert read_back(found, tmp_path)["vtt"] == plain(found)
    assert captions.text(transcript, turns) == (f"[0:00:00] Ann: before\n\n{line}\n\n[0:20:01] Bob: after\n")


def test_text_has_paragraphs_by_speaker_under_the_headings_of_chapters() -> None:
    transcript = made(
        ("Chair", 0, 2, "Good morning."),
        ("Chair", 4, 6, "We begin."),
        ("Clerk", 7, 9, "Item one."),
        ("Clerk", 12, 13, "Roads."),
    )
    chapters = [
        Chapter(start=0, end=7, title="Opening", turn=0, announced=False),
        Chapter(start=7, end=60, title="Item one: Roads", turn=2, announced=True),
    ]
    turns = speaker_turns(transcript, NOBODY_KNOWN)
    assert captions.text(transcript, turns, title="Hearing", chapters=chapters) == (
        "Hearing\n\n== Opening ==\n\n[0:00:00] Chair: Good morning. We begin.\n\n"
        "== Item one: Roads ==\n\n[0:00:07] Clerk: Item one. Roads.\n"
    )
    written = captions.vtt(cues_of(transcript), chapters=chapters)
    assert written.startswith("WEBVTT\n\nNOTE Chapter at 0:00:00: Opening\n\n00:00:00.000 --> ")
    assert written.count("NOTE Chapter") == 2


def test_text_of_the_demo_engine_says_that_it_is_one() -> None:
    transcript = made(("A", 0, 2, "hello"), demo=True)
    assert captions.DEMO_NOTE in captions.text(transcript, speaker_turns(transcript, NOBODY_KNOWN))
    assert f"NOTE {captions.DEMO_NOTE}" in captions.vtt(cues_of(transcript), demo=True)


def test_a_recording_in_which_nobody_speaks_has_no_cues() -> None:
    assert captions.srt(cues_of(made())) == ""
    assert captions.vtt(cues_of(made())) == "WEBVTT\n"
    assert captions.text(made(), speaker_turns(made(), NOBODY_KNOWN)).strip() == ""


ODD = (
    *(
        "Note:",
        "However:",
        "-",
        "-->",
        "<b>",
        "</i>",
        "<v",
        "&amp;",
        "R&D",
        "{\\an8}",
        "10:30",
        "Mr.",
        "Well,",
    ),
    *("WEBVTT", "NOTE", "1", "x" * 50, "so…", "“Yes.”", "Ünder", "speaker", "a:", "agent:"),
)
TOKENS = st.one_of(st.sampled_from(ODD), st.text("abcdefgh", min_size=1, max_size=9))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["A", "B", "Chair Holloway"]),
            st.integers(0, 4000),
            st.lists(st.tuples(TOKENS, st.integers(0, 900)), min_size=1, max_size=30),
        ),
        max_size=6,
    )
)
def test_no_word_is_lost_or_taken_for_anything_else(
    said: list[tuple[str, int, list[tuple[str, int]]]],
) -> None:
    at = 0
    segments: list[Segment] = []
    for speaker, pause, tokens in said:
        at += pause
        words: list[Word] = []
        begin = at
        for token, length in tokens:
            words.append(Word(text=token, start=at / 1000, end=(at + length) / 1000))
            at += length
        text = " ".join(token for token, _ in tokens)
        segments.append(
            Segment(start=begin / 1000, end=at / 1000, text=text, speaker=speaker, words=tuple(words))
        )
    transcript = made(duration=at / 1000 + 1).model_copy(update={"segments": tuple(segments)})
    found = cues_of(transcript)
    if not found:
        return
    with TemporaryDirectory() as folder:
        assert read_back(found, Path(folder)) == {"srt": plain(found), "vtt": plain(found)}
    assert sorted(" ".join(text for *_, text in plain(found)).split()) == sorted(
        token for _, _, tokens in said for token, _ in tokens
    )
    assert all(cue.start <= cue.end <= cue.start + 7.0 + 1e-6 for cue in found)
