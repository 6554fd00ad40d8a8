"""From asyncio to a Dagster step: the walks run on a loop in a thread of its own, their outcomes come out in the step.

Event-log writes block for milliseconds each, so they must not happen on the loop; and Dagster interrupts a step
in its main thread (SIGTERM, cancel), so that is where the generator waits and where its ``finally`` stops the work.
"""

from __future__ import annotations

import asyncio
import queue
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

import dagster as dg

T = TypeVar("T")
STOP_SECONDS = 10.0
STOPS = (signal.SIGINT, signal.SIGTERM)


class Bridge(Generic[T]):
    """Iterate over what ``work(emit)`` emits, as it does. The work is cancelled when the iteration is left early."""

    def __init__(self, work: Callable[[Callable[[T], None]], Awaitable[Any]]) -> None:
        self._work = work
        self._items: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._ready = threading.Event()

    def __iter__(self) -> Iterator[T]:
        thread = threading.Thread(target=self._run, name="callpipeline-loop", daemon=True)
        thread.start()
        try:
            while (item := self._items.get()) is not None:
                yield item
        finally:
            self._cancel(thread)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()
            self._items.put(None)

    async def _main(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._ready.set()
        await self._work(self._items.put)

    def _cancel(self, thread: threading.Thread) -> None:
        self._ready.wait()
        if thread.is_alive() and self._loop is not None and self._task is not None:
            with suppress(RuntimeError):  # the loop may close between the two lines
                self._loop.call_soon_threadsafe(self._task.cancel)
            thread.join(STOP_SECONDS)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold back a stop (cancel, Ctrl-C) until the block has done what must not be left half done.

    Raises:
        DagsterExecutionInterruptedError: after the block, when somebody wanted the run to stop meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():  # signals come to the main thread only
        yield
        return
    came = False

    def note(*_: object) -> None:
        nonlocal came
        came = True

    before = {number: signal.signal(number, note) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise dg.DagsterExecutionInterruptedError
