"""The ledger for those who only read it: the warehouse, reports, the command line.

Nothing here claims, sends or charges. Where there never was a ledger none is made.
"""

# ruff: noqa: S608 - statements are put together from constants; every value is bound

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from callpipeline.limits.costs import Costs
from callpipeline.limits.database import Database
from callpipeline.limits.ledger import FILE, open_tables
from callpipeline.limits.ledger_rows import COLUMNS
from callpipeline.settings import Settings

_CHARGES = ("id", "request_hash", "provider", "model", "recording", "run", "day", "state", "cost", "at")
_AT_ONCE = 500
"""Request hashes in one question: SQLite allows 32,766 values, old ones 999."""


class Tally(NamedTuple):
    """Calls of one provider and model in one state; ``seconds`` of audio, ``sends``: tries that went out."""

    provider: str
    model: str
    state: str
    calls: int
    tokens_in: int
    tokens_out: int
    seconds: float
    sends: int


class Books:
    """Calls and charges as they are now, and ``costs`` to add them up. All methods block for a moment."""

    def __init__(self, database: Database) -> None:
        self.costs = Costs(database)
        self._database = database

    def marks(self) -> dict[str, str]:
        """Return a mark for each request hash, another one whenever the call or its charges changed."""
        with self._database.reading() as session:
            rows = session.execute(
                "SELECT c.request_hash, c.updated, max(h.at), count(h.id),"
                " sum(CASE WHEN h.state = 'unsure' THEN 1 ELSE 0 END)"
                " FROM provider_calls c LEFT JOIN charges h ON h.request_hash = c.request_hash"
                " GROUP BY c.request_hash, c.updated"
            )
        return {of: f"{updated!r} {at!r} {count} {unsure}" for of, updated, at, count, unsure in rows}

    def calls(self, of: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield the rows of these request hashes. Times are seconds since 1970."""
        yield from self._rows("provider_calls", COLUMNS, of)

    def charges(self, of: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield what was charged for these request hashes; ``charged_at`` in seconds since 1970."""
        for row in self._rows("charges", _CHARGES, of):
            yield {**row, "charged_at": row["at"]}

    def tallies(self) -> list[Tally]:
        """Count calls, and what they took, by provider, model and state."""
        with self._database.reading() as session:
            rows = session.execute(
                "SELECT provider, model, state, count(*), sum(tokens_in), sum(tokens_out), sum(seconds),"
                " sum(sends) FROM provider_calls GROUP BY provider, model, state"
            )
        return [Tally(*row) for row in rows]

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _rows(self, table: str, columns: Sequence[str], of: Sequence[str]) -> Iterator[dict[str, Any]]:
        for start in range(0, len(of), _AT_ONCE):
            some = of[start : start + _AT_ONCE]
            with self._database.reading() as session:
                rows = session.execute(
                    f"SELECT {', '.join(columns)} FROM {table}"
                    f" WHERE request_hash IN ({', '.join('?' * len(some))})",
                    some,
                )
            for row in rows:
                yield dict(zip(columns, row, strict=True))


@contextmanager
def open_books(settings: Settings) -> Iterator[Books | None]:
    """Open the ledger of these settings for a block; ``None`` when there never was one.

    Raises:
        DatabaseUnavailable: it is in Postgres, which does not answer now; also from every use of it.
        NotConfigured: the ledger's file is damaged or newer than this version.
    """
    if settings.postgres_url is None and not (settings.store / FILE).exists():
        yield None
        return
    books = Books(open_tables(settings.store, settings.postgres_url))
    try:
        yield books
    finally:
        books.close()
