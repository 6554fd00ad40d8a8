"""How long a provider is expected to take: learned from finished calls, or said to be an assumption."""

from __future__ import annotations

import math

import pytest

from callpipeline.limits.ledger_rows import CallState, ProviderCall
from callpipeline.limits.rates import RateLimit
from callpipeline.pipeline.pace import Pace, timing
from callpipeline.speech.engines.base import PlannedCall

NO_RATE = RateLimit()


def _finished(audio: float, took: float, number: int = 0) -> ProviderCall:
    return ProviderCall(
        request_hash=f"{number:064d}",
        provider="openai",
        pool="openai_audio",
        model="m",
        recording=None,
        purpose="transcription",
        run="r",
        state=CallState.DONE,
        sent=1000.0,
        seconds=audio,
        created=0.0,  # it waited long for its slot, which is no time of the provider's
        updated=1000.0 + took,
    )


def _calls(count: int, seconds: float, provider: str = "openai") -> list[PlannedCall]:
    return [PlannedCall(f"{n:064d}", provider, "p", "m", seconds, 0.0) for n in range(count)]


def test_without_history_the_assumption_is_named() -> None:
    pace = Pace.of("assemblyai", [_finished(60.0, 1.0)] * 4)
    assert pace.seconds(100.0) == pytest.approx(35.0)
    assert "assumed: 20 s a call and 15% of its length" in pace.basis


def test_calls_of_the_same_length_tell_most() -> None:
    short = [_finished(40.0, took) for took in (3.0, 4.0, 5.0, 6.0, 900.0)]
    pace = Pace.of("assemblyai", [*short, _finished(3600.0, 360.0)])
    assert pace.basis == "median of the last 6 calls"
    assert pace.seconds(33.0) == 5.0
    assert pace.seconds(3600.0) == pytest.approx(
        3600 * (0.1 + 0.125) / 2
    )  # too few of that length: the share


def test_slots_share_the_work_but_not_the_longest_recording() -> None:
    pace = Pace.of("openai", [_finished(60.0, 6.0)] * 5)
    assert timing(_calls(100, 60.0), pace, slots=3, rate=NO_RATE).seconds == pytest.approx(200.0)
    one = timing(_calls(1, 60.0), pace, slots=3, rate=NO_RATE)
    assert (one.seconds, one.decided_by) == (6.0, "longest recording")


def test_a_limit_that_makes_it_longer_than_an_hour_is_warned_of() -> None:
    pace = Pace.of("openai", [_finished(60.0, 6.0)] * 5)
    slow = timing(_calls(3000, 60.0), pace, slots=2, rate=NO_RATE)
    assert slow.decided_by == "slots"
    assert slow.limited.startswith("2 slots make this longer than an hour")
    rated = timing(_calls(3000, 60.0), pace, slots=200, rate=RateLimit(requests=20, share=1.0))
    assert rated.seconds == pytest.approx(9000.0)
    assert rated.limited.startswith("20 requests a minute make this longer than an hour")
    assert timing(_calls(100, 60.0), pace, slots=2, rate=NO_RATE).limited == ""


def test_a_closed_pool_lets_nothing_through() -> None:
    pace = Pace.of("openai", [])
    assert timing(_calls(1, 60.0), pace, slots=0, rate=NO_RATE).seconds == math.inf
    assert timing([], pace, slots=0, rate=NO_RATE).seconds == 0.0


def test_looking_at_jobs_counts_as_requests() -> None:
    pace = Pace.of("assemblyai", [])
    shown = timing(_calls(1, 100.0, "assemblyai"), pace, slots=5, rate=NO_RATE)
    assert 50 < shown.requests < 150  # 35 s: every 0.1 s at first, then ever more rarely
