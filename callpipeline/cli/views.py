"""What commands show: consoles, tables, progress. No decisions."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from callpipeline.model import Detection, Verdict
from callpipeline.qa.rows import CallRow

if TYPE_CHECKING:
    from callpipeline.pipeline.report import LineState

OK, SOME_FAILED, USAGE = 0, 1, 2
ROWS_SHOWN = 60
OTHER_COLUMNS = 70
"""Width of the table beside the file names."""
FAILURES_SHOWN = 20
LINE_SECONDS = 5.0

PIPED_WIDTH = 140
"""Columns where nobody says how wide the page is (a pipe, CI)."""

_width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
console = Console(highlight=False, width=_width)
errors = Console(stderr=True, highlight=False)

GOOD = frozenset({Verdict.NO, Verdict.ATTEMPTED, Verdict.NO_OBJECTION})
BAD = frozenset({Verdict.YES, Verdict.NO_ATTEMPT, Verdict.ERROR})


class Steps:
    """Progress of the work on recordings: a bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, what: str, total: int | None) -> None:
        self.what, self.total = what, total
        self.done = self.failed = 0
        self._started = self._said = time.monotonic()
        self._bar: Progress | None = None
        if errors.is_terminal:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=errors,
                transient=True,
            )
            self._task = self._bar.add_task(what, total=total, note="")

    def __enter__(self) -> Steps:
        if self._bar:
            self._bar.start()
        elif self.total:
            errors.print(f"{self.what}: {self.total}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, *, failed: bool = False) -> None:
        """One more is through."""
        self.done += 1
        self.failed += failed
        self.update(self.done, self.total)

    def update(self, done: int, total: int | None) -> None:
        """Show how far it is."""
        self.done, self.total = done, total
        note = f"[red]{self.failed} failed[/red]" if self.failed else ""
        if self._bar:
            self._bar.update(self._task, completed=done, total=total, note=note)
        elif time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            errors.print(f"{self.what}: {self._line(done, total)}")

    def _line(self, done: int, total: int | None) -> str:
        if not total:
            return f"{done}"
        left = (time.monotonic() - self._started) / done * (total - done) if done else None
        parts = [f"{done} of {total}"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        parts.append(f"{total - done} waiting")
        if left is not None:
            parts.append(f"about {left:.0f} s left")
        return ", ".join(parts)


def most_urgent(states: Sequence[LineState]) -> list[str]:
    """Return the keys to show: all in order, or what needs attention first if there are too many."""
    if len(states) > ROWS_SHOWN:
        states = sorted(states, key=lambda state: (state.status == "ok", not state.flag))[:ROWS_SHOWN]
    return [state.key for state in states]


def calls_table(rows: Sequence[CallRow], *, of: int) -> Table:
    """Recordings with verdicts and scores; ``of`` says how many there are in all."""
    title = f"{of} recordings"
    if of > len(rows):
        title += f" (the {len(rows)} that need attention most; the report has all)"
    table = Table(title=title, title_justify="left", row_styles=["", "dim"], pad_edge=False)
    widest = max(20, console.width - OTHER_COLUMNS)
    table.add_column("recording", no_wrap=True, overflow="ellipsis", max_width=widest)
    table.add_column("length", justify="right", no_wrap=True)
    for name in ("releasing", "late hello", "rebuttal"):
        table.add_column(name, no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("flag", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: CallRow) -> list[str]:
    cells = [
        escape(row.file_name),
        "" if row.duration is None else f"{row.duration:.0f} s",
    ]
    if row.status in ("error", "pending") and not row.detections:
        reason = row.errors[0].error_class if row.errors else "pending"
        return [*cells, f"[red]{escape(reason)}[/red]", "", "", "", ""]
    cells += [_verdict(row.detections.get(name)) for name in ("releasing", "late_hello", "rebuttal")]
    cells.append("" if row.score is None else f"{row.score:.0f}")
    cells.append("[bold red]listen[/bold red]" if row.flag else "")
    return cells


def _verdict(detection: Detection | None) -> str:
    if detection is None:
        return ""
    text = detection.verdict.value.replace("_", " ")
    if detection.verdict is Verdict.ERROR:
        text = f"error: {detection.error_class}"
    colour = "green" if detection.verdict in GOOD else "red" if detection.verdict in BAD else "dim"
    return f"[{colour}]{escape(text)}[/{colour}]"
