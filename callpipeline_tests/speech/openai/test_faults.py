"""What goes wrong at OpenAI, and what is paid for it."""

from __future__ import annotations

import asyncio
import math
import socket
import time
from collections.abc import Iterator

import pytest

from callpipeline.failures import (
    AuthenticationFailed,
    BudgetExceeded,
    CallPipelineError,
    DeadlineExceeded,
    NotConfigured,
    NotReached,
    QuotaExceeded,
)
from callpipeline.limits.ledger_rows import Order
from callpipeline_tests.simulators import OpenAISimulator
from callpipeline_tests.speech.conftest import DATA, Call
from callpipeline_tests.speech.openai.conftest import PER_MINUTE, ROUTE, Open

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("fault", "maybe_paid"),
    [
        ("429", False),
        ("429:0.01", False),
        ("500", True),
        ("503@after", True),
        ("reset", True),
        ("reset@after", True),
        ("truncated", True),
        ("wrong_type", True),
        ("stall", True),
    ],
)
async def test_a_passing_fault_costs_a_try_and_what_may_have_been_paid_is_counted(
    open_house: Open, sim: OpenAISimulator, mono_call: Call, fault: str, maybe_paid: bool
) -> None:
    sim.faults.script(ROUTE, fault)
    house = open_house(cut_silences=False, call_timeout=1.0 if fault == "stall" else 600.0)
    transcript = await house.transcribe(mono_call.job)
    assert transcript.segments[0].text == mono_call.dialogue[0]["text"]
    assert sim.stats.routes[ROUTE].requests == 2
    cost = math.ceil(mono_call.job.info.duration) / 60 * PER_MINUTE
    assert house.spent == pytest.approx((cost, 0.0, cost if maybe_paid else 0.0))


async def test_lost_answers_count_against_the_budget(
    open_house: Open, sim: OpenAISimulator, mono_call: Call
) -> None:
    sim.faults.script(ROUTE, "reset@after", "reset@after")
    cost = math.ceil(mono_call.job.info.duration) / 60 * PER_MINUTE
    house = open_house(cut_silences=False, budget_per_run=1.5 * cost)
    with pytest.raises(BudgetExceeded):
        await house.transcribe(mono_call.job)
    assert sim.stats.paid.calls == 1
    assert house.spent == pytest.approx((0.0, 0.0, cost))


@pytest.mark.parametrize(
    ("settings", "fault", "failed"),
    [
        ({"openai_api_key": "sk-wrong"}, "ok", AuthenticationFailed),
        ({}, "quota", QuotaExceeded),
        ({"openai_transcribe_model": "gpt-transcribe-2099-01-01"}, "ok", NotConfigured),
    ],
)
async def test_a_refusal_of_the_account_is_asked_for_once(
    open_house: Open,
    sim: OpenAISimulator,
    answered: Call,
    mono_call: Call,
    settings: dict[str, str],
    fault: str,
    failed: type[CallPipelineError],
) -> None:
    sim.faults.script(ROUTE, fault, fault, fault)
    house = open_house(**settings)
    engine = house.engine()
    for job in (answered.job, mono_call.job, answered.job):
        with pytest.raises(failed):
            await engine.transcribe(job)
    assert sim.stats.routes[ROUTE].requests == 1
    assert house.spent == (0.0, 0.0, 0.0)


async def test_a_server_that_is_not_there_has_cost_nothing(open_house: Open, mono_call: Call) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        house = open_house(openai_base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
        with pytest.raises(NotReached):
            await house.transcribe(mono_call.job)
    assert house.spent == (0.0, 0.0, 0.0)


async def test_nothing_is_sent_after_the_deadline(
    open_house: Open, sim: OpenAISimulator, answered: Call
) -> None:
    with pytest.raises(DeadlineExceeded):
        await open_house().transcribe(answered.job, deadline=time.monotonic() - 1)
    assert sim.stats.all.requests == 0


async def test_a_call_that_stalls_ends_by_its_own_time_out_and_is_not_repeated_after_the_deadline(
    open_house: Open, sim: OpenAISimulator, mono_call: Call
) -> None:
    sim.faults.script(ROUTE, "stall")
    house = open_house(call_timeout=1.0)
    with pytest.raises(DeadlineExceeded):
        await house.transcribe(mono_call.job, deadline=time.monotonic() + 0.5)
    assert sim.stats.routes[ROUTE].requests == 1
    settled, open_, unsure = house.spent
    assert (settled, open_) == (0.0, 0.0)
    assert unsure > 0


@pytest.fixture
def slow_sim() -> Iterator[OpenAISimulator]:
    """Takes a second for an answer."""
    with OpenAISimulator(dialogues=DATA / "samples_src", latency="fixed:1") as running:
        yield running


async def test_what_is_under_way_at_the_deadline_is_kept(
    open_house: Open, slow_sim: OpenAISimulator, mono_call: Call
) -> None:
    house = open_house(cut_silences=False, openai_base_url=slow_sim.base_url, openai_api_key=slow_sim.api_key)
    transcript = await house.transcribe(mono_call.job, deadline=time.monotonic() + 0.5)
    assert transcript.segments[0].text == mono_call.dialogue[0]["text"]
    assert slow_sim.stats.paid.calls == 1


async def test_what_is_under_way_when_a_run_is_stopped_is_kept(
    open_house: Open, slow_sim: OpenAISimulator, mono_call: Call
) -> None:
    house = open_house(cut_silences=False, openai_base_url=slow_sim.base_url, openai_api_key=slow_sim.api_key)
    buying = asyncio.create_task(house.transcribe(mono_call.job))
    while not slow_sim.stats.paid.calls:
        await asyncio.sleep(0.01)
    buying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await buying
    assert (await house.transcribe(mono_call.job)).segments
    assert slow_sim.stats.paid.calls == 1
    cost = math.ceil(mono_call.job.info.duration) / 60 * PER_MINUTE
    assert house.spent == pytest.approx((cost, 0.0, 0.0))


async def test_nothing_stays_reserved_for_what_is_stopped_before_it_is_sent(
    open_house: Open, sim: OpenAISimulator, mono_call: Call
) -> None:
    house = open_house(openai_audio_slots=0)
    waiting = asyncio.create_task(house.transcribe(mono_call.job))
    while house.spent == (0.0, 0.0, 0.0):
        await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    (row,) = house.supplies.ledger.calls()
    async with house.supplies.ledger.claim(Order(row.request_hash, row.provider, row.pool, row.model)):
        assert house.spent == (0.0, 0.0, 0.0)
    assert sim.stats.all.requests == 0


async def test_what_was_bought_is_still_there_when_buying_it_again_fails(
    open_house: Open, sim: OpenAISimulator, mono_call: Call
) -> None:
    first = await open_house().transcribe(mono_call.job)
    sim.faults.script(ROUTE, "quota")
    with pytest.raises(QuotaExceeded):
        await open_house().transcribe(mono_call.job, force_paid=True)
    assert await open_house().transcribe(mono_call.job) == first
    assert sim.stats.paid.calls == 1
