"""The one retry loop: which failures are tried again, how often, after how long.

Every provider's own client runs with its retries off, so that the figures here are the whole truth. Delays
double with every retry of the same class and carry jitter, so that calls that failed together do not come
back together.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from callpipeline.failures import CallFailed, CallPipelineError

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RetryRule:
    """How often a class of failure is tried again, and the seconds before the first of these tries."""

    retries: int
    base: float


STANDARD_RULES: Mapping[str, RetryRule] = MappingProxyType(
    {
        "rate_limit": RetryRule(5, 60.0),
        "network": RetryRule(3, 5.0),
        "api": RetryRule(2, 10.0),
        "corrupt_chunk": RetryRule(1, 0.0),
    }
)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Rules by ``error_class``; a class without one, and every permanent failure, is not tried again.

    ``jitter``: the least and the most that is added to a delay, as shares of it. ``longest``: a delay, or a
    Retry-After, that is longer than these seconds is not slept through: the failure is given back instead
    (own delays are cut to it).
    """

    rules: Mapping[str, RetryRule] = field(default_factory=lambda: STANDARD_RULES)
    jitter: tuple[float, float] = (0.10, 0.30)
    longest: float = 600.0

    def scaled(self, factor: float) -> RetryPolicy:
        """Return the policy with all its own delays multiplied, for tests and simulations."""
        rules = {name: RetryRule(r.retries, r.base * factor) for name, r in self.rules.items()}
        return RetryPolicy(rules, self.jitter, self.longest)

    def delay(self, error: BaseException, failures: int, chance: float) -> float | None:
        """Return seconds to wait after the ``failures``-th failure of this class, ``None`` to give up.

        A provider's Retry-After takes the place of our own delay. ``chance`` in 0-1 picks the jitter.
        """
        if not isinstance(error, CallPipelineError) or error.permanent:
            return None
        rule = self.rules.get(error.error_class)
        if rule is None or failures > rule.retries:
            return None
        asked = error.retry_after if isinstance(error, CallFailed) else None
        if asked is not None and asked > self.longest:
            return None
        wait = asked if asked is not None else min(rule.base * 2.0 ** (failures - 1), self.longest)
        low, high = self.jitter
        return wait * (1.0 + low + (high - low) * chance)


async def retrying(
    attempt: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    *,
    sleep: Sleep = asyncio.sleep,
    chance: Callable[[], float] = random.random,
    on_retry: Callable[[CallPipelineError, float], Awaitable[None]] | None = None,
) -> T:
    """Await ``attempt()`` until it succeeds or ``policy`` gives up; then its last failure is raised.

    ``on_retry`` is told the failure and the delay before each sleep. Cancellation ends the loop at once.
    """
    failures: Counter[str] = Counter()
    while True:
        try:
            return await attempt()
        except CallPipelineError as error:
            failures[error.error_class] += 1
            delay = policy.delay(error, failures[error.error_class], chance())
            if delay is None:
                raise
            if on_retry is not None:
                await on_retry(error, delay)
        await sleep(delay)
