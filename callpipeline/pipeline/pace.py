"""How long a provider takes for calls that are still to be made: from finished ones, else from an assumption.

What belongs here: seconds, and which limit decides them. What does not: which calls (``forecast``).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median

from callpipeline.limits.ledger_rows import ProviderCall
from callpipeline.limits.rates import RateLimit
from callpipeline.speech.engines.base import PlannedCall

LEAST_HISTORY = 5
"""Fewer finished calls say nothing about the next."""
MOST_HISTORY = 1000
LONG = 3600.0
"""A run that one limit keeps for longer than this (s) should be started knowingly."""


@dataclass(frozen=True, slots=True)
class Assumption:
    """Seconds for a call: ``base``, and ``share`` of the length of its audio."""

    base: float
    share: float


ASSUMED: Mapping[str, Assumption] = {
    # https://www.assemblyai.com/docs/Concepts/faq: 15-20 s at the least, then 15-30 % of the length; later
    # measurements of theirs are lower (https://www.assemblyai.com/blog/lower-latency-new-pricing: < 45 s for most).
    "assemblyai": Assumption(20.0, 0.15),
}
OTHERWISE = Assumption(5.0, 0.1)


@dataclass(frozen=True)
class Pace:
    """Seconds that a provider takes for a call. ``basis`` says where that is from, for people."""

    basis: str
    assumed: Assumption
    by_size: Mapping[int, float]
    """Median seconds of calls of about this length; the key is the power of two of the seconds of audio."""
    share: float | None
    """Median of the seconds for each second of audio; ``None`` = no history."""

    @classmethod
    def of(cls, provider: str, finished: Sequence[ProviderCall]) -> Pace:
        """Learn it from finished calls, if there are enough."""
        assumed = ASSUMED.get(provider, OTHERWISE)
        took = [(c.seconds, c.updated - c.sent) for c in finished if c.seconds > 0 and c.updated > c.sent > 0]
        if len(took) < LEAST_HISTORY:
            basis = f"assumed: {assumed.base:g} s a call and {assumed.share:.0%} of its length"
            return cls(f"{basis}, for there is no history yet", assumed, {}, None)
        sizes: defaultdict[int, list[float]] = defaultdict(list)
        for length, seconds in took:
            sizes[_size(length)].append(seconds)
        by_size = {size: median(seconds) for size, seconds in sizes.items() if len(seconds) >= LEAST_HISTORY}
        share = median(seconds / length for length, seconds in took)
        return cls(f"median of the last {len(took)} calls", assumed, by_size, share)

    def seconds(self, audio: float) -> float:
        """Return how long a call with so many seconds of audio is with the provider."""
        if self.share is None:
            return self.assumed.base + self.assumed.share * audio
        return self.by_size.get(_size(audio), self.share * audio)


@dataclass(frozen=True)
class Timing:
    """How long some calls of one pool take in all. ``seconds`` is infinite when its limits let none through."""

    seconds: float
    decided_by: str
    """``slots``, ``rate`` or ``longest recording``, which cannot be shared out."""
    slots: int | None
    requests_per_minute: float | None
    requests: int
    work: float
    """Seconds that the provider works on all of them together."""
    basis: str

    @property
    def limited(self) -> str:
        """Warning that a limit makes this long; empty if none does."""
        if self.decided_by == "slots" and self.seconds > LONG:
            return f"{self.slots} slots make this longer than an hour: more of them, if the account has them, help"
        if self.decided_by == "rate" and self.seconds > LONG:
            rate = f"{self.requests_per_minute:g} requests a minute"
            return f"{rate} make this longer than an hour: a higher rate, if the account has it, helps"
        return ""


def timing(calls: Iterable[PlannedCall], pace: Pace, *, slots: int | None, rate: RateLimit) -> Timing:
    """Return how long calls take with so many slots and such a rate; ``None`` = no limit."""
    each = [(call, pace.seconds(call.seconds)) for call in calls]
    work = sum(seconds for _, seconds in each)
    requests = sum(_requests(call, seconds) for call, seconds in each)
    per_second = None if rate.requests is None else rate.requests * rate.share / rate.window
    bounds = {
        "longest recording": max((seconds for _, seconds in each), default=0.0),
        "slots": _shared(work, slots),
        "rate": _shared(requests, per_second),
    }
    decided_by = max(bounds, key=bounds.__getitem__)
    per_minute = None if per_second is None else per_second * 60.0
    return Timing(bounds[decided_by], decided_by, slots, per_minute, requests, work, pace.basis)


def _shared(amount: float, by: float | None) -> float:
    if by is None or amount == 0:
        return 0.0
    return amount / by if by > 0 else math.inf


def _size(audio: float) -> int:
    return math.floor(math.log2(max(1.0, audio)))


def _requests(call: PlannedCall, seconds: float) -> int:
    """Count the requests of a call that takes so long: a job is uploaded, ordered, and looked at again and again."""
    return 2 + _looks(math.ceil(seconds)) if call.provider == "assemblyai" else 1


@lru_cache
def _looks(seconds: int) -> int:
    from callpipeline.speech.engines.assemblyai import FIRST_POLL, LAST_POLL, POLL_SHARE

    count, at = 1, 0.0
    while at < seconds:
        at += min(LAST_POLL, max(FIRST_POLL, POLL_SHARE * at))
        count += 1
    return count
