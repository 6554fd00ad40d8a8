from __future__ import annotations

import pytest

from callpipeline.failures import (
    AuthenticationFailed,
    BadRequest,
    BudgetExceeded,
    CallPipelineError,
    CorruptChunk,
    NetworkFailed,
    ProviderFailed,
    QuotaExceeded,
    RateLimited,
)
from callpipeline.limits.retry import RetryPolicy, retrying

pytestmark = pytest.mark.anyio


class Calls:
    """Fails with the given failures in turn, then succeeds; keeps the delays that were slept."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.made = 0
        self.slept: list[float] = []

    async def __call__(self) -> str:
        self.made += 1
        if self.failures:
            raise self.failures.pop(0)
        return "text"

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def run(self, policy: RetryPolicy | None = None, chance: float = 0.5) -> str:
        return await retrying(self, policy or RetryPolicy(), sleep=self.sleep, chance=lambda: chance)


@pytest.mark.parametrize(
    ("failure", "delays"),
    [
        (RateLimited, [60, 120, 240, 480, 600]),
        (NetworkFailed, [5, 10, 20]),
        (ProviderFailed, [10, 20]),
        (CorruptChunk, [0]),
        (AuthenticationFailed, []),
        (QuotaExceeded, []),
        (BadRequest, []),
        (BudgetExceeded, []),
    ],
)
async def test_each_class_is_tried_again_as_often_and_as_late_as_its_rule_says(
    failure: type[CallPipelineError], delays: list[float]
) -> None:
    calls = Calls(*(failure("no") for _ in range(20)))
    with pytest.raises(failure):
        await calls.run()
    assert calls.made == len(delays) + 1
    assert calls.slept == pytest.approx([delay * 1.2 for delay in delays])


@pytest.mark.parametrize(("chance", "factor"), [(0.0, 1.1), (1.0, 1.3)])
async def test_jitter_adds_10_to_30_percent(chance: float, factor: float) -> None:
    calls = Calls(NetworkFailed("reset"))
    assert await calls.run(chance=chance) == "text"
    assert calls.slept == pytest.approx([5 * factor])


async def test_retry_after_takes_the_place_of_our_own_delay() -> None:
    calls = Calls(RateLimited("slow", retry_after=2.0), ProviderFailed("busy", retry_after=40.0))
    assert await calls.run(chance=0.0) == "text"
    assert calls.slept == pytest.approx([2.2, 44.0])


async def test_a_retry_after_of_an_hour_is_given_back_instead_of_slept() -> None:
    calls = Calls(RateLimited("slow", retry_after=3600.0))
    with pytest.raises(RateLimited):
        await calls.run()
    assert calls.slept == []


async def test_classes_are_counted_apart() -> None:
    calls = Calls(NetworkFailed("1"), ProviderFailed("2"), NetworkFailed("3"), ProviderFailed("4"))
    assert await calls.run(chance=0.0) == "text"
    assert calls.slept == pytest.approx([5.5, 11.0, 11.0, 22.0])


async def test_a_bug_is_not_retried() -> None:
    calls = Calls(ValueError("bug"))
    with pytest.raises(ValueError, match="bug"):
        await calls.run()
    assert calls.made == 1


async def test_a_scaled_policy_scales_every_delay() -> None:
    calls = Calls(RateLimited("slow"), RateLimited("slow"))
    await calls.run(RetryPolicy().scaled(0.001), chance=0.0)
    assert calls.slept == pytest.approx([0.066, 0.132])
