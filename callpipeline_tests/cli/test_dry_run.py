"""``run --dry-run``, ``run --force-paid`` and what ``run`` says before it sends: the command line on a provider."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from callpipeline.cli import app
from callpipeline.intake.scan import scan
from callpipeline.pipeline.workbench import Workbench
from callpipeline.settings import Settings
from callpipeline_tests.simulators import AssemblyAISimulator

Calls = Callable[[int], Path]


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[AssemblyAISimulator]:
    """AssemblyAI, and an environment in which it is the engine."""
    with AssemblyAISimulator() as simulator:
        for name, value in simulator.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CALLPIPELINE_TRANSCRIBER", "assemblyai")
        monkeypatch.setenv("CALLPIPELINE_RETRY_DELAY_SCALE", "0")
        yield simulator


def _run(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["run", str(folder), *options])


def _dry_run(folder: Path, *options: str) -> tuple[int, dict[str, Any]]:
    done = _run(folder, "--dry-run", "--json", *options)
    shown: dict[str, Any] = json.loads(done.stdout)
    return done.exit_code, shown


def _nothing_was_sent(provider: AssemblyAISimulator) -> bool:
    return provider.stats.routes.keys() <= {"list"}


def test_what_is_to_pay_is_told_before_and_what_is_paid_stays_paid(
    calls: Calls, provider: AssemblyAISimulator, settings: Settings
) -> None:
    folder = calls(3)
    status, told = _dry_run(folder)
    assert status == 0
    assert told["counts"]["send"] == 3
    assert told["minutes"] == pytest.approx(0.1)
    assert told["minutes_sent"] == told["minutes"]
    assert told["cost"] == pytest.approx(3 * 2.0 / 60 * 0.0035, abs=1e-6)
    assert told["time"]["slots"] == 5
    assert told["time"]["basis"].startswith("assumed")
    assert _nothing_was_sent(provider)

    done = _run(folder)
    assert done.exit_code == 0, done.output
    said = " ".join(done.stderr.split())
    assert (
        f"audio goes to assemblyai ({provider.base_url}): about 6 s / $0.00035 at most, 3 recordings" in said
    )
    assert "pool assemblyai: 5 slots, 4000 requests a minute" in said
    assert provider.stats.paid.calls == 3

    for asset in ("raw_audio", "speech_activity", "transcripts", "detections"):
        shutil.rmtree(settings.store / asset)
    status, told = _dry_run(folder)
    assert status == 0
    assert told["counts"]["paid"] == 3
    assert told["cost"] == 0
    assert told["time"] is None
    assert provider.stats.paid.calls == 3

    status, told = _dry_run(folder, "--force-paid")
    assert told["counts"]["send"] == 3
    done = _run(folder, "--force-paid")
    assert done.exit_code == 0, done.output
    assert "What was bought before is bought again" in done.stderr
    assert "3 processed" in done.stdout
    assert provider.stats.paid.duplicates == 3


def test_every_recording_has_a_fate_and_a_reason(calls: Calls, provider: AssemblyAISimulator) -> None:
    folder = calls(1)
    (folder / "broken.mp3").write_bytes(b"not a recording" * 50)
    turn = {"speaker": "agent", "start": 0.5, "end": 6.0, "text": "Hi, this is Dana."}
    (folder / "Dana _ 555-0100.json").write_text(json.dumps({"duration_s": 30.0, "turns": [turn]}))
    silence = bytes(8000 * 2 * 2 * 3)
    import wave

    with wave.open(str(folder / "silent.wav"), "wb") as file:
        file.setparams((2, 2, 8000, 0, "NONE", ""))
        file.writeframes(silence)
    status, told = _dry_run(folder)
    assert status == 1
    fates = {row["file"]: row["fate"] for row in told["recordings"]}
    [call] = [name for name in fates if name.startswith("Agent")]
    assert fates == {
        call: "send",
        "broken.mp3": "not_fit",
        "Dana _ 555-0100.json": "ready_made",
        "silent.wav": "no_need",
    }
    reasons = {row["file"]: " ".join(row["reasons"]) for row in told["recordings"]}
    assert reasons["silent.wav"] == "nobody speaks"
    assert "not a recording" in reasons["broken.mp3"]
    table = _run(folder, "--dry-run")
    assert table.exit_code == 1
    for text in (
        "nothing was sent",
        "to send",
        "ready-made",
        "no need",
        "not fit",
        "broken.mp3",
        "budget per day",
    ):
        assert text in table.stdout
    assert _nothing_was_sent(provider)


def test_budgets_are_used_up_in_order(
    calls: Calls, provider: AssemblyAISimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLPIPELINE_BUDGET_PER_DAY", "0.0003")  # a call costs 0.000117
    status, told = _dry_run(calls(4))
    assert status == 1
    assert [row["fate"] for row in told["recordings"]] == ["send", "send", "not_fit", "not_fit"]
    assert told["budgets"]["per_day"]["left"] == 0.0003
    assert told["budgets"]["per_day"]["needed"] == pytest.approx(4 * 2.0 / 60 * 0.0035, abs=1e-6)
    assert "CALLPIPELINE_BUDGET_PER_DAY" in told["recordings"][3]["reasons"][0]


def test_a_refused_key_keeps_all_from_being_sent(
    calls: Calls, provider: AssemblyAISimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSEMBLYAI_API_KEY", "not-the-key")
    status, told = _dry_run(calls(2))
    assert status == 2
    assert told["counts"]["not_fit"] == 2
    assert [finding["name"] for finding in told["findings"] if not finding["passed"]] == ["assemblyai: key"]
    assert "not-the-key" not in json.dumps(told)


def test_a_refused_key_is_said_once_and_not_for_each_recording(
    calls: Calls, provider: AssemblyAISimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSEMBLYAI_API_KEY", "not-the-key")
    folder = calls(3)
    assert _run(folder, "--dry-run").stdout.count("Check the API key") == 1
    _, told = _dry_run(folder)
    assert [row["reasons"] for row in told["recordings"]] == [[], [], []]


def test_a_refused_key_ends_a_run_before_it_begins(
    calls: Calls, provider: AssemblyAISimulator, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSEMBLYAI_API_KEY", "not-the-key")
    folder = calls(2)
    done = _run(folder)
    assert done.exit_code == 2
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("nothing was sent to assemblyai: AssemblyAI answered 401")
    assert "Check the API key" in line
    assert done.stdout == ""
    assert not (settings.store / "raw_audio").exists()
    assert provider.stats.routes["list"].requests == 1

    monkeypatch.setenv("ASSEMBLYAI_API_KEY", provider.api_key)
    done = _run(folder)
    assert done.exit_code == 0, done.output
    assert provider.stats.paid.calls == 2


def test_a_run_that_sends_nothing_needs_no_key(
    tmp_path: Path, provider: AssemblyAISimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSEMBLYAI_API_KEY", "not-the-key")
    turn = {"speaker": "agent", "start": 0.5, "end": 6.0, "text": "Hi, this is Dana."}
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "Dana _ 555-0100.json").write_text(json.dumps({"duration_s": 30.0, "turns": [turn]}))
    done = _run(tmp_path / "in")
    assert done.exit_code == 0, done.output
    assert not provider.stats.routes


def test_a_provider_that_is_away_for_a_moment_does_not_keep_a_run_from_its_local_work(
    calls: Calls, provider: AssemblyAISimulator
) -> None:
    provider.faults.script("list", *["reset"] * 4)  # once, and its retries
    done = _run(calls(1))
    assert "assemblyai does not answer now" in done.stderr
    assert done.exit_code == 0, done.output
    assert provider.stats.paid.calls == 1


def test_a_closed_pool_is_said_before_everything_waits_for_it(
    calls: Calls, provider: AssemblyAISimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLPIPELINE_ASSEMBLYAI_SLOTS", "0")
    monkeypatch.setenv("CALLPIPELINE_RUN_DEADLINE", "0.5")
    done = _run(calls(1))
    said = "the pool assemblyai is at 0: nothing will be sent until it is raised"
    assert f"{said} (dagster instance concurrency set assemblyai N)" in done.stderr
    assert done.exit_code == 1


def test_a_password_in_the_address_is_not_shown(
    calls: Calls, provider: AssemblyAISimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSEMBLYAI_BASE_URL", "http://me:s3cret@127.0.0.1:9")
    folder = calls(1)
    for options in ((), ("--dry-run",), ("--dry-run", "--json")):
        assert "s3cret" not in _run(folder, *options).output
    assert "audio goes to assemblyai (http://127.0.0.1:9)" in _run(folder).stderr


def test_the_pools_size_is_what_counts(
    calls: Calls, provider: AssemblyAISimulator, settings: Settings
) -> None:
    from callpipeline.defs.launch import open_instance

    with open_instance(settings) as instance:
        instance.event_log_storage.set_concurrency_slots("assemblyai", 2)
    _, told = _dry_run(calls(1))
    assert told["time"]["slots"] == 2


def test_without_a_provider_nothing_costs_anything(calls: Calls) -> None:
    status, told = _dry_run(calls(2))
    assert status == 0
    assert (told["engine"], told["remote"], told["cost"]) == ("sphinx", False, 0)
    assert told["counts"]["here"] == 2


def test_paying_again_needs_an_engine_that_is_paid(calls: Calls) -> None:
    done = _run(calls(1), "--force-paid")
    assert done.exit_code != 0
    assert "works on this machine" in str(done.exception)


def test_a_dry_run_tries_nothing_again_that_failed_for_good(
    provider: AssemblyAISimulator, tmp_path: Path, settings: Settings
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "broken.mp3").write_bytes(b"not a recording" * 50)
    assert _run(folder).exit_code == 1
    with Workbench(settings) as bench:
        scan(bench.catalog, folder, settings)
        [key] = bench.catalog.order()
        before = bench.store.failure("raw_audio", key)
        _, told = _dry_run(folder)
        assert bench.store.failure("raw_audio", key) == before
        assert told["counts"]["not_fit"] == 1
        assert _run(folder).exit_code == 1
        assert bench.store.failure("raw_audio", key) == before
