"""How long work in a thread learns that nobody waits for it any more.

A thread cannot be killed. Whoever starts one sets ``stop`` in its context; loops over audio call ``checkpoint``
once a block, so that a cancelled run ends within seconds however long the recording is.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

stop: ContextVar[threading.Event | None] = ContextVar("callpipeline_stop", default=None)


class Stopped(BaseException):
    """Raised inside a thread whose work was cancelled. Not an ``Exception``: nothing may treat it as a failure."""


def checkpoint() -> None:
    """Raise ``Stopped`` if the work around this call was cancelled."""
    event = stop.get()
    if event is not None and event.is_set():
        raise Stopped


async def in_thread(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``fn`` in a thread that ends at its next checkpoint when this call is cancelled."""
    cancelled = threading.Event()
    context = contextvars.copy_context()
    context.run(stop.set, cancelled)
    try:
        return await asyncio.to_thread(context.run, functools.partial(fn, *args, **kwargs))
    except asyncio.CancelledError:
        cancelled.set()
        raise
