"""What the ledger writes down: its rows, the files of paid results, and the hash that names a request."""

# ruff: noqa: S608 - statements are put together from constants; every value is bound

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import Field

from callpipeline.limits.database import Session, Value
from callpipeline.model import Record
from callpipeline.store.database import Column

SCHEMA = """
CREATE TABLE IF NOT EXISTS provider_calls (
    request_hash TEXT PRIMARY KEY,
    provider TEXT NOT NULL,
    pool TEXT NOT NULL,
    model TEXT NOT NULL,
    recording TEXT,
    purpose TEXT NOT NULL,
    run TEXT NOT NULL,
    state TEXT NOT NULL,
    job_id TEXT,
    reference TEXT,
    sends BIGINT NOT NULL,
    sent DOUBLE PRECISION NOT NULL,
    busy_seconds DOUBLE PRECISION NOT NULL,
    busy_until DOUBLE PRECISION NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    tokens_in BIGINT NOT NULL,
    tokens_out BIGINT NOT NULL,
    cost DOUBLE PRECISION NOT NULL,
    result TEXT,
    error_class TEXT,
    message TEXT,
    created DOUBLE PRECISION NOT NULL,
    updated DOUBLE PRECISION NOT NULL
);
CREATE INDEX IF NOT EXISTS provider_calls_busy ON provider_calls (pool, busy_until);
CREATE INDEX IF NOT EXISTS provider_calls_job ON provider_calls (job_id)
"""
VERSION = 2
"""Of the ledger's tables in a SQLite file."""

ADDED = (Column("provider_calls", "sent", "DOUBLE PRECISION NOT NULL DEFAULT 0"),)
"""What the tables of older versions lack."""


class CallState(StrEnum):
    """How far a request got."""

    CLAIMED = "claimed"
    SENDING = "sending"
    SUBMITTED = "submitted"
    DONE = "done"
    FAILED = "failed"


class ProviderCall(Record):
    """One row of the ledger. Times are seconds since 1970; ``result`` is a path below the store.

    ``sent``: when it went out last, 0 if that is not known. ``busy_until``: until then the job counts as under
    way at the provider although nobody may hold it.
    """

    request_hash: str
    provider: str
    pool: str
    model: str
    recording: str | None
    purpose: str
    run: str
    state: CallState
    job_id: str | None = None
    reference: str | None = None
    sends: int = 0
    sent: float = 0.0
    busy_seconds: float = 0.0
    busy_until: float = 0.0
    seconds: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    result: str | None = None
    error_class: str | None = None
    message: str | None = None
    created: float
    updated: float


COLUMNS = tuple(ProviderCall.model_fields)


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted from a provider. ``request_hash``: see the function of that name below."""

    request_hash: str
    provider: str
    pool: str
    model: str
    recording: str | None = None
    purpose: str = ""


class Usage(Record):
    """What a finished call took: seconds of audio, text tokens, dollars."""

    seconds: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0


class Paid(Record):
    """A result that was paid for, as it lies in ``store/paid``. ``result`` is any JSON value.

    ``shares``: how a call for several recordings is shared out to them; the shares add up to 1.
    """

    request_hash: str
    provider: str
    pool: str
    model: str
    recording: str | None
    purpose: str
    run: str
    job_id: str | None
    sends: int
    usage: Usage
    at: float
    result: Any
    shares: dict[str, float] = Field(default_factory=dict)


def request_hash(**parts: Any) -> str:
    """Hash all that decides a result (hash of the bytes, model, options, prompt version) into one name."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def idempotency_key(of: str) -> str:
    """Return the ``Idempotency-Key`` for a request hash: the same for each try of the same request."""
    return f"callpipeline-{of[:48]}"


def new_row(order: Order, run: str, now: float) -> ProviderCall:
    """Return the row of an order that somebody has just claimed."""
    return ProviderCall(
        request_hash=order.request_hash,
        provider=order.provider,
        pool=order.pool,
        model=order.model,
        recording=order.recording,
        purpose=order.purpose,
        run=run,
        state=CallState.CLAIMED,
        created=now,
        updated=now,
    )


def insert(session: Session, row: ProviderCall) -> None:
    """Add a row unless there is one."""
    session.execute(
        f"INSERT INTO provider_calls ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
        " ON CONFLICT (request_hash) DO NOTHING",
        [getattr(row, name) for name in COLUMNS],
    )


def update(session: Session, of: str, now: float, **values: Value) -> None:
    """Change columns of a row; ``now`` becomes its time of change."""
    sets = ", ".join(f"{name} = ?" for name in values)
    session.execute(
        f"UPDATE provider_calls SET {sets}, updated = ? WHERE request_hash = ?", (*values.values(), now, of)
    )


def select(session: Session, where: str, value: str | float) -> list[ProviderCall]:
    """Return the rows that a condition with one value picks."""
    rows = session.execute(f"SELECT {', '.join(COLUMNS)} FROM provider_calls {where}", (value,))
    return [ProviderCall(**dict(zip(COLUMNS, row, strict=True))) for row in rows]
