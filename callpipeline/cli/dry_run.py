"""``callpipeline run FOLDER --dry-run``: what a run would send, what it would cost, and how long it would take.

Also the one line that a run says before it sends anything. No decisions: ``pipeline.forecast`` makes them.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from rich.markup import escape
from rich.table import Table

from callpipeline.cli.views import FAILURES_SHOWN, SOME_FAILED, USAGE, Steps, console, errors
from callpipeline.intake.formats import display
from callpipeline.limits.costs import dollars
from callpipeline.settings import without_login

if TYPE_CHECKING:
    from callpipeline.intake.records import SourceProblem
    from callpipeline.limits.slots import Limit
    from callpipeline.model import Finding
    from callpipeline.pipeline.fitness import Purse
    from callpipeline.pipeline.forecast import Forecast, Prospect
    from callpipeline.pipeline.pace import Timing
    from callpipeline.pipeline.workbench import Workbench
    from callpipeline.settings import Settings


@dataclass(frozen=True)
class Outlook:
    """All that a dry run found out. ``timing`` is ``None`` when nothing would be sent."""

    bench: Workbench
    forecast: Forecast
    findings: Sequence[Finding]
    problems: Sequence[SourceProblem]
    purse: Purse
    timing: Timing | None = None

    @property
    def left_out(self) -> list[Prospect]:
        """Recordings that a run would not do."""
        from callpipeline.pipeline.forecast import Fate

        return self.forecast.of(Fate.NOT_FIT, Fate.UNKNOWN)


class Budget(NamedTuple):
    """One budget, in dollars; ``limit`` ``None`` = none."""

    whose: str
    limit: float | None
    spent: float
    needed: float

    @property
    def left(self) -> float | None:
        """What may still be spent."""
        return None if self.limit is None else max(0.0, self.limit - self.spent)


def dry_run(bench: Workbench, folder: Path, *, retry_failed: bool, as_json: bool) -> None:
    """Work out and show what a run over a folder would do; nothing is sent.

    Raises:
        typer.Exit: 1 if some recordings would not be done, 2 if the machine or the set-up lets none be sent.
    """
    outlook = _outlook(bench, folder, retry_failed=retry_failed)
    if as_json:
        typer.echo(json.dumps(_as_json(outlook)))
    else:
        _print(outlook)
    if not all(finding.passed for finding in outlook.findings):
        raise typer.Exit(USAGE)
    if outlook.problems or outlook.left_out:
        raise typer.Exit(SOME_FAILED)


def announce(bench: Workbench, forecast: Forecast, limit: Limit) -> None:
    """Say in one line where audio goes before it does, how much at most, and under which limits."""
    from callpipeline.pipeline.forecast import Fate

    unknown = len(forecast.of(Fate.UNKNOWN))
    more = f" and {unknown} of unknown length" if unknown else ""
    again = " What was bought before is bought again." if bench.force_paid else ""
    errors.print(
        f"[yellow]audio goes to {bench.transcriber.name}[/yellow] ({_address(bench)}): "
        f"about {_span(forecast.seconds_sent)} / ${dollars(forecast.cost)} at most, "
        f"{len(forecast.of(Fate.SEND))} recordings{more}; {_limits(bench.settings, forecast, limit)}{again}",
        soft_wrap=True,
    )
    for pool in _pools(forecast):
        if limit(pool) == 0:
            errors.print(
                f"[yellow]the pool {pool} is at 0[/yellow]: nothing will be sent until it is raised "
                f"(dagster instance concurrency set {pool} N)",
                soft_wrap=True,
            )


@contextmanager
def pool_limits(settings: Settings) -> Iterator[Limit]:
    """Give what tells the size of a pool as a run would find it: Dagster's, else the settings'."""
    from callpipeline.defs.launch import open_instance
    from callpipeline.defs.pools import slot_limit

    with open_instance(settings) as instance:
        of_dagster = slot_limit(instance)

        def limit(pool: str) -> int | None:
            size = of_dagster(pool)
            configured: int | None = getattr(settings, f"{pool}_slots", None)
            return configured if size is None else size

        yield limit


# --- finding out ----------------------------------------------------------------------------------------


def _outlook(bench: Workbench, folder: Path, *, retry_failed: bool) -> Outlook:
    from callpipeline.pipeline.fitness import Purse, machine
    from callpipeline.pipeline.forecast import forecast, given_up
    from callpipeline.pipeline.walk import plan

    rows = bench.catalog.rows(folder)
    keys = [row.recording.key for row in rows]
    fingerprint = plan(bench)
    hopeless = {row.recording.key for row in rows if given_up(row, fingerprint) and not retry_failed}
    with Steps("looking at recordings", len(keys)) as steps:
        account = asyncio.run(_look(bench, [key for key in keys if key not in hopeless], steps))
    purse = Purse.of(bench.settings)
    with Steps("working out what to send", len(keys)) as steps:
        closed = not all(finding.passed for finding in account)
        found = forecast(bench, keys, closed=closed, retry_failed=retry_failed, on_progress=steps.update)
        needed = found.bytes_at_once(bench.settings.recordings_in_flight)
        findings = (*account, *machine(bench.settings, needed_bytes=needed))
        timing = _timing(bench, found)
        if bench.transcriber.remote:
            purse.day = bench.supplies.costs.spent()[1]
    return Outlook(bench, found, findings, bench.catalog.problems(folder), purse, timing)


async def _look(bench: Workbench, keys: Collection[str], steps: Steps) -> tuple[Finding, ...]:
    """Make the local results that a forecast needs, which are kept, and look at the account."""
    from callpipeline.pipeline.batch import walk_batch
    from callpipeline.pipeline.fitness import setup
    from callpipeline.pipeline.forecast import LOCAL_STAGES
    from callpipeline.pipeline.outcomes import RecordingOutcome, StageOutcome

    def listen(outcome: StageOutcome | RecordingOutcome) -> None:
        if isinstance(outcome, RecordingOutcome):
            steps.advance(failed=outcome.failure is not None)

    await walk_batch(keys, LOCAL_STAGES, bench, listen)
    try:
        return await setup(bench)
    finally:
        await bench.disconnect()


def _timing(bench: Workbench, forecast: Forecast) -> Timing | None:
    from callpipeline.limits.supplies import rate_limit
    from callpipeline.pipeline.pace import MOST_HISTORY, Pace, timing

    calls = forecast.calls
    if not calls:
        return None
    pool, provider = calls[0].pool, calls[0].provider
    pace = Pace.of(provider, bench.supplies.ledger.finished(pool, MOST_HISTORY))
    with pool_limits(bench.settings) as limit:
        return timing(calls, pace, slots=limit(pool), rate=rate_limit(bench.settings, pool))


def _budgets(outlook: Outlook) -> tuple[Budget, ...]:
    purse, forecast = outlook.purse, outlook.forecast
    return (
        Budget("per recording", purse.per_recording, 0.0, forecast.most_for_one),
        Budget("per run", purse.per_run, purse.run, forecast.cost_of_all),
        Budget("per day", purse.per_day, purse.day, forecast.cost_of_all),
    )


# --- showing --------------------------------------------------------------------------------------------


def _print(outlook: Outlook) -> None:
    table = Table(title="dry run: nothing was sent", title_justify="left", pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, text in _lines(outlook):
        table.add_row(escape(name), text)
    console.print(table)
    for finding in outlook.findings:
        if not finding.passed:
            _say(finding.name.replace("_", " "), f"{finding.message} {finding.hint}")
    left_out = [prospect for prospect in outlook.left_out if prospect.reasons or not prospect.wanted.calls]
    for prospect in left_out[:FAILURES_SHOWN]:
        reasons = " ".join(prospect.reasons) or "it could not be looked at"
        _say(prospect.name, reasons.removeprefix(prospect.name).lstrip(": "))
    for problem in outlook.problems[:FAILURES_SHOWN]:
        _say(display(problem.path), problem.problem)
    if max(len(left_out), len(outlook.problems)) > FAILURES_SHOWN:
        console.print("more: --dry-run --json lists all")


def _lines(outlook: Outlook) -> Iterator[tuple[str, str]]:
    engine, forecast = outlook.bench.transcriber, outlook.forecast
    yield (
        "engine",
        f"{engine.name} ({_address(outlook.bench) if engine.remote else 'on this machine, for nothing'})",
    )
    yield "recordings", str(len(forecast.prospects))
    for fate, count in forecast.counts.items():
        if count:
            yield f"  {fate.value}", str(count)
    if not engine.remote:
        return
    yield "audio", f"{_span(forecast.seconds)}; {_span(forecast.seconds_sent)} are sent and charged"
    yield "tokens", "0 (transcription is charged by length)"
    yield "cost", f"${dollars(forecast.cost)}"
    for budget in _budgets(outlook):
        left = (
            "no limit"
            if budget.left is None
            else f"${dollars(budget.left)} of ${dollars(budget.limit or 0)} left"
        )
        yield f"  budget {budget.whose}", f"{left}, ${dollars(budget.needed)} needed"
    if outlook.timing is not None:
        yield "time", _time(outlook.timing)
        if outlook.timing.limited:
            yield "", f"[yellow]{escape(outlook.timing.limited)}[/yellow]"


def _time(timing: Timing) -> str:
    slots = "any number of" if timing.slots is None else timing.slots
    rate = "any number of" if timing.requests_per_minute is None else f"{timing.requests_per_minute:g}"
    limits = f"{slots} slots and {rate} requests a minute"
    if math.isinf(timing.seconds):
        return f"[red]it would wait for ever: {limits}[/red]"
    return escape(
        f"about {_span(timing.seconds)} with {limits}, decided by the {timing.decided_by} ({timing.basis})"
    )


def _as_json(outlook: Outlook) -> dict[str, Any]:
    engine, forecast = outlook.bench.transcriber, outlook.forecast
    return {
        "engine": engine.name,
        "remote": engine.remote,
        "counts": {fate.name.lower(): count for fate, count in forecast.counts.items()},
        "minutes": round(forecast.seconds / 60, 3),
        "minutes_sent": round(forecast.seconds_sent / 60, 3),
        "tokens": 0,
        "cost": round(forecast.cost, 6),
        "budgets": {
            budget.whose.replace(" ", "_"): {
                "limit": budget.limit,
                "spent": round(budget.spent, 6),
                "left": None if budget.left is None else round(budget.left, 6),
                "needed": round(budget.needed, 6),
            }
            for budget in _budgets(outlook)
        },
        "time": None if outlook.timing is None else _timing_as_json(outlook.timing),
        "findings": [finding.model_dump() for finding in outlook.findings],
        "recordings": [_prospect_as_json(prospect) for prospect in forecast.prospects],
        "problems": [{"path": display(p.path), "problem": p.problem} for p in outlook.problems],
    }


def _prospect_as_json(prospect: Prospect) -> dict[str, Any]:
    return {
        "key": prospect.key,
        "file": prospect.name,
        "fate": prospect.fate.name.lower(),
        "reasons": list(prospect.reasons),
        "seconds": round(prospect.seconds, 3),
        "seconds_sent": round(prospect.wanted.seconds, 3),
        "cost": round(prospect.wanted.cost, 6),
    }


def _timing_as_json(timing: Timing) -> dict[str, Any]:
    shown = asdict(timing) | {"warning": timing.limited}
    return {name: None if value == math.inf else value for name, value in shown.items()}


def _limits(settings: Settings, forecast: Forecast, limit: Limit) -> str:
    from callpipeline.limits.supplies import rate_limit

    rates = ((pool, limit(pool), rate_limit(settings, pool).requests) for pool in _pools(forecast))
    return "".join(
        f"pool {pool}: {'no limit of' if slots is None else slots} slots,"
        f" {'no limit of' if rate is None else f'{rate:g}'} requests a minute."
        for pool, slots, rate in rates
    )


def _pools(forecast: Forecast) -> list[str]:
    return list(dict.fromkeys(call.pool for call in forecast.calls))


def _address(bench: Workbench) -> str:
    return without_login(getattr(bench.settings, f"{bench.transcriber.name}_base_url", "its provider"))


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _say(what: str, message: str) -> None:
    console.print(f"[red]{escape(what)}[/red]: {escape(message.strip())}", soft_wrap=True)
