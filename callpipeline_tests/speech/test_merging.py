"""Chunks of a recording, heard one by one, say what the whole recording says: nothing lost, nothing twice."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callpipeline.model import Chunk, ChunkPlan, Gap, Segment, Transcript, Word
from callpipeline.pipeline.workers import Workers
from callpipeline.speech.chunk_files import CODECS
from callpipeline.speech.chunks import cut_of, plan_chunks
from callpipeline.speech.engines.base import CpuRunner
from callpipeline.speech.merging import ChunkText, merge
from callpipeline.speech.trimming import Cut, cut, restored, voice
from callpipeline_tests.audio.conftest import examine
from callpipeline_tests.audio.conftest import write_audio as encode
from callpipeline_tests.speech.chunking import (
    failure,
    heard_in_chunks,
    known,
    speech_of,
    transcript,
    voices,
    words_of,
)
from callpipeline_tests.speech.conftest import write_wav
from callpipeline_tests.tone_speech import ToneWord, hear, listen, script, spoken

EXACT = 0.02
"""Seconds that times heard in a chunk may differ from those heard in the whole."""

BLURRED = 0.06
"""The same after a codec that is not lossless."""

RATE = 8000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def thread() -> Iterator[CpuRunner]:
    workers = Workers(2)
    yield workers.thread
    workers.close()


def plan_of(*chunks: tuple[float, float], rate: int = RATE) -> ChunkPlan:
    """Return a plan of chunks, each of which overlaps with the one before or begins where that ends."""
    made: list[Chunk] = []
    for start, end in chunks:
        shared = round(made[-1].end - start, 6) if made else 0.0
        seam = "start" if not made else "overlap" if shared else "silence"
        made.append(Chunk(index=len(made), start=start, end=end, overlap=shared, seam=seam))
    return ChunkPlan(chunks=tuple(made), rate=rate, duration=made[-1].end, longest_seconds=600, codec="flac")


def check(said: Transcript, plan: ChunkPlan) -> None:
    """Check what holds for every transcript: all is in order, and inside the recording."""
    starts = [segment.start for segment in said.segments]
    assert starts == sorted(starts)
    for segment in said.segments:
        times = [t for word in segment.words for t in (word.start, word.end)]
        assert times == sorted(times)
        assert 0 <= segment.start <= segment.end <= plan.duration
        assert all(segment.start - 1e-6 <= t <= segment.end + 1e-6 for t in times)
        assert len(segment.text.split()) == len(segment.words) or not segment.words


def assert_same(found: Sequence[ToneWord], expected: Sequence[ToneWord], within: float = EXACT) -> None:
    assert [w.text for w in found] == [w.text for w in expected]
    for a, b in zip(found, expected, strict=True):
        assert (a.start, a.end) == (pytest.approx(b.start, abs=within), pytest.approx(b.end, abs=within))


def assert_same_but_for_gaps(
    said: Transcript, reference: Sequence[ToneWord], channel: int | None = None, *, within: float = EXACT
) -> None:
    """Check that all words are there but those of which a gap has a part; what is left of these may be garbled."""

    def meets(word: ToneWord, others: Sequence[ToneWord | Gap]) -> bool:
        return any(word.start < other.end and other.start < word.end for other in others)

    lost = [word for word in reference if meets(word, said.gaps)]
    found = [word for word in words_of(said, channel) if not meets(word, lost)]
    assert_same(found, [word for word in reference if word not in lost], within)


# --- any recording, any cut, without files ------------------------------------------------------------------


def heard_in_cuts(
    sound: np.ndarray, plan: ChunkPlan, whole: Cut, failing: Collection[int] = ()
) -> list[ChunkText]:
    """Hear each chunk of 8 kHz sound by itself."""
    parts: list[ChunkText] = []
    for chunk in plan.chunks:
        made = cut_of(chunk, plan, whole)
        said: Transcript | Gap = transcript((), plan.duration)
        if chunk.index in failing:
            said = failure(chunk.index)
        elif made.kept:
            kept = [sound[round(r.start * RATE) : round(r.end * RATE)] for r in made.kept]
            said = restored(
                transcript(listen(np.concatenate(kept)), made.seconds), made, duration=plan.duration
            )
        parts.append(ChunkText(chunk, said))
    return parts


@pytest.mark.parametrize("seed", range(120))
def test_chunks_say_what_the_whole_recording_says(seed: int) -> None:
    rng = random.Random(seed)
    seconds = rng.uniform(20, 90)
    # Pauses; none at all, so that chunks overlap; long hushes.
    breath = [(0.4, 0.9), (0.06, 0.14), (0.2, 6.0)][seed % 3]
    words = script(seed, seconds, breath=breath, vocabulary=rng.choice([2, 30, 4096]))
    sound = spoken(words, seconds, RATE)
    whole_text = listen(sound)
    assert [w.text for w in whole_text] == [w.text for w in words]

    activity = voices(seconds, speech_of(words))
    quiet = [(a.end, b.start) for a, b in pairwise(words) if b.start - a.end >= 0.5]
    info = known(seconds, RATE, quiet)
    target = rng.uniform(5, 15)
    plan = plan_chunks(
        info, activity, target_seconds=target, longest_seconds=1.2 * target, longest_bytes=10**9,
        bytes_per_second=1.0, overlap=rng.choice([1.0, 2.0]),
    )  # fmt: skip
    whole = cut(info, voice(activity, None), longest_silence=rng.choice([None, 1.0, 2.0]))
    assert ("overlap" if seed % 3 == 1 else "silence") in {c.seam for c in plan.chunks}

    said = merge(heard_in_cuts(sound, plan, whole), plan, duration=seconds)
    check(said, plan)
    assert said.gaps == ()
    assert_same(list(words_of(said)), whole_text)

    failing = set(rng.sample(range(len(plan.chunks)), min(len(plan.chunks) - 1, rng.choice([1, 1, 2, 3]))))
    said = merge(heard_in_cuts(sound, plan, whole, failing), plan, duration=seconds)
    check(said, plan)
    assert [g.chunk for g in said.gaps] == sorted(failing)
    missing = np.ones(round(seconds * RATE), bool)
    for chunk in plan.chunks:
        if chunk.index not in failing:
            missing[round(chunk.start * RATE) : round(chunk.end * RATE)] = False
    for gap in said.gaps:
        assert missing[round(gap.start * RATE) : round(gap.end * RATE)].all()
        missing[round(gap.start * RATE) : round(gap.end * RATE)] = False
    assert not missing.any()
    assert_same_but_for_gaps(said, whole_text)


@pytest.mark.parametrize("seed", range(40))
def test_cuts_through_words_lose_and_double_none(seed: int) -> None:
    """Every cut goes through a word, and so does every beginning of an overlap."""
    rng = random.Random(seed)
    words = script(seed, 40.0, breath=(0.06, 0.14), vocabulary=rng.choice([2, 5, 4096]))
    sound = spoken(words, 40.0, RATE)
    edges, first = [(0.0, 0.0)], 10
    while first < len(words) - 30:
        inside = [
            round(words[n].start + rng.uniform(0.02, 0.23), 3) for n in (first, first + rng.randint(2, 8))
        ]
        edges.append((inside[0], inside[1]))
        first += rng.randint(18, 30)
    ends = [end for _, end in edges[1:]] + [40.0]
    plan = plan_of(*((start, end) for (start, _), end in zip(edges, ends, strict=True)))
    whole = Cut(cut(known(40.0), (), longest_silence=None).kept, RATE, 40.0)
    said = merge(heard_in_cuts(sound, plan, whole), plan, duration=40.0)
    check(said, plan)
    assert_same(list(words_of(said)), words)


# --- through files and codecs -------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("codec", "rate", "channels"),
    [
        (codec, rate, 1 + (m + n) % 2)
        for m, codec in enumerate(CODECS)
        for n, rate in enumerate((8000, 16_000, 44_100))
    ],
)
@pytest.mark.parametrize("pauses", [True, False])
async def test_chunk_files_say_what_the_recording_says(
    tmp_path: Path, thread: CpuRunner, codec: str, rate: int, channels: int, pauses: bool
) -> None:
    seconds, seed = 24.0, rate + 10 * channels + pauses
    breath = (0.5, 2.5) if pauses else (0.06, 0.14)
    said_on = [script(seed + n, seconds, breath=breath) for n in range(channels)]
    path = write_wav(tmp_path / "call.wav", np.stack([spoken(w, seconds, rate) for w in said_on]), rate)
    info, activity = examine(path), voices(seconds, *(speech_of(w) for w in said_on))
    plan = plan_chunks(
        info, activity, target_seconds=7.0, longest_seconds=9.0, longest_bytes=10**9,
        bytes_per_second=CODECS[codec].bytes_per_second(min(rate, 16_000)), codec=codec, overlap=2.0,
    )  # fmt: skip
    whole = cut(info, voice(activity, None), longest_silence=1.0)
    alone: list[int | None] = [None] if channels == 1 else list(range(channels))
    for failing in ({}, {1}):
        parts = await heard_in_chunks(
            path, plan, whole, tmp_path / "sending", thread, channels=alone, failing=failing
        )
        said = merge(parts, plan, duration=seconds)
        check(said, plan)
        assert len(said.gaps) == len(failing)
        for channel, reference in zip(alone, hear(path), strict=True):
            within = EXACT if codec == "flac" else BLURRED
            assert_same_but_for_gaps(said, reference, channel, within=within)
    assert list((tmp_path / "sending").iterdir()) == []


@pytest.mark.anyio
async def test_a_stereo_mix_says_what_both_channels_say(tmp_path: Path, thread: CpuRunner) -> None:
    words = script(5, 30.0, breath=(0.5, 0.9))
    turns = [[w for w in words if int(w.start / 4) % 2 == n] for n in range(2)]
    sound = np.stack([spoken(turn, 30.0, 16_000) for turn in turns])
    path = encode(tmp_path / "call.mp3", sound, 16_000, "libmp3lame")
    info, activity = examine(path), voices(30.0, *(speech_of(turn) for turn in turns))
    plan = plan_chunks(
        info, activity, target_seconds=8.0, longest_seconds=10.0, longest_bytes=10**9, bytes_per_second=4000.0
    )
    whole = cut(info, voice(activity, None), longest_silence=1.0)
    parts = await heard_in_chunks(path, plan, whole, tmp_path / "sending", thread)
    said = merge(parts, plan, duration=info.duration)
    assert_same(list(words_of(said)), words, within=BLURRED)


# --- words that were not heard alike ------------------------------------------------------------------------


def part(
    plan: ChunkPlan, index: int, *words: tuple[str, float, float], channel: int | None = None
) -> ChunkText:
    said = transcript([ToneWord(*word) for word in words], plan.duration, channel)
    return ChunkText(plan.chunks[index], said)


def text(said: Transcript) -> str:
    return " ".join(segment.text for segment in said.segments)


TWO = plan_of((0.0, 13.0), (10.0, 20.0))
"""Two chunks that share 10-13 s."""


def test_of_words_heard_twice_the_whole_ones_are_kept() -> None:
    said = merge(
        [
            part(TWO, 0, ("we", 9.8, 9.95), ("hear", 10.0, 10.4), ("the", 10.5, 10.7), ("next", 10.8, 11.2),
                 ("witness", 11.3, 11.9), ("to", 12.0, 12.2), ("Miss", 12.5, 13.0)),
            part(TWO, 1, ("ear", 10.0, 10.3), ("the", 10.6, 10.7), ("next", 10.9, 11.3), ("witness", 11.3, 11.8),
                 ("to", 12.1, 12.2), ("Mr", 12.5, 12.9), ("Smith", 13.0, 13.5)),
        ],
        TWO, duration=20.0,
    )  # fmt: skip
    check(said, TWO)
    assert [w.text for w in words_of(said)] == ["we", "hear", "the", "next", "witness", "to", "Mr", "Smith"]
    assert text(said) == "We hear the next witness to mr smith."


def test_words_that_are_said_again_and_again_are_matched_by_their_times() -> None:
    every = [("no", 9.0 + 0.3 * n, 9.2 + 0.3 * n) for n in range(20)]
    first = [word for word in every if word[2] <= 12.4]  # the last ones were not heard
    second = [word for word in every if word[1] >= 11.0]  # nor were the first ones here
    said = merge([part(TWO, 0, *first), part(TWO, 1, *second)], TWO, duration=20.0)
    assert_same(list(words_of(said)), [ToneWord(*word) for word in every], within=0)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([("a", 11, 11.2), ("b", 12, 12.2)], [], "a b"),
        ([], [("a", 10.1, 10.3), ("b", 12, 12.2)], "a b"),
        ([("a", 10.1, 10.4)], [("b", 12.6, 12.9)], "a b"),
        ([("a", 10.1, 10.4), ("b", 12.6, 12.9)], [("x", 10.1, 10.4), ("y", 12.6, 12.9)], "a y"),
        ([("ask", 11.3, 11.8)], [("task", 11.2, 11.75)], "ask"),  # one word, whose middle is on either side
        ([("ask", 11.1, 11.6), ("c", 12.0, 12.3)], [("task", 11.0, 11.7), ("see", 12.0, 12.4)], "ask see"),
        ([("b", 12.0, 12.3)], [("a", 10.5, 10.8), ("bee", 12.0, 12.2)], "a bee"),
    ],
)
def test_where_nobody_agrees_no_word_is_lost_or_said_twice(
    first: list[tuple[str, float, float]], second: list[tuple[str, float, float]], expected: str
) -> None:
    said = merge([part(TWO, 0, *first), part(TWO, 1, *second)], TWO, duration=20.0)
    check(said, TWO)
    assert " ".join(w.text for w in words_of(said)) == expected


def test_the_seam_leaves_all_in_order_where_times_disagree() -> None:
    words = [("one", 10.2, 10.5), ("two", 10.6, 10.9), ("three", 11.0, 11.3), ("four", 11.4, 11.7)]
    early = [(word, start - 0.4, end - 0.4) for word, start, end in words if start > 10.4]
    for first, second in ((words, early), (early, words)):
        said = merge([part(TWO, 0, *first), part(TWO, 1, *second)], TWO, duration=20.0)
        check(said, TWO)
        assert [w.text for w in words_of(said)] == [w for w, _, _ in words][first is early :]


def test_a_word_ends_before_the_next_begins_whatever_the_times() -> None:
    first = [("zero", 10.5, 11.6), ("one", 11.7, 12.0)]
    second = [("one", 11.3, 11.9), ("two", 11.8, 12.2)]
    said = merge([part(TWO, 0, *first), part(TWO, 1, *second)], TWO, duration=20.0)
    check(said, TWO)
    found = list(words_of(said))
    assert [w.text for w in found] == ["zero", "one", "two"]
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert all(a.end <= b.start for a, b in pairwise(said.segments))


@st.composite
def hearings(draw: st.DrawFn) -> tuple[ChunkPlan, list[ChunkText], list[str]]:
    """What a provider would say: times that are off by up to 0.1 s, garbled words at the edges, segments anywhere."""
    seed = draw(st.integers(0, 2**32))
    rng = random.Random(seed)
    vocabulary = [f"w{n}" for n in range(draw(st.sampled_from([3, 50, 1000])))]
    words, time = [], 0.2
    while time < 60:
        length = rng.uniform(0.1, 0.6)
        words.append((rng.choice(vocabulary), time, time + length))
        time += length + rng.uniform(0.02, 0.3)
    edges = [(0.0, 0.0)]
    while edges[-1][1] < 45:
        end = round(edges[-1][1] + rng.uniform(8, 14), 3)
        edges.append((round(end - rng.uniform(2, 4), 3), end))
    plan = plan_of(
        *((a, b) for (a, _), (_, b) in zip(edges, [*edges[1:], (0.0, round(time + 0.1, 3))], strict=True))
    )
    parts = []
    for chunk in plan.chunks:
        said, segments = [], []
        for word, start, end in words:
            if min(end, chunk.end) - max(start, chunk.start) < 0.05:
                continue
            whole = start >= chunk.start and end <= chunk.end
            shift = rng.uniform(-0.1, 0.1) if whole else 0.0
            earliest = max(said[-1].start or 0.0, chunk.start) if said else chunk.start
            at = [min(max(time + shift, earliest), chunk.end) for time in (start, end)]
            said.append(Word(text=word if whole else f"{word}-", start=at[0], end=at[1]))
        while said:
            count = rng.randint(1, 8)
            some, said = said[:count], said[count:]
            segments.append(
                Segment(
                    start=some[0].start,
                    end=some[-1].end,
                    text=" ".join(w.text for w in some),
                    words=tuple(some),
                )
            )
        found = transcript((), plan.duration).model_copy(update={"segments": tuple(segments)})
        parts.append(ChunkText(chunk, found))
    return plan, parts, [word for word, _, _ in words]


@settings(deadline=None, max_examples=150)
@given(hearings())
def test_no_word_is_lost_or_said_twice_when_times_are_rough(
    made: tuple[ChunkPlan, list[ChunkText], list[str]],
) -> None:
    plan, parts, words = made
    said = merge(parts, plan, duration=plan.duration)
    assert [w.text for w in words_of(said)] == words
    assert text(said).split() == words
    starts = [segment.start for segment in said.segments]
    assert starts == sorted(starts)


# --- texts without words ------------------------------------------------------------------------------------


def untimed(plan: ChunkPlan, index: int, said: str, *, speaker: str | None = None) -> ChunkText:
    chunk = plan.chunks[index]
    segment = Segment(start=chunk.start, end=chunk.end, text=said, speaker=speaker)
    return ChunkText(chunk, transcript((), plan.duration).model_copy(update={"segments": (segment,)}))


def test_texts_without_times_are_joined_where_both_say_the_same() -> None:
    first = "Good morning, and welcome to the committee. We will now hear from the next"
    second = "And will now hear from the next witness, who has come from far away to speak to us."
    said = merge([untimed(TWO, 0, first), untimed(TWO, 1, second)], TWO, duration=20.0)
    check(said, TWO)
    assert text(said) == (
        "Good morning, and welcome to the committee. We will now hear from the next witness, "
        "who has come from far away to speak to us."
    )


def test_a_few_equal_words_are_no_reason_to_drop_what_is_between_them() -> None:
    first, second = (
        " ".join([*(f"{name}{n}" for n in range(10)), "of", "the", *(f"{name}{n}" for n in range(10, 20))])
        for name in "ab"
    )
    found = text(merge([untimed(TWO, 0, first), untimed(TWO, 1, second)], TWO, duration=20.0)).split()
    a, b = [int(w[1:]) for w in found if w[0] == "a"], [int(w[1:]) for w in found if w[0] == "b"]
    assert a == list(range(len(a)))
    assert len(a) >= 17
    assert b == list(range(20 - len(b), 20))
    assert len(b) >= 15


def test_texts_stay_in_order_where_estimated_times_are_not() -> None:
    """What the first chunk says last is placed after what the second says first."""
    first = [(9.0, 11.0, "we will hear from"), (11.5, 13.0, "the next witness today")]
    second = [(10.0, 10.8, "the next witness today"), (10.9, 12.0, "is a doctor")]
    parts = []
    for index, segments in enumerate((first, second)):
        made = tuple(Segment(start=a, end=b, text=said) for a, b, said in segments)
        found = transcript((), 20.0).model_copy(update={"segments": made})
        parts.append(ChunkText(TWO.chunks[index], found))
    said = merge(parts, TWO, duration=20.0)
    check(said, TWO)
    assert text(said) == "we will hear from the next witness today is a doctor"
    assert all(a.end <= b.start for a, b in pairwise(said.segments))


# --- all the rest -------------------------------------------------------------------------------------------

THREE = plan_of((0.0, 10.0), (10.0, 23.0), (20.0, 30.0))


def test_a_gap_is_what_nobody_else_has_heard() -> None:
    spoke = [part(THREE, n, ("word", 10 * n + 5, 10 * n + 5.5)) for n in range(3)]
    lost = [ChunkText(chunk, failure(99)) for chunk in THREE.chunks]
    for failing, expected in [
        ({0}, [(0, 0, 10)]), ({1}, [(1, 10, 20)]), ({2}, [(2, 23, 30)]), ({0, 1}, [(0, 0, 10), (1, 10, 20)]),
        ({1, 2}, [(1, 10, 23), (2, 23, 30)]),
    ]:  # fmt: skip
        parts = [lost[n] if n in failing else spoke[n] for n in range(3)]
        said = merge(list(reversed(parts)), THREE, duration=30.0)
        assert [(g.chunk, g.start, g.end) for g in said.gaps] == expected
        assert {(g.error_class, g.message) for g in said.gaps} == {("api", "It failed.")}
        assert len(said.segments) == 3 - len(failing)


def test_without_any_transcript_or_with_parts_missing_there_is_nothing_to_merge() -> None:
    lost = [ChunkText(chunk, failure(chunk.index)) for chunk in THREE.chunks]
    with pytest.raises(ValueError, match="no chunk has a transcript"):
        merge(lost, THREE, duration=30.0)
    with pytest.raises(ValueError, match="not those of the plan"):
        merge(lost[1:], THREE, duration=30.0)


def test_channels_are_sewn_each_for_itself() -> None:
    def both(
        index: int, left: list[tuple[str, float, float]], right: list[tuple[str, float, float]]
    ) -> ChunkText:
        chunk, said = part(TWO, index, *left, channel=0)
        assert isinstance(said, Transcript)
        other = part(TWO, index, *right, channel=1).said
        assert isinstance(other, Transcript)
        return ChunkText(chunk, said.model_copy(update={"segments": (*said.segments, *other.segments)}))

    said = merge(
        [
            both(0, [("left", 10.2, 10.5), ("one", 10.6, 10.9)], [("right", 10.3, 10.6), ("two", 12.4, 12.7)]),
            both(1, [("left", 10.2, 10.5), ("one", 10.6, 10.9)], [("two", 12.4, 12.7), ("three", 14, 14.5)]),
        ],
        TWO, duration=20.0,
    )  # fmt: skip
    assert [w.text for w in words_of(said, 0)] == ["left", "one"]
    assert [w.text for w in words_of(said, 1)] == ["right", "two", "three"]
    assert [s.start for s in said.segments] == sorted(s.start for s in said.segments)


def test_two_speakers_called_the_same_in_two_chunks_are_not_one() -> None:
    plan = plan_of((0.0, 10.0), (10.0, 20.0))
    parts = [untimed(plan, n, "Hello.", speaker="A") for n in range(2)]
    both = merge(parts, plan, duration=20.0)
    assert ([s.speaker for s in both.segments], both.labels_by_chunk) == (["A1", "A2"], True)
    silent = part(plan, 1)
    assert [s.speaker for s in merge([parts[0], silent], plan, duration=20.0).segments] == ["A"]


def test_a_word_never_reaches_out_of_its_chunk() -> None:
    plan = plan_of((0.0, 10.0), (10.0, 20.0))
    parts = [part(plan, 0, ("long", 9.5, 11.0)), part(plan, 1, ("early", 9.9, 10.4), ("late", 19.8, 20.5))]
    said = merge(parts, plan, duration=20.0)
    check(said, plan)
    assert [(w.start, w.end) for w in words_of(said)] == [(9.5, 10.0), (10.0, 10.4), (19.8, 20.0)]
    shorter = merge(parts, plan, duration=19.99996)  # the grid of the sent audio ends a hair later
    assert list(words_of(shorter))[-1].end == 19.99996
    lost = merge([parts[0], ChunkText(plan.chunks[1], failure(1))], plan, duration=19.99996)
    assert [(gap.start, gap.end) for gap in lost.gaps] == [(10.0, 19.99996)]


def test_what_the_parts_say_of_themselves_is_kept() -> None:
    plan = plan_of((0.0, 10.0), (10.0, 20.0), (20.0, 30.0))
    nobody = transcript((), 30.0).model_copy(update={"skipped_reason": "nobody speaks"})
    sure, unsure = (
        t.model_copy(
            update={
                "segments": tuple(s.model_copy(update={"confidence": c}) for s in t.segments),
                "notes": ("n",),
            }
        )
        for c, t in ((0.9, part(plan, 0, ("a", 1, 2)).said), (0.6, part(plan, 1, ("b", 11, 12)).said))
        if isinstance(t, Transcript)
    )
    parts = [ChunkText(c, t) for c, t in zip(plan.chunks, (sure, unsure, nobody), strict=True)]
    said = merge(parts, plan, duration=30.0)
    assert (said.engine, said.engine_version, said.language, said.duration) == ("openai", "1", "en", 30.0)
    assert (said.confidence, said.notes, said.skipped_reason) == (0.75, ("n",), None)
    quiet = merge([ChunkText(c, nobody) for c in plan.chunks], plan, duration=30.0)
    assert (quiet.segments, quiet.skipped_reason, quiet.confidence) == ((), "nobody speaks", None)
