"""``callpipeline status``: how far everything is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from callpipeline.cli.costs import spending, spending_json
from callpipeline.cli.views import SOME_FAILED, console
from callpipeline.failures import UsageError
from callpipeline.intake.formats import display
from callpipeline.settings import Settings


def status(
    folder: Annotated[Path | None, typer.Argument(help="Only recordings below this folder.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="List every failure with its reason.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON, for scripts.")] = False,
) -> None:
    """Show how many recordings are new, done or failed, and why they failed.

    Reads only; does not look for new files (callpipeline run does). Exit code 1 if something failed.
    """
    from callpipeline.pipeline.report import report_paths, reported_revision
    from callpipeline.pipeline.workbench import Workbench

    if folder is not None and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder.")
    with Workbench(Settings()) as bench:
        counts = bench.catalog.counts(folder)
        problems = bench.catalog.problems(folder)
        failures = [row for row in bench.catalog.rows(folder) if row.recording.state == "failed"]
        current = reported_revision(bench.settings.store) == bench.catalog.revision()
        paths = report_paths(bench.settings.store)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "recordings": counts.recordings,
                    "new": counts.new,
                    "done": counts.done,
                    "failed": counts.failed,
                    "failed_permanently": counts.permanent,
                    "still_being_written": counts.waiting,
                    "report_up_to_date": current,
                    "spent": spending_json(bench.settings),
                    "failures": [
                        {
                            "key": row.recording.key,
                            "file": display(row.sources[0]) if row.sources else None,
                            "error_class": row.recording.error_class,
                            "message": row.recording.message,
                            "permanent": row.recording.permanent,
                        }
                        for row in failures
                    ],
                    "problems": [{"path": display(p.path), "problem": p.problem} for p in problems],
                }
            )
        )
    else:
        console.print(
            f"{counts.recordings} recordings: {counts.done} done, {counts.new} new, {counts.failed} failed"
            f" ({counts.permanent} for good), {counts.problems} unreadable, {counts.waiting} still being written"
        )
        if failed and (failures or problems):
            table = Table(pad_edge=False)
            for name in ("recording", "class", "again?", "reason"):
                table.add_column(name, overflow="fold")
            for row in failures:
                name = display(row.sources[0].name) if row.sources else row.recording.key
                again = "with --retry-failed" if row.recording.permanent else "by the next run"
                table.add_row(
                    escape(name), row.recording.error_class, again, escape(row.recording.message or "")
                )
            for problem in problems:
                table.add_row(
                    escape(display(problem.path)), "unreadable", "by the next run", escape(problem.problem)
                )
            console.print(table)
        elif failures or problems:
            console.print("why: callpipeline status --failed")
        state = (
            "up to date"
            if current
            else "not up to date: callpipeline run, or the results sensor, makes it so"
        )
        console.print(f"report ({state}): {paths['report']}", soft_wrap=True)
        if spent := spending(bench.settings):
            console.print(spent, markup=False, soft_wrap=True)
    if failures or problems:
        raise typer.Exit(SOME_FAILED)
