"""Rates: requests and tokens a minute, reserved before a call and corrected after it, over all processes.

What belongs here: waiting for a start, taking turns for it, and heeding what the provider reports. What does
not: when a call may start (``pacing``).

One task of each process holds a reservation at a time and sleeps until its start; the others queue behind
it. Processes get their starts in the order of asking, so each gets its share. A reservation that wakes too
late, or into a pause that the provider asked for, is moved: lateness cannot squeeze two windows into one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from callpipeline.limits import pacing
from callpipeline.limits.answers import Allowance
from callpipeline.limits.database import Database, Session, open_database
from callpipeline.limits.pacing import LONGEST_PAUSE, SCHEMA, Booking, RateLimit
from callpipeline.limits.retry import Sleep
from callpipeline.limits.worker import Turns, Worker

__all__ = ["SCHEMA", "RateLimit", "Rates", "Reservation", "open_rates"]

P = ParamSpec("P")
T = TypeVar("T")

_LOW = 0.01
"""A provider that reports less than this share of a limit (or one unit) as left gets time to come back to it.
Less than the 2 % that we leave: only somebody else on the same account can have used that."""


class Reservation:
    """A call that may go now. Tell ``settle`` how many tokens it really took."""

    def __init__(self, rates: Rates, pool: str, booking: Booking, waited: float) -> None:
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
        self._most: dict[tuple[str, str], float | None] = {}

    async def reserve(self, pool: str, tokens: float = 0.0) -> Reservation:
        """Wait until one request of ``tokens`` (estimated, rather too high) may start.

        Raises:
            UsageError: the request alone is larger than the limit.
        """
        limit = self._limit(pool)
        booking = Booking(1.0, tokens)
        waited = 0.0
        if limit is None:
            return Reservation(self, pool, booking, waited)
        pacing.check(pool, limit, booking)
        try:
            async with self._turns.of(pool):
                while (wait := await self._worker.do(self._change, pacing.book, pool, limit, booking)) > 0:
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
            self._worker.later(self._change, pacing.pause, pool, limit, min(seconds, LONGEST_PAUSE))

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
            self._worker.later(self._change, pacing.set_most, pool, limit, metric, most)

    def _correct(self, pool: str, booking: Booking, tokens: float) -> None:
        limit = self._limit(pool)
        if limit is not None and limit.tokens is not None and booking.booked and tokens != booking.tokens:
            self._worker.later(self._change, pacing.settle, pool, limit, booking, tokens)

    # --- in the thread ------------------------------------------------------------------------------------

    def _change(
        self,
        change: Callable[Concatenate[Session, str, RateLimit, P], T],
        pool: str,
        limit: RateLimit,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Make one change in one short transaction."""
        with self._database.changing(f"rates {pool}") as session:
            return change(session, pool, limit, *args, **kwargs)

    def _cancel(self, pool: str, limit: RateLimit, booking: Booking) -> None:
        if booking.booked:
            self._change(pacing.cancel, pool, limit, booking)


def open_rates(root: Path, postgres_url: str | None, limit: Callable[[str], RateLimit | None]) -> Rates:
    """Open rates in Postgres when there is a URL, else in ``.limits/rates.sqlite`` of the store ``root``."""
    path = root / ".limits" / "rates.sqlite"
    return Rates(open_database(postgres_url, path, SCHEMA, durable=False), limit)


def _pause_for(allowance: Allowance) -> float:
    """Return how long until there is enough of the limit again, if it comes back evenly."""
    if allowance.remaining is None or allowance.reset is None:
        return 0.0
    if not allowance.limit:
        return allowance.reset if allowance.remaining <= 0 else 0.0
    left, low = allowance.remaining / allowance.limit, min(1.0, max(_LOW, 1.0 / allowance.limit))
    return allowance.reset * (low - left) / (1.0 - left) if left < low else 0.0
