"""A thread of our own for short blocking work (locks, database), and first-come-first-served turns for tasks.

The loop's default executor is not used: long decodes may fill it, and a gate that waits behind them stands
still. One thread also gives an order: what is submitted later runs later, so that a cancelled step can be
undone by submitting its opposite.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar
from weakref import WeakKeyDictionary

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class Worker:
    """One thread, started when first needed."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"callpipeline-{name}")

    async def do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` in the thread. Cancelling the waiting task does not stop work that has begun."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, lambda: work(*args, **kwargs))

    async def surely(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` in the thread, even when the waiting task is cancelled before it has begun."""
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._executor, lambda: work(*args, **kwargs)))

    def later(self, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run ``work`` after all that was submitted before, and do not wait for it. Its failure is logged."""
        self._executor.submit(work, *args, **kwargs).add_done_callback(_log_failure)

    def close(self) -> None:
        """Finish what was submitted and end the thread."""
        self._executor.shutdown(wait=True)


def _log_failure(future: Future[object]) -> None:
    if error := future.exception():
        log.error("background work on limits failed: %s", error, exc_info=error)


class Turns:
    """First come, first served between the tasks of one event loop, by name."""

    def __init__(self) -> None:
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Lock]] = (
            WeakKeyDictionary()
        )

    def of(self, name: str) -> asyncio.Lock:
        """Return the lock of ``name`` for the running loop."""
        return self._locks.setdefault(asyncio.get_running_loop(), {}).setdefault(name, asyncio.Lock())
