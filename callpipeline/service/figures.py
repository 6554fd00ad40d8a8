"""Figures of this process's own requests, which no table keeps: counts and seconds by route and status."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the classes of the histogram of seconds."""


@dataclass
class Histogram:
    """Seconds, sorted into ``BOUNDS`` and what is above them."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class Figures:
    """Requests that were answered. In the event loop only."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.seconds: defaultdict[str, Histogram] = defaultdict(Histogram)

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request; ``path`` as the router knows it, so that ids make no figures of their own."""
        self.requests[method, path, status] += 1
        self.seconds[path].add(seconds)
