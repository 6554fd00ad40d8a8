from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from callpipeline.failures import CorruptChunk, NetworkFailed
from callpipeline.intake.catalog import Catalog
from callpipeline.limits.books import open_books
from callpipeline.limits.costs import Costs
from callpipeline.limits.ledger import Ledger, open_ledger
from callpipeline.limits.ledger_rows import Order, Usage, insert, new_row, request_hash
from callpipeline.pipeline.export import export_table
from callpipeline.pipeline.workbench import Workbench
from callpipeline.settings import Settings
from callpipeline.store import warehouse

PROVIDER, POOL, MODEL = "assemblyai", "assemblyai", "universal-2"


def order(name: str) -> Order:
    return Order(request_hash(name=name), PROVIDER, POOL, MODEL, recording=f"key-{name}", purpose="test")


class Buyer:
    """A run that buys from a provider, and the warehouse beside it. ``url``: where the ledger is, if not in a file."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.catalog = Catalog(settings.store / "catalog.sqlite")
        self.ledgers: list[Ledger] = []

    def ledger(self, run: str) -> Ledger:
        self.ledgers.append(open_ledger(self.settings.store, self.settings.postgres_url, run=run))
        return self.ledgers[-1]

    def buy(
        self, name: str, cost: float, *, run: str = "run-1", until: str = "done", force_paid: bool = False
    ) -> None:
        """Buy one result; ``until``: sent, submitted, lost, refused, or done."""
        ledger = self.ledger(run)
        costs = Costs(ledger.database, run=run)

        async def work() -> None:
            async with ledger.claim(order(name), force_paid=force_paid) as claim:
                costs.reserve(
                    claim.order.request_hash,
                    cost,
                    provider=PROVIDER,
                    model=MODEL,
                    recording=claim.order.recording,
                )
                await claim.sending()
                if until == "lost":
                    raise NetworkFailed("the line was cut")
                if until == "refused":
                    refusal = CorruptChunk("no sound in it")
                    await claim.not_answered(refusal)
                    raise refusal
                if until != "sent":
                    await claim.submitted(f"job-{name}")
                if until == "done":
                    await claim.finish("text", Usage(seconds=60.0, tokens_out=7, cost=cost))

        with suppress(NetworkFailed, CorruptChunk):
            asyncio.run(work())

    def refresh(self) -> warehouse.WarehouseDelta:
        with open_books(self.settings) as books:
            return warehouse.refresh(self.settings.store, self.catalog, calls=books)

    def ask(self, query: str) -> list[tuple[object, ...]]:
        with warehouse.connect(self.settings.store) as connection:
            return connection.execute(query).fetchall()

    def close(self) -> None:
        for ledger in self.ledgers:
            ledger.close()
        self.catalog.close()


@pytest.fixture
def buyer(settings: Settings, url: str | None) -> Iterator[Buyer]:
    buyer = Buyer(settings.model_copy(update={"postgres_url": url}))
    yield buyer
    buyer.close()


@pytest.fixture
def buyer_here(settings: Settings) -> Iterator[Buyer]:
    """One whose ledger is a file."""
    buyer = Buyer(settings)
    yield buyer
    buyer.close()


def test_every_call_becomes_a_row_with_what_it_took_and_how_it_ended(buyer: Buyer) -> None:
    buyer.buy("a", 0.02)
    buyer.buy("b", 0.01, until="submitted")
    buyer.buy("c", 0.01, until="lost")
    buyer.buy("d", 0.01, until="refused")
    buyer.refresh()
    assert buyer.ask(
        "SELECT recording, provider, model, run, state, job_id, sends, seconds, tokens_out, cost, error_class"
        " FROM provider_calls ORDER BY recording"
    ) == [
        ("key-a", PROVIDER, MODEL, "run-1", "done", "job-a", 1, 60.0, 7, 0.02, None),
        ("key-b", PROVIDER, MODEL, "run-1", "submitted", "job-b", 1, 0.0, 0, 0.0, None),
        ("key-c", PROVIDER, MODEL, "run-1", "sending", None, 1, 0.0, 0, 0.0, "network"),
        ("key-d", PROVIDER, MODEL, "run-1", "failed", None, 1, 0.0, 0, 0.0, "corrupt_chunk"),
    ]
    ((created, updated),) = buyer.ask("SELECT created, updated FROM provider_calls WHERE recording = 'key-a'")
    assert isinstance(created, datetime)
    assert isinstance(updated, datetime)
    now = datetime.now(UTC).replace(tzinfo=None)
    assert now - timedelta(minutes=10) < created <= updated < now + timedelta(minutes=10)


def test_cost_views_add_up_to_what_the_ledger_says(buyer: Buyer) -> None:
    buyer.buy("a", 0.02, run="run-1")
    buyer.buy("b", 0.03, run="run-2")
    buyer.buy("c", 0.01, run="run-2", until="submitted")
    buyer.buy("a", 0.02, run="run-3", force_paid=True)
    buyer.refresh()
    today = datetime.now(UTC).date()
    assert buyer.ask("SELECT run, calls, settled, open, unsure, cost FROM costs_by_run") == [
        ("run-1", 1, 0.02, 0.0, 0.0, 0.02),
        ("run-2", 2, 0.03, 0.01, 0.0, 0.04),
        ("run-3", 1, 0.02, 0.0, 0.0, 0.02),
    ]
    assert buyer.ask("SELECT key, calls, cost FROM costs_by_recording") == [
        ("key-a", 1, 0.04),
        ("key-b", 1, 0.03),
        ("key-c", 1, 0.01),
    ]
    ((day, calls, cost),) = buyer.ask("SELECT day, calls, cost FROM costs_by_day")
    assert (day, calls, cost) == (today, 3, pytest.approx(0.08))
    assert buyer.ask("SELECT count(*) FROM provider_calls") == [(3,)]


def test_only_calls_that_changed_are_taken_in_again(buyer: Buyer) -> None:
    for name in "abc":
        buyer.buy(name, 0.01, until="submitted")
    assert buyer.refresh().calls == 3
    before = (buyer.settings.store / warehouse.FILE).stat().st_ino
    assert buyer.refresh().calls == 0
    assert (buyer.settings.store / warehouse.FILE).stat().st_ino == before
    buyer.buy("b", 0.01)
    buyer.buy("d", 0.01)
    assert buyer.refresh().calls == 2
    assert buyer.ask("SELECT recording, state FROM provider_calls ORDER BY 1") == [
        ("key-a", "submitted"),
        ("key-b", "done"),
        ("key-c", "submitted"),
        ("key-d", "done"),
    ]
    assert buyer.ask("SELECT count(*), sum(cost) FROM charges") == [(4, pytest.approx(0.04))]


def test_what_is_committed_after_others_with_a_later_time_is_not_missed(buyer: Buyer) -> None:
    for name in "ab":
        buyer.buy(name, 0.01)
    changed = "UPDATE provider_calls SET message = 'late', updated = updated - 0.5 WHERE recording = 'key-a'"
    with ThreadPoolExecutor() as pool, buyer.ledger("late").database.changing("late") as session:
        session.execute(changed)
        pool.submit(buyer.refresh).result(60)  # does not wait for who writes
    assert buyer.ask("SELECT count(*) FROM provider_calls WHERE message = 'late'") == [(0,)]
    buyer.refresh()
    assert buyer.ask("SELECT recording FROM provider_calls WHERE message = 'late'") == [("key-a",)]


def test_a_charge_that_becomes_unsure_shows_although_its_call_did_not_change(buyer: Buyer) -> None:
    buyer.buy("a", 0.02, until="sent")
    buyer.refresh()
    assert buyer.ask("SELECT open, unsure FROM costs_by_recording") == [(0.02, 0.0)]
    Costs(buyer.ledger("run-1").database).lost(order("a").request_hash)
    assert buyer.refresh().calls == 1
    assert buyer.ask("SELECT open, unsure FROM costs_by_recording") == [(0.0, 0.02)]


def test_where_no_call_was_ever_made_the_tables_are_empty_and_no_ledger_appears(buyer_here: Buyer) -> None:
    buyer_here.refresh()
    assert buyer_here.ask("SELECT count(*) FROM provider_calls") == [(0,)]
    assert buyer_here.ask("SELECT * FROM costs_by_day") == []
    assert not (buyer_here.settings.store / "ledger.sqlite").exists()


def test_a_new_ledger_in_the_place_of_a_lost_one_is_all_that_counts(buyer_here: Buyer) -> None:
    buyer_here.buy("a", 0.01)
    buyer_here.refresh()
    for ledger in buyer_here.ledgers:
        ledger.close()
    for file in buyer_here.settings.store.glob("ledger.sqlite*"):
        file.unlink()
    buyer_here.buy("b", 0.01)
    buyer_here.refresh()
    assert buyer_here.ask("SELECT recording FROM provider_calls") == [("key-b",)]
    assert buyer_here.ask("SELECT recording FROM charges") == [("key-b",)]


def test_a_lost_warehouse_comes_back_with_all_calls(buyer: Buyer) -> None:
    buyer.buy("a", 0.01)
    ledger = buyer.ledger("many")
    with ledger.database.changing("many") as session:
        for number in range(1200):  # more than are asked for at once
            insert(session, new_row(order(f"{number:04d}"), "many", session.now()))
    assert buyer.refresh().calls == 1201
    (buyer.settings.store / warehouse.FILE).unlink()
    delta = buyer.refresh()
    assert (delta.calls, delta.rebuilt) == (1201, True)
    assert buyer.ask("SELECT count(*), count(DISTINCT request_hash) FROM provider_calls") == [(1201, 1201)]
    assert buyer.ask("SELECT count(*) FROM charges") == [(1,)]


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("provider_calls", 2),
        ("charges", 2),
        ("costs_by_recording", 2),
        ("costs_by_run", 1),
        ("costs_by_day", 1),
    ],
)
def test_calls_and_costs_can_be_exported_as_they_are_now(
    buyer_here: Buyer, tmp_path: Path, table: str, rows: int
) -> None:
    buyer_here.buy("a", 0.02)
    buyer_here.buy("b", 0.01)
    with Workbench(buyer_here.settings) as bench:
        assert export_table(bench, table, tmp_path / "out.csv", "csv") == rows
    with (tmp_path / "out.csv").open(newline="") as file:
        assert sum(float(row["cost"]) for row in csv.DictReader(file)) == pytest.approx(0.03)
