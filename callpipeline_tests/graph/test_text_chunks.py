"""Text chunks: all that was said, once, cut where people would cut, each word at its second."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from callpipeline.graph.text_chunks import text_chunks
from callpipeline.knowledge import TextChunks
from callpipeline.model import Diarization, Role, Segment, SpeakerSpan, SpeakerTurns, Transcript, Word
from callpipeline.speech.turns import speaker_turns

NOBODY = Diarization(engine="none", engine_version="1", spans=(), roles={}, role_confidence=0.0)


def transcript(*segments: Segment) -> Transcript:
    return Transcript(engine="test", engine_version="1", language="en", duration=1e5, segments=segments)


def timed(speaker: str, start: float, text: str, *, step: float = 0.4) -> Segment:
    """Words one after the other, ``step`` seconds each."""
    words = tuple(
        Word(text=word, start=start + n * step, end=start + (n + 1) * step)
        for n, word in enumerate(text.split())
    )
    return Segment(start=start, end=start + len(words) * step, text=text, speaker=speaker, words=words)


def cut(*segments: Segment, characters: int = 200) -> TextChunks:
    told = transcript(*segments)
    return text_chunks(
        speaker_turns(told, NOBODY),
        told,
        recording="r1",
        title="A talk",
        language="en",
        characters=characters,
    )


def sentence(number: int) -> str:
    return f"Sentence {number} says something about subject {number}."


def talk(speaker: str, start: float, sentences: int) -> Segment:
    return timed(speaker, start, " ".join(sentence(n) for n in range(sentences)))


def test_short_turns_share_a_chunk_and_each_speaker_has_a_line() -> None:
    found = cut(timed("Ann", 0, "How was the harvest?"), timed("Bob", 4, "Better than last year."))
    [chunk] = found.chunks
    assert chunk.id == "r1:0"
    assert chunk.text == "How was the harvest?\nBetter than last year."
    assert [(line.speaker, chunk.text[line.begin : line.finish]) for line in chunk.lines] == [
        ("Ann", "How was the harvest?"),
        ("Bob", "Better than last year."),
    ]
    assert (chunk.start, chunk.end) == (0, 5.6)


def test_a_speaker_who_pauses_goes_on_in_the_same_line() -> None:
    [chunk] = cut(timed("Ann", 0, "One harvest."), timed("Ann", 10, "Two harvests.")).chunks
    [line] = chunk.lines
    assert chunk.text == "One harvest. Two harvests."
    assert chunk.second_at(chunk.text.index("Two")) == 10
    assert (line.start, line.end) == (0, 10.8)


def test_chunks_end_between_turns_where_they_can() -> None:
    found = cut(*(timed(name, 10.0 * n, sentence(n)) for n, name in enumerate("ABABABABABAB")))
    assert len(found.chunks) > 2
    for chunk in found.chunks:
        assert all(chunk.text[line.begin : line.finish].endswith(".") for line in chunk.lines)
        assert 100 <= len(chunk.text) <= 230


def test_a_long_turn_is_cut_between_sentences() -> None:
    found = cut(talk("A", 0, 20))
    assert all(chunk.text.startswith("Sentence") and chunk.text.endswith(".") for chunk in found.chunks)
    assert [chunk.start for chunk in found.chunks] == [chunk.lines[0].marks[0][1] for chunk in found.chunks]
    assert all(before.end <= after.start for before, after in pairwise(found.chunks))


def test_a_title_before_a_name_ends_no_sentence() -> None:
    filler = " ".join(["word"] * 33)
    found = cut(timed("A", 0, f"{filler} and Mr. Smith agrees, {' '.join(['more'] * 60)}"))
    assert not found.chunks[0].text.endswith("Mr.")


def test_a_long_sentence_is_cut_between_words() -> None:
    found = cut(timed("A", 0, " ".join(f"word{n}" for n in range(100))))
    assert " ".join(chunk.text for chunk in found.chunks) == " ".join(f"word{n}" for n in range(100))
    assert all(len(chunk.text) <= 230 for chunk in found.chunks)


def test_a_word_that_is_longer_than_a_chunk_stays_whole() -> None:
    long = "x" * 500
    assert long in [chunk.text for chunk in cut(timed("A", 0, f"so {long} it is " + "word " * 60)).chunks]


def test_every_word_is_found_at_its_second_while_others_talk() -> None:
    ann = timed("Ann", 0, "yes the river rose and the bridge was closed because the water reached the road")
    bob = timed("Bob", 1.1, "yes the council knew about the water and the road", step=0.5)
    for chunk in cut(ann, bob).chunks:
        for segment in (ann, bob):
            line = next(line for line in chunk.lines if line.speaker == segment.speaker)
            expected = [round(word.start or 0.0, 3) for word in segment.words]
            assert len(line.marks) == len(expected)
            # A word that another says just before may be taken for it: never off by more than a pause.
            assert all(abs(mark[1] - at) <= 1.2 for mark, at in zip(line.marks, expected, strict=True))
            assert sum(mark[1] == at for mark, at in zip(line.marks, expected, strict=True)) >= 8


def test_words_without_times_have_their_place_in_the_segment() -> None:
    told = transcript(Segment(start=10, end=20, text="one two three four five", speaker="A"))
    [chunk] = text_chunks(speaker_turns(told, NOBODY), told, recording="r", title="", language="en").chunks
    assert [chunk.second_at(chunk.text.index(word)) for word in ("one", "three", "five")] == [10, 14, 18]


def test_a_transcript_that_does_not_fit_the_turns_costs_only_precision() -> None:
    turns = speaker_turns(transcript(timed("A", 5, "the river rose")), NOBODY)
    other = transcript(timed("A", 5, "quite another text"))
    [chunk] = text_chunks(turns, other, recording="r", title="", language="en").chunks
    assert (chunk.text, chunk.start, chunk.end) == ("the river rose", 5, 6.2)
    assert chunk.second_at(8) == 5


def test_nobody_speaks_no_chunks() -> None:
    assert cut().chunks == ()


def test_small_talk_is_kept_but_marked() -> None:
    [chunk] = cut(timed("A", 0, "Hello, good morning!"), timed("B", 3, "Good morning.")).chunks
    assert chunk.low_value == "greetings and small talk only"
    assert cut(talk("A", 0, 3)).worth_it


# --- whatever people say ------------------------------------------------------------------------------

WORD = st.text(
    st.characters(exclude_categories=["Z", "C"], codec="utf-8"), min_size=1, max_size=12
) | st.sampled_from(["the", "no.", "yes,", "Dr.", "x" * 90])
TIMES = st.one_of(st.none(), st.floats(0, 120))


@st.composite
def words(draw: st.DrawFn) -> Word:
    start = draw(TIMES)
    end = None if start is None else draw(st.one_of(st.none(), st.floats(start, start + 5)))
    return Word(text=draw(WORD), start=start, end=end)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    said = draw(st.lists(words(), max_size=60))
    start = draw(st.floats(0, 120))
    return Segment(
        start=start,
        end=start + draw(st.floats(0, 30)),
        text=" ".join(word.text for word in said),
        speaker=draw(st.sampled_from(["A", "B", None])),
        words=tuple(said) if draw(st.booleans()) else (),
    )


def all_words(turns: SpeakerTurns) -> list[str]:
    return [word for turn in turns.turns for word in turn.text.split()]


@settings(max_examples=120, deadline=None)
@given(st.lists(segments(), max_size=8), st.integers(20, 300))
def test_nothing_is_lost_doubled_or_too_long(said: list[Segment], characters: int) -> None:
    told = transcript(*said)
    voices = Diarization(
        engine="t",
        engine_version="1",
        spans=(SpeakerSpan(speaker="x", start=0, end=60), SpeakerSpan(speaker="y", start=60, end=120)),
        roles={"x": Role.UNKNOWN, "y": Role.UNKNOWN},
        role_confidence=0.0,
    )
    turns = speaker_turns(told, voices)
    found = text_chunks(turns, told, recording="r", title="", language="en", characters=characters)
    assert [word for chunk in found.chunks for word in chunk.text.split()] == all_words(turns)
    for number, chunk in enumerate(found.chunks):
        assert chunk.id == f"r:{number}"
        longest = max(map(len, chunk.text.split()))
        assert len(chunk.text) <= max(1.15 * characters, longest)
        assert "\n".join(chunk.text[line.begin : line.finish] for line in chunk.lines) == chunk.text
        for line in chunk.lines:
            assert line.start <= line.end
            assert all(line.begin <= at < line.finish for at, _ in line.marks)
            assert [at for at, _ in line.marks] == sorted({at for at, _ in line.marks})
    if len(found.chunks) > 1 and all(len(word) < characters for word in all_words(turns)):
        assert len(found.chunks[-1].text) >= 0.14 * characters - 1
