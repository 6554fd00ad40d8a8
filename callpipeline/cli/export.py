"""``callpipeline export``: results as files for other tools."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from callpipeline.cli.views import console
from callpipeline.settings import Settings


class Format(StrEnum):
    """File formats."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


REPORT = "report"


def export(
    to: Annotated[Path | None, typer.Argument(help="File to write; default: TABLE.FORMAT here.")] = None,
    file_format: Annotated[Format, typer.Option("--format", "-f", help="File format.")] = Format.CSV,
    table: Annotated[
        str,
        typer.Option(
            help="'report' (one line a call, the columns of the QA report) or a table of the warehouse: "
            "recordings, segments, words, turns, detections, call_metrics, agent_scores, campaign_reach."
        ),
    ] = REPORT,
) -> None:
    """Write results to a file, at once and complete."""
    from callpipeline.pipeline.export import export_report, export_table
    from callpipeline.pipeline.workbench import Workbench

    target = to or Path(f"{table}.{file_format.value}")
    with Workbench(Settings()) as bench:
        if table == REPORT:
            count = export_report(bench, target, file_format.value)
        else:
            count = export_table(bench, table, target, file_format.value)
    console.print(f"{count} rows -> {target}", soft_wrap=True)
