from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from callpipeline.failures import (
    AuthenticationFailed,
    BudgetExceeded,
    DeadlineExceeded,
    NetworkFailed,
    RateLimited,
)
from callpipeline.limits.gate import Answer, CallRequest
from callpipeline.limits.ledger import Reuse
from callpipeline.limits.ledger_rows import Order, Usage, request_hash
from callpipeline.limits.retry import RetryPolicy
from callpipeline.limits.supplies import Supplies, open_supplies
from callpipeline.settings import Settings

pytestmark = pytest.mark.anyio

POOL = "openai_audio"
Send = Callable[[], Awaitable[Answer[str]]]


@pytest.fixture
async def supplies(tmp_path: Path) -> AsyncIterator[Supplies]:
    settings = Settings(
        store_dir=tmp_path,
        openai_audio_slots=1,
        openai_audio_requests_per_minute=60_000,
        budget_per_run=1.0,
    )
    opened = open_supplies(settings, run="run-1", policy=RetryPolicy().scaled(0.0))
    yield opened
    opened.close()


def answers(*outcomes: str | BaseException) -> Send:
    left = list(outcomes)

    async def send() -> Answer[str]:
        outcome = left.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return Answer(outcome)

    return send


async def test_a_call_that_fails_and_then_works_gives_its_answer_and_is_counted(supplies: Supplies) -> None:
    send = answers(NetworkFailed("reset"), "text")
    answer = await supplies.gate.call("openai", POOL, CallRequest(), send)
    assert answer.value == "text"
    stats = supplies.gate.stats[POOL]
    assert (stats.calls, stats.retries, dict(stats.outcomes)) == (1, 1, {"ok": 1})
    assert (stats.waiting, stats.in_flight) == (0, 0)


async def test_a_retry_is_told_under_the_name_that_people_know(
    supplies: Supplies, caplog: pytest.LogCaptureFixture
) -> None:
    request = CallRequest("f" * 64, recording="0a1b2c", name="Dana Fox.mp3", purpose="chunk 3/7")
    await supplies.gate.call("openai", POOL, request, answers(NetworkFailed("reset"), "text"))
    assert "openai_audio Dana Fox.mp3 (chunk 3/7): reset; trying again" in caplog.text
    assert "0a1b2c" not in caplog.text


async def test_a_permanent_failure_is_sent_once(supplies: Supplies) -> None:
    send = answers(AuthenticationFailed("wrong key"), "never")
    with pytest.raises(AuthenticationFailed):
        await supplies.gate.call("openai", POOL, CallRequest(), send)
    assert supplies.gate.stats[POOL].as_dict()["outcomes"] == {"authentication": 1}


async def test_the_timeout_of_a_call_does_not_run_while_it_waits_for_a_slot(supplies: Supplies) -> None:
    free = asyncio.Event()
    order: list[str] = []

    async def slow() -> Answer[str]:
        await free.wait()
        order.append("slow")
        return Answer("slow")

    async def quick() -> Answer[str]:
        order.append("quick")
        return Answer("quick")

    first = asyncio.create_task(supplies.gate.call("openai", POOL, CallRequest(timeout=60), slow))
    while not supplies.gate.stats[POOL].in_flight:
        await asyncio.sleep(0.005)
    second = asyncio.create_task(supplies.gate.call("openai", POOL, CallRequest(timeout=0.1), quick))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(second), 0.3)
    free.set()
    assert [(await first).value, (await second).value] == order == ["slow", "quick"]
    assert supplies.gate.stats[POOL].slot_seconds >= 0.3


async def test_a_call_that_takes_too_long_is_a_network_failure(supplies: Supplies) -> None:
    async def never() -> Answer[str]:
        await asyncio.Event().wait()
        return Answer("")

    with pytest.raises(NetworkFailed, match=r"did not answer within 0\.01 s"):
        await supplies.gate.call("openai", POOL, CallRequest(timeout=0.01), never)
    assert supplies.gate.stats[POOL].retries == 3


async def test_a_deadline_covers_the_waits_and_frees_everything(supplies: Supplies) -> None:
    async with supplies.gate.slot(POOL, what="somebody else"):
        request = CallRequest(recording="abc", deadline=time.monotonic() + 0.05)
        with pytest.raises(DeadlineExceeded, match="abc was not done by its deadline"):
            await supplies.gate.call("openai", POOL, request, answers("late"))
    assert (await supplies.gate.call("openai", POOL, CallRequest(), answers("next"))).value == "next"
    assert dict(supplies.gate.stats[POOL].outcomes) == {"deadline": 1, "ok": 1}


async def test_a_deadline_does_not_interrupt_what_is_paid_once_it_is_lost(supplies: Supplies) -> None:
    async def slow() -> Answer[str]:
        await asyncio.sleep(0.2)
        return Answer("text")

    request = CallRequest(one_shot=True, deadline=time.monotonic() + 0.1)
    assert (await supplies.gate.call("openai", POOL, request, slow)).value == "text"

    failing = answers(NetworkFailed("reset"), "never")

    async def slow_and_lost() -> Answer[str]:
        await asyncio.sleep(0.2)
        return await failing()

    request = CallRequest(one_shot=True, deadline=time.monotonic() + 0.1)
    with pytest.raises(DeadlineExceeded):
        await supplies.gate.call("openai", POOL, request, slow_and_lost)
    assert (await failing()).value == "never"


async def test_a_cancelled_one_shot_call_may_end_and_what_is_done_with_its_answer_is_done(
    supplies: Supplies,
) -> None:
    answered, order = asyncio.Event(), Order(request_hash(a=1), "openai", POOL, "m")

    async def send() -> Answer[str]:
        await answered.wait()
        return Answer("text")

    async def buy() -> None:
        async with supplies.ledger.claim(order) as claim:
            await claim.sending()
            request = CallRequest(order.request_hash, cost_estimate=0.01, one_shot=True)
            answer = await supplies.gate.call("openai", POOL, request, send)
            await claim.finish(answer.value, Usage(cost=0.01))
        raise AssertionError("the cancellation is forgotten")

    buying = asyncio.create_task(buy())
    while not supplies.gate.stats[POOL].in_flight:
        await asyncio.sleep(0.005)
    buying.cancel()
    await asyncio.sleep(0.02)
    assert not buying.done()
    answered.set()
    with pytest.raises(asyncio.CancelledError):
        await buying
    async with supplies.ledger.claim(order) as claim:
        assert isinstance(claim.decision, Reuse)
    assert supplies.costs.totals().settled == 0.01
    assert supplies.gate.stats[POOL].in_flight == 0


async def test_a_cancelled_one_shot_call_that_does_not_end_is_let_go(
    supplies: Supplies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callpipeline.limits.gate.LAST_SECONDS", 0.05)
    let_go = asyncio.Event()

    async def never() -> Answer[str]:
        try:
            await asyncio.Event().wait()
        finally:
            let_go.set()
        return Answer("")

    call = asyncio.create_task(supplies.gate.call("openai", POOL, CallRequest(one_shot=True), never))
    while not supplies.gate.stats[POOL].in_flight:
        await asyncio.sleep(0.005)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert let_go.is_set()
    assert supplies.gate.stats[POOL].in_flight == 0


async def test_cancelled_calls_leave_nothing_behind(supplies: Supplies) -> None:
    async def never() -> Answer[str]:
        await asyncio.Event().wait()
        return Answer("")

    calls = [asyncio.create_task(supplies.gate.call("openai", POOL, CallRequest(), never)) for _ in range(20)]
    while not supplies.gate.stats[POOL].in_flight:
        await asyncio.sleep(0.005)
    left = supplies.gate.stats[POOL]
    assert (left.in_flight, left.waiting) == (1, 19)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert (left.in_flight, left.waiting, dict(left.outcomes)) == (0, 0, {"cancelled": 20})
    await supplies.gate.call("openai", POOL, CallRequest(), answers("next"))


async def test_a_429_lets_no_other_call_start_until_the_provider_said(supplies: Supplies) -> None:
    began = time.monotonic()
    refused = asyncio.create_task(
        supplies.gate.call(
            "openai", POOL, CallRequest(), answers(RateLimited("slow", retry_after=0.4), "text")
        )
    )
    while not supplies.gate.stats[POOL].retries:
        await asyncio.sleep(0.005)
    await supplies.gate.call("openai", POOL, CallRequest(), answers("other"))
    assert time.monotonic() - began >= 0.4
    assert (await refused).value == "text"


async def test_a_call_that_would_break_the_budget_is_not_sent(supplies: Supplies) -> None:
    for name, cost in (("a", 0.6), ("b", 0.3)):
        request = CallRequest(request_hash=name, cost_estimate=cost)
        await supplies.gate.call("openai", POOL, request, answers("text"))
    with pytest.raises(BudgetExceeded, match=r"about \$0\.20; \$0\.90 of the \$1\.00 for this run"):
        await supplies.gate.call("openai", POOL, CallRequest("c", cost_estimate=0.2), answers())


async def test_a_job_holds_its_slot_through_several_calls(supplies: Supplies) -> None:
    async with supplies.gate.slot(POOL, what="job", key="k"):
        for _ in range(3):
            await supplies.gate.call("openai", POOL, CallRequest(), answers("poll"), slot=False)
        assert [h.key for h in supplies.slots.holders(POOL)] == ["k"]


async def test_calls_that_wait_for_the_rate_leave_the_slots_to_others(tmp_path: Path) -> None:
    settings = Settings(store_dir=tmp_path, openai_audio_slots=5, openai_audio_requests_per_minute=2)
    with open_supplies(settings) as busy, open_supplies(settings) as others:
        calls = [
            asyncio.create_task(busy.gate.call("openai", POOL, CallRequest(), answers("text")))
            for _ in range(10)
        ]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        async with AsyncExitStack() as held:
            for _ in range(4):
                await held.enter_async_context(others.gate.slot(POOL, deadline=time.monotonic() + 10))
        for call in calls:
            call.cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(end, Answer) for end in ended) == 1


async def test_the_slot_is_free_while_a_call_waits_for_its_next_try(tmp_path: Path) -> None:
    gate_open = asyncio.Event()

    async def sleep(_: float) -> None:
        await gate_open.wait()

    settings = Settings(store_dir=tmp_path, openai_audio_slots=1, openai_audio_requests_per_minute=60_000)
    with open_supplies(settings) as supplies:
        supplies.gate._sleep = sleep
        first = asyncio.create_task(
            supplies.gate.call("openai", POOL, CallRequest(), answers(NetworkFailed("reset"), "first"))
        )
        while not supplies.gate.stats[POOL].retries:
            await asyncio.sleep(0.005)
        assert (await supplies.gate.call("openai", POOL, CallRequest(), answers("second"))).value == "second"
        gate_open.set()
        assert (await first).value == "first"
