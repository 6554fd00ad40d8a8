"""``callpipeline costs``: what providers were paid, as the ledger knows it now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from callpipeline.cli.views import ROWS_SHOWN, console
from callpipeline.failures import CallPipelineError
from callpipeline.limits.costs import Grouping, Share, Totals, dollars
from callpipeline.settings import Settings

_NAMELESS = {Grouping.RECORDING: "(no recording)", Grouping.RUN: "(outside of runs)"}


def costs(
    by: Annotated[Grouping, typer.Option(help="What to add up by.")] = Grouping.DAY,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON, for scripts.")] = False,
) -> None:
    """Show what was spent on calls to providers, in US dollars: today, in all, and on what.

    Paid: calls with an answer. Reserved: estimates of calls under way or interrupted, until their answer is here.

    Unsure: calls whose answer never came; the provider may have charged them. Budgets count all three.

    Days are days of UTC.
    """
    settings = Settings()
    today, all_, shares = _ask(settings, by)
    if by is not Grouping.DAY:
        shares = sorted(shares, key=lambda share: -share.total)
    files = _file_names(settings, shares) if by is Grouping.RECORDING else {}
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "today": _figures(today),
                    "all": _figures(all_),
                    "by": by.value,
                    "rows": [
                        {
                            "name": share.name,
                            **({"file": files.get(share.name)} if by is Grouping.RECORDING else {}),
                            "calls": share.calls,
                            **_figures(share),
                        }
                        for share in shares
                    ],
                }
            )
        )
        return
    if not shares:
        console.print("nothing was spent: no paid call was ever made")
        return
    console.print(summary(settings, today, all_), soft_wrap=True)
    shown = shares[-ROWS_SHOWN:] if by is Grouping.DAY else shares[:ROWS_SHOWN]
    console.print(_table(by, [(files.get(s.name) or s.name or _NAMELESS.get(by, ""), s) for s in shown]))
    if len(shares) > len(shown):
        console.print(f"{len(shares) - len(shown)} more: callpipeline costs --by {by.value} --json")


def summary(settings: Settings, today: Totals, all_: Totals) -> str:
    """Say in one line what was spent."""
    budget = settings.budget_per_day
    of = "" if budget is None else f" of ${dollars(budget)}"
    text = f"spent: ${dollars(today.total)}{of} today (UTC), ${dollars(all_.total)} in all"
    if all_.open > 0:
        text += f"; ${dollars(all_.open)} of that is reserved for calls without an answer yet"
    if all_.unsure > 0:
        text += f"; of ${dollars(all_.unsure)} it is unsure whether it was charged"
    return text


def spending(settings: Settings) -> str | None:
    """Return ``summary`` of the present state, or why it is not known; ``None`` when nothing was ever spent."""
    try:
        today, all_, _ = _ask(settings, Grouping.DAY)
    except CallPipelineError as error:
        return f"spent: not known now. {error}"
    return summary(settings, today, all_) if all_.total > 0 else None


def spending_json(settings: Settings) -> dict[str, object]:
    """Return the present state for scripts: ``today`` and ``all``, or the ``problem`` of reading it."""
    try:
        today, all_, _ = _ask(settings, Grouping.DAY)
    except CallPipelineError as error:
        return {"problem": str(error)}
    return {"today": _figures(today), "all": _figures(all_)}


def _ask(settings: Settings, by: Grouping) -> tuple[Totals, Totals, list[Share]]:
    """Return what was spent today, in all, and on each."""
    from callpipeline.limits.books import open_books

    with open_books(settings) as books:
        if books is None:
            nothing = Totals(settled=0.0, open=0.0, unsure=0.0)
            return nothing, nothing, []
        return books.costs.today(), books.costs.totals(), books.costs.by(by)


def _file_names(settings: Settings, shares: Sequence[Share]) -> dict[str, str]:
    """Return file names of recordings by key."""
    from callpipeline.intake.catalog import Catalog
    from callpipeline.intake.formats import display

    wanted = {share.name for share in shares}
    with Catalog(settings.store / "catalog.sqlite") as catalog:
        return {
            row.recording.key: display(row.sources[0].name)
            for row in catalog.rows(absent=True)
            if row.recording.key in wanted and row.sources
        }


def _figures(totals: Totals) -> dict[str, float]:
    amounts = {
        "settled": totals.settled,
        "open": totals.open,
        "unsure": totals.unsure,
        "total": totals.total,
    }
    return {name: round(amount, 9) for name, amount in amounts.items()}


def _table(by: Grouping, rows: Sequence[tuple[str, Share]]) -> Table:
    table = Table(pad_edge=False)
    table.add_column(by.value, overflow="fold")
    for name in ("calls", "paid", "reserved", "unsure", "total"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, share in rows:
        rare = (f"${dollars(amount)}" if amount > 0 else "" for amount in (share.open, share.unsure))
        table.add_row(
            escape(name), f"{share.calls}", f"${dollars(share.settled)}", *rare, f"${dollars(share.total)}"
        )
    return table
