"""``callpipeline doctor``: what works here, and what to do about the rest."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import SecretStr
from rich.markup import escape
from rich.table import Table

from callpipeline.cli.dry_run import pool_limits
from callpipeline.cli.views import USAGE, Steps, console
from callpipeline.failures import CallPipelineError
from callpipeline.limits.costs import dollars
from callpipeline.limits.supplies import POOLS, rate_limit
from callpipeline.settings import Settings, variable_of, without_login

if TYPE_CHECKING:
    from callpipeline.limits.slots import Holder
    from callpipeline.model import Finding

PROBE_SECONDS = 10.0
"""A provider that takes longer to say whether it accepts a key is as good as away."""
HOLDERS_SHOWN = 10
_SECRETS = ("postgres_url",)


@dataclass(frozen=True)
class Line:
    """One thing that was looked at. Without ``needed`` a run can start all the same."""

    what: str
    ok: bool
    detail: str
    hint: str = ""
    needed: bool = True


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON, for scripts.")] = False,
    settings_too: Annotated[
        bool, typer.Option("--settings", help="Also list every setting and its value.")
    ] = False,
) -> None:
    """Check engines, weights, keys, storage, disk and memory, and say what would be used.

    When a provider would be used: asks it for nothing whether it accepts the key, and shows slots and budgets.

    Exit code 0 if a run can start here, else 2.
    """
    settings = Settings()
    with Steps("looking around", None):
        lines = list(_look(settings))
    ready = all(line.ok for line in lines if line.needed)
    if as_json:
        shown = {"ready": ready, "findings": [asdict(line) for line in lines]}
        if settings_too:
            shown["settings"] = {name: value for name, value, _ in _values(settings)}
        typer.echo(json.dumps(shown))
    else:
        _print(lines)
        if settings_too:
            _print_settings(settings)
        console.print("ready: callpipeline run FOLDER" if ready else "not ready: see the red lines")
    if not ready:
        raise typer.Exit(USAGE)


def _look(settings: Settings) -> Iterator[Line]:
    from callpipeline.pipeline.fitness import machine
    from callpipeline.speech.engines import REMOTE, available, chosen

    engines = available(settings)
    for status in engines:
        used = " (used)" if status.chosen else ""
        what = f"{status.kind}: {status.name}{used}"
        yield Line(what, status.ready, status.detail, status.hint, needed=status.chosen)
    yield _store(settings)
    storage = _dagster(settings)
    yield storage
    yield from map(_line, machine(settings))
    if chosen(settings) in REMOTE and all(status.ready for status in engines if status.chosen):
        yield from map(_line, asyncio.run(_provider(settings)))
        yield from _pools(settings, storage.ok)
        yield from _budgets(settings)


def _line(finding: Finding) -> Line:
    return Line(finding.name.replace("_", " "), finding.passed, finding.message, finding.hint)


def _store(settings: Settings) -> Line:
    from callpipeline.store.files import write_text

    probe = settings.store / ".doctor"
    try:
        write_text(probe, "ok")
        probe.unlink()
    except OSError as error:
        hint = "Set CALLPIPELINE_DATA_DIR to a folder that can be written."
        return Line("results", False, f"{settings.store}: {error.strerror}", hint)
    return Line("results", True, str(settings.store))


def _dagster(settings: Settings) -> Line:
    if settings.postgres_url is None:
        return Line("Dagster storage", True, f"SQLite {sqlite3.sqlite_version} (embedded)")
    import psycopg2

    try:
        psycopg2.connect(settings.postgres_url.replace("+psycopg2", "", 1), connect_timeout=5).close()
    except psycopg2.Error as error:
        hint = "Check CALLPIPELINE_POSTGRES_URL (postgresql://user:password@host/database)."
        return Line("Dagster storage", False, f"Postgres: {error}".strip(), hint)
    return Line("Dagster storage", True, "Postgres answers")


# --- providers ------------------------------------------------------------------------------------------


async def _provider(settings: Settings) -> tuple[Finding, ...]:
    """Ask the chosen engine's provider, briefly."""
    from callpipeline.model import Finding
    from callpipeline.pipeline.fitness import setup
    from callpipeline.pipeline.workbench import Workbench

    with Workbench(settings) as bench:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return await setup(bench)
        except TimeoutError:
            hint = "Check the network, and the address in the settings of the provider (doctor --settings)."
            said = f"the provider did not answer within {PROBE_SECONDS:g} s"
            return (Finding(name="engine", passed=False, message=said, hint=hint),)
        finally:
            await bench.disconnect()


def _pools(settings: Settings, storage_answers: bool) -> Iterator[Line]:
    """Say how many slots each pool has, how fast its calls may come, and who is at it."""
    from callpipeline.limits.slots import open_places

    if not storage_answers:
        return
    with pool_limits(settings) as limit:
        sizes = {pool: limit(pool) for pool in POOLS}
    places = open_places(settings.store, settings.postgres_url)
    try:
        for pool in POOLS:
            slots, rate = sizes[pool], rate_limit(settings, pool)
            fast = [
                f"{number:,.0f} {what} a minute"
                for what, number in (("requests", rate.requests), ("tokens", rate.tokens))
                if number is not None
            ]
            holders = places.holders(pool)
            detail = ", ".join(
                [f"{'any number of' if slots is None else slots} slots", *fast, _held(holders)]
            )
            closed = slots == 0
            hint = "Its calls wait: raise it on Dagster's page Deployment > Concurrency." if closed else ""
            yield Line(f"pool {pool}", not closed, detail, hint, needed=False)
    finally:
        places.close()


def _held(holders: list[Holder]) -> str:
    if not holders:
        return "all free"
    who = [f"{h.what or h.key[:12]} (process {h.pid} on {h.host})" for h in holders[:HOLDERS_SHOWN]]
    more = f" and {len(holders) - HOLDERS_SHOWN} more" if len(holders) > HOLDERS_SHOWN else ""
    return f"{len(holders)} held by {', '.join(who)}{more}"


def _budgets(settings: Settings) -> Iterator[Line]:
    from callpipeline.limits.books import open_books

    try:
        with open_books(settings) as books:
            day = books.costs.today().total if books else 0.0
    except CallPipelineError as error:
        yield Line("budgets", False, str(error))
        return
    for whose, budget, spent in (
        ("recording", settings.budget_per_recording, None),
        ("run", settings.budget_per_run, None),
        ("day", settings.budget_per_day, day),
    ):
        limit = "no limit" if budget is None else f"${dollars(budget)}"
        gone = budget is not None and spent is not None and spent >= budget
        detail = limit if spent is None else f"{limit}; ${dollars(spent)} spent or reserved today (UTC)"
        hint = f"Raise {variable_of(f'budget_per_{whose}')}, or wait until tomorrow." if gone else ""
        yield Line(f"budget per {whose}", not gone, detail, hint, needed=False)


# --- showing --------------------------------------------------------------------------------------------


def _print(lines: list[Line]) -> None:
    table = Table(pad_edge=False)
    for name in ("what", "", "detail", "what to do"):
        table.add_column(name, overflow="fold")
    for line in lines:
        mark = "[green]ok[/green]" if line.ok else "[red]no[/red]" if line.needed else "[dim]no[/dim]"
        table.add_row(escape(line.what), mark, escape(line.detail), escape(line.hint))
    console.print(table)


def _print_settings(settings: Settings) -> None:
    table = Table(title="settings", title_justify="left", pad_edge=False)
    for name in ("environment variable", "value", "what it does"):
        table.add_column(name, overflow="fold")
    for row in _values(settings):
        table.add_row(*map(escape, row))
    console.print(table)


def _values(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield variable, value and meaning of every setting; of a secret only whether there is one."""
    for name, field in Settings.model_fields.items():
        value: Any = getattr(settings, name)
        secret = isinstance(value, SecretStr) or name in _SECRETS
        shown = "(set)" if secret and value else str(value)
        if name.endswith("_base_url"):
            shown = without_login(shown)
        yield variable_of(name), shown, field.description or ""
