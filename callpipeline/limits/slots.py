"""Slots: how many calls or jobs of one pool may be under way at a time, over all processes and machines.

How the places are counted is one of two files: ``slot_files`` (one host) and ``slot_postgres``. This one is
the waiting: the tasks of a process queue first come, first served behind one of them, the contender;
contenders of several processes take turns as the head, and only the head looks for a free place. So
hundreds of waiting calls cost one look every 25 ms, and a process with many waiters does not keep others
out.

The size is asked anew before each place that is given, so a changed limit holds at once. When it shrinks
below what is under way, nothing is stopped; no place is given until enough have ended.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Protocol
from weakref import WeakKeyDictionary

from callpipeline.limits.worker import Turns, Worker
from callpipeline.model import Record

Limit = Callable[[str], int | None]
"""The size of a pool, ``None`` = no limit. Called in a thread of its own; may read a database."""

Running = Callable[[str], Iterable[str]]
"""Keys of jobs that are under way at the provider whether or not somebody holds a slot for them."""

OnChange = Callable[["Slots", str], None]
"""Told that somebody here took or gave back a slot of a pool, in the thread that counts: return at once."""

POLL_SECONDS = 0.025
_ASK_AGAIN_SECONDS = 0.25
_NO_LIMIT = 1_000_000


class Holder(Record):
    """Who holds a slot.

    ``what`` is for people (a recording, a purpose), ``key`` names the provider job, ``run`` the run.
    """

    pool: str
    number: int = -1
    pid: int
    host: str
    run: str = ""
    what: str = ""
    key: str = ""
    since: datetime


class Places(Protocol):
    """Counted places, shared by all processes. All methods may block; they are called from one thread."""

    def enter(self, pool: str) -> bool:
        """Try to become the head: the one process that may look for a place.

        Counts as waiting if it fails.
        """

    def leave(self, pool: str) -> bool:
        """Stop being the head or waiting to be; return whether other processes wait."""

    def busy(self, pool: str, running: Callable[[], Iterable[str]]) -> int:
        """Count the places that are held, and the running jobs that have none."""

    def take(self, holder: Holder) -> int:
        """Take the free place with the lowest number."""

    def free(self, pool: str, number: int) -> None:
        """Give a place back."""

    def holders(self, pool: str) -> list[Holder]:
        """List who holds places, by number."""

    def pools(self) -> list[str]:
        """List the pools that were ever used."""

    def close(self) -> None:
        """Let go of everything."""


@dataclass
class _Queue:
    """The waiters of one pool in one event loop."""

    freed: asyncio.Event = field(default_factory=asyncio.Event)
    not_before: float = 0.0


@dataclass
class _Head:
    """What the thread knows about a pool."""

    limit: int = 0
    asked_at: float = float("-inf")


class Slots:
    """Slots of all pools. Use one object a process, from any number of tasks; do not carry it over a fork.

    ``limit`` is asked for a pool's size; ``running`` for the keys of provider jobs that go on without a
    holder (those of killed processes), which count too. ``run`` says in which run this process holds.
    ``on_change`` is told after every change here. ``poll``: seconds between two looks for a free place.
    """

    def __init__(
        self,
        places: Places,
        limit: Limit,
        *,
        running: Running | None = None,
        run: str = "",
        on_change: OnChange | None = None,
        poll: float = POLL_SECONDS,
    ) -> None:
        self._places = places
        self._limit = limit
        self._running = running or (lambda _: ())
        self._run = run
        self._on_change = on_change or (lambda slots, pool: None)
        self._poll = poll
        self._worker = Worker("slots")
        self._turns = Turns()
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, defaultdict[str, _Queue]] = (
            WeakKeyDictionary()
        )
        self._heads: defaultdict[str, _Head] = defaultdict(_Head)
        self._tokens = count()
        self._taken: dict[int, tuple[str, int]] = {}

    @asynccontextmanager
    async def holding(
        self, pool: str, *, what: str = "", key: str = "", already_running: bool = False
    ) -> AsyncIterator[None]:
        """Hold a slot of ``pool`` for a block, waiting for it as long as it takes.

        ``already_running``: the job ``key`` is at the provider already, left there by a killed process. It is
        counted without a slot, so it gets one at once, out of turn, whatever the limit.
        """
        token = next(self._tokens)
        holder = Holder(
            pool=pool,
            pid=os.getpid(),
            host=socket.gethostname(),
            run=self._run,
            what=what,
            key=key,
            since=datetime.now(UTC),
        )
        try:
            if already_running:
                await self._worker.do(self._take, token, holder)
            else:
                await self._wait_for(token, holder)
            yield
        finally:
            self._worker.later(self._give_back, token)
            self._wake_after_give_back(pool)

    async def size(self, pool: str) -> int | None:
        """Return how many slots ``pool`` has now, ``None`` = no limit."""
        return await self._worker.do(self._limit, pool)

    def holders(self, pool: str) -> list[Holder]:
        """List who holds slots of ``pool``, over all processes. Blocks for a moment."""
        return self._places.holders(pool)

    def pools(self) -> Mapping[str, list[Holder]]:
        """Return the holders of all pools that were ever used."""
        return {pool: self._places.holders(pool) for pool in self._places.pools()}

    def close(self) -> None:
        """Give everything back and end the thread."""
        self._worker.close()
        self._places.close()

    # --- waiting, in the event loop -------------------------------------------------------------------

    async def _wait_for(self, token: int, holder: Holder) -> None:
        queue = self._queue(holder.pool)
        async with self._turns.of(holder.pool):
            try:
                await asyncio.sleep(queue.not_before - time.monotonic())
                while (others := await self._look(queue, token, holder)) is None:
                    await self._pause(queue)
                # Others look every `poll` seconds: two of these are enough for one of them to come first.
                queue.not_before = time.monotonic() + 2.5 * self._poll if others else 0.0
            except BaseException:
                self._worker.later(self._places.leave, holder.pool)
                raise

    async def _look(self, queue: _Queue, token: int, holder: Holder) -> bool | None:
        queue.freed.clear()
        return await self._worker.do(self._attempt, token, holder)

    async def _pause(self, queue: _Queue) -> None:
        """Wait for the next look; a slot that this process gives back ends the wait at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll):
                await queue.freed.wait()

    def _wake_after_give_back(self, pool: str) -> None:
        loop = asyncio.get_running_loop()
        freed = self._queue(pool).freed

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has ended: nobody waits in it
                loop.call_soon_threadsafe(freed.set)

        self._worker.later(wake)

    def _queue(self, pool: str) -> _Queue:
        return self._queues.setdefault(asyncio.get_running_loop(), defaultdict(_Queue))[pool]

    # --- looking, in the thread -----------------------------------------------------------------------

    def _attempt(self, token: int, holder: Holder) -> bool | None:
        """Take a place if there is one; return whether other processes wait, ``None`` if there is none."""
        pool = holder.pool
        if not self._places.enter(pool):
            return None
        head = self._heads[pool]
        busy = self._places.busy(pool, lambda: self._running(pool))
        if busy >= head.limit and time.monotonic() - head.asked_at < _ASK_AGAIN_SECONDS:
            return None
        limit = self._limit(pool)
        head.limit, head.asked_at = _NO_LIMIT if limit is None else limit, time.monotonic()
        if busy >= head.limit:
            return None
        self._take(token, holder)
        return self._places.leave(pool)

    def _take(self, token: int, holder: Holder) -> None:
        self._taken[token] = holder.pool, self._places.take(holder)
        self._on_change(self, holder.pool)

    def _give_back(self, token: int) -> None:
        if token in self._taken:
            pool, number = self._taken.pop(token)
            self._places.free(pool, number)
            self._on_change(self, pool)


def open_places(root: Path, postgres_url: str | None) -> Places:
    """Open places in Postgres when there is a URL, else as lock files below the store ``root``."""
    if postgres_url:
        from callpipeline.limits.slot_postgres import PostgresPlaces

        return PostgresPlaces(postgres_url)
    from callpipeline.limits.slot_files import FilePlaces

    return FilePlaces(root)


def open_slots(
    root: Path,
    postgres_url: str | None,
    limit: Limit,
    *,
    running: Running | None = None,
    run: str = "",
    on_change: OnChange | None = None,
) -> Slots:
    """Open slots on the places of ``open_places``; the rest as ``Slots`` has it."""
    places = open_places(root, postgres_url)
    return Slots(places, limit, running=running, run=run, on_change=on_change)
