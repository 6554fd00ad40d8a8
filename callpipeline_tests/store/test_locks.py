from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from callpipeline.failures import Busy
from callpipeline.store.results import ResultStore
from callpipeline_tests.store.conftest import Start

HOLDER = """
import sys
from pathlib import Path
from callpipeline.store.results import ResultStore
with ResultStore(Path(sys.argv[1])).lock("k1"):
    print("held", flush=True)
    sys.stdin.read() if False else __import__("time").sleep(600)
"""

COUNTER = """
import sys
from pathlib import Path
from callpipeline.store.results import ResultStore
root = Path(sys.argv[1])
count = root / "count"
for _ in range(100):
    with ResultStore(root).lock("k1"):
        count.write_text(str(int(count.read_text()) + 1))
"""


def hold(start: Start, root: Path) -> subprocess.Popen[str]:
    holder = start(HOLDER, root)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_lock_is_free_again_when_its_holder_is_killed(tmp_path: Path, start: Start) -> None:
    store = ResultStore(tmp_path)
    holder = hold(start, tmp_path)
    assert store.try_lock("k1") is None
    with pytest.raises(Busy, match="k1"), store.lock("k1", timeout=0.05):
        pass
    holder.kill()
    with store.lock("k1", timeout=20):
        assert store.try_lock("k1") is None


def test_no_two_processes_hold_a_lock_at_once(tmp_path: Path, start: Start) -> None:
    (tmp_path / "count").write_text("0")
    workers = [start(COUNTER, tmp_path) for _ in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "300"


def test_waiting_for_a_lock_does_not_block_the_event_loop(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)

    async def main() -> list[str]:
        order: list[str] = []

        async def second() -> None:
            async with store.alock("k1"):
                order.append("second")

        async with store.alock("k1"):
            waiting = asyncio.create_task(second())
            for _ in range(5):
                await asyncio.sleep(0)
            order.append("first")
        await waiting
        with pytest.raises(Busy):
            async with store.alock("k2"), store.alock("k2", timeout=0.01):
                pass
        return order

    assert asyncio.run(main()) == ["first", "second"]


def test_a_cancelled_wait_leaves_the_lock_free(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)

    async def main() -> None:
        async def wait() -> None:
            async with store.alock("k1"):
                pass

        async with store.alock("k1"):
            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(main())
    lock = store.try_lock("k1")
    assert lock is not None
    lock.release()
    lock.release()


def test_locks_that_were_given_back_leave_no_files(tmp_path: Path) -> None:
    with ResultStore(tmp_path).lock("k1"):
        pass
    assert list((tmp_path / ".locks").iterdir()) == []
