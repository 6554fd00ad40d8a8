"""What keeps a recording from being sent to a provider: all of it said, nothing sent, nothing spent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from callpipeline.intake.scan import scan
from callpipeline.model import CallMetadata, StageFailure
from callpipeline.pipeline.batch import walk_batch
from callpipeline.pipeline.fitness import Planned, Purse, errand, failed, machine, recording
from callpipeline.pipeline.forecast import LOCAL_STAGES
from callpipeline.pipeline.workbench import Workbench
from callpipeline.settings import Settings
from callpipeline.speech.engines.base import PlannedCall
from callpipeline_tests.simulators import AssemblyAISimulator

Calls = Callable[[int], Path]
WANTED = (*LOCAL_STAGES, "transcripts")


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[AssemblyAISimulator]:
    """AssemblyAI, and an environment in which it is the engine."""
    with AssemblyAISimulator() as simulator:
        for name, value in simulator.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CALLPIPELINE_TRANSCRIBER", "assemblyai")
        monkeypatch.setenv("CALLPIPELINE_RETRY_DELAY_SCALE", "0")
        yield simulator


def _walk(folder: Path, **update: Any) -> list[StageFailure | None]:
    """Process a folder up to its transcripts; return what failed, recording by recording."""
    settings = Settings().model_copy(update=update)
    with Workbench(settings, run="this run") as bench:
        scan(bench.catalog, folder, settings)
        outcomes = asyncio.run(walk_batch(bench.catalog.order(folder), WANTED, bench, lambda outcome: None))
        return [outcome.failure for outcome in outcomes]


def _refused(folder: Path, error_class: str = "not_fit", **update: Any) -> str:
    """Process a folder of recordings that are all refused for the same; return why."""
    failures = _walk(folder, **update)
    assert {failure and failure.error_class for failure in failures} == {error_class}
    assert not any(failure and failure.permanent for failure in failures)  # the next run tries them again
    [message] = {failure.message.partition(" was not sent to ")[2] for failure in failures if failure}
    return message


def _nothing_was_sent(provider: AssemblyAISimulator) -> bool:
    return provider.stats.routes.keys() <= {"list"} and provider.stats.paid.calls == 0


def _say(folder: Path, **metadata: str) -> None:
    """Give the only recording of a folder its metadata."""
    [call] = folder.glob("*.wav")
    call.with_suffix(".json").write_text(json.dumps(metadata))


def test_a_fit_recording_is_sent(calls: Calls, provider: AssemblyAISimulator) -> None:
    assert _walk(calls(2), budget_per_day=1.0) == [None, None]
    assert provider.stats.paid.calls == 2


def test_a_refused_key_is_asked_about_once_for_all(
    calls: Calls, provider: AssemblyAISimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSEMBLYAI_API_KEY", "not-the-key")
    why = _refused(calls(3), "authentication")
    assert "Check the API key" in why
    assert "not-the-key" not in why
    assert _nothing_was_sent(provider)
    assert provider.stats.routes["list"].requests == 1


def test_an_account_without_credit_gets_nothing(calls: Calls, provider: AssemblyAISimulator) -> None:
    provider.faults.script("list", "quota")
    assert "Add credit" in _refused(calls(2), "quota")
    assert _nothing_was_sent(provider)


def test_a_provider_that_is_away_is_no_fault_of_the_recording(
    calls: Calls, provider: AssemblyAISimulator
) -> None:
    provider.faults.rate("list/reset=1")
    failures = _walk(calls(2))
    assert [failure and failure.error_class for failure in failures] == ["network", "network"]
    assert provider.stats.routes["list"].requests == 4  # once, and its retries, for all
    assert _nothing_was_sent(provider)


@pytest.mark.parametrize(
    ("budget", "run", "figures"),
    [
        ("recording", "", "one recording is $0.00010: $0.00012 needed"),
        ("run", "this run", "this run is $0.50: $0.50 of it taken, $0.00012 needed"),
        ("day", "an earlier run", "today (UTC) is $0.50: $0.50 of it taken, $0.00012 needed"),
    ],
)
def test_over_a_budget_is_said_with_the_figures(
    calls: Calls, provider: AssemblyAISimulator, settings: Settings, budget: str, run: str, figures: str
) -> None:
    if run:
        with Workbench(settings, run=run) as bench:
            bench.supplies.costs.reserve("0" * 64, 0.5, provider="assemblyai", model="m")
    why = _refused(calls(1), **{f"budget_per_{budget}": 0.5 if run else 0.0001})
    assert figures in why
    assert f"Raise CALLPIPELINE_BUDGET_PER_{budget.upper()}" in why
    assert _nothing_was_sent(provider)


def test_a_hearing_must_be_long_enough_and_say_what_it_is(
    calls: Calls, provider: AssemblyAISimulator
) -> None:
    folder = calls(1)
    _say(folder, profile="hearing", title="Water rights", date="2026-03-02")
    why = _refused(folder)
    assert "does not say its committee" in why
    assert "5 s to 10 h" in why  # it has two seconds
    assert _nothing_was_sent(provider)


def test_a_language_that_is_none_stops_only_its_recording(
    calls: Calls, provider: AssemblyAISimulator
) -> None:
    folder = calls(2)
    odd, _ = sorted(folder.glob("*.wav"))
    odd.with_suffix(".json").write_text(json.dumps({"language": "Spanish, I think"}))
    failures = [failure for failure in _walk(folder) if failure]
    assert [failure.error_class for failure in failures] == ["not_fit"]
    assert odd.name in failures[0].message
    assert provider.stats.paid.calls == 1


def test_all_that_is_wrong_is_said_at_once(
    calls: Calls, provider: AssemblyAISimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSEMBLYAI_API_KEY", "not-the-key")
    folder = calls(1)
    _say(folder, profile="hearing", date="2026-03-02")
    budgets = {f"budget_per_{what}": 0.0 for what in ("recording", "run", "day")}
    why = _refused(folder, "authentication", **budgets)
    for reason in ("API key", "5 s to 10 h", "its title and committee", "one recording", "this run", "today"):
        assert reason in why
    assert "(6) " in why
    assert "(7) " not in why
    assert _nothing_was_sent(provider)


def test_what_is_bought_already_needs_neither_key_nor_budget(
    calls: Calls, provider: AssemblyAISimulator, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = calls(2)
    assert _walk(folder) == [None, None]
    for result in (settings.store / "transcripts").iterdir():
        result.unlink()
    monkeypatch.setenv("ASSEMBLYAI_API_KEY", "not-the-key")
    assert _walk(folder, budget_per_day=0.0) == [None, None]
    assert provider.stats.paid.calls == 2


def test_force_paid_buys_again_although_nothing_has_changed(
    calls: Calls, provider: AssemblyAISimulator
) -> None:
    folder = calls(2)
    assert _walk(folder) == [None, None]
    settings = Settings()
    with Workbench(settings, force_paid=True) as bench:
        keys = bench.catalog.order(folder)
        outcomes = asyncio.run(walk_batch(keys, WANTED, bench, lambda outcome: None))
    assert {outcome.failure for outcome in outcomes} == {None}
    assert provider.stats.paid.duplicates == 2


def test_the_asset_check_says_it_before_anybody_wants_to_send_it(calls: Calls, settings: Settings) -> None:
    from callpipeline.defs.assets.base import View
    from callpipeline.defs.assets.raw_audio import FACE

    folder = calls(1)
    _say(folder, profile="hearing", title="Water rights", date="2026-03-02")
    with Workbench(settings) as bench:
        scan(bench.catalog, folder, settings)
        [key] = bench.catalog.order(folder)
        [outcome] = asyncio.run(walk_batch([key], LOCAL_STAGES, bench, lambda outcome: None))
        stored = outcome.stages["raw_audio"].stored
        assert stored is not None
        [check] = [c for c in FACE.checks(View(bench, stored)) if c.name == "fit_to_send"]
    assert not check.passed
    assert "its committee" in check.description
    assert "5 s to 10 h" in check.description


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (PlannedCall("0" * 64, "assemblyai", "assemblyai", "m", 0.1, 0.0), "0.16 s at least"),
        (PlannedCall("0" * 64, "assemblyai", "assemblyai", "m", 40_000.0, 0.0), "10 h at most"),
        (PlannedCall("0" * 64, "assemblyai", "assemblyai", "m", 60.0, 0.0, 3 * 10**9), "2200 MB at most"),
        (PlannedCall("0" * 64, "openai", "openai_audio", "m", 0.05, 0.0), "0.1 s at least"),
    ],
)
def test_what_a_provider_would_refuse_is_not_sent(call: PlannedCall, words: str) -> None:
    [why] = failed(errand(Planned((call,)), Purse(None, None, None)))
    assert words in why


def test_an_engine_that_cannot_send_a_recording_says_why() -> None:
    assert failed(errand(Planned(problem="too long for it"), Purse(None, None, None))) == ["too long for it."]


def test_too_little_disk_for_what_is_sent_is_said_with_figures(settings: Settings) -> None:
    memory, disk, load = machine(settings, needed_bytes=10**18)
    assert memory.passed
    assert load.passed  # a busy machine is slow, not wrong
    assert not disk.passed
    assert "931322574.6 GiB needed" in disk.message
    assert "CALLPIPELINE_DATA_DIR" in disk.hint


@pytest.mark.parametrize(
    ("profile", "decoded", "fit"),
    [
        (None, 95.0, True),
        (None, 85.0, False),
        ("hearing", 95.0, False),
        ("hearing", 99.0, True),
        (None, 120.0, True),
    ],
)
def test_a_file_that_is_cut_off_is_fetched_again_before_it_is_paid_for(
    calls: Calls, settings: Settings, profile: str | None, decoded: float, fit: bool
) -> None:
    from callpipeline.audio.probe import probe

    path = next(calls(1).glob("*.wav"))
    info = probe(path, max_duration=settings.max_duration, max_bytes=settings.max_bytes)
    claims = info.model_copy(update={"duration": decoded, "claimed_duration": 100.0})
    metadata = CallMetadata(profile=profile, title="t", committee="c", date="2026-03-02")
    against = failed(recording(claims, metadata, settings))
    assert (not against) == fit
    assert all("Fetch or export the file again" in why for why in against)
