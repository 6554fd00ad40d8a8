"""What calls cost: prices as configuration, what was spent, and budgets that stop before they are broken.

A charge is written down with its estimate before the call, under the budget's lock, and corrected to what was
really paid. A process that is killed in between leaves its estimate standing: budgets rather count too much.
Amounts are US dollars; days are days of UTC.
"""

# ruff: noqa: S608 - statements are put together from constants; every value is bound

from __future__ import annotations

import math
import re
import tomllib
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import Field, ValidationError

from callpipeline.failures import BudgetExceeded, NotConfigured
from callpipeline.limits.database import Database, Session
from callpipeline.limits.ledger_rows import Paid
from callpipeline.model import Record

SCHEMA = """
CREATE TABLE IF NOT EXISTS charges (
    id TEXT PRIMARY KEY,
    request_hash TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    recording TEXT,
    run TEXT NOT NULL,
    day TEXT NOT NULL,
    state TEXT NOT NULL,
    cost DOUBLE PRECISION NOT NULL,
    at DOUBLE PRECISION NOT NULL
);
CREATE INDEX IF NOT EXISTS charges_by_day ON charges (day);
CREATE INDEX IF NOT EXISTS charges_by_run ON charges (run);
CREATE INDEX IF NOT EXISTS charges_by_request ON charges (request_hash)
"""
TURN = "charges"
"""Charges are made one after another: two that fit a budget alone may not fit it together."""

_ROUNDING = 1e-9
_MOST_DIGITS = 9
_SNAPSHOT = re.compile(r"-\d{4}(?:-?\d{2}-?\d{2})?")


class Price(Record):
    """What one model costs; see ``prices.toml`` for the units and sources."""

    provider: str
    model: str
    per_minute: float = Field(0.0, ge=0)
    input_per_million: float = Field(0.0, ge=0)
    output_per_million: float = Field(0.0, ge=0)


class Prices:
    """Prices by provider and model."""

    def __init__(self, prices: Iterable[Price]) -> None:
        self._prices = {(p.provider, p.model): p for p in prices}

    @classmethod
    def load(cls, extra: Path | None = None) -> Prices:
        """Load the shipped prices, then those of the file ``extra`` over them.

        Raises:
            NotConfigured: the file cannot be read.
        """
        return cls([*_shipped(), *(_read(extra.read_text(), extra) if extra else ())])

    def of(self, provider: str, model: str) -> Price:
        """Return the price of a model, or of the model that it is a dated snapshot of.

        Raises:
            NotConfigured: the model has no price, so no budget could hold.
        """
        exact = self._prices.get((provider, model))
        if exact:
            return exact
        for (of, name), price in self._prices.items():
            if of == provider and model.startswith(name) and _SNAPSHOT.fullmatch(model[len(name) :]):
                return price
        raise NotConfigured(
            f"No price is known for {provider} {model}.",
            hint="Add it to a file of the form of callpipeline/limits/prices.toml and name that file in"
            " CALLPIPELINE_PRICES_FILE.",
        )

    def cost(
        self, provider: str, model: str, *, seconds: float = 0.0, tokens_in: int = 0, tokens_out: int = 0
    ) -> float:
        """Return dollars for ``seconds`` of audio and so many text tokens."""
        price = self.of(provider, model)
        tokens = tokens_in * price.input_per_million + tokens_out * price.output_per_million
        return seconds / 60.0 * price.per_minute + tokens / 1e6


@cache
def _shipped() -> tuple[Price, ...]:
    source = files("callpipeline.limits") / "prices.toml"
    return _read(source.read_text(), Path(str(source)))


def _read(text: str, path: Path) -> tuple[Price, ...]:
    try:
        return tuple(Price.model_validate(entry) for entry in tomllib.loads(text).get("price", []))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise NotConfigured(f"{path} is not a table of prices: {error}.") from error


@dataclass(frozen=True, slots=True)
class Budgets:
    """The most that may be spent, in dollars; ``None`` = no limit."""

    per_run: float | None = None
    per_day: float | None = None


class Totals(Record):
    """What was spent.

    ``open``: estimates of calls under way. ``unsure``: of calls that were killed on the way.
    """

    settled: float
    open: float
    unsure: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.settled + self.open + self.unsure


class Grouping(StrEnum):
    """What charges can be added up by."""

    RECORDING = "recording"
    RUN = "run"
    DAY = "day"
    PROVIDER = "provider"
    MODEL = "model"


class Share(Totals):
    """What was spent on one recording, run ... (``name``), and in how many calls."""

    name: str
    calls: int


class Costs:
    """Charges and budgets of one run, in the ledger's database. All methods block for a moment."""

    def __init__(self, database: Database, *, run: str = "", budgets: Budgets | None = None) -> None:
        self._database = database
        self.run = run
        self.budgets = budgets or Budgets()

    def reserve(
        self, request_hash: str, estimate: float, *, provider: str, model: str, recording: str | None = None
    ) -> None:
        """Write down what a call will cost, unless a budget says no.

        An estimate that an earlier try of the same request left open is taken over, not added to.

        Raises:
            BudgetExceeded: with the figures; nothing was written.
        """
        with self._database.changing(TURN) as session:
            now = session.now()
            take_back(session, request_hash)
            self._check(session, estimate, now)
            _insert(session, request_hash, provider, model, recording, self.run, "open", estimate, now)

    def lost(self, request_hash: str) -> None:
        """Keep what was reserved for a try whose answer never came: it may have been paid."""
        with self._database.changing(TURN) as session:
            doubt(session, request_hash)

    def check(self, estimate: float) -> None:
        """Raise what ``reserve`` would raise, and write nothing: for a look ahead over a whole run."""
        with self._database.reading() as session:
            self._check(session, estimate, session.now())

    def totals(self, *, run: str | None = None, day: str | None = None) -> Totals:
        """Add up the charges of a run and of a day (``YYYY-MM-DD``); ``None`` = of all."""
        with self._database.reading() as session:
            return _totals(session, run=run, day=day)

    def spent(self, *, but: Collection[str] = ()) -> tuple[float, float]:
        """Return what this run, and what all runs on this UTC day, have spent or reserved.

        Open estimates of the requests ``but`` do not count: reserving for them anew takes these over.
        """
        taken_over = (
            f"AND NOT (state = 'open' AND request_hash IN ({', '.join('?' * len(but))}))" if but else ""
        )
        with self._database.reading() as session:
            sums = [
                session.execute(f"SELECT sum(cost) FROM charges WHERE {name} = ? {taken_over}", (value, *but))
                for name, value in (("run", self.run), ("day", day_of(session.now())))
            ]
        run, day = (float(rows[0][0] or 0.0) for rows in sums)
        return run, day

    def today(self) -> Totals:
        """Add up the charges of the UTC day that it is for the ledger."""
        with self._database.reading() as session:
            return _totals(session, day=day_of(session.now()))

    def by(self, what: Grouping) -> list[Share]:
        """Add up charges by recording, run, day, provider or model, in order of their names."""
        with self._database.reading() as session:
            rows = session.execute(
                f"SELECT {what.value}, count(DISTINCT request_hash),"
                " sum(CASE WHEN state = 'settled' THEN cost ELSE 0 END),"
                " sum(CASE WHEN state = 'open' THEN cost ELSE 0 END),"
                " sum(CASE WHEN state = 'unsure' THEN cost ELSE 0 END)"
                f" FROM charges GROUP BY {what.value}"
            )
        shares = (
            Share(name=name or "", calls=calls, settled=settled, open=open_, unsure=unsure)
            for name, calls, settled, open_, unsure in rows
        )
        return sorted(shares, key=lambda share: share.name)

    def _check(self, session: Session, estimate: float, now: float) -> None:
        day = day_of(now)
        spent = _totals(session, run=self.run).total if self.budgets.per_run is not None else 0.0
        _within(self.budgets.per_run, spent, estimate, "this run")
        spent = _totals(session, day=day).total if self.budgets.per_day is not None else 0.0
        _within(self.budgets.per_day, spent, estimate, f"the day {day}")


def settle(session: Session, paid: Paid) -> None:
    """Turn the open charge of a request into what it cost, within the caller's transaction.

    A request for which nothing was ever reserved gets its charge now.
    """
    of, cost = paid.request_hash, paid.usage.cost
    known = session.execute("SELECT 1 FROM charges WHERE request_hash = ?", (of,))
    if known:
        session.execute(
            "UPDATE charges SET state = 'settled', cost = ? WHERE request_hash = ? AND state = 'open'",
            (cost, of),
        )
    elif cost > 0:
        _insert(session, of, paid.provider, paid.model, paid.recording, paid.run, "settled", cost, paid.at)
    if paid.shares:
        _share_out(session, of, paid.shares)


def _share_out(session: Session, request_hash: str, shares: Mapping[str, float]) -> None:
    """Put a charge for each recording in the place of one that is no recording's."""
    rows = session.execute(
        "SELECT id, provider, model, run, cost, at FROM charges"
        " WHERE request_hash = ? AND state = 'settled' AND recording IS NULL",
        (request_hash,),
    )
    for charge, provider, model, run, cost, at in rows:
        session.execute("DELETE FROM charges WHERE id = ?", (charge,))
        for recording, share in shares.items():
            _insert(session, request_hash, provider, model, recording, run, "settled", cost * share, at)


def doubt(session: Session, request_hash: str) -> None:
    """Keep an open charge for good: the call may have been paid, and nobody can find out."""
    session.execute(
        "UPDATE charges SET state = 'unsure' WHERE request_hash = ? AND state = 'open'", (request_hash,)
    )


def reopen(session: Session, request_hash: str) -> None:
    """Open the latest unsure charge of a call again: its answer was found after all."""
    session.execute(
        "UPDATE charges SET state = 'open' WHERE id IN (SELECT id FROM charges"
        " WHERE request_hash = ? AND state = 'unsure' ORDER BY at DESC LIMIT 1)",
        (request_hash,),
    )


def take_back(session: Session, request_hash: str) -> None:
    """Remove the open charge of a call for which the provider does not charge."""
    session.execute("DELETE FROM charges WHERE request_hash = ? AND state = 'open'", (request_hash,))


def _insert(
    session: Session,
    request_hash: str,
    provider: str,
    model: str,
    recording: str | None,
    run: str,
    state: str,
    cost: float,
    at: float,
) -> None:
    session.execute(
        "INSERT INTO charges VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (uuid.uuid4().hex, request_hash, provider, model, recording, run, day_of(at), state, cost, at),
    )


def day_of(now: float) -> str:
    """Return the UTC day of a time in seconds since 1970."""
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def _within(budget: float | None, spent: float, estimate: float, whose: str) -> None:
    if budget is None or fits(budget, spent, estimate):
        return
    limit, gone, cost = over(budget, spent, estimate)
    raise BudgetExceeded(
        f"The next call would cost about ${cost}; ${gone} of the ${limit}"
        f" for {whose} are spent or reserved, so it was not made.",
        hint="Raise CALLPIPELINE_BUDGET_PER_RUN or CALLPIPELINE_BUDGET_PER_DAY, or go on another day.",
    )


def fits(budget: float, spent: float, cost: float) -> bool:
    """Whether there is still so much of a budget that ``cost`` can be paid."""
    return spent + cost <= budget + _ROUNDING


def dollars(amount: float, *, least: int = 2) -> str:
    """Write an amount with ``least`` digits, and with more where so few would hide a small one."""
    digits = least if amount >= 1 or amount <= 0 else min(8, 1 - math.floor(math.log10(amount)))
    return f"{amount:.{max(least, digits)}f}"


def over(budget: float, spent: float, cost: float) -> tuple[str, str, str]:
    """Write a budget, what is spent of it and what would break it, so that the figures show that it would."""
    for digits in range(2, _MOST_DIGITS + 1):
        limit, gone, needed = (dollars(amount, least=digits) for amount in (budget, spent, cost))
        if round(float(gone) + float(needed) - float(limit), _MOST_DIGITS) > 0:
            break
    return limit, gone, needed


def _totals(session: Session, *, run: str | None = None, day: str | None = None) -> Totals:
    conditions = [f"{name} = ?" for name, value in (("run", run), ("day", day)) if value is not None]
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = session.execute(
        f"SELECT state, sum(cost) FROM charges {where} GROUP BY state",
        [value for value in (run, day) if value is not None],
    )
    sums = {state: float(cost) for state, cost in rows}
    return Totals(**{state: sums.get(state, 0.0) for state in Totals.model_fields})
