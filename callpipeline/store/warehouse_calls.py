"""The warehouse's part about provider calls and their costs, brought up to date from the ledger by difference.

What was read is remembered call by call with a mark of the ledger's, as files are with their size and time. "All
that changed since" would be cheaper, but would miss what a transaction commits late, what is written after a
clock was set back, and a ledger that was replaced. The ledger is handed in: how it is kept is not known here.
"""
# ruff: noqa: S608 - names in queries are our own, everything else is bound

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from callpipeline.store import duck
from callpipeline.store.warehouse_tables import CALL_COLUMNS, CALL_MARK_COLUMNS, CHARGE_COLUMNS

if TYPE_CHECKING:
    import duckdb


class CallBook(Protocol):
    """Where calls to providers are written down: ``limits.books`` has one. Times are seconds since 1970."""

    def marks(self) -> Mapping[str, str]:
        """Return a mark for each request hash, another one whenever the call or its charges changed."""

    def calls(self, of: Sequence[str]) -> Iterable[Mapping[str, Any]]:
        """Return the rows of these request hashes, with at least the columns of ``CALL_COLUMNS``."""

    def charges(self, of: Sequence[str]) -> Iterable[Mapping[str, Any]]:
        """Return the charges of these request hashes, with at least the columns of ``CHARGE_COLUMNS``."""


@dataclass(frozen=True, slots=True)
class CallDelta:
    """What a ledger says and the warehouse does not yet.

    ``taken``: calls to take in. ``stale``: calls whose rows in the warehouse must go.
    """

    taken: Mapping[str, str]
    stale: Sequence[str]

    def __bool__(self) -> bool:
        return bool(self.taken or self.stale)


def difference(book: CallBook | None, known: Mapping[str, str]) -> CallDelta:
    """Compare a ledger with what is ``known`` of it; ``None`` is an empty one."""
    now = book.marks() if book else {}
    taken = {of: mark for of, mark in now.items() if known.get(of) != mark}
    return CallDelta(taken, [of for of in known if of not in now or of in taken])


def known_marks(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Return the marks of what the warehouse has read of a ledger."""
    return dict(connection.execute("SELECT request_hash, mark FROM call_marks").fetchall())


def make_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables, empty."""
    connection.execute(f"CREATE TABLE provider_calls ({CALL_COLUMNS})")
    connection.execute(f"CREATE TABLE charges ({CHARGE_COLUMNS})")
    connection.execute(f"CREATE TABLE call_marks ({CALL_MARK_COLUMNS})")


def put(connection: duckdb.DuckDBPyConnection, root: Path, book: CallBook | None, delta: CallDelta) -> None:
    """Replace the rows of calls that changed, and drop those that are gone."""
    if delta.stale:
        for table in ("provider_calls", "charges", "call_marks"):
            stale = "request_hash IN (SELECT unnest($1))"
            connection.execute(f"DELETE FROM {table} WHERE {stale}", [list(delta.stale)])
    if book is None or not delta.taken:
        return
    taken = list(delta.taken)
    duck.load(connection, root, "provider_calls", CALL_COLUMNS, _shown(CALL_COLUMNS, book.calls(taken)))
    duck.load(connection, root, "charges", CHARGE_COLUMNS, _shown(CHARGE_COLUMNS, book.charges(taken)))
    marks = ({"request_hash": of, "mark": mark} for of, mark in delta.taken.items())
    duck.load(connection, root, "call_marks", CALL_MARK_COLUMNS, marks)


def _shown(columns: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, object]]:
    """Keep the columns of the warehouse; times become timestamps of UTC."""
    kinds = dict(duck.columns_of(columns))
    for row in rows:
        yield {name: _time(row[name]) if kind == "TIMESTAMP" else row[name] for name, kind in kinds.items()}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
