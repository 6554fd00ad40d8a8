"""``callpipeline run FOLDER``: take in, process, show."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from callpipeline.cli.dry_run import dry_run
from callpipeline.cli.processing import announced, bring_up_to_date, process, say_broken_off
from callpipeline.cli.views import (
    FAILURES_SHOWN,
    SOME_FAILED,
    Steps,
    calls_table,
    console,
    hearings_table,
    most_urgent,
)
from callpipeline.failures import UsageError
from callpipeline.intake.formats import display
from callpipeline.settings import Settings

if TYPE_CHECKING:
    from callpipeline.defs.resources import Outcome
    from callpipeline.intake.scan import ScanReport
    from callpipeline.pipeline.report import LineState
    from callpipeline.pipeline.workbench import Workbench


def run(
    folder: Annotated[
        Path, typer.Argument(help="Folder tree with recordings (mp3, wav, m4a, mp4, flac, ogg ...).")
    ],
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Also try again what failed for good, such as damaged files."),
    ] = False,
    look_only: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Send nothing: say what would be sent, what it would cost and how long it would take.",
        ),
    ] = False,
    force_paid: Annotated[
        bool,
        typer.Option(
            "--force-paid",
            help="Also buy again, and pay again for, what a provider has transcribed or extracted before. Asks nothing.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON, for scripts.")] = False,
) -> None:
    """Process what is new or changed in FOLDER and show verdicts and scores.

    Run it again at any time: nothing that is done is done twice, whatever failed for a passing reason is tried
    again. Results land in data/store (CALLPIPELINE_DATA_DIR), runs show in the Dagster UI.

    Exit code 0: all recordings are done. 1: some failed, the others are done. 2: wrong usage or set-up.
    """
    from callpipeline.pipeline.workbench import Workbench
    from callpipeline.store.sweep import sweep

    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder.", hint="Give the folder that holds the recordings.")
    folder = folder.absolute()
    started = time.monotonic()
    with Workbench(Settings(), force_paid=force_paid) as bench:
        if force_paid and not (bench.transcriber.remote or bench.extractor.remote):
            raise UsageError(
                f"--force-paid is for engines at a provider; {bench.transcriber.name} works on this machine, and so does "
                f"the extractor {bench.extractor.name}.",
                hint="Set CALLPIPELINE_TRANSCRIBER or CALLPIPELINE_EXTRACTOR, or leave the option out.",
            )
        found = _take_in(bench, folder)
        if look_only:
            dry_run(bench, folder, retry_failed=retry_failed, as_json=as_json)
            return
        pending = _pending(bench, folder, retry_failed=retry_failed)
        broken: list[str] = []
        if pending:
            announced(bench, pending)
            broken += _walk(bench, pending)
            sweep(bench.settings.store, bench.catalog)
        broken += bring_up_to_date(bench)
        say_broken_off(broken)
        _show(bench, folder, found, len(pending), time.monotonic() - started, as_json=as_json)
    if broken:
        raise typer.Exit(SOME_FAILED)


def _take_in(bench: Workbench, folder: Path) -> ScanReport:
    from callpipeline.intake.scan import scan

    with Steps("reading new files", None) as steps:
        return scan(bench.catalog, folder, bench.settings, wait=True, on_progress=steps.update)


def _pending(bench: Workbench, folder: Path, *, retry_failed: bool) -> list[str]:
    """Return what is to do, in order of arrival; with ``bench.force_paid`` also what was bought before."""
    from callpipeline.pipeline.forecast import bought_before
    from callpipeline.pipeline.pending import pending

    waiting = pending(bench, folder, retry_failed=retry_failed)
    if not bench.force_paid:
        return waiting
    order = bench.catalog.order(folder)
    again = {*waiting, *bought_before(bench, order)}
    return [key for key in order if key in again]


def _walk(bench: Workbench, pending: Sequence[str]) -> list[str]:
    from callpipeline.pipeline.outcomes import RecordingOutcome

    with Steps("processing recordings", len(pending)) as steps:

        def listen(outcome: Outcome) -> None:
            if isinstance(outcome, RecordingOutcome):
                steps.advance(failed=outcome.failure is not None)

        return process(bench, pending, listen)


def _show(
    bench: Workbench, folder: Path, found: ScanReport, processed: int, seconds: float, *, as_json: bool
) -> None:
    from callpipeline.graph.exports import GraphFormat
    from callpipeline.pipeline.graph_exports import export_paths
    from callpipeline.pipeline.report import line_states, lines, report_paths

    picture = export_paths(bench.settings)[GraphFormat.PICTURE]
    states = line_states(bench, folder)
    problems = bench.catalog.problems(folder)
    failed = [state.key for state in states if state.status in ("error", "partial")]
    paths = report_paths(bench.settings.store)
    if as_json:
        rows = lines(bench, [state.key for state in states])
        summary = {
            "recordings": [row.model_dump(mode="json", exclude={"turns"}) for row in rows],
            "problems": [{"path": display(p.path), "problem": p.problem} for p in problems],
            "processed": processed,
            "failed": len(failed) + len(problems),
            "seconds": round(seconds, 2),
            "report": {name: str(path) for name, path in paths.items()},
            "graph": str(picture) if picture.is_file() else None,
        }
        typer.echo(json.dumps(summary))
    else:
        _show_tables(bench, states)
        for row in lines(bench, failed[:FAILURES_SHOWN]):
            for error in row.errors[:1]:
                _say("red", row.file_name, error.message.removeprefix(row.file_name).lstrip(": "))
        for problem in problems[:FAILURES_SHOWN]:
            _say("red", display(problem.path), problem.problem)
        for path in found.waiting[:FAILURES_SHOWN]:
            _say("yellow", display(path), "still being written; run again when it is complete")
        if max(len(failed), len(problems)) > FAILURES_SHOWN:
            console.print("more: callpipeline status --failed")
        console.print(
            f"{processed} processed, {max(0, len(states) - processed)} already known, "
            f"{len(failed) + len(problems)} failed, {sum(state.flag for state in states)} flagged, in {seconds:.1f} s"
        )
        for name, path in paths.items():
            console.print(f"{name:<12} {path}", soft_wrap=True)
        if picture.is_file():
            console.print(f"{'graph':<12} {picture}", soft_wrap=True)
        console.print("pages        make ui, then http://127.0.0.1:3000 (Dagster: assets, partitions, runs)")
    if failed or problems:
        raise typer.Exit(SOME_FAILED)


def _show_tables(bench: Workbench, states: Sequence[LineState]) -> None:
    from callpipeline.pipeline.report import lines

    calls = [state for state in states if not state.hearing]
    hearings = [state for state in states if state.hearing]
    if calls or not hearings:
        console.print(calls_table(lines(bench, most_urgent(calls)), of=len(calls)))
    if hearings:
        console.print(hearings_table(lines(bench, most_urgent(hearings)), of=len(hearings)))


def _say(colour: str, what: str, message: str) -> None:
    console.print(f"[{colour}]{escape(what)}[/{colour}]: {escape(message)}", soft_wrap=True)
