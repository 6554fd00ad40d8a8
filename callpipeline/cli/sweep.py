"""``callpipeline sweep``: remove what killed processes left behind."""

from __future__ import annotations

from typing import Annotated

import typer

from callpipeline.cli.views import console
from callpipeline.settings import Settings


def sweep(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    orphans: Annotated[
        bool,
        typer.Option("--orphans", help="Also remove results of recordings that the catalogue does not know."),
    ] = False,
) -> None:
    """Remove temporary files, locks of nobody and old damaged files from the store; list orphaned results.

    Temporary files are half-written results and the chunks of long recordings that were on their way.

    Every run does this for itself, except for orphans. Nothing of a live process is touched.
    """
    from callpipeline.pipeline.workbench import Workbench
    from callpipeline.store.pressure import pressure
    from callpipeline.store.sweep import sweep as sweep_store

    with Workbench(Settings()) as bench:
        report = sweep_store(bench.settings.store, bench.catalog, dry_run=dry_run, remove_orphans=orphans)
        found = pressure(bench.settings)
    reasons = f": {'; '.join(found.reasons)}" if found.reasons else ""
    console.print(f"memory {found.memory}, disk {found.disk}{reasons}", markup=False, soft_wrap=True)
    word = "would be removed" if dry_run else "removed"
    gone = len(report.temporaries) + len(report.locks) + len(report.corrupt)
    console.print(f"{gone} left-overs {word} ({report.bytes:,} bytes)")
    kept = [] if report.orphans_removed else report.orphans
    console.print(f"{len(report.orphans)} orphaned results" + (f" {word}" if orphans else ""))
    for path in kept[:20]:
        console.print(f"  {path}", soft_wrap=True)
    if kept and not orphans:
        console.print("callpipeline sweep --orphans removes them")
