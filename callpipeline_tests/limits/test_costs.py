from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from callpipeline.failures import BudgetExceeded, NotConfigured
from callpipeline.limits.costs import Budgets, Costs, Grouping, Prices, over
from callpipeline.limits.ledger import Ledger, open_ledger
from callpipeline_tests.limits.conftest import Spawn


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path, None)
    yield opened
    opened.close()


def test_an_hour_of_whisper_costs_36_cents() -> None:
    assert Prices.load().cost("openai", "whisper-1", seconds=3600) == pytest.approx(0.36)


def test_tokens_are_priced_by_direction() -> None:
    cost = Prices.load().cost("openai", "gpt-5.4-mini", tokens_in=1_000_000, tokens_out=100_000)
    assert cost == pytest.approx(0.75 + 0.45)


def test_a_dated_snapshot_costs_what_its_model_costs() -> None:
    prices = Prices.load()
    assert prices.of("openai", "gpt-5.4-mini-2026-03-05") == prices.of("openai", "gpt-5.4-mini")


def test_a_file_of_ones_own_adds_models_and_overrides_prices(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(
        '[[price]]\nprovider = "openai"\nmodel = "whisper-1"\nper_minute = 0.004\n'
        '[[price]]\nprovider = "mine"\nmodel = "new"\nper_minute = 1.0\n'
    )
    prices = Prices.load(file)
    assert prices.cost("openai", "whisper-1", seconds=60) == pytest.approx(0.004)
    assert prices.cost("mine", "new", seconds=30) == pytest.approx(0.5)


def test_an_unknown_model_is_told_with_what_to_do() -> None:
    with pytest.raises(NotConfigured, match="CALLPIPELINE_PRICES_FILE"):
        Prices.load().cost("openai", "gpt-9", seconds=60)


def test_a_broken_price_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('[[price]]\nprovider = "x"\nmodel = "y"\nper_hour = 3\n')
    with pytest.raises(NotConfigured, match=r"prices\.toml is not a table of prices"):
        Prices.load(file)


@pytest.mark.parametrize(
    ("budget", "spent", "cost", "shown"),
    [
        (0.0015, 0.0, 0.00151, ("0.00150", "0.00000", "0.00151")),
        (0.5, 0.5, 0.00012, ("0.50", "0.50", "0.00012")),
        (10.0, 9.999, 0.004, ("10.00", "10.00", "0.0040")),
        (2.0, 1.0, 1.00004, ("2.00000", "1.00000", "1.00004")),
        (0.0, 0.0, 0.25, ("0.00", "0.00", "0.25")),
    ],
)
def test_figures_over_a_budget_show_that_they_are(
    budget: float, spent: float, cost: float, shown: tuple[str, str, str]
) -> None:
    assert over(budget, spent, cost) == shown


def test_a_budget_of_a_run_counts_only_that_run(ledger: Ledger) -> None:
    first = Costs(ledger.database, run="first", budgets=Budgets(per_run=0.10))
    second = Costs(ledger.database, run="second", budgets=Budgets(per_run=0.10))
    for n in range(10):
        first.reserve(f"a{n}", 0.01, provider="p", model="m")
    with pytest.raises(BudgetExceeded, match=r"\$0\.010; \$0\.10 of the \$0\.10 for this run"):
        first.check(0.01)
    with pytest.raises(BudgetExceeded):
        first.reserve("a10", 0.01, provider="p", model="m")
    second.reserve("b", 0.10, provider="p", model="m")
    spent = {share.name: (share.calls, share.total) for share in first.by(Grouping.RUN)}
    assert spent == {"first": (10, pytest.approx(0.10)), "second": (1, pytest.approx(0.10))}


def test_a_budget_of_a_day_counts_all_runs(ledger: Ledger) -> None:
    for run in ("first", "second"):
        Costs(ledger.database, run=run).reserve(run, 0.4, provider="p", model="m")
    third = Costs(ledger.database, run="third", budgets=Budgets(per_day=1.0))
    with pytest.raises(BudgetExceeded, match="for the day 20"):
        third.reserve("third", 0.4, provider="p", model="m")
    third.reserve("third", 0.2, provider="p", model="m")


def test_a_second_try_of_the_same_request_is_not_counted_twice(ledger: Ledger) -> None:
    costs = Costs(ledger.database, run="run", budgets=Budgets(per_run=0.03))
    for _ in range(5):
        costs.reserve("same", 0.02, provider="p", model="m")
    assert costs.totals(run="run").open == 0.02


def test_processes_that_race_for_the_last_cents_never_break_the_budget(
    tmp_path: Path, url: str | None, spawn: Spawn
) -> None:
    open_ledger(tmp_path, url).close()
    racers = [spawn("spend", tmp_path, url or "-", f"run-{n}", 40, stdout=subprocess.PIPE) for n in range(4)]
    assert [racer.stdout.readline() for racer in racers if racer.stdout] == ["ready\n"] * 4
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("\n")
        racer.stdin.close()
    through = [int(racer.stdout.readline()) for racer in racers if racer.stdout]
    assert sum(through) == 100
    ledger = open_ledger(tmp_path, url)
    assert Costs(ledger.database).totals().total == pytest.approx(1.0)
    ledger.close()
