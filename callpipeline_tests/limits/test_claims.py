"""What a failure, a cancellation or a kill leaves of an order, and of the money reserved for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from callpipeline.failures import (
    AuthenticationFailed,
    BadRequest,
    CorruptChunk,
    DeadlineExceeded,
    NetworkFailed,
    QuotaExceeded,
)
from callpipeline.limits.costs import Costs
from callpipeline.limits.ledger import Ledger, Reuse, Send, open_ledger
from callpipeline.limits.ledger_rows import CallState, Order, Usage, request_hash

pytestmark = pytest.mark.anyio

HASH = request_hash(audio="abc", model="m")
ORDER = Order(HASH, "provider", "pool", "m", recording="rec", purpose="transcript")


@pytest.fixture
async def ledger(tmp_path: Path, url: str | None) -> AsyncIterator[Ledger]:
    opened = open_ledger(tmp_path, url, run="run-1")
    yield opened
    opened.close()


@pytest.mark.parametrize("failure", ["refused", "ended badly", "killed", "cancelled"])
async def test_what_was_bought_still_counts_after_buying_it_again_has_failed(
    ledger: Ledger, failure: str
) -> None:
    costs = Costs(ledger.database, run="run-1")
    async with ledger.claim(ORDER) as claim:
        await claim.sending()
        await claim.finish("first", Usage(cost=0.01))
    with suppress(asyncio.CancelledError):
        async with ledger.claim(ORDER, force_paid=True) as claim:
            assert isinstance(claim.decision, Send)
            costs.reserve(HASH, 0.02, provider="provider", model="m")
            if failure == "cancelled":
                raise asyncio.CancelledError
            await claim.sending()
            if failure == "refused":
                await claim.not_answered(BadRequest("no"))
            if failure == "ended badly":
                await claim.failed(CorruptChunk("the audio cannot be read"))
    async with ledger.claim(ORDER) as claim:
        assert isinstance(claim.decision, Reuse)
        assert claim.decision.paid.result == "first"
    totals = costs.totals()
    assert (totals.settled, totals.open) == (0.01, 0.0)
    assert totals.unsure == (0.02 if failure == "killed" else 0.0)
    call = ledger.call(HASH)
    assert call is not None
    assert call.state is CallState.DONE


async def test_buying_again_that_was_killed_is_gone_on_with_where_it_can_be_found(
    ledger: Ledger,
) -> None:
    async with ledger.claim(ORDER) as claim:
        await claim.sending(reference="upload-0")
        await claim.finish("first", Usage(cost=0.01))
    async with ledger.claim(ORDER, force_paid=True) as claim:
        await claim.sending(reference="upload-1")
    assert ledger.attach(HASH) == Send(sends=2, reference="upload-1")


async def test_a_refused_request_is_closed_and_not_charged(ledger: Ledger) -> None:
    costs = Costs(ledger.database, run="run-1")

    async def refused() -> None:
        async with ledger.claim(ORDER) as claim:
            costs.reserve(HASH, 0.02, provider="provider", model="m")
            await claim.sending(reference="upload-1", busy_seconds=60)
            error = BadRequest("no such model")
            await claim.not_answered(error)
            raise error

    with pytest.raises(BadRequest):
        await refused()
    call = ledger.call(HASH)
    assert call is not None
    assert (call.state, call.error_class, call.message) == (CallState.FAILED, "bad_request", "no such model")
    assert costs.totals().total == 0
    assert list(ledger.running("pool")) == []
    assert ledger.attach(HASH) == Send(sends=1)


@pytest.mark.parametrize("asked", [False, True], ids=["before it", "by it"])
async def test_a_refusal_does_not_close_an_order_that_may_have_been_taken_before(
    ledger: Ledger, asked: bool
) -> None:
    costs = Costs(ledger.database, run="run-1")

    async def tried() -> None:
        async with ledger.claim(ORDER) as claim:
            costs.reserve(HASH, 0.02, provider="provider", model="m")
            await claim.sending(reference="upload-1", busy_seconds=60)
            await claim.not_answered(NetworkFailed("reset"))
            assert claim.in_doubt
            refusal = AuthenticationFailed("wrong key")
            if asked:
                await claim.sending(reference="upload-1", busy_seconds=60)
                await claim.not_answered(refusal)
            assert claim.in_doubt
            raise refusal

    for _ in range(2):
        with pytest.raises(AuthenticationFailed):
            await tried()
        call = ledger.call(HASH)
        assert call is not None
        assert (call.state, call.error_class) == (CallState.SENDING, "authentication")
        decision = ledger.attach(HASH)
        assert isinstance(decision, Send)
        assert decision.reference == "upload-1"
        assert costs.totals().open == 0.02


async def test_a_lost_answer_that_nobody_can_look_for_is_counted_as_paid(ledger: Ledger) -> None:
    costs = Costs(ledger.database, run="run-1")

    async def tried() -> None:
        async with ledger.claim(ORDER) as claim:
            for error in (NetworkFailed("reset"), QuotaExceeded("no money")):
                costs.reserve(HASH, 0.02, provider="provider", model="m")
                await claim.sending()
                await claim.not_answered(error)
                assert not claim.in_doubt
            raise error

    with pytest.raises(QuotaExceeded):
        await tried()
    assert ledger.unfinished() == []
    totals = costs.totals()
    assert (totals.unsure, totals.open) == (0.02, 0.0)


@pytest.mark.parametrize("how", [asyncio.CancelledError, DeadlineExceeded, KeyError])
async def test_what_was_reserved_for_an_order_that_never_went_out_is_given_back(
    ledger: Ledger, how: type[BaseException]
) -> None:
    costs = Costs(ledger.database, run="run-1")

    async def left() -> None:
        async with ledger.claim(ORDER):
            costs.reserve(HASH, 0.02, provider="provider", model="m")
            raise how("enough")

    with pytest.raises(how):
        await left()
    async with ledger.claim(ORDER):  # its turn comes after
        assert costs.totals().total == 0
