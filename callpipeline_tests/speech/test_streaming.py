"""Cutting sound as it comes must find what is found in the whole recording."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from callpipeline.audio.vad import speech_of
from callpipeline.speech.streaming import LONGEST, WARM_UP, Cutter, Resampler
from callpipeline.speech.utterances import RATE, joined
from callpipeline_tests.speech.conftest import Call, read


@pytest.mark.parametrize("piece", [1600, 40_000])
def test_a_stream_has_the_utterances_of_the_recording(one_voice_call: Call, piece: int) -> None:
    sound = read(one_voice_call.job.path)[0]
    rate = one_voice_call.job.info.sample_rate
    resampler, cutter = Resampler(rate), Cutter()
    whole, found, held = [], [], 0
    pcm = (np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()
    for at in range(0, len(pcm), piece + 1):  # pieces may end in the middle of a sample
        new = resampler.add(pcm[at : at + piece + 1])
        whole.append(new)
        found += cutter.add(new)
        held = max(held, cutter._held.size)
    whole.append(resampler.finish())
    found += cutter.finish(whole[-1])
    samples = np.concatenate(whole)
    wanted = joined(speech_of(samples), duration=samples.size / RATE)
    assert abs(samples.size / RATE - sound.size / rate) < 0.01
    assert [(u.start, u.end) for u in found] == [
        (pytest.approx(r.start, abs=0.2), pytest.approx(r.end, abs=0.2)) for r in wanted
    ]
    for utterance in found:
        first = round(utterance.start * RATE)
        assert np.array_equal(utterance.samples, samples[first : first + utterance.samples.size])
    assert held <= (LONGEST + WARM_UP + 1) * RATE


def test_somebody_who_never_pauses_is_cut_and_nothing_is_lost(one_voice_call: Call) -> None:
    sound = read(one_voice_call.job.path)[0]
    resampler = Resampler(one_voice_call.job.info.sample_rate)
    samples = resampler.add((sound * 32767).astype("<i2").tobytes())
    speech = np.concatenate(
        [samples[round(r.start * RATE) : round(r.end * RATE)] for r in speech_of(samples)]
    )
    speech = np.tile(speech, 1 + int(40 * RATE / speech.size))[: 40 * RATE]
    cutter = Cutter()
    found = [*cutter.add(speech), *cutter.finish(speech[:0])]
    assert all(u.samples.size <= LONGEST * RATE for u in found)
    assert sum(u.samples.size for u in found) > 0.97 * speech.size
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))
