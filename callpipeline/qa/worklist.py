"""The calls on the page: which come first, and what stays out when there are too many.

What belongs here: order and room. What does not: how a call looks (``templates/call.html``).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from callpipeline.qa.rows import CallRow

if TYPE_CHECKING:
    from markupsafe import Markup


class Worklist(NamedTuple):
    """The markup of the calls, most urgent first, and what found no room."""

    calls: list[Markup]
    omitted: int
    """Calls that are not on the page: never one that is flagged or failed."""
    left_out: int
    """Calls that are on the page without their transcript."""

    @classmethod
    def empty(cls) -> Worklist:
        """Return a list of no calls."""
        return cls([], 0, 0)


class _Room:
    """The bytes that are left, and the parts of calls that got some of them."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.parts: dict[tuple[str, str], Markup] = {}

    def give(self, kind: str, row: CallRow, part: Markup, *, always: bool = False, spare: int = 0) -> None:
        """Keep a part if ``spare`` bytes are still left after it."""
        size = len(part.encode())
        if always or size <= self._left - spare:
            self.parts[kind, row.key] = part
            self._left -= size


def worklist(rows: Sequence[CallRow], waveforms: Mapping[str, str], macros: Any, *, room: int) -> Worklist:
    """Put the calls of a page together within ``room`` bytes.

    Room goes first to the verdicts of calls that are flagged or failed, then to those of the others (as
    long as a fifth is left), then to the transcripts of the urgent calls, to waveforms, and last to the
    transcripts of the others.

    Args:
        rows: One line a call, in any order.
        waveforms: SVG text by key. It goes in as an image, in which no script runs.
        macros: The parts of a call, from ``templates/call.html``.
        room: Bytes of UTF-8.
    """
    ordered = sorted(rows, key=_urgency)
    urgent = [row for row in ordered if _is_urgent(row)]
    others = [row for row in ordered if not _is_urgent(row)]
    kept = _Room(room - len(rows) * len(macros.left_out() + macros.close()))

    for row in urgent:
        kept.give("line", row, macros.line(row), always=True)
    for row in others:
        kept.give("line", row, macros.line(row), spare=room // 5)
    for row in urgent:
        kept.give("text", row, macros.transcript(row))
    shown = [row for row in ordered if ("line", row.key) in kept.parts]
    for row in shown:
        if row.key in waveforms:
            uri = base64.b64encode(waveforms[row.key].encode()).decode()
            kept.give("picture", row, macros.waveform(uri))
    for row in shown:
        if not _is_urgent(row):
            kept.give("text", row, macros.transcript(row))
    return Worklist(
        calls=[_call(row, kept.parts, macros) for row in shown],
        omitted=len(ordered) - len(shown),
        left_out=sum(("text", row.key) not in kept.parts for row in shown),
    )


def _call(row: CallRow, parts: Mapping[tuple[str, str], Markup], macros: Any) -> Markup:
    line, picture = parts["line", row.key], parts.get(("picture", row.key), "")
    markup: Markup = line + picture + parts.get(("text", row.key), macros.left_out()) + macros.close()
    return markup


def _is_urgent(row: CallRow) -> bool:
    return row.flag or bool(row.errors)


def _urgency(row: CallRow) -> tuple[bool, int, bool, str, str, str]:
    return (not row.flag, -len(row.flag_reasons), not row.errors, row.day, row.timestamp, row.key)
