"""What goes wrong at OpenAI, and what is paid for it."""

from __future__ import annotations

import math
import socket
import time

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
from callpipeline_tests.simulators import OpenAISimulator
from callpipeline_tests.speech.conftest import Call
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
    estimate = mono_call.job.info.duration / 60 * PER_MINUTE
    settled = math.ceil(mono_call.job.info.duration) / 60 * PER_MINUTE
    assert house.spent == pytest.approx((settled, 0.0, estimate if maybe_paid else 0.0))


async def test_lost_answers_count_against_the_budget(
    open_house: Open, sim: OpenAISimulator, mono_call: Call
) -> None:
    sim.faults.script(ROUTE, "reset@after", "reset@after")
    cost = mono_call.job.info.duration / 60 * PER_MINUTE
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


async def test_a_stall_ends_with_the_deadline(
    open_house: Open, sim: OpenAISimulator, mono_call: Call
) -> None:
    sim.faults.script(ROUTE, "stall")
    with pytest.raises(DeadlineExceeded):
        await open_house().transcribe(mono_call.job, deadline=time.monotonic() + 0.5)
    assert sim.stats.routes[ROUTE].requests == 1
