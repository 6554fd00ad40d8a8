"""What the processes of the pool tests do: ``python -m callpipeline_tests.defs.processes COMMAND ARGUMENTS``.

They open the instance and the store that their environment names, as runs do.
"""

from __future__ import annotations

import asyncio
import sys
import urllib.request
from contextlib import AsyncExitStack, closing
from pathlib import Path

import dagster as dg

from callpipeline.defs.launch import open_instance
from callpipeline.defs.pools import PoolPage, slot_limit
from callpipeline.limits.slots import Slots, open_slots
from callpipeline.settings import Settings

POOL = "assemblyai"


def slots_of(
    settings: Settings, instance: dg.DagsterInstance, page: PoolPage | None = None, *, run: str = ""
) -> Slots:
    return open_slots(
        settings.store,
        settings.postgres_url,
        slot_limit(instance),
        run=run,
        on_change=page.changed if page else None,
    )


async def call(slots: Slots, address: str, stop: str) -> None:
    """Ask ``address`` from ten tasks, each time with a slot, until the file ``stop`` is there."""

    async def ask(name: str) -> None:
        while not Path(stop).exists():
            async with slots.holding(POOL, what=name):
                await asyncio.to_thread(lambda: urllib.request.urlopen(address, timeout=30).close())

    await asyncio.gather(*(ask(f"recording-{n}") for n in range(10)))


async def hold(slots: Slots, count: str) -> None:
    """Hold ``count`` slots for ever; say so on stdout."""
    async with AsyncExitStack() as held:
        for n in range(int(count)):
            await held.enter_async_context(slots.holding(POOL, what=f"recording-{n}"))
        print("holding", flush=True)
        await asyncio.Event().wait()


def main(command: str, run: str, *arguments: str) -> None:
    work = {"call": call, "hold": hold}[command]
    settings = Settings()
    with open_instance(settings) as instance, closing(PoolPage(instance, run)) as page:
        slots = slots_of(settings, instance, page, run=run)
        asyncio.run(work(slots, *arguments))
        slots.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
