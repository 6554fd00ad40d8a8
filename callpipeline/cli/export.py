"""``callpipeline export``: results as files for other tools."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callpipeline.cli.views import console, errors
from callpipeline.failures import UsageError
from callpipeline.settings import Settings

if TYPE_CHECKING:
    from callpipeline.pipeline import export as files


class Format(StrEnum):
    """File formats."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"
    TXT = "txt"
    SRT = "srt"
    VTT = "vtt"


_TABLES: Mapping[Format, files.Format] = {
    Format.CSV: "csv",
    Format.JSON: "json",
    Format.PARQUET: "parquet",
}
_TRANSCRIPTS: Mapping[Format, files.TranscriptFormat] = {
    Format.TXT: "txt",
    Format.SRT: "srt",
    Format.VTT: "vtt",
    Format.JSON: "json",
}

REPORT = "report"
STDOUT = Path("-")


def export(
    to: Annotated[Path | None, typer.Argument(help="File to write; default: TABLE.FORMAT here.")] = None,
    file_format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            "-f",
            help="File format. Tables: csv (default), json, parquet. "
            "With --recording: txt (default), srt, vtt, json.",
        ),
    ] = None,
    table: Annotated[
        str,
        typer.Option(
            help="'report' (one line a call, the columns of the QA report) or a table of the warehouse, such as "
            "turns, detections, chapters, entities, costs_by_day; a wrong name lists them all."
        ),
    ] = REPORT,
    recording: Annotated[
        str | None,
        typer.Option(
            help="Write what was said in this recording, with speakers (and chapters, if it is a hearing): "
            "its key, or the name or path of its file."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; - writes to the terminal.")
    ] = None,
) -> None:
    """Write results to a file, at once and complete."""
    if to is not None and output is not None:
        raise UsageError("Two files to write were named.", hint="Name one, as an argument or with --output.")
    if recording is None:
        _table(table, file_format or Format.CSV, to or output)
    elif table != REPORT:
        raise UsageError("--table and --recording do not go together.", hint="Use one of them.")
    else:
        _recording(recording, file_format or Format.TXT, to or output)


def _table(table: str, file_format: Format, to: Path | None) -> None:
    from callpipeline.pipeline.export import export_report, export_table
    from callpipeline.pipeline.workbench import Workbench

    form = _TABLES.get(file_format)
    if form is None:
        raise UsageError(f"{file_format} is a format of one recording.", hint="Name it with --recording.")
    if to == STDOUT:
        raise UsageError("Tables are written to files only.", hint="Name a file.")
    target = to or Path(f"{table}.{form}")
    with Workbench(Settings()) as bench:
        report = table == REPORT
        count = export_report(bench, target, form) if report else export_table(bench, table, target, form)
    console.print(f"{count} rows -> {target}", soft_wrap=True)


def _recording(name: str, file_format: Format, to: Path | None) -> None:
    from callpipeline.pipeline.export import export_transcript, write_transcript
    from callpipeline.pipeline.workbench import Workbench

    form = _TRANSCRIPTS.get(file_format)
    if form is None:
        raise UsageError(f"A recording is not written as {file_format}.", hint="Use txt, srt, vtt or json.")
    with Workbench(Settings()) as bench:
        exported = export_transcript(bench, name, form)
    if to == STDOUT:
        typer.echo(exported.content, nl=False)
    else:
        file = Path(exported.row.metadata.source_name or exported.row.recording.key)
        target = to or Path(f"{file.stem}.{form}")
        write_transcript(exported, target)
        minutes = exported.transcript.duration / 60
        console.print(f"{minutes:.1f} minutes of {file.name} -> {target}", markup=False, soft_wrap=True)
    _warn(exported)


def _warn(exported: files.Exported) -> None:
    """Say what the file may not be able to say."""
    transcript = exported.transcript
    if transcript.demo:
        errors.print("note: this is text of the offline demo engine; expect wrong words.")
    if transcript.skipped_reason:
        errors.print(f"note: nothing was transcribed: {transcript.skipped_reason}.", markup=False)
    missing = sum(gap.end - gap.start for gap in transcript.gaps)
    if missing:
        errors.print(f"note: {missing / 60:.1f} minutes are missing; the next run tries them again.")
