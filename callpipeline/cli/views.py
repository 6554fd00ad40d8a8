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
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from callpipeline.model import Detection, Verdict
from callpipeline.qa.rows import CallRow
from callpipeline.qa.wording import clock

if TYPE_CHECKING:
    from callpipeline.pipeline.report import LineState

OK, SOME_FAILED, USAGE = 0, 1, 2
ROWS_SHOWN = 60
OTHER_COLUMNS = 70
"""Width of the table beside the file names."""
FAILURES_SHOWN = 20
LINE_SECONDS = 5.0
ENOUGH_DONE, ENOUGH_SECONDS = 3, 10.0
"""From so many recordings on, or after so long, it can be told how long the others will take."""

PIPED_WIDTH = 140
"""Columns where nobody says how wide the page is (a pipe, CI)."""

_width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
console = Console(highlight=False, width=_width)
errors = Console(stderr=True, highlight=False)

GOOD = frozenset({Verdict.NO, Verdict.ATTEMPTED, Verdict.NO_OBJECTION})
BAD = frozenset({Verdict.YES, Verdict.NO_ATTEMPT, Verdict.ERROR})


def terminal() -> Console | None:
    """Open the terminal behind the standard error stream, ``None`` if that is none; close its ``file`` after use.

    While a step runs, Dagster leads the stream itself into a file for the step's page: a picture that moves would
    not be seen.
    """
    if not errors.is_terminal:
        return None
    return Console(file=os.fdopen(os.dup(sys.stderr.fileno()), "w"), highlight=False)


def foreseeable(done: float, seconds: float) -> bool:
    """Whether what is done in so many seconds says how long the rest takes.

    The first recording to end has waited for engines and for its neighbours, so it took longer than the next will.
    """
    return done > 0 and (done >= ENOUGH_DONE or seconds >= ENOUGH_SECONDS)


class _Left(TimeRemainingColumn):
    """The time that is left, as soon as there is something to go by."""

    def render(self, task: Task) -> Text:
        if task.total is None or not foreseeable(task.completed, task.elapsed or 0.0):
            return Text()
        return Text("left ").append_text(super().render(task))


class Steps:
    """Progress of the work on recordings: a bar on a terminal, a line every few seconds elsewhere.

    ``note`` stands beside the count from the next update on.
    """

    def __init__(self, what: str, total: int | None) -> None:
        self.what, self.total = what, total
        self.done = self.failed = 0
        self.note = ""
        self._started = self._said = time.monotonic()
        self._bar: Progress | None = None
        self._terminal = terminal()
        if self._terminal is not None:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                _Left(),
                console=self._terminal,
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
        if self._bar and self._terminal:
            self._bar.stop()
            self._terminal.file.close()

    def advance(self, *, failed: bool = False) -> None:
        """One more is through."""
        self.done += 1
        self.failed += failed
        self.update(self.done, self.total)

    def update(self, done: int, total: int | None) -> None:
        """Show how far it is."""
        self.done, self.total = done, total
        if self._bar:
            failed = f"[red]{self.failed} failed[/red]" if self.failed else ""
            note = ", ".join(part for part in (failed, self.note) if part)
            self._bar.update(self._task, completed=done, total=total, note=note)
        elif time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            errors.print(f"{self.what}: {self._line(done, total)}")

    def _line(self, done: int, total: int | None) -> str:
        if not total:
            return f"{done}"
        seconds = time.monotonic() - self._started
        parts = [f"{done} of {total}"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        parts.append(f"{total - done} waiting")
        if self.note:
            parts.append(self.note)
        if foreseeable(done, seconds):
            parts.append(f"about {seconds / done * (total - done):.0f} s left")
        return ", ".join(parts)


def most_urgent(states: Sequence[LineState]) -> list[str]:
    """Return the keys to show: all in order, or what needs attention first if there are too many."""
    if len(states) > ROWS_SHOWN:
        states = sorted(states, key=lambda state: (state.status == "ok", not state.flag))[:ROWS_SHOWN]
    return [state.key for state in states]


def calls_table(rows: Sequence[CallRow], *, of: int) -> Table:
    """Calls with verdicts and scores; ``of`` says how many there are in all."""
    title = _title("recording", len(rows), of)
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


def _title(what: str, shown: int, of: int) -> str:
    more = f" (the {shown} that need attention most; the report has all)" if of > shown else ""
    return f"{counted(of, what)}{more}"


def counted(count: int, what: str) -> str:
    """Return a number of things, such as "1 call" and "2 calls"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def hearings_table(rows: Sequence[CallRow], *, of: int) -> Table:
    """Hearings: how much of each is there. They have no verdicts. ``of`` says how many there are in all."""
    title = _title("hearing", len(rows), of)
    table = Table(title=title, title_justify="left", row_styles=["", "dim"], pad_edge=False)
    widest = max(20, (console.width - OTHER_COLUMNS) // 2)
    for name in ("hearing", "title"):
        table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=widest)
    table.add_column("date", no_wrap=True)
    for name in ("length", "chapters"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for row in rows:
        table.add_row(
            escape(row.file_name),
            escape(row.title),
            row.day,
            "" if row.duration is None else clock(row.duration),
            "" if row.chapters is None else str(row.chapters),
            _state_of_hearing(row),
        )
    return table


def _state_of_hearing(row: CallRow) -> str:
    if row.gaps:
        return f"[red]{clock(row.missing)} missing[/red]"
    if row.status == "ok":
        return "[green]done[/green]"
    reason = row.errors[0].error_class if row.errors else row.status
    return f"[red]{escape(reason)}[/red]"


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
