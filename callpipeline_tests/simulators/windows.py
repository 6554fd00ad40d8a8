"""Requests and tokens in a sliding window: the provider's own books, and its limits.

Belongs here: counting by time, exactly. Does not: HTTP.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from callpipeline_tests.simulators.options import RateLimit


@dataclass
class Entry:
    """One request that was let in. ``tokens`` may be corrected later: the books follow."""

    at: float
    tokens: int


@dataclass(frozen=True)
class Standing:
    """How full the window is now. ``resets_in`` = seconds until it is empty of requests."""

    requests: int
    tokens: int
    resets_in: float


@dataclass(frozen=True)
class Worst:
    """The fullest window so far, over all its possible positions."""

    requests: int
    tokens: int


class Window:
    """A sliding window of ``seconds``, with a limit or without. All requests let in are remembered."""

    def __init__(self, seconds: float, limit: RateLimit | None = None) -> None:
        self.seconds = seconds
        self.limit = limit or RateLimit()
        self.rejected = 0
        self._entries: list[Entry] = []
        self._recent: deque[Entry] = deque()

    def admit(self, tokens: int = 0) -> Entry | float:
        """Let a request in and return its entry, or the seconds after which it would fit.

        A request that is larger than the whole limit never fits: the answer is then the window's length.
        """
        now = time.monotonic()
        wait = self._wait(now, tokens)
        if wait > 0:
            self.rejected += 1
            return wait
        entry = Entry(now, tokens)
        self._entries.append(entry)
        self._recent.append(entry)
        return entry

    def standing(self) -> Standing:
        """Return how full the window is now."""
        now = time.monotonic()
        self._forget(now)
        resets_in = self._recent[-1].at + self.seconds - now if self._recent else 0.0
        return Standing(len(self._recent), sum(entry.tokens for entry in self._recent), resets_in)

    def worst(self) -> Worst:
        """Return the most requests, and the most tokens, that any window of this length held."""
        requests = tokens = inside = first = 0
        for index, entry in enumerate(self._entries):
            inside += entry.tokens
            while self._entries[first].at <= entry.at - self.seconds:
                inside -= self._entries[first].tokens
                first += 1
            requests, tokens = max(requests, index - first + 1), max(tokens, inside)
        return Worst(requests, tokens)

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0].at <= now - self.seconds:
            self._recent.popleft()

    def _wait(self, now: float, tokens: int) -> float:
        self._forget(now)
        requests_over = tokens_over = 0
        if self.limit.requests is not None:
            requests_over = max(0, len(self._recent) + 1 - self.limit.requests)
        if self.limit.tokens is not None:
            tokens_over = max(0, sum(entry.tokens for entry in self._recent) + tokens - self.limit.tokens)
        wait = 0.0
        for number, entry in enumerate(self._recent, 1):
            if requests_over < number and tokens_over <= 0:
                return wait
            wait = entry.at + self.seconds - now
            tokens_over -= entry.tokens
        return self.seconds if requests_over > len(self._recent) or tokens_over > 0 else wait
