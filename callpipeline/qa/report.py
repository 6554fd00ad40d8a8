"""The report: one HTML file that an analyst opens, prints and sends on, and the table as CSV.

What belongs here: choosing and ordering what the page shows. What does not: counting (``rollups``), words
(``wording``), markup (``templates/``), and the cells of the table (``table``).

The page is self-contained, asks nothing of any network (its own policy forbids it) and works from a disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from callpipeline.model import Verdict
from callpipeline.qa import wording
from callpipeline.qa.rollups import Rollups, roll_up
from callpipeline.qa.rows import CallRow
from callpipeline.qa.table import write_csv
from callpipeline.qa.worklist import Worklist, worklist
from callpipeline.store.files import writing

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["write_csv", "write_html"]

MAX_BYTES = 4_800_000
"""A file that every mail server and browser takes. What does not fit stays out, and the page says so."""

_TOP_AGENTS = 10
_LAST_DAYS = 31
_TONES: dict[str, str] = {
    "yes": "flag", "no_attempt": "flag", "no": "ok", "attempted": "ok", "no_objection": "calm",
    "not_applicable": "none", "unusable": "none", "skipped": "none", "error": "error", "missing": "missing",
}  # fmt: skip
_BAND_TONES = {"excellent": "ok", "good": "calm", "needs_training": "warn", "critical": "flag"}


class Part(NamedTuple):
    """A labelled share of a bar; ``tone`` names its colour."""

    label: str
    calls: int
    tone: str
    share: float
    """Percent of the bar."""


class Bar(NamedTuple):
    """A bar of a chart."""

    label: str
    total: int
    parts: list[Part]


def write_html(
    rows: Sequence[CallRow],
    path: Path,
    *,
    title: str,
    generated_at: datetime,
    rollups: Rollups | None = None,
    waveforms: Mapping[str, str] | None = None,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Write the report to ``path``, all at once: a reader sees the old file or the new one.

    Args:
        rows: One line a call, in any order: flagged calls come first on the page. Hearings have a table of their own.
        path: Where to; the folder is made.
        title: Heading of the page.
        generated_at: When the results were read, with a time zone.
        rollups: Sums of ``rows``; counted here when they are not at hand.
        waveforms: Pictures by key, as SVG text.
        max_bytes: Size to stay below; see ``worklist`` for what comes first. Only more flagged and failed
            calls than fit make the file larger.

    Raises:
        OSError: the folder cannot be written.
    """
    sums = rollups or roll_up(rows)
    hearings = [row for row in rows if row.hearing]
    rows = [row for row in rows if not row.hearing]
    page = _environment().get_template("report.html")
    context = {
        "title": title,
        "generated_at": generated_at,
        "sums": sums,
        "seconds": sums.total.seconds + sum(row.duration or 0.0 for row in hearings),
        "hearings": sorted(hearings, key=lambda row: (row.day, row.title, row.key)),
        "engines": Counter(row.engine for row in (*rows, *hearings) if row.engine).most_common(),
        "demo": sorted({row.engine for row in rows if row.demo}),
        "demo_calls": sum(row.demo for row in rows),
        "verdicts": [_verdict_bar(name, rows) for name in ("releasing", "late_hello", "rebuttal")],
        "agent_bars": _agent_bars(sums),
        "bands": _band_bars(sums),
        "days": _day_bars(sums),
        "agents": sorted({row.agent for row in rows if row.agent}, key=str.casefold),
    }
    frame = len(page.render(**context, work=Worklist.empty()).encode())
    macros = _environment().get_template("call.html").module
    work = worklist(rows, waveforms or {}, macros, room=max_bytes - frame)
    with writing(path) as file:
        file.write(page.render(**context, work=work).encode())


def _bar(label: str, parts: Iterable[tuple[str, int, str]], full: int | None = None) -> Bar:
    counted = [part for part in parts if part[1]]
    total = sum(count for _, count, _ in counted)
    whole = full or total or 1
    return Bar(label, total, [Part(name, n, tone, round(100 * n / whole, 2)) for name, n, tone in counted])


def _verdict_bar(name: str, rows: Sequence[CallRow]) -> Bar:
    counts = Counter(str(row.verdict(name) or "missing") for row in rows)
    order = [tone for tone in _TONES if counts[tone]]
    labels = {v.value: text for v, text in wording.VERDICTS.items()} | {"missing": "Not judged"}
    return _bar(wording.DETECTIONS[name], [(labels[key], counts[key], _TONES[key]) for key in order])


def _agent_bars(sums: Rollups) -> list[Bar]:
    flagged = [agent for agent in sums.agents if agent.flagged][:_TOP_AGENTS]
    counts = [(a, (a.releasing, a.late_hello, a.no_attempt)) for a in flagged]
    longest = max((sum(numbers) for _, numbers in counts), default=1)
    names = zip(wording.FLAGS.values(), ("flag", "amber", "sand"), strict=True)
    kinds = list(names)
    return [
        _bar(
            agent.agent or "(no name)",
            [(label, n, tone) for (label, tone), n in zip(kinds, numbers, strict=True)],
            full=longest,
        )
        for agent, numbers in counts
    ]


def _band_bars(sums: Rollups) -> list[Bar]:
    longest = max(sums.bands.values(), default=0)
    return [
        _bar(wording.BANDS[name], [(wording.BANDS[name], count, _BAND_TONES[name])], full=longest)
        for name, count in sums.bands.items()
    ]


def _day_bars(sums: Rollups) -> list[Bar]:
    days = [day for day in sums.days if day.day][-_LAST_DAYS:]
    busiest = max((day.calls for day in days), default=1)
    return [
        _bar(
            day.day,
            [("flagged", day.flagged, "flag"), ("not flagged", day.calls - day.flagged, "calm")],
            full=busiest,
        )
        for day in days
    ]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _tone(row: CallRow, name: str) -> str:
    verdict = row.verdict(name)
    if verdict is Verdict.SCORED:
        return _BAND_TONES.get(row.detections[name].band or "", "none")
    return _TONES.get(str(verdict or "missing"), "none")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("callpipeline.qa"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        clock=wording.clock,
        percent=_percent,
        hint=wording.hint,
        verdict=wording.verdict_text,
        speaker=wording.speaker,
    )
    environment.globals.update(
        tone=_tone, DETECTIONS=wording.DETECTIONS, FLAGS=wording.FLAGS, BANDS=wording.BANDS
    )
    return environment
