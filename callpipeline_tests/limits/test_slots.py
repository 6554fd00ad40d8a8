from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from callpipeline.failures import UsageError
from callpipeline.limits.slots import Slots, open_slots
from callpipeline_tests.limits.conftest import Spawn, wait_until

pytestmark = pytest.mark.anyio

SIZE = 3


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.005)


def highest(lines: list[str], before: int = 0) -> int:
    """The most that were held at once, by the order of the lines; ``before`` were held before them."""
    held, most = before, before
    for line in lines:
        held += 1 if line.startswith("+") else -1
        most = max(most, held)
    return most


def test_four_processes_never_hold_more_than_the_limit_while_it_changes_5_2_6(
    tmp_path: Path, url: str | None, spawn: Spawn
) -> None:
    log, size = tmp_path / "log", tmp_path / "size"
    size.write_text("5")
    log.touch()

    def lines() -> list[str]:
        return log.read_text().splitlines()

    def set_size(new: int) -> None:
        temporary = tmp_path / "new"
        temporary.write_text(str(new))
        temporary.rename(size)

    processes = [spawn("slots", tmp_path, url or "-", log) for _ in range(4)]
    wait_until(lambda: len({line.split("-")[0] for line in lines()}) >= 4 and len(lines()) > 200, processes)
    assert highest(lines()) == 5

    # A line is written after a slot was taken and before it is given back, so that the log never shows more
    # than are held. What was taken under the old size ends first.
    set_size(2)
    observer = open_slots(tmp_path, url, lambda _: None)

    def shrunk() -> int:
        wait_until(lambda: len(observer.holders("p")) <= 2, processes)
        return go_on()

    def go_on() -> int:
        start = len(lines())
        wait_until(lambda: len(lines()) > start + 50, processes)
        return start

    shrunk()
    start = shrunk()
    observer.close()
    low = lines()
    assert highest(low[start:], before=held_after(low[:start])) == 2

    set_size(6)
    changed = len(lines())
    wait_until(
        lambda: (
            highest(lines()[changed:], held_after(lines()[:changed])) == 6 and len(lines()) > changed + 200
        ),
        processes,
    )
    (tmp_path / "stop").touch()
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    assert highest(lines()) == 6


def held_after(lines: list[str]) -> int:
    return sum(1 if line.startswith("+") else -1 for line in lines)


async def test_a_killed_process_gives_its_slots_back(tmp_path: Path, url: str | None, spawn: Spawn) -> None:
    process = spawn("hold", tmp_path, url or "-", SIZE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    slots = open_slots(tmp_path, url, lambda _: SIZE)
    assert [(h.pid, h.what, h.number) for h in slots.holders("p")] == [
        (process.pid, f"recording {n}", n) for n in range(SIZE)
    ]

    waiter = asyncio.create_task(take(slots))
    await until(lambda: waiting(slots))
    assert not waiter.done()
    process.kill()
    await asyncio.wait_for(waiter, 30)
    await until(lambda: slots.holders("p") == [])
    slots.close()


def waiting(slots: Slots) -> bool:
    """Whether this process has looked for a slot and found none."""
    return slots._heads["p"].limit > 0


async def take(slots: Slots, pool: str = "p") -> None:
    async with slots.holding(pool):
        pass


async def test_waiters_of_a_process_get_their_slots_in_the_order_of_asking(tmp_path: Path) -> None:
    slots = open_slots(tmp_path, None, lambda _: 1)
    order: list[int] = []

    async def one(number: int) -> None:
        async with slots.holding("p"):
            order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(50):
            group.create_task(one(number))
    assert order == list(range(50))
    slots.close()


async def test_cancelled_waiters_and_holders_lose_no_slot(tmp_path: Path, url: str | None) -> None:
    slots = open_slots(tmp_path, url, lambda _: 2)

    async def stay() -> None:
        async with slots.holding("p"):
            await asyncio.Event().wait()

    tasks = []
    for n in range(60):
        tasks.append(asyncio.create_task(stay()))
        await asyncio.sleep(0)
        if n % 3 == 2:
            tasks[n - 1].cancel()
    await until(lambda: len(slots.holders("p")) == 2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    async with slots.holding("p"), slots.holding("p"):
        assert {h.pid for h in slots.holders("p")} == {os.getpid()}
        assert len(slots.holders("p")) == 2
    slots.close()


async def test_a_process_with_many_waiters_does_not_starve_another(tmp_path: Path, url: str | None) -> None:
    greedy, modest = (open_slots(tmp_path, url, lambda _: 1) for _ in range(2))
    order: list[str] = []

    async def one(slots: Slots, name: str) -> None:
        async with slots.holding("p"):
            order.append(name)
            await asyncio.sleep(0.005)

    crowd = [asyncio.create_task(one(greedy, "greedy")) for _ in range(60)]
    await until(lambda: len(order) > 0)
    before = len(order)
    await asyncio.wait_for(one(modest, "modest"), 30)
    assert order.index("modest") - before < 30
    await asyncio.gather(*crowd)
    greedy.close()
    modest.close()


async def test_jobs_that_a_killed_process_left_at_the_provider_count_until_they_are_fetched(
    tmp_path: Path, url: str | None
) -> None:
    left = {"a", "b"}
    slots = open_slots(tmp_path, url, lambda _: 2, running=lambda _: left)
    waiter = asyncio.create_task(take(slots))
    await until(lambda: waiting(slots))

    async with slots.holding("p", key="a", already_running=True):
        async with slots.holding("p", key="b", already_running=True):
            assert sorted(h.key for h in slots.holders("p")) == ["a", "b"]
            assert not waiter.done()
            left.remove("b")
        await asyncio.wait_for(waiter, 30)
    slots.close()


async def test_a_pool_without_a_limit_never_waits_but_shows_its_holders(tmp_path: Path) -> None:
    slots = open_slots(tmp_path, None, lambda _: None)
    async with slots.holding("p"), slots.holding("p", what="second"):
        assert [h.what for h in slots.pools()["p"]] == ["", "second"]
    slots.close()


async def test_a_pool_of_size_zero_stands_still_until_it_grows(tmp_path: Path) -> None:
    size = 0
    slots = open_slots(tmp_path, None, lambda _: size)
    waiter = asyncio.create_task(take(slots))
    await until(lambda: slots._heads["p"].asked_at > 0)
    assert not waiter.done()
    size = 1
    await asyncio.wait_for(waiter, 30)
    slots.close()


async def test_a_pool_name_cannot_lead_out_of_the_store(tmp_path: Path) -> None:
    slots = open_slots(tmp_path, None, lambda _: 1)
    with pytest.raises(UsageError, match="name of a pool"):
        await take(slots, "../elsewhere")
    slots.close()
