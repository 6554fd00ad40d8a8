"""Where long recordings are cut: in silences, near the target, never too long, and nothing left out."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callpipeline.model import AudioInfo, ChunkPlan, SpeechActivity
from callpipeline.speech.chunks import cut_of, plan_chunks
from callpipeline.speech.trimming import Cut, cut, voice
from callpipeline_tests.speech.chunking import known, regions, voices

Pairs = list[tuple[float, float]]


def planned(info: AudioInfo, activity: SpeechActivity, **options: Any) -> ChunkPlan:
    limits = {
        "target_seconds": 100.0, "longest_seconds": 150.0, "longest_bytes": 10**9, "bytes_per_second": 4000.0,
    }  # fmt: skip
    return plan_chunks(info, activity, **{**limits, **options})


def between(seconds: float, *silences: tuple[float, float]) -> Pairs:
    """Speech everywhere but in these silences."""
    edges = [0.0, *(t for silence in silences for t in silence), seconds]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]


def borders(plan: ChunkPlan) -> list[tuple[str, float]]:
    return [(chunk.seam, round(chunk.start, 3)) for chunk in plan.chunks[1:]]


def spoken(seconds: float, *silences: tuple[float, float], quiet: bool = True) -> ChunkPlan:
    """Plan a recording in which both the detector and the level know of these silences."""
    info = known(seconds, quiet=silences if quiet else ())
    return planned(info, voices(seconds, between(seconds, *silences)))


# --- which silence ------------------------------------------------------------------------------------------


def test_a_recording_that_fits_is_one_chunk() -> None:
    plan = spoken(149.0, (60, 62))
    assert [(c.index, c.start, c.end, c.overlap, c.seam) for c in plan.chunks] == [
        (0, 0.0, 149.0, 0.0, "start")
    ]


def test_the_cut_is_in_the_middle_of_a_silence() -> None:
    plan = spoken(200.0, (97, 98))
    assert [(c.start, c.end, c.overlap, c.seam) for c in plan.chunks] == [
        (0.0, 97.5, 0.0, "start"),
        (97.5, 200.0, 0.0, "silence"),
    ]


@pytest.mark.parametrize(
    ("silences", "cut_at"),
    [
        ([(90, 90.4), (105, 106.5)], 105.75),  # the longer one
        ([(60, 61), (95, 96)], 95.5),  # the nearer one of two alike
        ([(40, 45), (99, 101)], 100.0),  # two seconds are as good as five
        ([(148, 149.4)], 148.7),
        ([(50, 140)], 100.0),  # in a long one, where it suits
        ([(102, 190)], 107.0),  # but well inside it
    ],
)
def test_long_silences_near_the_target_are_preferred(silences: Pairs, cut_at: float) -> None:
    assert borders(spoken(200.0, *silences)) == [("silence", cut_at)]


@pytest.mark.parametrize("silences", [[], [(99, 99.2)], [(10, 12)], [(190, 192)]])
def test_without_a_silence_chunks_overlap(silences: Pairs) -> None:
    plan = spoken(200.0, *silences)
    assert borders(plan) == [("overlap", 97.0)]
    assert (plan.chunks[0].end, plan.chunks[1].overlap) == (100.0, 3.0)


def test_one_silence_early_is_better_than_none() -> None:
    assert borders(spoken(170.0, (30, 31))) == [("silence", 30.5)]


def test_a_silence_near_the_end_is_no_place_for_a_cut() -> None:
    assert borders(spoken(160.0, (145, 147))) == [("overlap", 77.0)]


def test_somebody_who_speaks_on_another_channel_is_not_cut() -> None:
    activity = voices(200.0, between(200, (90, 96), (120, 121)), between(200, (120.1, 121.1)))
    assert borders(planned(known(200.0), activity)) == [("silence", 120.55)]


def test_a_voice_too_soft_for_the_detector_is_not_cut() -> None:
    activity = voices(200.0, between(200, (95, 105), (130, 131)))
    assert borders(planned(known(200.0, quiet=[(130, 130.6)]), activity)) == [("silence", 130.3)]


def test_of_a_silence_only_what_is_quiet_counts() -> None:
    activity = voices(200.0, between(200, (95, 105)))
    assert borders(planned(known(200.0, quiet=[(103, 105.5)]), activity)) == [("silence", 104.0)]


def test_on_a_noisy_line_the_detector_alone_decides() -> None:
    assert borders(spoken(200.0, (90, 91), quiet=False)) == [("silence", 90.5)]


def test_where_no_voice_was_found_the_level_decides() -> None:
    plan = planned(known(200.0, quiet=[(90, 91)]), voices(200.0, []))
    assert borders(plan) == [("silence", 90.5)]
    assert borders(planned(known(200.0), voices(200.0, []))) == [("overlap", 97.0)]


# --- how long -----------------------------------------------------------------------------------------------


def test_a_few_chunks_come_out_alike_with_no_short_one_at_the_end() -> None:
    pauses = [(t, t + 1.0) for t in range(5, 510, 10)]
    lengths = [c.duration for c in spoken(520.0, *pauses).chunks]
    assert len(lengths) == 5
    assert max(lengths) - min(lengths) < 21


def test_of_many_the_first_ones_and_the_last_ones_are_shorter() -> None:
    pauses = [(t, t + 1.0) for t in range(5, 1010, 5)]
    lengths = [c.duration for c in spoken(1020.0, *pauses).chunks]
    assert lengths == pytest.approx([25, 50, 75, *[102] * 7, 75, 50, 25], abs=6)


@pytest.mark.parametrize(
    ("limits", "longest"),
    [
        ({"longest_seconds": 60.0}, 60.0),
        ({"longest_bytes": 200_000}, 50.0),
        (
            {"longest_seconds": 60.0, "longest_bytes": 200_000, "bytes_per_second": 32_000.0, "overlap": 1.0},
            6.25,
        ),
    ],
)
def test_no_chunk_is_longer_or_larger_than_allowed(limits: dict[str, float], longest: float) -> None:
    plan = planned(known(600.0), voices(600.0, [(0, 600)]), **limits)
    assert plan.longest_seconds == longest
    assert max(chunk.duration for chunk in plan.chunks) <= longest
    assert len(plan.chunks) < 2.5 * 600 / longest


@pytest.mark.parametrize(
    "limits",
    [{"longest_seconds": 6.0}, {"longest_bytes": 20_000}, {"target_seconds": 0}, {"overlap": -1.0},
     {"bytes_per_second": 0.0}],
)  # fmt: skip
def test_chunks_that_cannot_be_made_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="chunks"):
        planned(known(600.0), voices(600.0, [(0, 600)]), **limits)


@st.composite
def plans(draw: st.DrawFn) -> tuple[AudioInfo, SpeechActivity, ChunkPlan]:
    seconds = draw(st.floats(0.5, 1500))
    pair = st.tuples(st.floats(0, 1500), st.one_of(st.floats(0, 5), st.floats(0, 300)))
    stretches = st.lists(pair, max_size=30).map(
        lambda pairs: sorted((a, min(a + length, seconds)) for a, length in pairs if a < seconds)
    )
    quiet, heard = [], 0.0
    for a, b in draw(stretches):
        if a > heard and b - a >= 0.5:
            quiet.append((a, b))
            heard = b
    rate = draw(st.sampled_from([8000, 11_025, 16_000, 44_100]))
    info = known(seconds, rate, quiet)
    activity = voices(seconds, *draw(st.lists(stretches, min_size=1, max_size=2)))
    overlap = draw(st.floats(0, 5))
    longest = draw(st.floats(2 * overlap + 1, 400))
    plan = planned(
        info, activity, target_seconds=draw(st.floats(1, 300)), longest_seconds=longest, overlap=overlap
    )
    return info, activity, plan


@settings(deadline=None, max_examples=300)
@given(plans())
def test_every_sample_is_in_one_chunk_or_in_the_overlap_of_two(
    made: tuple[AudioInfo, SpeechActivity, ChunkPlan],
) -> None:
    info, activity, plan = made
    edges = [(round(c.start * plan.rate), round(c.end * plan.rate)) for c in plan.chunks]
    assert [c.index for c in plan.chunks] == list(range(len(edges)))
    assert edges[0][0] == 0
    assert edges[-1][1] == round(info.duration * plan.rate)
    assert all(b - a <= plan.longest_seconds * plan.rate for a, b in edges)
    assert all(
        c.start * plan.rate == pytest.approx(a, abs=1e-6)
        for c, (a, _) in zip(plan.chunks, edges, strict=True)
    )
    for (before, after), chunk in zip(pairwise(edges), plan.chunks[1:], strict=True):
        assert before[0] < after[0]
        assert before[1] - after[0] == round(chunk.overlap * plan.rate)
        if chunk.seam == "silence":
            assert chunk.overlap == 0
            speech = voice(activity, None)
            assert not any(r.start < chunk.start < r.end for r in speech)
            if not speech:
                assert any(r.start < chunk.start < r.end for r in info.silences)
    assert all(a[1] <= c[0] for a, c in zip(edges, edges[2:], strict=False))


# --- what is sent of a chunk --------------------------------------------------------------------------------


def test_a_chunk_is_sent_without_its_long_silences() -> None:
    info = known(200.0, quiet=[(0, 10), (90, 110)])
    activity = voices(200.0, [(10, 50), (50.5, 90), (110, 200)])
    plan, whole = planned(info, activity), cut(info, voice(activity, None), longest_silence=3.0)
    assert [[(r.start, r.end) for r in cut_of(c, plan, whole).kept] for c in plan.chunks] == [
        [(9.5, 90.5)],
        [(109.5, 200.0)],
    ]


def test_a_chunk_in_which_nobody_speaks_is_not_sent() -> None:
    speech = [(0.0, 80.0), (420.0, 500.0)]
    info, activity = known(500.0, quiet=[(80, 420)]), voices(500.0, speech)
    plan, whole = planned(info, activity), cut(info, voice(activity, None), longest_silence=3.0)
    sent = [cut_of(chunk, plan, whole).seconds for chunk in plan.chunks]
    assert sent == [80.5, 0.0, 0.0, 0.0, 80.5]


def test_the_padding_of_a_neighbour_is_not_sent_by_itself() -> None:
    info, activity = known(300.0), voices(300.0, [(0, 80), (200, 300)])
    whole = Cut(regions((0, 100.05), (199.5, 300)), 8000, 300.0)
    plan = planned(info, activity, target_seconds=100, longest_seconds=100)
    assert [c.start for c in plan.chunks][1] == 100.0
    assert cut_of(plan.chunks[1], plan, whole).kept == ()


@settings(deadline=None)
@given(plans(), st.floats(0.5, 10))
def test_the_chunks_together_are_what_is_sent_of_the_recording(
    made: tuple[AudioInfo, SpeechActivity, ChunkPlan], longest: float
) -> None:
    info, activity, plan = made
    whole = cut(info, voice(activity, None), longest_silence=longest)
    rate = plan.rate
    sent: set[int] = set()
    for chunk in plan.chunks:
        for region in cut_of(chunk, plan, whole).kept:
            assert chunk.start <= region.start < region.end <= chunk.end
            sent |= set(range(round(region.start * rate) // 80, round(region.end * rate) // 80))
    for region in voice(activity, None):
        inside = range(
            round(region.start * rate) // 80 + 2, round(min(region.end, info.duration) * rate) // 80 - 2
        )
        assert sent.issuperset(inside)


def test_a_cut_on_another_grid_is_refused() -> None:
    plan = planned(known(20.0), voices(20.0, [(0, 20)]))
    with pytest.raises(ValueError, match="16000 Hz"):
        cut_of(plan.chunks[0], plan, Cut(regions((0, 20)), 16_000, 20.0))
