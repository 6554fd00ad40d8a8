"""What is counted: requests in flight, statuses, bytes, windows, jobs, and what had to be paid for.

Belongs here: the numbers and the form in which they are read (``Stats``). Does not: HTTP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RouteStats(_Figures):
    """Requests of one route. ``statuses`` maps what was answered (``reset`` = nothing) to how often."""

    requests: int = 0
    in_flight: int = 0
    in_flight_max: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    statuses: dict[str, int] = Field(default_factory=dict)


class WindowStats(_Figures):
    """One sliding window. ``*_max`` = the fullest of all; tokens are those of the usage that was reported."""

    seconds: float
    requests_now: int
    tokens_now: int
    requests_max: int
    tokens_max: int
    rejected: int


class PaidStats(_Figures):
    """What the provider charges for. ``duplicates`` = calls that ask exactly what an earlier one asked."""

    calls: int = 0
    distinct: int = 0
    duplicates: int = 0
    audio_seconds: float = 0.0
    tokens: int = 0


class JobStats(_Figures):
    """AssemblyAI's jobs. In flight = queued or processing; ``work_seconds`` = lengths of all begun jobs."""

    submitted: int = 0
    queued: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    in_flight_max: int = 0
    processing_max: int = 0
    work_seconds: float = 0.0


class Stats(_Figures):
    """Everything since the start or the last reset. ``cancelled`` = the client hung up while waiting."""

    all: RouteStats
    routes: dict[str, RouteStats]
    windows: dict[str, WindowStats]
    paid: PaidStats
    jobs: JobStats = JobStats()
    cancelled: int = 0
    faults: dict[str, int] = Field(default_factory=dict)


class CallRecord(_Figures):
    """One request. ``body`` is the JSON, or the form with name, bytes and SHA-256 of the file."""

    route: str
    at: float
    """Seconds since the epoch."""
    path: str
    outcome: str
    body: object = None


class JobRecord(_Figures):
    """One AssemblyAI job. Times are seconds since the epoch; ``seconds`` = how long it is processed."""

    id: str
    status: str
    audio_sha256: str
    submitted: float
    started: float | None
    finished: float | None
    seconds: float | None


@dataclass
class _Tally:
    requests: int = 0
    in_flight: int = 0
    in_flight_max: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    statuses: Counter[str] = field(default_factory=Counter)

    def begin(self) -> None:
        self.requests += 1
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)

    def end(self, visit: Visit) -> None:
        self.in_flight -= 1
        self.bytes_in += visit.bytes_in
        self.bytes_out += visit.bytes_out
        self.statuses[visit.outcome] += 1

    def stats(self) -> RouteStats:
        return RouteStats(
            requests=self.requests,
            in_flight=self.in_flight,
            in_flight_max=self.in_flight_max,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            statuses=dict(self.statuses),
        )


@dataclass
class Visit:
    """One request while it is here."""

    bytes_in: int = 0
    bytes_out: int = 0
    outcome: str = "cancelled"


class Traffic:
    """Requests by route and altogether."""

    def __init__(self) -> None:
        self.cancelled = 0
        self._all = _Tally()
        self._routes: dict[str, _Tally] = {}

    @contextmanager
    def visit(self, route: str) -> Iterator[Visit]:
        """Count one request for as long as the block runs."""
        visit = Visit()
        tallies = (self._all, self._routes.setdefault(route, _Tally()))
        for tally in tallies:
            tally.begin()
        try:
            yield visit
        finally:
            self.cancelled += visit.outcome == "cancelled"
            for tally in tallies:
                tally.end(visit)

    def stats(self) -> tuple[RouteStats, dict[str, RouteStats]]:
        """Return the figures of all requests, and those by route."""
        return self._all.stats(), {name: tally.stats() for name, tally in sorted(self._routes.items())}


class Ledger:
    """What was charged. The same key twice is a duplicate: somebody bought what they already had."""

    def __init__(self) -> None:
        self._bought: Counter[str] = Counter()
        self._audio_seconds = 0.0
        self._tokens = 0

    def charge(self, key: str, *, audio_seconds: float = 0.0, tokens: int = 0) -> None:
        """Book one call."""
        self._bought[key] += 1
        self.add(audio_seconds=audio_seconds, tokens=tokens)

    def add(self, *, audio_seconds: float = 0.0, tokens: int = 0) -> None:
        """Book more of a call that is charged already."""
        self._audio_seconds += audio_seconds
        self._tokens += tokens

    def refund(self, key: str) -> None:
        """Take a call back: it failed on the provider's side."""
        self._bought[key] -= 1

    def stats(self) -> PaidStats:
        """Return the sums."""
        bought = [count for count in self._bought.values() if count]
        return PaidStats(
            calls=sum(bought),
            distinct=len(bought),
            duplicates=sum(bought) - len(bought),
            audio_seconds=round(self._audio_seconds, 3),
            tokens=self._tokens,
        )
