from __future__ import annotations

import asyncio
import random
import re
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from callpipeline.failures import (
    CorruptChunk,
    NetworkFailed,
    UsageError,
)
from callpipeline.limits import ledger_rows
from callpipeline.limits.costs import SCHEMA, Costs, Grouping
from callpipeline.limits.database import open_database
from callpipeline.limits.ledger import FILE, Ledger, Resume, Reuse, Send, open_ledger
from callpipeline.limits.ledger_rows import CallState, Order, Usage, idempotency_key, request_hash
from callpipeline_tests.limits import jobs
from callpipeline_tests.limits.conftest import Spawn, wait_until

pytestmark = pytest.mark.anyio

HASH = request_hash(audio="abc", model="m", options={"language": "en"})
ORDER = Order(HASH, "provider", "pool", "m", recording="rec", purpose="transcript")


@pytest.fixture
async def ledger(tmp_path: Path, url: str | None) -> AsyncIterator[Ledger]:
    opened = open_ledger(tmp_path, url, run="run-1")
    yield opened
    opened.close()


async def left_behind(tmp_path: Path, url: str | None, *, until: str) -> None:
    """Go so far as a process that is killed then: nothing is undone, only the lock goes back."""
    killed = open_ledger(tmp_path, url, run="killed")
    async with killed.claim(ORDER) as claim:
        await claim.sending(reference="upload-1" if until != "sent at once" else None, busy_seconds=60)
        if until == "submitted":
            await claim.submitted("job-7")
    killed.close()


async def test_a_result_is_bought_once_and_reused_after(ledger: Ledger) -> None:
    async with ledger.claim(ORDER) as claim:
        assert claim.decision == Send()
        await claim.sending()
        await claim.finish({"text": "hello"}, Usage(seconds=60, cost=0.006))
    async with ledger.claim(ORDER) as claim:
        assert isinstance(claim.decision, Reuse)
        assert claim.decision.paid.result == {"text": "hello"}
    call = ledger.call(HASH)
    assert call is not None
    assert (call.state, call.sends, call.cost, call.recording) == (CallState.DONE, 1, 0.006, "rec")
    assert (ledger.root / str(call.result)).is_file()


async def test_a_submitted_job_of_a_killed_process_is_fetched(
    ledger: Ledger, tmp_path: Path, url: str | None
) -> None:
    await left_behind(tmp_path, url, until="submitted")
    assert list(ledger.running("pool")) == [HASH]
    async with ledger.claim(ORDER) as claim:
        assert claim.decision == Resume("job-7", reference="upload-1")
        assert claim.already_running
        await claim.finish("text")
    assert list(ledger.running("pool")) == []
    assert ledger.by_job("provider", "job-7") == ledger.call(HASH)


async def test_a_job_that_may_have_been_sent_says_what_to_look_for(
    ledger: Ledger, tmp_path: Path, url: str | None
) -> None:
    await left_behind(tmp_path, url, until="sent")
    async with ledger.claim(ORDER) as claim:
        assert claim.decision == Send(sends=1, reference="upload-1")
        assert claim.already_running


async def test_a_call_that_may_have_been_paid_keeps_its_charge_when_it_is_sent_again(
    ledger: Ledger, tmp_path: Path, url: str | None
) -> None:
    costs = Costs(ledger.database, run="run-1")
    costs.reserve(HASH, 0.02, provider="provider", model="m")
    await left_behind(tmp_path, url, until="sent at once")
    async with ledger.claim(ORDER) as claim:
        assert claim.decision == Send(sends=1)
        costs.reserve(HASH, 0.02, provider="provider", model="m")
        await claim.sending()
        await claim.finish("text", Usage(cost=0.03))
    totals = costs.totals()
    assert (totals.unsure, totals.settled, totals.open) == (0.02, 0.03, 0.0)


async def test_two_tasks_that_want_the_same_buy_it_once(
    ledger: Ledger, tmp_path: Path, url: str | None
) -> None:
    other = open_ledger(tmp_path, url)
    sent = 0

    async def get(of: Ledger) -> str:
        nonlocal sent
        async with of.claim(ORDER) as claim:
            if isinstance(claim.decision, Reuse):
                return str(claim.decision.paid.result)
            await claim.sending()
            sent += 1
            await asyncio.sleep(0.02)
            return str((await claim.finish("text")).result)

    assert await asyncio.gather(*(get(of) for of in (ledger, other) * 4)) == ["text"] * 8
    assert sent == 1
    other.close()


async def test_force_paid_buys_again_and_both_are_charged(ledger: Ledger) -> None:
    costs = Costs(ledger.database, run="run-1")
    for text, force in (("first", False), ("second", True)):
        async with ledger.claim(ORDER, force_paid=force) as claim:
            assert isinstance(claim.decision, Send)
            costs.reserve(HASH, 0.02, provider="provider", model="m", recording="rec")
            await claim.sending()
            await claim.finish(text, Usage(cost=0.01))
    assert isinstance(decision := ledger.attach(HASH), Reuse)
    assert decision.paid.result == "second"
    assert [(share.name, share.total) for share in costs.by(Grouping.RECORDING)] == [("rec", 0.02)]


async def test_a_job_that_ended_in_an_error_is_sent_anew_next_time(ledger: Ledger) -> None:
    async with ledger.claim(ORDER) as claim:
        await claim.sending(reference="upload-1", busy_seconds=60)
        await claim.submitted("job-7")
        await claim.failed(CorruptChunk("the audio cannot be read"))
    assert ledger.attach(HASH) == Send(sends=1)


async def test_a_lost_connection_leaves_the_job_to_be_fetched(ledger: Ledger) -> None:
    async def lost() -> None:
        async with ledger.claim(ORDER) as claim:
            await claim.sending(reference="upload-1", busy_seconds=60)
            await claim.submitted("job-7")
            raise NetworkFailed("reset")

    with pytest.raises(NetworkFailed):
        await lost()
    assert ledger.attach(HASH) == Resume("job-7", reference="upload-1")


async def test_what_is_paid_survives_the_loss_of_the_ledger(tmp_path: Path) -> None:
    first = open_ledger(tmp_path, None)
    async with first.claim(ORDER) as claim:
        await claim.sending()
        await claim.finish("text", Usage(cost=0.01))
    first.close()
    for file in tmp_path.glob("ledger.sqlite*"):
        file.unlink()

    second = open_ledger(tmp_path, None)
    async with second.claim(ORDER) as claim:
        assert isinstance(claim.decision, Reuse)
    assert [(c.request_hash, c.state, c.cost) for c in second.calls()] == [(HASH, CallState.DONE, 0.01)]
    assert Costs(second.database).totals().settled == 0.01
    second.close()


async def test_a_lost_result_file_is_fetched_from_the_provider_without_paying(ledger: Ledger) -> None:
    async with ledger.claim(ORDER) as claim:
        await claim.sending(reference="upload-1")
        await claim.submitted("job-7")
        await claim.finish("text", Usage(cost=0.01))
    ledger.paid_path(HASH).unlink()
    async with ledger.claim(ORDER) as claim:
        assert claim.decision == Resume("job-7", reference="upload-1")
        await claim.finish("text", Usage(cost=0.01))
    assert Costs(ledger.database).totals().total == 0.01


async def test_a_kept_result_can_be_written_anew_for_nothing(ledger: Ledger) -> None:
    async with ledger.claim(ORDER) as claim:
        await claim.sending()
        await claim.finish({"text": "call 555-867-5309"}, Usage(cost=0.01))
    async with ledger.claim(ORDER) as claim:
        assert isinstance(claim.decision, Reuse)
        await claim.rewrite(claim.decision.paid, {"text": "call [PHONE]"})
    assert isinstance(decision := ledger.attach(HASH), Reuse)
    assert decision.paid.result == {"text": "call [PHONE]"}
    assert "5309" not in ledger.paid_path(HASH).read_text()
    assert Costs(ledger.database).totals().total == 0.01


async def test_the_ledger_of_an_older_version_is_gone_on_with(tmp_path: Path, url: str | None) -> None:
    older = re.sub(r"\s+sent [^,]*,", "", f"{ledger_rows.SCHEMA}; {SCHEMA}")
    assert " sent " not in older
    database = open_database(url, tmp_path / FILE, older)
    with database.changing("t") as session:
        names = [name for name in ledger_rows.COLUMNS if name != "sent"]
        row = ledger_rows.new_row(ORDER, "run-0", session.now())
        row = row.model_copy(
            update={"state": CallState.SUBMITTED, "job_id": "job-7", "reference": "upload-1"}
        )
        session.execute(
            f"INSERT INTO provider_calls ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
            [getattr(row, name) for name in names],
        )
    database.close()
    for _ in range(2):
        ledger = open_ledger(tmp_path, url)
        assert ledger.call(HASH) == row
        assert ledger.finished("pool", 10) == []
        ledger.close()
    ledger = open_ledger(tmp_path, url)
    async with ledger.claim(ORDER) as claim:
        assert claim.decision == Resume("job-7", reference="upload-1")
        await claim.finish("text")
    other = Order(request_hash(a=1), "provider", "pool", "m")
    async with ledger.claim(other) as claim:
        await claim.sending()
        await claim.finish("text")
    assert [call.request_hash for call in ledger.finished("pool", 10)] == [other.request_hash]
    ledger.close()


async def test_a_cancelled_claim_can_be_claimed_by_the_next(ledger: Ledger) -> None:
    async def claim_for_ever() -> None:
        async with ledger.claim(ORDER):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(claim_for_ever()) for _ in range(5)]
    await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(10), ledger.claim(ORDER) as claim:
        assert claim.decision == Send()


def test_a_request_hash_tells_requests_apart_and_names_them_the_same_everywhere() -> None:
    assert request_hash(a=1, b="x") == request_hash(b="x", a=1)
    assert request_hash(a=1) != request_hash(a="1")
    assert idempotency_key(HASH) == idempotency_key(HASH) != idempotency_key(request_hash(a=1))


async def test_a_hash_cannot_lead_out_of_the_store(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path, None)
    with pytest.raises(UsageError):
        async with ledger.claim(Order("../../etc/passwd", "p", "p", "m")):
            pass
    ledger.close()


@pytest.fixture
def provider() -> Iterator[jobs.Provider]:
    opened = jobs.Provider()
    yield opened
    opened.close()


class Killer:
    """Kills a process with some answer of the provider: before it goes out, or up to 20 ms after."""

    def __init__(self, process: subprocess.Popen[str], chance: random.Random) -> None:
        self.struck = threading.Event()
        self._process = process
        self._when = chance.choice(["before", "after"])
        self._answers = chance.randint(1, 12)
        self._delay = chance.uniform(0, 0.02) if self._when == "after" else 0.0
        self._lock = threading.Lock()

    def __call__(self, now: str) -> None:
        with self._lock:
            self._answers -= now == self._when
            if self._answers <= 0 and not self.struck.is_set():
                time.sleep(self._delay)
                self._process.kill()
                self.struck.set()


@pytest.mark.parametrize(("url", "kills"), [("files", 12), ("postgres", 5)], indirect=["url"])
def test_after_kills_at_any_point_every_job_is_done_and_none_was_paid_twice(
    tmp_path: Path, url: str | None, spawn: Spawn, provider: jobs.Provider, kills: int
) -> None:
    count, chance, killed = 40, random.Random(kills), 0
    provider.losing = True
    while killed < kills:
        process = spawn("jobs", tmp_path, url or "-", provider.address, 0, count)
        provider.hook = Killer(process, chance)
        if process.wait() == 0:
            break
        assert provider.hook.struck.is_set(), "the process failed by itself"
        killed += 1
    provider.hook = lambda _: None
    finishers = [spawn("jobs", tmp_path, url or "-", provider.address, 0, count) for _ in range(2)]
    assert [process.wait() for process in finishers] == [0, 0]

    assert killed >= kills / 2
    assert provider.paid == {jobs.name_of(n): 1 for n in range(count)}
    assert provider.most_at_once <= jobs.SLOTS
    ledger = open_ledger(tmp_path, url)
    assert jobs.all_done(ledger, count)
    totals = Costs(ledger.database).totals()
    assert (totals.settled, totals.open, totals.unsure) == (pytest.approx(count * jobs.COST), 0.0, 0.0)
    ledger.close()


def test_jobs_of_a_killed_process_count_against_the_slots_of_others_until_they_are_fetched(
    tmp_path: Path, url: str | None, spawn: Spawn, provider: jobs.Provider
) -> None:
    provider.patient = True
    mine = {jobs.name_of(n) for n in range(jobs.SLOTS)}
    killed = spawn("jobs", tmp_path, url or "-", provider.address, 0, jobs.SLOTS)
    wait_until(lambda: provider.shown == mine, [killed])
    killed.kill()
    killed.wait()

    other = spawn("jobs", tmp_path, url or "-", provider.address, jobs.SLOTS, 3 * jobs.SLOTS)
    ledger = open_ledger(tmp_path, url)
    wait_until(lambda: len(ledger.calls()) == 3 * jobs.SLOTS, [other])
    provider.shown.clear()
    successor = spawn("jobs", tmp_path, url or "-", provider.address, 0, jobs.SLOTS)
    wait_until(lambda: provider.shown == mine, [other, successor])
    provider.patient = False
    assert [successor.wait(), other.wait()] == [0, 0]

    assert set(provider.paid.values()) == {1}
    assert len(provider.paid) == 3 * jobs.SLOTS
    assert provider.most_at_once == jobs.SLOTS
    ledger.close()
