from __future__ import annotations

import asyncio
import threading

import pytest

from callpipeline.limits.worker import Worker

pytestmark = pytest.mark.anyio


async def test_what_must_be_done_is_done_although_the_task_is_cancelled_before_it_began() -> None:
    worker, go, done = Worker("test"), threading.Event(), list[str]()
    worker.later(go.wait)
    sure = asyncio.create_task(worker.surely(done.append, "written down"))
    other = asyncio.create_task(worker.do(done.append, "not needed any more"))
    await asyncio.sleep(0)
    for task in (sure, other):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    go.set()
    worker.close()
    assert done == ["written down"]
