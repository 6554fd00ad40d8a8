"""Results as files for other tools: the report's lines, or a table of the warehouse."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

from callpipeline.failures import UsageError
from callpipeline.pipeline.report import line_states, lines
from callpipeline.pipeline.workbench import Workbench
from callpipeline.qa.table import write_csv
from callpipeline.store import warehouse

Format = Literal["csv", "json", "parquet"]


def export_report(bench: Workbench, path: Path, file_format: Format) -> int:
    """Write one line a call, with the columns of the report; return how many.

    Raises:
        UsageError: the format is not known.
    """
    rows = lines(bench, [state.key for state in line_states(bench)])
    if file_format == "csv":
        write_csv(rows, path)
        return len(rows)
    warehouse.refresh(bench.settings.store, bench.catalog)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "report.csv"
        write_csv(rows, table)
        options = "header = true, all_varchar = true, strict_mode = false"
        query = f"SELECT * FROM read_csv('{table}', {options})"  # noqa: S608 - a path that we just made
        return warehouse.export(bench.settings.store, query, path, file_format)


def export_table(bench: Workbench, table: str, path: Path, file_format: Format) -> int:
    """Write a table of the warehouse, brought up to date first; return its rows.

    Raises:
        UsageError: there is no such table.
    """
    if not table.isidentifier():
        raise UsageError(
            f"{table!r} is not the name of a table.", hint="callpipeline export --help names them."
        )
    warehouse.refresh(bench.settings.store, bench.catalog)
    return warehouse.export(bench.settings.store, table, path, file_format)
