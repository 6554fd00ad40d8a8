"""Rates: requests and tokens a minute, reserved before a call and corrected after it, over all processes.

Two rules decide when a call may start. What starts within any window never adds up to more than the limit:
the starts of the last window are kept, summed in 240 slices, and a correction changes the slice in which
the call started. And starts are spread evenly (GCRA, the generic cell rate algorithm, with a burst of 5 %),
so that the limit is not used up in the first second of each minute. The plain GCRA guarantees the first
rule too, but gives up the share of the limit that the largest request needs as a burst.

One task of each process holds a reservation at a time and sleeps until its start; the others queue behind
it. Processes get their starts in the order of asking, so each gets its share. A reservation that wakes too
late, or into a pause that the provider asked for, is moved: lateness cannot squeeze two windows into one.
"""

# ruff: noqa: S608 - statements are put together from constants; every value is bound

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from callpipeline.failures import UsageError
from callpipeline.limits.answers import Allowance
from callpipeline.limits.database import Database, Session, open_database
from callpipeline.limits.retry import Sleep
from callpipeline.limits.worker import Turns, Worker

SHARE = 0.98
"""Share of the provider's figure that is used: 2 % for the way of a request, which may take a second."""

LONGEST_PAUSE = 900.0
_SLICES = 240
_BURST = 0.05
_LATE = 0.005
"""How late, as a share of the window, a call may start without being moved; the window is as much longer."""

_LOW = 0.01
"""A provider that reports less than this share of a limit (or one unit) as left gets time to come back to it.
Less than the 2 % that we leave: only somebody else on the same account can have used that."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS starts (
    pool TEXT NOT NULL,
    slice BIGINT NOT NULL,
    requests DOUBLE PRECISION NOT NULL,
    tokens DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (pool, slice)
);
CREATE TABLE IF NOT EXISTS pace (
    pool TEXT PRIMARY KEY,
    epoch TEXT NOT NULL,
    latest DOUBLE PRECISION NOT NULL,
    paused DOUBLE PRECISION NOT NULL,
    requests DOUBLE PRECISION NOT NULL,
    tokens DOUBLE PRECISION NOT NULL,
    most_requests DOUBLE PRECISION,
    most_tokens DOUBLE PRECISION
)
"""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The provider's figures for one pool; ``None`` = no limit. ``window`` is 60 s but in simulations."""

    requests: float | None = None
    tokens: float | None = None
    window: float = 60.0
    share: float = SHARE


@dataclass
class _Booking:
    """A reserved start: when, in the database's steady time, and in which slice.

    ``moved``: by how much it moved the pace of each metric on.
    """

    requests: float
    tokens: float
    at: float = 0.0
    number: int = 0
    booked: bool = False
    moved: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Pace:
    """Where a pool stands. ``requests`` and ``tokens``: when the even pace has room for the next."""

    latest: float
    paused: float
    requests: float
    tokens: float
    most_requests: float | None
    most_tokens: float | None


class Reservation:
    """A call that may go now. Tell ``settle`` how many tokens it really took."""

    def __init__(self, rates: Rates, pool: str, booking: _Booking, waited: float) -> None:
        self.waited = waited
        self._rates = rates
        self._pool = pool
        self._booking = booking

    def settle(self, tokens: float) -> None:
        """Correct the reservation by the usage that the provider reported. Does not wait."""
        self._rates._correct(self._pool, self._booking, tokens)


class Rates:
    """Rates of all pools. Use one object a process, from any number of tasks.

    ``limit`` gives a pool's figures, ``None`` for a pool without any.
    """

    def __init__(
        self, database: Database, limit: Callable[[str], RateLimit | None], *, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._database = database
        self._limit = limit
        self._sleep = sleep
        self._worker = Worker("rates")
        self._turns = Turns()
        self._bookings: dict[int, tuple[str, _Booking]] = {}
        self._tokens = count()
        self._most: dict[tuple[str, str], float | None] = {}

    async def reserve(self, pool: str, tokens: float = 0.0) -> Reservation:
        """Wait until one request of ``tokens`` (estimated, rather too high) may start.

        Raises:
            UsageError: the request alone is larger than the limit.
        """
        limit = self._limit(pool)
        booking = _Booking(1.0, tokens)
        waited = 0.0
        if limit is None:
            return Reservation(self, pool, booking, waited)
        _check(pool, limit, booking)
        try:
            async with self._turns.of(pool):
                while (wait := await self._worker.do(self._book, pool, limit, booking)) > 0:
                    await self._sleep(wait)
                    waited += wait
        except BaseException:
            self._worker.later(self._cancel, pool, limit, booking)
            raise
        return Reservation(self, pool, booking, waited)

    def slow_down(self, pool: str, seconds: float) -> None:
        """Let no call of ``pool`` start for ``seconds``, in no process; then go on at the even pace.

        Does not wait; every later ``reserve`` of this process heeds it.
        """
        limit = self._limit(pool)
        if limit is not None and seconds > 0:
            self._worker.later(self._pause, pool, limit, min(seconds, LONGEST_PAUSE))

    def observe(self, pool: str, reported: Mapping[str, Allowance]) -> None:
        """Heed what the provider reports: a smaller limit than ours takes its place, little left is a pause.

        Others who use the same account are noticed by this. Costs nothing while there is enough of
        everything.
        """
        limit = self._limit(pool)
        if limit is None:
            return
        for metric, allowance in reported.items():
            self._learn(pool, limit, metric, allowance.limit)
        self.slow_down(pool, max(map(_pause_for, reported.values()), default=0.0))

    def close(self) -> None:
        """End the thread and close the database."""
        self._worker.close()
        self._database.close()

    def _learn(self, pool: str, limit: RateLimit, metric: str, reported: float | None) -> None:
        configured: float | None = getattr(limit, metric)
        if reported is None or configured is None:
            return
        most = reported if reported < configured else None
        if self._most.get((pool, metric)) != most:
            self._most[pool, metric] = most
            self._worker.later(self._set_most, pool, limit, metric, most)

    def _correct(self, pool: str, booking: _Booking, tokens: float) -> None:
        limit = self._limit(pool)
        if limit is not None and limit.tokens is not None and booking.booked and tokens != booking.tokens:
            self._worker.later(self._settle, pool, limit, booking, tokens)

    # --- in the thread: one short transaction each ----------------------------------------------------

    def _book(self, pool: str, limit: RateLimit, booking: _Booking) -> float:
        """Reserve a start, or confirm the one that was slept for; return the seconds until it, 0 = go."""
        with self._database.changing(f"rates {pool}") as session:
            epoch, now = session.steady()
            pace = self._pace(session, pool, limit, epoch, now)
            if booking.booked:
                if booking.at - now > 0.001:
                    return booking.at - now
                if now - booking.at <= _LATE * limit.window and pace.paused <= booking.at:
                    return 0.0
                self._take_back(session, pool, limit, pace, booking)
            booking.at = _start(session, pool, limit, pace, booking, now)
            booking.number = math.floor(booking.at / _width(limit))
            booking.booked = True
            self._change(session, pool, booking.number, booking.requests, booking.tokens)
            self._write(session, pool, epoch, _after(limit, pace, booking))
            return max(0.0, booking.at - now)

    def _cancel(self, pool: str, limit: RateLimit, booking: _Booking) -> None:
        if not booking.booked:
            return
        with self._database.changing(f"rates {pool}") as session:
            epoch, now = session.steady()
            pace = self._pace(session, pool, limit, epoch, now)
            self._take_back(session, pool, limit, pace, booking)
            ((last,),) = session.execute(
                "SELECT max(slice) FROM starts WHERE pool = ? AND requests > 0", (pool,)
            )
            pace.latest = min(pace.latest, 0.0 if last is None else (last + 1) * _width(limit))
            self._write(session, pool, epoch, pace)

    def _take_back(
        self, session: Session, pool: str, limit: RateLimit, pace: _Pace, booking: _Booking
    ) -> None:
        self._change(session, pool, booking.number, -booking.requests, -booking.tokens)
        for metric in ("requests", "tokens"):
            # The last in line takes the wait before it along; behind another one, only its own part.
            last = pace.latest == booking.at
            used = booking.moved[metric] if last else getattr(booking, metric) / _rate(limit, metric, pace)
            setattr(pace, metric, getattr(pace, metric) - used)

    def _settle(self, pool: str, limit: RateLimit, booking: _Booking, tokens: float) -> None:
        difference = tokens - booking.tokens
        booking.tokens = tokens
        with self._database.changing(f"rates {pool}") as session:
            self._change(session, pool, booking.number, 0.0, difference)
            rate = _rate(limit, "tokens", None)
            session.execute("UPDATE pace SET tokens = tokens + ? WHERE pool = ?", (difference / rate, pool))

    def _pause(self, pool: str, limit: RateLimit, seconds: float) -> None:
        with self._database.changing(f"rates {pool}") as session:
            epoch, now = session.steady()
            pace = self._pace(session, pool, limit, epoch, now)
            pace.paused = max(pace.paused, now + seconds)
            no_burst = pace.paused + _BURST * (_guarded(limit) + _width(limit))
            pace.requests, pace.tokens = max(pace.requests, no_burst), max(pace.tokens, no_burst)
            self._write(session, pool, epoch, pace)

    def _set_most(self, pool: str, limit: RateLimit, metric: str, most: float | None) -> None:
        with self._database.changing(f"rates {pool}") as session:
            epoch, now = session.steady()
            pace = self._pace(session, pool, limit, epoch, now)
            setattr(pace, f"most_{metric}", most)
            self._write(session, pool, epoch, pace)

    def _pace(self, session: Session, pool: str, limit: RateLimit, epoch: str, now: float) -> _Pace:
        """Read where the pool stands; what an earlier boot's clock wrote is thrown away."""
        rows = session.execute(
            "SELECT latest, paused, requests, tokens, most_requests, most_tokens, epoch FROM pace"
            " WHERE pool = ?",
            (pool,),
        )
        if rows and rows[0][6] == epoch and rows[0][0] <= now + LONGEST_PAUSE + 2 * limit.window:
            session.execute("DELETE FROM starts WHERE pool = ? AND slice < ?", (pool, _oldest(limit, now)))
            return _Pace(*rows[0][:6])
        session.execute("DELETE FROM starts WHERE pool = ?", (pool,))
        return _Pace(0.0, 0.0, 0.0, 0.0, None, None)

    @staticmethod
    def _write(session: Session, pool: str, epoch: str, pace: _Pace) -> None:
        session.execute(
            "INSERT INTO pace VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (pool) DO UPDATE SET"
            " epoch = excluded.epoch, latest = excluded.latest, paused = excluded.paused,"
            " requests = excluded.requests, tokens = excluded.tokens,"
            " most_requests = excluded.most_requests, most_tokens = excluded.most_tokens",
            (
                pool,
                epoch,
                pace.latest,
                pace.paused,
                pace.requests,
                pace.tokens,
                pace.most_requests,
                pace.most_tokens,
            ),
        )

    @staticmethod
    def _change(session: Session, pool: str, number: int, requests: float, tokens: float) -> None:
        session.execute(
            "INSERT INTO starts VALUES (?, ?, ?, ?) ON CONFLICT (pool, slice) DO UPDATE SET"
            " requests = starts.requests + excluded.requests, tokens = starts.tokens + excluded.tokens",
            (pool, number, requests, tokens),
        )


def open_rates(root: Path, postgres_url: str | None, limit: Callable[[str], RateLimit | None]) -> Rates:
    """Open rates in Postgres when there is a URL, else in ``.limits/rates.sqlite`` of the store ``root``."""
    path = root / ".limits" / "rates.sqlite"
    return Rates(open_database(postgres_url, path, SCHEMA, durable=False), limit)


# --- the arithmetic -----------------------------------------------------------------------------------------


def _width(limit: RateLimit) -> float:
    return limit.window / _SLICES


def _guarded(limit: RateLimit) -> float:
    """The window, longer by what a start may be late."""
    return limit.window * (1.0 + _LATE)


def _oldest(limit: RateLimit, now: float) -> int:
    """The first slice that can still matter at ``now``: one counts as if all in it started at its end."""
    return math.floor((now - _guarded(limit)) / _width(limit)) - 1


def _usable(limit: RateLimit, metric: str, pace: _Pace | None) -> float:
    """What may start within a window; infinite when the metric has no limit."""
    configured: float | None = getattr(limit, metric)
    if configured is None:
        return math.inf
    most: float | None = getattr(pace, f"most_{metric}") if pace else None
    return (configured if most is None else min(configured, most)) * limit.share


def _rate(limit: RateLimit, metric: str, pace: _Pace | None) -> float:
    """Units a second of the even pace: what the window rule gives in the long run."""
    return _usable(limit, metric, pace) / (_guarded(limit) + _width(limit))


def _start(
    session: Session, pool: str, limit: RateLimit, pace: _Pace, booking: _Booking, now: float
) -> float:
    """Return the first moment at which the call may start by both rules, after all that start before it."""
    start = max(now, pace.latest, pace.paused)
    for metric in ("requests", "tokens"):
        wanted, usable = getattr(booking, metric), _usable(limit, metric, pace)
        if not math.isfinite(usable) or wanted == 0:
            continue
        wanted = min(wanted, usable)
        rate = _rate(limit, metric, pace)
        slack = max(0.0, max(_BURST * usable, 1.0 if metric == "requests" else 0.0) - wanted)
        start = max(start, getattr(pace, metric) - slack / rate)
        start = _window_opens(session, pool, limit, metric, wanted, usable, start)
    return start


def _window_opens(
    session: Session, pool: str, limit: RateLimit, metric: str, wanted: float, usable: float, start: float
) -> float:
    """Return when enough of the past has left the window for ``wanted`` more to fit."""
    since = _oldest(limit, start)
    ((total,),) = session.execute(
        f"SELECT sum({metric}) FROM starts WHERE pool = ? AND slice > ?", (pool, since)
    )
    if (total or 0.0) + wanted <= usable:
        return start
    together = wanted
    for number, amount in session.execute(
        f"SELECT slice, {metric} FROM starts WHERE pool = ? ORDER BY slice DESC", (pool,)
    ):
        together += amount
        if together > usable:
            leaves: float = (number + 1) * _width(limit) + _guarded(limit)
            return max(start, leaves)
    return start


def _after(limit: RateLimit, pace: _Pace, booking: _Booking) -> _Pace:
    """Return the pace once the call is booked."""
    pace.latest = booking.at
    for metric in ("requests", "tokens"):
        before = getattr(pace, metric)
        after = max(before, booking.at) + getattr(booking, metric) / _rate(limit, metric, pace)
        booking.moved[metric] = after - before
        setattr(pace, metric, after)
    return pace


def _check(pool: str, limit: RateLimit, booking: _Booking) -> None:
    usable = _usable(limit, "tokens", None)
    if booking.tokens > usable:
        raise UsageError(
            f"One request of {booking.tokens:,.0f} tokens is more than all that {pool} may use"
            f" in {limit.window:g} s: {usable:,.0f}.",
            hint="Send less in one request, or raise the pool's tokens per minute.",
        )


def _pause_for(allowance: Allowance) -> float:
    """Return how long until there is enough of the limit again, if it comes back evenly."""
    if allowance.remaining is None or allowance.reset is None:
        return 0.0
    if not allowance.limit:
        return allowance.reset if allowance.remaining <= 0 else 0.0
    left, low = allowance.remaining / allowance.limit, min(1.0, max(_LOW, 1.0 / allowance.limit))
    return allowance.reset * (low - left) / (1.0 - left) if left < low else 0.0
