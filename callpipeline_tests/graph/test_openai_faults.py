"""What goes wrong between us and a language model: who pays for it, and who does not."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from callpipeline.failures import (
    AuthenticationFailed,
    BudgetExceeded,
    CallPipelineError,
    DeadlineExceeded,
    NotConfigured,
    ProviderFailed,
    QuotaExceeded,
)
from callpipeline.knowledge import ChunkState
from callpipeline.settings import Settings
from callpipeline_tests.graph.openai_house import ROUTE, sent_blocks, settings_for
from callpipeline_tests.graph.remote import chunks_of, claim, extracting, recording
from callpipeline_tests.graph.responding import answer, spoilt
from callpipeline_tests.simulators import OpenAISimulator
from callpipeline_tests.simulators.openai_api.responder import ChatAnswer, ChatRequest

pytestmark = pytest.mark.anyio

RESPONDER = spoilt


@pytest.fixture
def settings(sim: OpenAISimulator, tmp_path: Path) -> Settings:
    return settings_for(sim, tmp_path / "store")


@pytest.mark.parametrize(
    ("poison", "error_class", "for_good"),
    [
        ("poison-request", "bad_request", True),
        ("poison-refusal", "refused", True),
        ("poison-garbage", "unusable_answer", True),
        ("poison-long", "output_truncated", True),
        ("poison-server", "api", False),
    ],
)
async def test_a_poisoned_chunk_costs_only_itself(
    sim: OpenAISimulator, settings: Settings, poison: str, error_class: str, for_good: bool
) -> None:
    texts = [claim(number) for number in range(9)]
    texts[4] = f"{texts[4]} {poison}"
    async with extracting(settings) as running:
        found, other = await running.extract(chunks_of("r", texts), recording(2, chunks=3))
    for chunk in (*found.chunks, *other.chunks):
        assert chunk.state is (ChunkState.FAILED if chunk.chunk == "r:4" else ChunkState.EXTRACTED)
    failed = found.chunks[4]
    assert (failed.error_class, failed.permanent) == (error_class, for_good)
    assert failed.message
    assert poison not in failed.message
    requests = sim.stats.routes[ROUTE].requests
    async with extracting(settings) as running:
        (again, _) = await running.extract(chunks_of("r", texts), recording(2, chunks=3))
        assert again.chunks[4].error_class == error_class
        assert sum(chunk.state is ChunkState.CACHED for chunk in again.chunks) == 8
    if for_good:
        assert sim.stats.routes[ROUTE].requests == requests


async def test_of_an_answer_that_is_cut_off_the_whole_chunks_count(tmp_path: Path) -> None:
    def cut(request: ChatRequest) -> ChatAnswer | dict[str, Any]:
        told = answer(request)
        if len(told["chunks"]) < 8:
            return told
        text = json.dumps(told)
        return ChatAnswer(text[: int(len(text) * 0.8)], finish_reason="length")

    with OpenAISimulator(responder=cut) as sim:
        async with extracting(settings_for(sim, tmp_path)) as running:
            (found,) = await running.extract(recording(1, chunks=10))
        assert sent_blocks(sim) == [10, 3]
    assert all(chunk.relations for chunk in found.chunks)


async def test_a_server_that_answers_nothing_is_not_asked_for_each_chunk(
    sim: OpenAISimulator, settings: Settings
) -> None:
    sim.faults.rate("500=1")
    async with extracting(settings) as running:
        with pytest.raises(ProviderFailed):
            await running.extract(recording(1, chunks=12))
    tries = 3  # of the gate, for the whole and for each half
    assert sim.stats.all.requests == 3 * tries
    sim.faults.clear()
    async with extracting(settings) as running:
        (found,) = await running.extract(recording(1, chunks=12))
    assert {chunk.state for chunk in found.chunks} == {ChunkState.EXTRACTED}


async def test_a_storm_of_refusals_ends_well(sim: OpenAISimulator, settings: Settings) -> None:
    sim.faults.rate("429:0.01=0.5", seed=4)
    talks = [recording(number, chunks=5) for number in range(6)]
    async with extracting(settings.model_copy(update={"graph_chunks_per_request": 2})) as running:
        found = await running.extract(*talks)
        settled, open_, unsure = running.spent
    assert {chunk.state for one in found for chunk in one.chunks} == {ChunkState.EXTRACTED}
    assert sim.stats.paid.duplicates == 0
    assert settled > 0
    assert (open_, unsure) == (0.0, 0.0)


@pytest.mark.parametrize("fault", ["500", "503@after", "reset", "reset@after", "truncated", "wrong_type"])
async def test_a_passing_fault_splits_nothing(sim: OpenAISimulator, settings: Settings, fault: str) -> None:
    sim.faults.script(ROUTE, fault)
    async with extracting(settings) as running:
        (found,) = await running.extract(recording(1))
        assert running.spent[2] > 0
    assert sim.stats.all.requests == 2
    assert sent_blocks(sim)[-1] == 4
    assert {chunk.state for chunk in found.chunks} == {ChunkState.EXTRACTED}


async def test_a_lost_answer_is_asked_for_again_as_the_same_request(tmp_path: Path) -> None:
    """The server in between heeds the idempotency key: what is sent again is not paid again."""
    with OpenAISimulator(responder=answer, honour_idempotency=True) as sim:
        settings = settings_for(sim, tmp_path)
        sim.faults.script(ROUTE, *["reset@after"] * 4)
        async with extracting(settings) as running:
            with pytest.raises(CallPipelineError):
                await running.extract(recording(1))
        async with extracting(settings) as running:
            (found, _) = await running.extract(recording(1), recording(2))
        assert sim.stats.paid.calls == 2
        assert sim.stats.paid.duplicates == 0
    assert {chunk.state for chunk in found.chunks} <= {ChunkState.EXTRACTED, ChunkState.CACHED}


@pytest.mark.parametrize(
    ("changes", "fault", "failed"),
    [
        ({"openai_api_key": "sk-wrong"}, "ok", AuthenticationFailed),
        ({}, "quota", QuotaExceeded),
        ({"graph_small_model": "gpt-without-a-price"}, "ok", NotConfigured),
        ({"budget_per_run": 0.000001}, "ok", BudgetExceeded),
    ],
)
async def test_what_the_account_is_refused_is_not_split(
    sim: OpenAISimulator,
    settings: Settings,
    changes: dict[str, Any],
    fault: str,
    failed: type[CallPipelineError],
) -> None:
    sim.faults.script(ROUTE, fault)
    changed = settings_for(sim, settings.store, **changes)
    async with extracting(changed) as running:
        for number in (1, 2):
            with pytest.raises(failed):
                await running.extract(recording(number))
        assert running.spent == (0.0, 0.0, 0.0)
    assert sim.stats.all.requests <= 1
    sim.faults.clear()
    async with extracting(settings) as running:
        (found,) = await running.extract(recording(1))
    assert {chunk.state for chunk in found.chunks} == {ChunkState.EXTRACTED}


async def test_nothing_is_sent_after_the_deadline(sim: OpenAISimulator, settings: Settings) -> None:
    async with extracting(settings, seconds=-1) as running:
        with pytest.raises(DeadlineExceeded):
            await running.extract(recording(1))
    assert sim.stats.all.requests == 0


async def test_an_answer_that_comes_while_the_run_is_stopped_is_kept(tmp_path: Path) -> None:
    with OpenAISimulator(responder=answer, latency="fixed:0.5") as sim:
        settings = settings_for(sim, tmp_path)
        async with extracting(settings) as running:
            task = asyncio.create_task(running.extractor.extract(recording(1)))
            while sim.stats.routes.get(ROUTE) is None or not sim.stats.routes[ROUTE].in_flight:
                await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async with extracting(settings) as running:
            (found,) = await running.extract(recording(1))
            deadline = time.monotonic() + 10
            while running.spent[1] and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
            settled, open_, unsure = running.spent
        assert sim.stats.paid.calls == 1
    assert {chunk.state for chunk in found.chunks} == {ChunkState.CACHED}
    assert settled > 0
    assert (open_, unsure) == (0.0, 0.0)
