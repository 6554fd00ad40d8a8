from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callpipeline.failures import UsageError
from callpipeline.limits.answers import Allowance
from callpipeline.limits.database import SqliteDatabase
from callpipeline.limits.rates import SCHEMA, RateLimit, Rates
from callpipeline_tests.limits.conftest import Spawn

pytestmark = pytest.mark.anyio

STEP = st.tuples(
    st.floats(0, 0.2),
    st.floats(0, 1),
    st.one_of(st.just(0.0), st.floats(0, 40)),
    st.one_of(st.just(0.0), st.floats(0, 10)),
)
"""Share of the limit that is asked, share of it that is used, seconds idle, seconds of oversleeping."""
CHAT = RateLimit(requests=500, tokens=1_000_000)


class World:
    """A clock that only sleeping moves: minutes pass at once. ``late``: how much too long a sleep is."""

    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.late = 0.0
        self.path = folder / "rates.sqlite"

    def rates(self, limit: RateLimit) -> Rates:
        database = SqliteDatabase(self.path, SCHEMA, durable=False, clock=lambda: self.now)
        return Rates(database, lambda _: limit, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds + self.late


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def worst_window(starts: list[tuple[float, float]], window: float) -> float:
    """The most of the second figures within any window, its start included, its end not."""
    starts = sorted(starts)
    times = [t for t, _ in starts]
    sums = [0.0, *accumulate(amount for _, amount in starts)]
    return max(sums[bisect_left(times, t + window)] - sums[n] for n, t in enumerate(times))


async def test_five_minutes_of_chat_use_95_percent_and_never_pass_a_limit_in_any_minute(world: World) -> None:
    rates, chance = world.rates(CHAT), random.Random(7)
    starts: list[tuple[float, float]] = []
    while world.now < 1000 + 300:
        estimate = chance.uniform(1000, 8000)
        reservation = await rates.reserve("p", estimate)
        actual = estimate * chance.uniform(0.3, 1.0)
        starts.append((world.now, actual))
        reservation.settle(actual)
    rates.close()
    assert worst_window(starts, 60.0) <= 1_000_000
    assert worst_window([(t, 1) for t, _ in starts], 60.0) <= 500
    tokens, requests = sum(a for _, a in starts) / 5e6, len(starts) / 2500
    assert max(tokens, requests) >= 0.95


@pytest.mark.parametrize("tokens", [800, 8000])
async def test_a_run_whose_first_calls_are_a_second_late_at_the_provider_is_not_over(
    world: World, tokens: int
) -> None:
    rates = world.rates(CHAT)
    arrivals: list[float] = []
    while world.now < 1000 + 130:
        await rates.reserve("p", tokens)
        arrivals.append(world.now + (1.0 if world.now < 1001 else 0.0))
    rates.close()
    assert worst_window([(t, 1) for t in arrivals], 60.0) <= 500
    assert worst_window([(t, tokens) for t in arrivals], 60.0) <= 1_000_000


async def test_starts_are_spread_over_the_minute(world: World) -> None:
    rates = world.rates(RateLimit(requests=60))
    times = []
    for _ in range(120):
        await rates.reserve("p")
        times.append(world.now)
    rates.close()
    gaps = [b - a for a, b in pairwise(times[10:])]
    assert max(gaps) < 5.0
    assert sorted(gaps)[len(gaps) // 2] == pytest.approx(1.0, abs=0.1)


@settings(max_examples=30, deadline=None)
@given(
    requests=st.integers(5, 40),
    tokens=st.integers(100, 10_000),
    steps=st.lists(STEP, min_size=40, max_size=150),
)
def test_no_window_is_ever_over_whatever_is_asked_corrected_and_delayed(
    tmp_path_factory: pytest.TempPathFactory,
    requests: int,
    tokens: int,
    steps: list[tuple[float, float, float, float]],
) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    limit = RateLimit(requests=requests, tokens=tokens)
    starts: list[tuple[float, float]] = []

    async def play() -> None:
        rates = world.rates(limit)
        for size, used, idle, late in steps:
            world.late = late
            reservation = await rates.reserve("p", size * tokens * 0.98)
            starts.append((world.now, size * used * tokens * 0.98))
            reservation.settle(starts[-1][1])
            world.now += idle
        rates.close()

    asyncio.run(play())
    assert worst_window(starts, 60.0) <= tokens
    assert worst_window([(t, 1) for t, _ in starts], 60.0) <= requests


async def test_what_a_call_did_not_use_is_there_for_the_next(world: World) -> None:
    rates = world.rates(RateLimit(tokens=1000))
    (await rates.reserve("p", 900)).settle(100)
    await rates.reserve("p", 800)
    assert world.now < 1030
    rates.close()


async def test_a_call_that_used_more_than_reserved_delays_the_next(world: World) -> None:
    rates = world.rates(RateLimit(tokens=1000))
    (await rates.reserve("p", 10)).settle(900)
    await rates.reserve("p", 500)
    assert world.now >= 1060
    rates.close()


async def test_a_cancelled_wait_gives_its_room_back(tmp_path: Path, world: World) -> None:
    rates = world.rates(RateLimit(tokens=1000))
    await rates.reserve("p", 500)

    patient = Rates(
        SqliteDatabase(tmp_path / "rates.sqlite", SCHEMA, clock=lambda: world.now),
        lambda _: RateLimit(tokens=1000),
    )
    waiter = asyncio.create_task(patient.reserve("p", 600))
    await asyncio.sleep(0)
    while not waiter.done() and not await patient._worker.do(lambda: booked(patient)):
        await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    patient.close()

    await rates.reserve("p", 400)
    assert world.now < 1040
    rates.close()


def booked(rates: Rates) -> bool:
    with rates._database.reading() as session:
        return session.execute("SELECT sum(tokens) FROM starts")[0][0] == 1100


async def test_retry_after_stops_every_process_and_the_pace_is_even_after_it(world: World) -> None:
    one, other = world.rates(CHAT), world.rates(CHAT)
    await one.reserve("p", 100)
    one.slow_down("p", 20.0)
    await one._worker.do(lambda: None)
    await other.reserve("p", 100)
    assert world.now >= 1020
    times = []
    for _ in range(20):
        await other.reserve("p", 100)
        times.append(world.now)
    assert min(b - a for a, b in pairwise(times)) > 0.05
    one.close()
    other.close()


async def test_a_start_that_sleeps_into_a_pause_is_moved_behind_it(world: World) -> None:
    rates = world.rates(RateLimit(requests=2))
    await rates.reserve("p")
    rates.slow_down("p", 200.0)
    await rates.reserve("p")
    assert world.now >= 1200
    rates.close()


async def test_processes_that_wake_late_do_not_squeeze_two_windows_into_one(
    world: World, tmp_path: Path
) -> None:
    limit, wake = RateLimit(requests=20), asyncio.Event()
    starts: list[tuple[float, float]] = []

    async def asleep(seconds: float) -> None:
        if wake.is_set():
            world.now += seconds
        await wake.wait()

    async def start(rates: Rates) -> None:
        await rates.reserve("p")
        starts.append((world.now, 1))

    awake = world.rates(limit)
    stopped = [
        Rates(SqliteDatabase(world.path, SCHEMA, clock=lambda: world.now), lambda _: limit, sleep=asleep)
        for _ in range(4)
    ]
    for _ in range(30):
        await start(awake)
    tasks = [asyncio.create_task(start(rates)) for rates in stopped]
    while not all(rates._turns.of("p").locked() for rates in stopped):
        await asyncio.sleep(0)
    for rates in stopped:
        await rates._worker.do(lambda: None)  # its reservation is made
    for _ in range(15):
        await start(awake)
    wake.set()
    await asyncio.gather(*tasks)
    for _ in range(30):
        await start(awake)
    for rates in (awake, *stopped):
        rates.close()
    assert worst_window(starts, 60.0) <= 20


async def test_a_smaller_limit_in_the_headers_is_kept_and_given_up_again(world: World) -> None:
    rates = world.rates(RateLimit(requests=600))

    async def of_a_minute() -> int:
        end, calls = world.now + 60, 0
        while world.now < end:
            await rates.reserve("p")
            calls += 1
        return calls

    rates.observe("p", {"requests": Allowance(limit=60, remaining=50, reset=1)})
    assert 50 <= await of_a_minute() <= 66
    rates.observe("p", {"requests": Allowance(limit=600, remaining=500, reset=1)})
    assert await of_a_minute() > 500
    rates.close()


async def test_nothing_left_by_the_headers_is_waited_for(world: World) -> None:
    rates = world.rates(CHAT)
    await rates.reserve("p", 10)
    rates.observe("p", {"tokens": Allowance(limit=1_000_000, remaining=0, reset=60)})
    rates.observe("p", {"requests": Allowance(limit=None, remaining=0, reset=7)})
    await rates.reserve("p", 10)
    assert 1007 <= world.now < 1009
    rates.close()


async def test_a_request_larger_than_the_limit_is_refused_with_the_figures(world: World) -> None:
    rates = world.rates(CHAT)
    with pytest.raises(UsageError, match=r"1,000,000 tokens .* 980,000"):
        await rates.reserve("p", 1_000_000)
    rates.close()


async def test_a_clock_of_an_earlier_boot_stops_nobody(world: World) -> None:
    rates = world.rates(CHAT)
    await rates.reserve("p", 10)
    world.now = 5_000_000.0
    await rates.reserve("p", 10)
    world.now = 10.0
    await rates.reserve("p", 10)
    assert world.now < 11
    rates.close()


async def test_two_processes_share_the_rate_fairly_and_are_never_over(
    tmp_path: Path, url: str | None, spawn: Spawn
) -> None:
    log, window, calls = tmp_path / "log", 2.0, 150
    processes = [spawn("rates", tmp_path, url or "-", log, calls, window) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    starts = [(float(t), pid) for t, pid in (line.split() for line in log.read_text().splitlines())]
    assert len(starts) == 2 * calls
    # 100 tokens are used by each call, so the limit of 10,000 is one of 100 calls too.
    assert worst_window([(t, 1.0) for t, _ in starts], window) <= 100
    # While both are at it, neither gets less than a third.
    starts.sort()
    pids = [pid for _, pid in starts]
    second = max(pids.index(pid) for pid in set(pids))
    shared = pids[second : second + calls]
    assert min(shared.count(pid) for pid in set(pids)) >= len(shared) / 3
