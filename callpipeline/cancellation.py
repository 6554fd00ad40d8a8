"""How long work in a thread learns that nobody waits for it any more.

A thread cannot be killed. Whoever starts one sets ``stop`` in its context; loops over audio call ``checkpoint``
once a block, so that a cancelled run ends within seconds however long the recording is.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar

stop: ContextVar[threading.Event | None] = ContextVar("callpipeline_stop", default=None)


class Stopped(BaseException):
    """Raised inside a thread whose work was cancelled. Not an ``Exception``: nothing may treat it as a failure."""


def checkpoint() -> None:
    """Raise ``Stopped`` if the work around this call was cancelled."""
    event = stop.get()
    if event is not None and event.is_set():
        raise Stopped
