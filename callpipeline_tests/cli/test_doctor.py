"""``callpipeline doctor`` where a provider is to be used: keys, pools, budgets, and no secret in any of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from callpipeline.cli import app
from callpipeline.limits.supplies import open_supplies
from callpipeline.settings import Settings
from callpipeline_tests.simulators import AssemblyAISimulator


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[AssemblyAISimulator]:
    """AssemblyAI, and an environment in which its key alone chooses it."""
    with AssemblyAISimulator() as simulator:
        for name, value in simulator.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("CALLPIPELINE_TRANSCRIBER")
        monkeypatch.setenv("CALLPIPELINE_RETRY_DELAY_SCALE", "0")
        yield simulator


def _doctor(*options: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, ["doctor", "--json", *options])
    shown = json.loads(done.stdout)
    return done.exit_code, shown | {line["what"]: line for line in shown["findings"]}


def test_the_provider_is_asked_for_nothing(provider: AssemblyAISimulator) -> None:
    status, shown = _doctor()
    assert status == 0
    assert shown["assemblyai: key"]["ok"]
    assert provider.stats.routes.keys() == {"list"}


def test_a_refused_key_is_no_set_up_and_is_not_shown(
    provider: AssemblyAISimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSEMBLYAI_API_KEY", "not-the-key")
    status, shown = _doctor("--settings")
    assert status == 2
    assert not shown["ready"]
    assert not shown["assemblyai: key"]["ok"]
    assert "not-the-key" not in json.dumps(shown)
    assert "not-the-key" not in CliRunner().invoke(app, ["doctor", "--settings"]).stdout


def test_a_password_in_an_address_is_not_shown(
    provider: AssemblyAISimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSEMBLYAI_BASE_URL", provider.base_url.replace("://", "://me:s3cret@"))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://me:s3cret@10.0.0.7:8000/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    shown = _doctor("--settings")[1]
    assert shown["settings"]["OPENAI_BASE_URL"] == "http://10.0.0.7:8000/v1"
    assert f"cloud, {provider.base_url}:" in shown["transcription: assemblyai (used)"]["detail"]
    assert "s3cret" not in json.dumps(shown)
    assert "s3cret" not in CliRunner().invoke(app, ["doctor", "--settings"]).output


def test_a_provider_that_does_not_answer_is_said(provider: AssemblyAISimulator) -> None:
    provider.faults.rate("list/reset=1")
    status, shown = _doctor()
    assert status == 2
    assert not shown["engine"]["ok"]
    assert "AssemblyAI" in shown["engine"]["detail"]


def test_pools_say_their_limits_and_who_holds_slots(
    provider: AssemblyAISimulator, settings: Settings
) -> None:
    async def look() -> dict[str, Any]:
        with open_supplies(settings) as supplies:
            async with supplies.gate.slot("assemblyai", what="a-recording"):
                return (await asyncio.to_thread(_doctor))[1]

    shown = asyncio.run(look())
    assert (
        "5 slots, 4,000 requests a minute, 1 held by a-recording (process"
        in shown["pool assemblyai"]["detail"]
    )
    assert "20 slots" in shown["pool openai_chat"]["detail"]
    assert "1,000,000 tokens a minute, all free" in shown["pool openai_chat"]["detail"]


def test_budgets_say_what_is_spent(
    provider: AssemblyAISimulator, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLPIPELINE_BUDGET_PER_DAY", "2")
    with open_supplies(settings, run="r") as supplies:
        supplies.costs.reserve("0" * 64, 0.25, provider="assemblyai", model="m")
    shown = _doctor()[1]
    assert shown["budget per day"]["detail"] == "$2.00; $0.25 spent or reserved today (UTC)"
    assert shown["budget per run"]["detail"] == "no limit"


def test_settings_are_listed_under_the_names_by_which_they_are_set(
    provider: AssemblyAISimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _doctor("--settings")[1]["settings"]
    assert settings["ASSEMBLYAI_API_KEY"] == "(set)"
    assert settings["OPENAI_API_KEY"] == "None"
    assert settings["ASSEMBLYAI_BASE_URL"] == provider.base_url
    assert "CALLPIPELINE_ASSEMBLYAI_API_KEY" not in settings
    assert settings["CALLPIPELINE_ASSEMBLYAI_SLOTS"] == "5"


def test_without_a_provider_no_pools_are_shown(settings: Settings) -> None:
    status, shown = _doctor()
    assert status == 0
    assert not any(line["what"].startswith(("pool", "budget")) for line in shown["findings"])
