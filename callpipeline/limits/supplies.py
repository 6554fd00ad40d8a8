"""All limits of one process together, opened from the settings: what a run or a service holds on to."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

from callpipeline.limits.costs import Budgets, Costs, Prices
from callpipeline.limits.gate import Gate
from callpipeline.limits.ledger import Ledger, open_ledger
from callpipeline.limits.rates import RateLimit, Rates, open_rates
from callpipeline.limits.retry import RetryPolicy
from callpipeline.limits.slots import Limit, OnChange, Slots, open_slots
from callpipeline.settings import Settings

POOLS = ("assemblyai", "openai_audio", "openai_chat", "openai_chat_small", "openai_embeddings")
"""Pools by name: those of slots, of rates, and of Dagster are the same."""


@dataclass(frozen=True)
class Supplies:
    """One set of limits. Close it when the run ends: held slots and claims go back."""

    slots: Slots
    rates: Rates
    ledger: Ledger
    prices: Prices
    costs: Costs
    gate: Gate

    def close(self) -> None:
        """Give everything back."""
        self.gate.close()
        self.slots.close()
        self.rates.close()
        self.ledger.close()

    def __enter__(self) -> Supplies:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_supplies(
    settings: Settings,
    *,
    run: str = "",
    spends_with: str = "",
    slot_limit: Limit | None = None,
    on_slot_change: OnChange | None = None,
    policy: RetryPolicy | None = None,
) -> Supplies:
    """Open the limits of one process.

    ``slot_limit`` gives the size of a pool now (Dagster's, say); without it, and where it has none, the
    settings' holds. ``on_slot_change`` is told when this process takes or gives back a slot. ``run`` is the
    run's id among the slots' holders, and in the ledger and for its budget unless it ``spends_with`` another.
    """
    root, url = settings.store, settings.postgres_url
    budgets = Budgets(settings.budget_per_run, settings.budget_per_day)
    prices = Prices.load(settings.prices_file)
    ledger = open_ledger(root, url, run=spends_with or run)
    costs = Costs(ledger.database, run=spends_with or run, budgets=budgets)
    slots = open_slots(
        root,
        url,
        _slot_limit(settings, slot_limit),
        running=ledger.running,
        run=run,
        on_change=on_slot_change,
    )
    rates = open_rates(root, url, lambda pool: rate_limit(settings, pool))
    return Supplies(slots, rates, ledger, prices, costs, Gate(slots, rates, costs=costs, policy=policy))


def rate_limit(settings: Settings, pool: str) -> RateLimit:
    """Return the rates of a pool from the settings; a pool without any still heeds Retry-After."""
    return RateLimit(
        requests=getattr(settings, f"{pool}_requests_per_minute", None),
        tokens=getattr(settings, f"{pool}_tokens_per_minute", None),
        share=settings.rate_share,
    )


def _slot_limit(settings: Settings, asked: Limit | None) -> Limit:
    def limit(pool: str) -> int | None:
        size = asked(pool) if asked else None
        configured: int | None = getattr(settings, f"{pool}_slots", None)
        return configured if size is None else size

    return limit
