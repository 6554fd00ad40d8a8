"""How far a long recording has come, while it is being processed: chunk by chunk on a terminal, else in lines."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from callpipeline.cli.views import LINE_SECONDS, errors, terminal
from callpipeline.qa.wording import clock
from callpipeline.settings import Settings
from callpipeline.store.pressure import pressure

if TYPE_CHECKING:
    from callpipeline.defs.resources import Outcome
    from callpipeline.model import ChunkState
    from callpipeline.pipeline.progress import Progress, ProgressStore

ROWS = 15
"""Chunks on the screen; of more, those that something happens to, and the last that ended."""

_COLOURS = {"done": "green", "reused": "green", "failed": "red", "sending": "yellow", "cutting": "yellow"}


class ChunkView:
    """Shows one recording for the length of a ``with`` block. It only reads what the run writes down."""

    def __init__(self, store: ProgressStore, key: str, settings: Settings) -> None:
        self._store = store
        self._key = key
        self._settings = settings
        self._stages: list[str] = []
        self._ended = threading.Event()
        self._terminal: Console | None = None
        self._live: Live | None = None
        self._lines: threading.Thread | None = None

    def __enter__(self) -> ChunkView:
        self._terminal = terminal()
        if self._terminal is not None:
            self._live = Live(
                get_renderable=self._picture, console=self._terminal, refresh_per_second=2, transient=True
            )
            self._live.start()
        else:
            self._lines = threading.Thread(target=self._say_lines, name="chunk-view", daemon=True)
            self._lines.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._live is not None and self._terminal is not None:
            self._live.stop()
            self._terminal.file.close()
        if self._lines is not None:
            self._lines.join()

    def listen(self, outcome: Outcome) -> None:
        """Hear that a stage, or the recording, has ended."""
        from callpipeline.pipeline.outcomes import StageOutcome, Status

        if isinstance(outcome, StageOutcome) and outcome.status is not Status.NOT_NEEDED:
            self._stages.append(f"{outcome.asset.replace('_', ' ')} {outcome.status}")

    def _say_lines(self) -> None:
        said = ""
        while not self._ended.wait(LINE_SECONDS):
            progress = self._store.read(self._key)
            line = progress_line(progress, time.time()) if progress else f"before: {self._so_far()}"
            if line != said:
                errors.print(line, markup=False, soft_wrap=True)
            said = line

    def _picture(self) -> RenderableType:
        progress = self._store.read(self._key)
        if progress is None:
            return Text(f"working: {self._so_far()}", style="dim")
        now = time.time()
        parts: list[RenderableType] = [progress_table(progress, now), Text(progress_line(progress, now))]
        if reasons := pressure(self._settings).reasons:
            parts.append(Text(f"fewer chunks are kept ready: {'; '.join(reasons)}", style="yellow"))
        return Group(*parts)

    def _so_far(self) -> str:
        return ", ".join(self._stages) or "looking at the recording"


def progress_line(progress: Progress, now: float) -> str:
    """Say in one line how far the chunks of a recording are."""
    counts = Counter(chunk.state for chunk in progress.chunks)
    ended = counts["done"] + counts["reused"]
    parts = [f"chunks: {ended} of {len(progress.chunks)} done"]
    if counts["reused"]:
        parts[0] += f" ({counts['reused']} paid before)"
    parts += [f"{counts[state]} {state}" for state in ("failed", "sending", "cutting") if counts[state]]
    parts.append(f"{progress.overall:.0%} of {clock(progress.seconds)}")
    if progress.rate:
        parts.append(f"{progress.rate:.1f} x real time")
    if progress.chunk_seconds:
        parts.append(f"{progress.chunk_seconds:.1f} s a chunk")
    if progress.eta:
        left = max(0.0, progress.eta - (now - progress.updated))
        parts.append(f"about {clock(left)} left")
    return ", ".join(parts)


def progress_table(progress: Progress, now: float) -> Table:
    """The chunks of a recording: where each is, how far it has come, and how fast it went."""
    table = Table(title_justify="left", row_styles=["", "dim"], pad_edge=False)
    for name in ("chunk", "from", "to", "state", "took", "x real time"):
        table.add_column(name, justify="left" if name == "state" else "right", no_wrap=True)
    for chunk in _shown(progress):
        colour = _COLOURS.get(chunk.state, "dim")
        state = f"failed: {chunk.error_class}" if chunk.state == "failed" else chunk.state
        seconds = _seconds(chunk, now)
        done = chunk.state == "done" and seconds
        table.add_row(
            f"{chunk.index + 1}/{chunk.of}",
            clock(chunk.start),
            clock(chunk.end),
            Text(state, style=colour),
            "" if seconds is None else f"{seconds:.1f} s",
            f"{(chunk.end - chunk.start) / seconds:.1f}" if done and seconds else "",
        )
    return table


def _seconds(chunk: ChunkState, now: float) -> float | None:
    return None if chunk.started is None else max(0.0, (chunk.finished or now) - chunk.started)


def _shown(progress: Progress) -> list[ChunkState]:
    """Return the chunks to show in their order: all, or what matters most now."""
    if len(progress.chunks) <= ROWS:
        return list(progress.chunks)
    first = {"sending": 0, "cutting": 1, "failed": 2, "done": 3, "waiting": 4, "reused": 5}
    chosen = sorted(progress.chunks, key=lambda c: (first[c.state], -(c.finished or 0.0), c.index))[:ROWS]
    return sorted(chosen, key=lambda chunk: chunk.index)
