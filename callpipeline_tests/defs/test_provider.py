"""Runs whose engine is a provider: what their pages and logs tell, and what is bought again only when asked for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from callpipeline.definitions import build_defs
from callpipeline.defs.jobs import PROCESS
from callpipeline_tests.defs.conftest import House
from callpipeline_tests.simulators import AssemblyAISimulator

Calls = Callable[[int], Path]
NEVER = "fixed:1000"
"""How long the provider works on a job that is not to end while a test looks."""


@pytest.fixture
def provider(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AssemblyAISimulator]:
    """AssemblyAI, found by the environment; its latency is the parameter."""
    with AssemblyAISimulator(latency=getattr(request, "param", "none")) as simulator:
        for name, value in simulator.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CALLPIPELINE_TRANSCRIBER", "assemblyai")
        monkeypatch.setenv("CALLPIPELINE_RETRY_DELAY_SCALE", "0.02")
        yield simulator


@pytest.fixture
def remote(provider: AssemblyAISimulator, house: House) -> House:
    """The pipeline with the real engine."""
    house.engine = None
    return house


def messages(house: House, run_id: str, level: int) -> list[str]:
    return [entry.user_message for entry in house.instance.all_logs(run_id) if entry.level == level]


def last_words(house: House, run_id: str) -> str:
    [event] = house.instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    return event.get_dagster_event().step_failure_data.user_failure_data.description


def test_the_log_begins_with_the_engine_its_pools_and_budgets(remote: House, calls: Calls) -> None:
    remote.settings = remote.settings.model_copy(update={"budget_per_day": 20.0})
    [run] = remote.process(remote.take_in(calls(1)))
    assert run.success
    assert (
        "Engine assemblyai: audio is sent to a provider. Slots of the pools, now: assemblyai 5, openai_audio 3, "
        "openai_chat 20, openai_chat_small 20, openai_embeddings 4. Budgets: none per recording, none per run, $20 per day."
    ) in messages(remote, run.run_id, logging.INFO)


def test_what_was_bought_is_bought_again_only_when_that_is_asked_for(
    remote: House, calls: Calls, provider: AssemblyAISimulator
) -> None:
    keys = remote.take_in(calls(2))
    remote.process(keys)
    remote.process(keys)
    assert provider.stats.jobs.submitted == 2
    [run] = remote.process([keys[0]], force_paid=True)
    assert run.success
    assert provider.stats.jobs.submitted == 3
    assert provider.stats.paid.duplicates == 1


def test_the_launchpad_offers_to_pay_again(
    remote: House, calls: Calls, provider: AssemblyAISimulator
) -> None:
    [key] = remote.take_in(calls(1))
    remote.process([key])
    job = build_defs({"pipeline": remote.resource}).resolve_job_def(PROCESS)
    config = {"ops": {"walk_recordings": {"config": {"force_paid": True}}}}
    assert job.execute_in_process(
        run_config=config,
        instance=remote.instance,
        partition_key=key,
        asset_selection=[dg.AssetKey("transcripts")],
    ).success
    assert provider.stats.jobs.submitted == 2


@pytest.mark.timeout(60)
@pytest.mark.parametrize("provider", [NEVER], indirect=True)
def test_jobs_that_a_run_waits_for_are_on_the_page_of_the_pool_until_it_ends(
    remote: House, calls: Calls, provider: AssemblyAISimulator
) -> None:
    """The recordings stand where Dagster has steps. The deadline ends the run, and its last words say what is left."""
    remote.settings = remote.settings.model_copy(update={"run_deadline": 20.0, "assemblyai_slots": 2})
    folder = calls(3)
    keys = remote.take_in(folder)
    runs: list[str] = []
    run = threading.Thread(target=lambda: runs.extend(r.run_id for r in remote.process(keys)))
    run.start()
    storage = remote.instance.event_log_storage
    while len(claimed := storage.get_concurrency_info("assemblyai").claimed_slots) < 2:
        assert run.is_alive()
        time.sleep(0.02)
    [run_id] = remote.instance.get_run_ids()
    assert {slot.run_id for slot in claimed} == {run_id}
    assert {slot.step_key for slot in claimed} < {path.name for path in folder.iterdir()}
    run.join()
    info = storage.get_concurrency_info("assemblyai")
    assert (info.claimed_slots, info.pending_steps) == ([], [])
    words = last_words(remote, run_id)
    assert words.startswith("3 of 3 recordings failed; the others are done.")
    assert "The run's deadline of 20 s passed before 3 recordings had all answers of the provider" in words
    assert "2 jobs are still at the provider and will be fetched by the next run, not paid again." in words
    assert provider.stats.jobs.submitted == 2
