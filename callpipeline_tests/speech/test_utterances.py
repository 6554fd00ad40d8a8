"""Utterances: whole, padded, cut at pauses, and exactly the sound of the recording."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callpipeline.audio.decode import read
from callpipeline.model import Region
from callpipeline.speech.utterances import JOIN_GAP, PAD, RATE, Track, joined, quietest, tracks, utterances
from callpipeline_tests.speech.conftest import Call, write_wav


def regions(*pairs: tuple[float, float]) -> tuple[Region, ...]:
    return tuple(Region(start=a, end=b) for a, b in pairs)


def plain(found: tuple[Region, ...]) -> list[tuple[float, float]]:
    return [(round(r.start, 3), round(r.end, 3)) for r in found]


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ([], []),
        ([(1, 2)], [(0.85, 2.15)]),
        ([(0.1, 2)], [(0, 2.15)]),
        ([(1, 9.95)], [(0.85, 10)]),
        ([(1, 2), (2.4, 3)], [(0.85, 3.15)]),
        ([(1, 2), (2.6, 3)], [(0.85, 2.15), (2.45, 3.15)]),
        ([(2.6, 3), (1, 2)], [(0.85, 2.15), (2.45, 3.15)]),
        ([(1, 5), (2, 3)], [(0.85, 5.15)]),
        ([(1, 1)], []),
    ],
)
def test_near_regions_are_one_utterance(
    given_: list[tuple[float, float]], expected: list[tuple[float, float]]
) -> None:
    assert plain(joined(regions(*given_), duration=10.0)) == expected


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 5)), max_size=30))
def test_utterances_hold_all_speech_and_never_overlap(pairs: list[tuple[float, float]]) -> None:
    speech = regions(*((a, a + length) for a, length in pairs))
    found = joined(speech, duration=100.0)

    assert all(0 <= r.start < r.end <= 100 for r in found)
    assert all(b.start - a.end >= JOIN_GAP - 2 * PAD - 1e-6 for a, b in pairwise(found))
    for region in speech:
        inside = any(r.start <= region.start and min(region.end, 100) <= r.end for r in found)
        assert inside or region.duration == 0 or region.start >= 100


def test_samples_are_those_of_the_recording(stereo_call: Call) -> None:
    whole = read(stereo_call.job.path)
    found = list(
        utterances(stereo_call.job.path, tracks(stereo_call.job.info, stereo_call.job.activity), longest=15)
    )

    assert {u.channel for u in found} == {0, 1}
    for utterance in found:
        first = round(utterance.start * RATE)
        expected = whole[utterance.channel or 0, first : first + utterance.samples.size]
        np.testing.assert_array_equal(utterance.samples, expected)


def test_long_speech_is_cut_at_its_pause(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).standard_normal((1, 40 * RATE)) * 0.1
    for pause in (11.0, 19.5, 28.0):
        sound[0, round(pause * RATE) : round((pause + 0.3) * RATE)] = 0
    track = Track(0, None, regions((0.0, 40.0)))
    found = list(utterances(write_wav(tmp_path / "long.wav", sound), (track,), longest=15.0))

    assert [u.start for u in found[1:]] == pytest.approx([11.15, 19.65, 28.15], abs=0.15)
    assert [u.end for u in found[:-1]] == [u.start for u in found[1:]]
    assert found[-1].end == 40.0
    assert sum(u.samples.size for u in found) == 40 * RATE


def test_speech_past_the_end_of_the_sound_is_cut_there(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "short.wav", np.full((1, RATE), 0.1))
    (found,) = utterances(path, (Track(0, None, regions((0.5, 3.0), (4.0, 5.0))),), longest=15.0)
    assert (found.start, found.end) == (0.5, 1.0)


def test_a_cut_is_never_at_the_beginning() -> None:
    assert quietest(np.zeros(RATE, np.float32)) >= RATE // 2
    assert quietest(np.zeros(100, np.float32)) == 100


def test_mono_and_copied_channels_are_one_track(
    mono_call: Call, dual_mono_call: Call, stereo_call: Call
) -> None:
    for call, channels in ((mono_call, [None]), (dual_mono_call, [None]), (stereo_call, [0, 1])):
        assert [t.channel for t in tracks(call.job.info, call.job.activity)] == channels
