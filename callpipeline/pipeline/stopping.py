"""Stopping the walk of one recording, from any thread, while its neighbours go on.

What belongs here: which walks are under way, and ending one of them. What does not: why (nobody waits for it any
more, or the service ends), and stopping a whole run, which is a cancellation.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from callpipeline.failures import CallPipelineError

T = TypeVar("T")


class WalkStopped(CallPipelineError):
    """Somebody stopped the work on this recording. What was stored stays; the next walk goes on from there."""

    error_class = "cancelled"
    permanent = False


class Stops:
    """The walks under way, by a name that their caller gives them."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._walks: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]]] = {}
        self._unbegun: set[str] = set()
        self._all = False

    async def walking(self, name: str, walk: Coroutine[Any, Any, T]) -> T:
        """Return what ``walk`` returns.

        Raises:
            WalkStopped: ``stop`` was called with this name, before or meanwhile.
        """
        loop = asyncio.get_running_loop()
        with self._mutex:
            if self._all or name in self._unbegun:
                walk.close()
                raise _stopped()
            task = loop.create_task(walk)
            entry = (loop, task)
            self._walks.setdefault(name, set()).add(entry)
        try:
            return await task
        except asyncio.CancelledError:
            around = asyncio.current_task()
            if around is not None and around.cancelling():
                task.cancel()
                await asyncio.wait({task})
                raise
            raise _stopped() from None
        finally:
            with self._mutex:
                self._walks[name].discard(entry)
                if not self._walks[name]:
                    del self._walks[name]

    def stop(self, name: str) -> None:
        """End the walks of this name that are under way, or about to begin, until ``forget``."""
        with self._mutex:
            self._unbegun.add(name)
            for loop, task in self._walks.get(name, ()):
                loop.call_soon_threadsafe(task.cancel)

    def forget(self, name: str) -> None:
        """Let walks of this name begin again."""
        with self._mutex:
            self._unbegun.discard(name)

    def stop_all(self) -> None:
        """End all walks that are under way, and let none begin any more."""
        self._all = True
        for name in list(self._walks):
            self.stop(name)


def _stopped() -> WalkStopped:
    return WalkStopped("The work on this recording was stopped.")
