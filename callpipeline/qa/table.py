"""The table of calls as CSV, for spreadsheets and for the dialer's other tools.

What belongs here: the columns that analysts rely on, and what goes into each cell. What does not: HTML.

The file is UTF-8 with a byte order mark, because Excel takes a CSV without one for the local code page and
breaks every accent; pandas and DuckDB skip the mark, Python's csv wants ``encoding="utf-8-sig"``.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from callpipeline.qa.rows import CallRow, Heard
from callpipeline.qa.wording import clock, speaker, verdict_text
from callpipeline.store.files import writing

LONGEST_CELL = 32_000
"""Excel spills a cell over 32,767 characters into the next line: longer transcripts are cut, and say so."""

_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")
_PLAIN_PHONE = re.compile(r"\+[\d ().-]{6,24}")
_PLAIN_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def write_csv(rows: Sequence[CallRow], path: Path) -> None:
    """Write one line a call to ``path``, all at once: a reader sees the old file or the new one.

    Raises:
        OSError: the folder cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([safe(cell(row)) for cell in COLUMNS.values()] for row in rows)
    with writing(path) as file:
        file.write(text.getvalue().encode("utf-8-sig"))


def safe(cell: str) -> str:
    """Return a cell that a spreadsheet shows instead of running it.

    A text that begins like a formula gets an apostrophe in front, as OWASP advises ("CSV Injection"). Numbers
    and phone numbers stay as they are: ``phone`` has seen to it that they cannot be computed.
    """
    if not _FORMULA.match(cell) or _PLAIN_NUMBER.fullmatch(cell) or re.fullmatch(r"\+\d+(?: \d+)*", cell):
        return cell
    return f"'{cell}"


def phone(number: str) -> str:
    """Return a phone number that a spreadsheet shows as it is.

    Excel would compute +1-555-0100 (it shows -654) and drop the plus of +15550100199. With spaces only, as
    E.123 writes numbers, it is text. Numbers without a plus are left alone.
    """
    if not _PLAIN_PHONE.fullmatch(number):
        return number
    digits = re.sub(r"\D", "", number)
    if len(digits) == 11 and digits.startswith("1"):
        return f"+1 {digits[1:4]} {digits[4:7]} {digits[7:]}"
    return "+" + " ".join(re.findall(r"\d+", number))


def transcription(row: CallRow) -> str:
    """Return the conversation as lines of "[0:05] Agent: text"."""
    text = "\n".join(f"[{clock(t.start)}] {speaker(t)}: {t.text}" for t in row.turns or () if t.text)
    if len(text) <= LONGEST_CELL:
        return text
    return f"{text[:LONGEST_CELL]}\n[cut here: a spreadsheet cell holds no more]"


def status(row: CallRow) -> str:
    """Return the status with what failed; it says of a hearing that it is one."""
    failed = "; ".join(f"{e.where}: {e.error_class}: {e.message}" for e in row.errors)
    parts = ("hearing" if row.hearing else "", row.status, failed)
    return " - ".join(part for part in parts if part)


def _verdict(name: str) -> Callable[[CallRow], str]:
    def cell(row: CallRow) -> str:
        text = verdict_text(row.detections.get(name))
        return text or ("Error" if row.status == "error" and not row.hearing else "")

    return cell


def _heard(heard: Heard) -> str:
    if heard.said is None:
        return ""
    return f"Yes: {heard.quote}" if heard.said else "No"


def _score(row: CallRow) -> str:
    return f"{row.score:.0f}" if row.score is not None else verdict_text(row.detections.get("intro_score"))


COLUMNS: dict[str, Callable[[CallRow], str]] = {
    "Agent Name": lambda row: row.agent,
    "Phone Number": lambda row: phone(row.phone),
    "Timestamp": lambda row: row.timestamp,
    "Disposition": lambda row: row.disposition,
    "Releasing Detection": _verdict("releasing"),
    "Late Hello Detection": _verdict("late_hello"),
    "Rebuttal Detection": _verdict("rebuttal"),
    "Confidence": lambda row: "" if row.confidence is None else f"{row.confidence:.2f}",
    "Transcription": transcription,
    "Dialer Name": lambda row: row.dialer,
    "Agent Intro": lambda row: _heard(row.intro),
    "Owner Name": lambda row: _heard(row.owner),
    "Reason for calling": lambda row: _heard(row.reason),
    "Intro Score": _score,
    "Status": status,
    "File Name": lambda row: row.file_name,
    "File Path": lambda row: row.file_path,
}
"""Header and cell of each column, in the order in which they are written."""
