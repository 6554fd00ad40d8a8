"""What the processes of the tests do: ``python -m callpipeline_tests.limits.processes COMMAND ARGUMENTS``.

A database URL of ``-`` stands for the files of one host.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from callpipeline.failures import BudgetExceeded
from callpipeline.limits.costs import Budgets, Costs
from callpipeline.limits.ledger import open_ledger
from callpipeline.limits.rates import RateLimit, open_rates
from callpipeline.limits.slots import open_slots
from callpipeline_tests.limits.jobs import run_jobs

Command = Callable[..., Coroutine[Any, Any, None]]


def database(url: str) -> str | None:
    return None if url == "-" else url


class Log:
    """Lines in a file that many processes append to; their order is the order of what happened."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o666)

    def line(self, *words: object) -> None:
        os.write(self._descriptor, (" ".join(map(str, words)) + "\n").encode())


async def slots(root: str, url: str, log: str) -> None:
    """Hold slots of pool ``p`` again and again until the file ``stop`` is there."""
    size = Path(root, "size")
    shared = open_slots(Path(root), database(url), lambda _: int(size.read_text()))
    record = Log(log)

    async def hold(name: str) -> None:
        while not Path(root, "stop").exists():
            async with shared.holding("p", what=name):
                record.line("+", name)
                await asyncio.sleep(random.uniform(0.005, 0.02))
                record.line("-", name)

    await asyncio.gather(*(hold(f"{os.getpid()}-{n}") for n in range(10)))
    shared.close()


async def hold_all(root: str, url: str, count: str) -> None:
    """Hold ``count`` slots of pool ``p`` for ever; say so on stdout."""
    shared = open_slots(Path(root), database(url), lambda _: int(count))
    async with AsyncExitStack() as held:
        for n in range(int(count)):
            await held.enter_async_context(shared.holding("p", what=f"recording {n}"))
        print("holding", flush=True)
        await asyncio.Event().wait()


async def rates(root: str, url: str, log: str, calls: str, window: str) -> None:
    """Reserve so many calls from ten tasks; each takes 100 tokens of the 150 that it reserves."""
    limit = RateLimit(requests=100, tokens=10_000, window=float(window))
    shared = open_rates(Path(root), database(url), lambda _: limit)
    record = Log(log)
    left = iter(range(int(calls)))

    async def work() -> None:
        for _ in left:
            reservation = await shared.reserve("p", 150)
            record.line(time.monotonic(), os.getpid())
            await asyncio.sleep(0.01)
            reservation.settle(100)

    await asyncio.gather(*(work() for _ in range(10)))
    shared.close()


async def spend(root: str, url: str, name: str, calls: str) -> None:
    """Reserve a cent for each of so many calls under a budget of a dollar; print how many went through."""
    ledger = open_ledger(Path(root), database(url), run=name)
    costs = Costs(ledger.database, run=name, budgets=Budgets(per_day=1.0))
    print("ready", flush=True)
    sys.stdin.readline()
    through = 0
    for n in range(int(calls)):
        try:
            costs.reserve(f"{name}-{n}", 0.01, provider="p", model="m")
            through += 1
        except BudgetExceeded:
            pass
    print(through, flush=True)
    ledger.close()


async def jobs(root: str, url: str, address: str, first: str, end: str) -> None:
    """Buy the jobs first ... end - 1 of the provider at ``address``."""
    await run_jobs(Path(root), database(url), address, range(int(first), int(end)))


COMMANDS: dict[str, Command] = {
    "slots": slots,
    "hold": hold_all,
    "rates": rates,
    "spend": spend,
    "jobs": jobs,
}

if __name__ == "__main__":
    asyncio.run(COMMANDS[sys.argv[1]](*sys.argv[2:]))
