"""``callpipeline costs`` and the line of ``callpipeline status``, over ledgers in a file and in Postgres."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from callpipeline.intake.catalog import Catalog
from callpipeline.intake.scan import scan
from callpipeline.limits.costs import Costs
from callpipeline.limits.ledger import open_ledger
from callpipeline.limits.ledger_rows import Order, Usage, request_hash
from callpipeline.settings import Settings
from callpipeline_tests.cli.test_run import callpipeline

Calls = Callable[[int], Path]

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def spent(settings: Settings, calls: Calls, url: str | None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two recordings that were transcribed at two providers; returns their keys. A third call is under way."""
    if url:
        monkeypatch.setenv("CALLPIPELINE_POSTGRES_URL", url)
    folder = calls(2)
    with Catalog(settings.store / "catalog.sqlite") as catalog:
        keys = list(scan(catalog, folder, settings).new)
    buy(settings, url, "run-1", keys[0], "assemblyai", "universal-2", 0.02)
    buy(settings, url, "run-2", keys[1], "openai", "whisper-1", 0.005)
    buy(settings, url, "run-2", keys[1], "assemblyai", "universal-2", 0.01, done=False)
    return keys


def buy(
    settings: Settings,
    url: str | None,
    run: str,
    key: str,
    provider: str,
    model: str,
    cost: float,
    *,
    done: bool = True,
) -> None:
    ledger = open_ledger(settings.store, url, run=run)
    of = request_hash(key=key, model=model)

    async def work() -> None:
        async with ledger.claim(Order(of, provider, provider, model, recording=key)) as claim:
            Costs(ledger.database, run=run).reserve(of, cost, provider=provider, model=model, recording=key)
            await claim.sending()
            if done:
                await claim.finish("text", Usage(cost=cost))

    asyncio.run(work())
    ledger.close()


def ask(*arguments: str) -> Any:
    done = callpipeline(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_before_any_paid_call_costs_and_status_say_nothing_of_money(settings: Settings) -> None:
    shown = callpipeline("costs")
    assert (shown.returncode, shown.stdout) == (0, "nothing was spent: no paid call was ever made\n")
    assert ask("costs")["rows"] == []
    assert "spent" not in callpipeline("status").stdout
    assert not (settings.store / "ledger.sqlite").exists()


def test_costs_are_known_at_once_by_everything_that_they_can_be_added_up_by(spent: list[str]) -> None:
    totals = {"settled": 0.025, "open": 0.01, "unsure": 0.0, "total": 0.035}
    rows = {}
    for by in ("day", "run", "provider", "model", "recording"):
        said = ask("costs", "--by", by)
        assert (said["today"], said["all"], said["by"]) == (totals, totals, by)
        rows[by] = [(row["name"], row["calls"], row["total"]) for row in said["rows"]]
    assert rows == {
        "day": [(datetime.now(UTC).date().isoformat(), 3, 0.035)],
        "run": [("run-1", 1, 0.02), ("run-2", 2, 0.015)],
        "provider": [("assemblyai", 2, 0.03), ("openai", 1, 0.005)],
        "model": [("universal-2", 2, 0.03), ("whisper-1", 1, 0.005)],
        "recording": [(spent[0], 1, 0.02), (spent[1], 2, 0.015)],
    }
    assert all(row["file"].endswith(".wav") for row in said["rows"])


def test_people_see_files_and_amounts_and_what_is_left_of_the_day(
    spent: list[str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLPIPELINE_BUDGET_PER_DAY", "5")
    shown = callpipeline("costs", "--by", "recording").stdout
    assert "spent: $0.035 of $5.00 today (UTC), $0.035 in all; $0.010 of that is reserved" in shown
    assert all(file.name in shown for file in settings.uploads.iterdir())
    status = callpipeline("status")
    assert "spent: $0.035 of $5.00 today (UTC), $0.035 in all" in status.stdout
    assert ask("status")["spent"]["all"]["total"] == 0.035


def test_status_works_without_the_ledgers_database_and_costs_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CALLPIPELINE_POSTGRES_URL", NOWHERE)
    status = callpipeline("status")
    assert status.returncode == 0
    assert "spent: not known now. The database does not answer" in status.stdout
    assert "does not answer" in ask("status")["spent"]["problem"]
    refused = callpipeline("costs")
    assert refused.returncode == 1
    assert "CALLPIPELINE_POSTGRES_URL" in refused.stderr


def test_the_command_line_exports_calls(spent: list[str], tmp_path: Path) -> None:
    target = tmp_path / "calls.csv"
    assert "3 rows" in callpipeline("export", str(target), "--table", "provider_calls").stdout
    lines = target.read_text().splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("request_hash,provider,pool,model,recording")
