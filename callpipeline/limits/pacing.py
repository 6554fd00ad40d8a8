"""When a call may start: two rules over what a pool's tables say has started, inside one transaction.

What starts within any window never adds up to more than the limit: the starts of the last window are kept,
summed in 240 slices, and a correction changes the slice in which the call started. And starts are spread
evenly (GCRA, the generic cell rate algorithm), so that the limit is not used up in the first second of each
minute. The plain GCRA guarantees the first rule too, but gives up the share of the limit that the largest
request needs as a burst.

The burst is small, for whatever starts together comes together again a window later: should the first lot be
a second late at the provider (a new connection) and the second one not, both are in one window.

What belongs here: the rules, their tables and their arithmetic. What does not: opening transactions, waiting,
and taking turns (``rates``).
"""

# ruff: noqa: S608 - statements are put together from constants; every value is bound

from __future__ import annotations

import math
from dataclasses import dataclass, field

from callpipeline.failures import UsageError
from callpipeline.limits.database import Session

SHARE = 0.98
"""Share of the provider's figure that is used: 2 % for the way of a request, which may take a second."""

LONGEST_PAUSE = 900.0
_SLICES = 240
_BURST = 0.01
"""Share of the limit that may start at once, besides the first: less than the share that we leave (``SHARE``)."""

_FASTER = 1.03
"""How much faster the even pace is than the limit. The window rule holds it back; room that a late, cancelled or
over-estimated call left is made up for."""

_LATE = 0.005
"""How late, as a share of the window, a call may start without being moved; the window is as much longer."""

_CLOSE = 0.001
"""A start that is no further away than this (s) is now."""

_METRICS = ("requests", "tokens")

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
class Booking:
    """A reserved start: when, in the database's steady time, and in which slice.

    ``moved``: by how much it moved the pace of each metric on.
    """

    requests: float
    tokens: float
    at: float = 0.0
    number: int = 0
    booked: bool = False
    moved: dict[str, float] = field(default_factory=dict)


def check(pool: str, limit: RateLimit, booking: Booking) -> None:
    """Refuse a request that could never start.

    Raises:
        UsageError: it alone is larger than the limit.
    """
    usable = _usable(limit, "tokens", None)
    if booking.tokens > usable:
        raise UsageError(
            f"One request of {booking.tokens:,.0f} tokens is more than all that {pool} may use"
            f" in {limit.window:g} s: {usable:,.0f}.",
            hint="Send less in one request, or raise the pool's tokens per minute.",
        )


# --- one transaction each -----------------------------------------------------------------------------------


def book(session: Session, pool: str, limit: RateLimit, booking: Booking) -> float:
    """Reserve a start, or confirm the one that was slept for; return the seconds until it, 0 = go."""
    pace = _Pace.read(session, pool, limit)
    now = pace.now
    if booking.booked:
        if booking.at - now > _CLOSE:
            return booking.at - now
        if now - booking.at <= _LATE * limit.window and pace.paused <= booking.at:
            return 0.0
        _take_back(session, pool, limit, pace, booking)
    booking.at = _start(session, pool, limit, pace, booking)
    booking.number = math.floor(booking.at / _width(limit))
    booking.booked = True
    _add(session, pool, booking.number, booking.requests, booking.tokens)
    _move_on(limit, pace, booking)
    pace.write(session, pool)
    return max(0.0, booking.at - now)


def cancel(session: Session, pool: str, limit: RateLimit, booking: Booking) -> None:
    """Give a reserved start back to those behind it."""
    pace = _Pace.read(session, pool, limit)
    _take_back(session, pool, limit, pace, booking)
    ((last,),) = session.execute("SELECT max(slice) FROM starts WHERE pool = ? AND requests > 0", (pool,))
    pace.latest = min(pace.latest, 0.0 if last is None else (last + 1) * _width(limit))
    pace.write(session, pool)


def settle(session: Session, pool: str, limit: RateLimit, booking: Booking, tokens: float) -> None:
    """Put what a call really took in place of what was reserved for it."""
    difference = tokens - booking.tokens
    booking.tokens = tokens
    _add(session, pool, booking.number, 0.0, difference)
    rate = _rate(limit, "tokens", None)
    session.execute("UPDATE pace SET tokens = tokens + ? WHERE pool = ?", (difference / rate, pool))


def pause(session: Session, pool: str, limit: RateLimit, seconds: float) -> None:
    """Let nothing start for ``seconds``, and nothing in a burst after it."""
    pace = _Pace.read(session, pool, limit)
    pace.paused = max(pace.paused, pace.now + seconds)
    no_burst = pace.paused + _BURST * (_guarded(limit) + _width(limit))
    pace.requests, pace.tokens = max(pace.requests, no_burst), max(pace.tokens, no_burst)
    pace.write(session, pool)


def set_most(session: Session, pool: str, limit: RateLimit, metric: str, most: float | None) -> None:
    """Note the provider's own figure for a metric, where it is smaller than ours."""
    pace = _Pace.read(session, pool, limit)
    setattr(pace, f"most_{metric}", most)
    pace.write(session, pool)


# --- tables -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Pace:
    """Where a pool stands at ``now``. ``requests`` and ``tokens``: when the even pace has room for the next."""

    epoch: str
    now: float
    latest: float = 0.0
    paused: float = 0.0
    requests: float = 0.0
    tokens: float = 0.0
    most_requests: float | None = None
    most_tokens: float | None = None

    @classmethod
    def read(cls, session: Session, pool: str, limit: RateLimit) -> _Pace:
        """Read where the pool stands; what an earlier boot's clock wrote is thrown away."""
        epoch, now = session.steady()
        rows = session.execute(
            "SELECT latest, paused, requests, tokens, most_requests, most_tokens, epoch FROM pace"
            " WHERE pool = ?",
            (pool,),
        )
        if rows and rows[0][6] == epoch and rows[0][0] <= now + LONGEST_PAUSE + 2 * limit.window:
            session.execute("DELETE FROM starts WHERE pool = ? AND slice < ?", (pool, _oldest(limit, now)))
            return cls(epoch, now, *rows[0][:6])
        session.execute("DELETE FROM starts WHERE pool = ?", (pool,))
        return cls(epoch, now)

    def write(self, session: Session, pool: str) -> None:
        session.execute(
            "INSERT INTO pace VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (pool) DO UPDATE SET"
            " epoch = excluded.epoch, latest = excluded.latest, paused = excluded.paused,"
            " requests = excluded.requests, tokens = excluded.tokens,"
            " most_requests = excluded.most_requests, most_tokens = excluded.most_tokens",
            (
                pool,
                self.epoch,
                self.latest,
                self.paused,
                self.requests,
                self.tokens,
                self.most_requests,
                self.most_tokens,
            ),
        )


def _add(session: Session, pool: str, number: int, requests: float, tokens: float) -> None:
    session.execute(
        "INSERT INTO starts VALUES (?, ?, ?, ?) ON CONFLICT (pool, slice) DO UPDATE SET"
        " requests = starts.requests + excluded.requests, tokens = starts.tokens + excluded.tokens",
        (pool, number, requests, tokens),
    )


def _take_back(session: Session, pool: str, limit: RateLimit, pace: _Pace, booking: Booking) -> None:
    _add(session, pool, booking.number, -booking.requests, -booking.tokens)
    for metric in _METRICS:
        # The last in line takes the wait before it along; behind another one, only its own part.
        last = pace.latest == booking.at
        used = booking.moved[metric] if last else getattr(booking, metric) / _rate(limit, metric, pace)
        setattr(pace, metric, getattr(pace, metric) - used)


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
    """Units a second of the even pace."""
    return _FASTER * _usable(limit, metric, pace) / (_guarded(limit) + _width(limit))


def _start(session: Session, pool: str, limit: RateLimit, pace: _Pace, booking: Booking) -> float:
    """Return the first moment at which the call may start by both rules, after all that start before it."""
    start = max(pace.now, pace.latest, pace.paused)
    for metric in _METRICS:
        wanted, usable = getattr(booking, metric), _usable(limit, metric, pace)
        if not math.isfinite(usable) or wanted == 0:
            continue
        wanted = min(wanted, usable)
        slack = _BURST * usable / _rate(limit, metric, pace)
        start = max(start, getattr(pace, metric) - slack)
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


def _move_on(limit: RateLimit, pace: _Pace, booking: Booking) -> None:
    """Move the pace on by a call that is booked."""
    pace.latest = booking.at
    for metric in _METRICS:
        before = getattr(pace, metric)
        after = max(before, booking.at) + getattr(booking, metric) / _rate(limit, metric, pace)
        booking.moved[metric] = after - before
        setattr(pace, metric, after)
