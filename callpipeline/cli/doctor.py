"""``callpipeline doctor``: what works here, and what to do about the rest."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from callpipeline.cli.views import USAGE, console
from callpipeline.settings import Settings

LEAST_DISK = 2 * 1024**3
LEAST_MEMORY = 500 * 1024**2


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

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
    """Check engines, weights, storage, disk and memory, and say what would be used.

    Exit code 0 if a run can start here, else 2.
    """
    settings = Settings()
    findings = [*_engines(settings), _store(settings), _dagster(settings), _disk(settings), _memory()]
    ready = all(finding.ok for finding in findings if finding.needed)
    if as_json:
        typer.echo(json.dumps({"ready": ready, "findings": [asdict(finding) for finding in findings]}))
    else:
        table = Table(pad_edge=False)
        for name in ("what", "", "detail", "what to do"):
            table.add_column(name, overflow="fold")
        for finding in findings:
            mark = (
                "[green]ok[/green]" if finding.ok else "[red]no[/red]" if finding.needed else "[dim]no[/dim]"
            )
            table.add_row(escape(finding.what), mark, escape(finding.detail), escape(finding.hint))
        console.print(table)
        if settings_too:
            _print_settings(settings)
        console.print("ready: callpipeline run FOLDER" if ready else "not ready: see the red lines")
    if not ready:
        raise typer.Exit(USAGE)


def _engines(settings: Settings) -> list[Finding]:
    from callpipeline.speech.engines import available

    return [
        Finding(
            f"{status.kind}: {status.name}" + (" (used)" if status.chosen else ""),
            status.ready,
            status.detail,
            status.hint,
            needed=status.chosen,
        )
        for status in available(settings)
    ]


def _store(settings: Settings) -> Finding:
    from callpipeline.store.files import write_text

    probe = settings.store / ".doctor"
    try:
        write_text(probe, "ok")
        probe.unlink()
    except OSError as error:
        hint = "Set CALLPIPELINE_DATA_DIR to a folder that can be written."
        return Finding("results", False, f"{settings.store}: {error.strerror}", hint)
    return Finding("results", True, str(settings.store))


def _dagster(settings: Settings) -> Finding:
    if settings.postgres_url is None:
        return Finding("Dagster storage", True, f"SQLite {sqlite3.sqlite_version} (embedded)")
    import psycopg2

    try:
        psycopg2.connect(settings.postgres_url.replace("+psycopg2", "", 1), connect_timeout=5).close()
    except psycopg2.Error as error:
        hint = "Check CALLPIPELINE_POSTGRES_URL (postgresql://user:password@host/database)."
        return Finding("Dagster storage", False, f"Postgres: {error}".strip(), hint)
    return Finding("Dagster storage", True, "Postgres answers")


def _disk(settings: Settings) -> Finding:
    folder = next(path for path in (settings.store, *settings.store.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    return Finding(
        "free disk",
        free >= LEAST_DISK,
        f"{free / 1024**3:.1f} GiB at {folder}",
        "" if free >= LEAST_DISK else "Free at least 2 GiB, or move CALLPIPELINE_DATA_DIR.",
    )


def _memory() -> Finding:
    free = _available_memory()
    if free is None:
        return Finding("free memory", True, "unknown on this system")
    return Finding(
        "free memory",
        free >= LEAST_MEMORY,
        f"{free / 1024**3:.1f} GiB, {os.cpu_count()} cores",
        "" if free >= LEAST_MEMORY else "Free at least 500 MiB, or lower CALLPIPELINE_WORKERS.",
    )


def _available_memory() -> int | None:
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    for line in meminfo.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _print_settings(settings: Settings) -> None:
    table = Table(title="settings", title_justify="left", pad_edge=False)
    for name in ("environment variable", "value", "what it does"):
        table.add_column(name, overflow="fold")
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        shown = "(set)" if name == "postgres_url" and value else str(value)
        table.add_row(f"CALLPIPELINE_{name.upper()}", escape(shown), escape(field.description or ""))
    console.print(table)
