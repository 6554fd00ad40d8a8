"""The audit log: who did what, and how it ended. Never a key, never a word of a recording."""

from __future__ import annotations

from callpipeline.limits.database import Database
from callpipeline.model import Record

TURN = "service_audit"


class Entry(Record):
    """One request. ``at``: seconds since 1970; ``about``: the task or batch; ``path``: as the router knows it."""

    at: float
    who: str
    address: str
    method: str
    path: str
    status: int
    about: str


COLUMNS = tuple(Entry.model_fields)


class Audit:
    """The table. All methods block for a moment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, who: str, address: str, method: str, path: str, status: int, about: str) -> None:
        """Write a request down."""
        with self._database.changing(TURN) as session:
            values = (session.now(), who, address, method, path, status, about)
            session.execute("INSERT INTO service_audit VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def last(self, most: int = 100) -> list[Entry]:
        """Return the last requests, the latest first."""
        with self._database.reading() as session:
            rows = session.execute(
                f"SELECT at, who, address, method, path, status, about FROM service_audit"  # noqa: S608 - a number
                f" ORDER BY at DESC LIMIT {most:d}"
            )
        return [Entry.model_validate(dict(zip(COLUMNS, row, strict=True))) for row in rows]

    def forget(self, seconds: float) -> None:
        """Remove what is older than so many seconds."""
        with self._database.changing(TURN) as session:
            session.execute("DELETE FROM service_audit WHERE at < ?", (session.now() - seconds,))
