"""Whole runs against a provider that is slow, limited, breaks and is cut off: real processes, instances and SDK."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.crash import campaign
from bench.provider_runs import start
from callpipeline.intake.records import State
from callpipeline.pipeline.workbench import Workbench
from callpipeline.settings import Settings
from callpipeline_tests.simulators import AssemblyAISimulator

Calls = Callable[[int], Path]
TRANSIENT = {"api", "network", "rate_limit", "corrupt_chunk"}


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[AssemblyAISimulator]:
    """A provider in a process of its own, and an environment in which runs find it."""
    with AssemblyAISimulator(latency="lognormal:0.3,0.5", child=True) as simulator:
        for name, value in simulator.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CALLPIPELINE_TRANSCRIBER", "assemblyai")
        monkeypatch.setenv("CALLPIPELINE_RETRY_DELAY_SCALE", "0.02")
        yield simulator


def _wait(*runs: object) -> None:
    for run in runs:
        run.join(300)  # type: ignore[attr-defined]
        assert run.exitcode == 0  # type: ignore[attr-defined]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("storage", ["sqlite", "postgres"])
def test_two_runs_at_once_keep_to_five_jobs_and_500_requests_a_minute(
    storage: str,
    calls: Calls,
    provider: AssemblyAISimulator,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if storage == "postgres":
        request.getfixturevalue("dagster_postgres")
    monkeypatch.setenv("CALLPIPELINE_ASSEMBLYAI_REQUESTS_PER_MINUTE", "500")
    monkeypatch.setenv("CALLPIPELINE_RECORDINGS_IN_FLIGHT", "8")
    first = calls(16)
    _wait(start(first), start(first))

    stats = provider.stats
    assert _states()[State.DONE] == 16
    assert stats.jobs.in_flight_max <= 5
    assert stats.jobs.submitted == 16
    assert max(window.requests_max for window in stats.windows.values()) <= 500
    assert stats.paid.duplicates == 0


@pytest.mark.timeout(600)
def test_forty_kills_in_the_middle_of_a_batch_cost_nothing() -> None:
    few_at_a_time = {"CALLPIPELINE_RETRY_DELAY_SCALE": "0.02", "CALLPIPELINE_ASSEMBLYAI_SLOTS": "2"}
    figures = campaign(130, 40, "lognormal:0.6,0.5", variables=few_at_a_time)
    assert figures["kills"] == 40
    assert figures["done"] == 130
    assert figures["paid twice"] == 0
    assert figures["paid"] == 130
    assert figures["most jobs in flight"] <= 2
    assert figures["left over temporary files"] == 0


@pytest.mark.timeout(300)
def test_a_storm_of_faults_leaves_nearly_all_done_and_the_rest_in_a_clear_state(
    calls: Calls, provider: AssemblyAISimulator
) -> None:
    folder = calls(100)
    provider.faults.rate("storm=0.2", seed=7)
    _wait(start(folder))

    assert provider.stats.faults
    found = _states()
    assert found[State.DONE] >= 99
    assert found[State.DONE] + found[State.FAILED] == 100
    with Workbench(Settings()) as bench:
        for row in bench.catalog.rows():
            if row.recording.state is State.FAILED:
                assert row.recording.error_class in TRANSIENT
                assert row.recording.message
                assert not row.recording.permanent
    assert provider.stats.paid.duplicates == 0

    provider.faults.clear()
    _wait(start(folder))
    assert _states() == {State.DONE: 100}
    assert provider.stats.paid.duplicates == 0


def _states() -> Counter[State]:
    with Workbench(Settings()) as bench:
        return Counter(row.recording.state for row in bench.catalog.rows())
