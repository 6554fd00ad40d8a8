"""Dagster's pools set the limits of the gate, and show who holds its slots."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest

from callpipeline.defs.launch import open_instance
from callpipeline.defs.pools import PoolPage, pool_limits, prepare, slot_limit, sweep
from callpipeline.limits.slots import Slots
from callpipeline.settings import Settings
from callpipeline_tests.defs.conftest import House
from callpipeline_tests.defs.processes import POOL, slots_of

SHIPPED = {
    "assemblyai": 5,
    "openai_audio": 3,
    "openai_chat": 20,
    "openai_chat_small": 20,
    "openai_embeddings": 4,
}
"""What a fresh instance's pools are seeded with."""

Calls = Callable[[int], Path]
Start = Callable[..., subprocess.Popen[str]]


class Counter:
    """A server that takes its time, and counts how many requests are with it at once."""

    def __init__(self) -> None:
        self.now = self.most = self.ended = 0
        self._lock = threading.Lock()
        counter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                counter.count(1)
                time.sleep(0.02)
                counter.count(-1)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def count(self, step: int) -> None:
        with self._lock:
            self.now += step
            self.most = max(self.most, self.now)
            self.ended += step < 0

    def most_of_the_next(self, requests: int) -> int:
        """Return how many at most are here at once while so many more end."""
        with self._lock:
            self.most, end = self.now, self.ended + requests
        wait_until(lambda: self.ended >= end)
        return self.most

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def counter() -> Iterator[Counter]:
    counter = Counter()
    yield counter
    counter.close()


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process of ``processes``; it is killed at the latest when the test ends."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "callpipeline_tests.defs.processes", *map(str, arguments)]
        started.append(subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def wait_until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.01)


def shown(instance: dg.DagsterInstance, pool: str = POOL) -> set[tuple[str, str]]:
    """(run, what stands where Dagster has the step) of who has a slot, as the pool's page says."""
    info = instance.event_log_storage.get_concurrency_info(pool)
    return {(slot.run_id, slot.step_key) for slot in info.claimed_slots}


def is_empty(instance: dg.DagsterInstance, pool: str = POOL) -> bool:
    """Whether nobody has a slot or waits for one, as the pool's page says."""
    info = instance.event_log_storage.get_concurrency_info(pool)
    return not info.claimed_slots and not info.pending_steps


def set_limit(instance: dg.DagsterInstance, slots: int, pool: str = POOL) -> None:
    instance.event_log_storage.set_concurrency_slots(pool, slots)


@pytest.mark.timeout(120)
def test_four_processes_keep_to_the_limit_of_the_pool_while_people_change_it(
    instance: dg.DagsterInstance, counter: Counter, start: Start, tmp_path: Path
) -> None:
    """Dagster's own claim lets more through.

    Asked by two or four processes of ten claimants each, with a limit of 3: 4 at once on SQLite, 9 on Postgres.
    """
    stop = tmp_path / "stop"
    set_limit(instance, 3)
    processes = [start("call", f"run-{n}", counter.address, stop) for n in range(4)]
    assert counter.most_of_the_next(150) == 3

    command = [sys.executable, "-m", "dagster", "instance", "concurrency", "set", POOL, "2"]
    subprocess.run(command, env=os.environ, check=True, capture_output=True)
    wait_until(lambda: counter.most_of_the_next(40) <= 2)
    assert counter.most_of_the_next(60) == 2

    set_limit(instance, 6)
    wait_until(lambda: counter.most_of_the_next(40) == 6)
    assert counter.most_of_the_next(60) == 6
    stop.touch()
    assert [process.wait() for process in processes] == [0] * 4
    assert is_empty(instance)


@pytest.mark.timeout(120)
def test_a_killed_process_frees_its_slots_at_once_whatever_the_page_says(
    instance: dg.DagsterInstance, start: Start
) -> None:
    set_limit(instance, 3)
    left = _killed(instance, start)
    assert shown(instance) == left

    async def take_all(slots: Slots) -> None:
        mine = {("new-run", f"mine-{n}") for n in range(3)}
        async with AsyncExitStack() as held:
            for n in range(3):
                await held.enter_async_context(slots.holding(POOL, what=f"mine-{n}"))
            # That the page of dead lines had no room does not matter, and is put right meanwhile.
            while shown(instance) != mine:
                await asyncio.sleep(0.02)

    with closing(PoolPage(instance, "new-run")) as page:
        with closing(slots_of(Settings(), instance, page, run="new-run")) as slots:
            asyncio.run(take_all(slots))
        wait_until(lambda: is_empty(instance))


def _killed(instance: dg.DagsterInstance, start: Start) -> set[tuple[str, str]]:
    """Kill a process that holds three slots; return what the page says of it."""
    killed = start("hold", "killed-run", 3)
    left = {("killed-run", f"recording-{n}") for n in range(3)}
    wait_until(lambda: shown(instance) == left)
    killed.kill()
    killed.wait()
    return left


@pytest.mark.timeout(120)
def test_a_run_sweeps_what_a_killed_one_left_on_the_page(house: House, calls: Calls, start: Start) -> None:
    set_limit(house.instance, 3)
    left = _killed(house.instance, start)
    assert shown(house.instance) == left
    [run] = house.process(house.take_in(calls(1)))
    assert run.success
    assert is_empty(house.instance)


def test_what_a_step_of_somebody_else_claimed_is_not_swept(instance: dg.DagsterInstance) -> None:
    @dg.job
    def other() -> None:
        @dg.op(name="asks_too")
        def asks_too() -> None:
            pass

        asks_too()

    run = other.execute_in_process(instance=instance)
    set_limit(instance, 3)
    storage = instance.event_log_storage
    assert storage.claim_concurrency_slot(POOL, run.run_id, "asks_too").is_claimed
    assert storage.claim_concurrency_slot(POOL, run.run_id, "a recording").is_claimed
    assert sweep(instance, Settings()) == 1
    assert shown(instance) == {(run.run_id, "asks_too")}


def test_who_holds_slots_of_two_pools_at_once_is_shown_on_both_pages(instance: dg.DagsterInstance) -> None:
    for pool in ("openai_audio", "openai_chat"):
        set_limit(instance, 3, pool)
    one, two = ("run", "recording"), ("run", "recording (2)")

    async def work(slots: Slots) -> None:
        async with slots.holding("openai_chat", what="recording"):
            async with (
                slots.holding("openai_audio", what="recording"),
                slots.holding("openai_audio", what="recording"),
            ):
                while shown(instance, "openai_audio") != {one, two} or shown(instance, "openai_chat") != {
                    one
                }:
                    await asyncio.sleep(0.02)
            while shown(instance, "openai_audio") or shown(instance, "openai_chat") != {one}:
                await asyncio.sleep(0.02)

    with (
        closing(PoolPage(instance, "run")) as page,
        closing(slots_of(Settings(), instance, page, run="run")) as slots,
    ):
        asyncio.run(work(slots))


def test_the_first_run_gives_every_pool_its_page_with_the_settings_limit(house: House, calls: Calls) -> None:
    house.process(house.take_in(calls(1)))
    assert pool_limits(house.instance) == SHIPPED


def test_the_limit_of_the_pool_holds_against_a_setting_and_the_log_says_so(
    house: House, calls: Calls
) -> None:
    set_limit(house.instance, 4)
    set_limit(house.instance, 0, "openai_chat")
    house.settings = Settings(assemblyai_slots=2)
    [run] = house.process(house.take_in(calls(1)))
    assert pool_limits(house.instance) == {**SHIPPED, "assemblyai": 4, "openai_chat": 0}
    warnings = [
        entry.user_message for entry in house.instance.all_logs(run.run_id) if entry.level == logging.WARNING
    ]
    assert len(warnings) == 2
    assert warnings[0].startswith("CALLPIPELINE_ASSEMBLYAI_SLOTS is 2, but the pool assemblyai has 4 slots")
    assert warnings[1].startswith("The pool openai_chat has 0 slots")


def test_the_default_limit_of_the_instance_comes_before_settings_that_nobody_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = Path(os.environ["DAGSTER_HOME"], "dagster.yaml")
    config.write_text(config.read_text() + "concurrency:\n  pools:\n    default_limit: 7\n")
    settings = Settings(openai_audio_slots=2)
    with open_instance(settings) as instance:
        assert prepare(instance, settings) == []
        assert pool_limits(instance) == {**dict.fromkeys(SHIPPED, 7), "openai_audio": 2}


def test_a_pool_that_somebody_deletes_falls_back_to_the_setting(instance: dg.DagsterInstance) -> None:
    settings = Settings()
    prepare(instance, settings)
    assert slot_limit(instance)(POOL) == 5
    instance.event_log_storage.delete_concurrency_limit(POOL)
    assert slot_limit(instance)(POOL) is None
