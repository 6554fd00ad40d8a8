"""The chunk cache: what was said of a text, by a key of all that decides it, and which batches are under way.

``store/graph_cache.sqlite``, or Postgres. What belongs here: the tables and their transactions. What does not: who works
on a batch (the ledger's claims say so), and what answers mean.

A key is free, kept (answered, or refused for good), or pending in a batch. Whoever finds it pending claims that batch in
the ledger: it gets the claim when the holder is done, or dead. What a dead holder left is sent again as it was composed:
the row of the batch has its whole body.

The order of writing is what makes every kill harmless: batch and pending keys, then the ledger's claim and the request,
then the answers (with what they cost, in one transaction), then the ledger, then the batch is gone.
"""

# ruff: noqa: S608 - statements are put together from constants; every value is bound

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callpipeline.failures import CallPipelineError, Recorded
from callpipeline.graph.extractors.openai.batches import Batch, Block
from callpipeline.graph.extractors.openai.schema import SaidChunk
from callpipeline.limits.database import Row, Session, open_database
from callpipeline.limits.ledger_rows import Usage

FILE = "graph_cache.sqlite"

SCHEMA = """
CREATE TABLE IF NOT EXISTS graph_answers (
    key TEXT PRIMARY KEY,
    family TEXT NOT NULL,
    text_sha256 TEXT NOT NULL,
    text TEXT NOT NULL,
    model TEXT NOT NULL,
    said TEXT,
    error_class TEXT,
    message TEXT,
    batch TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL
);
CREATE INDEX IF NOT EXISTS graph_answers_text ON graph_answers (text_sha256);
CREATE TABLE IF NOT EXISTS graph_batches (
    id TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    pool TEXT NOT NULL,
    keys TEXT NOT NULL,
    recordings TEXT NOT NULL,
    body TEXT NOT NULL,
    tokens BIGINT NOT NULL,
    answer TEXT,
    at DOUBLE PRECISION NOT NULL
);
CREATE TABLE IF NOT EXISTS graph_pending (
    key TEXT PRIMARY KEY,
    batch TEXT NOT NULL,
    family TEXT NOT NULL,
    text_sha256 TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS graph_pending_batch ON graph_pending (batch)
"""
_TURN = "graph cache"
_AT_ONCE = 500
_BATCH = "id, model, pool, keys, recordings, body, tokens"
_OR_CHANGE = (
    "ON CONFLICT (key) DO UPDATE SET model = excluded.model, said = excluded.said,"
    " error_class = excluded.error_class, message = excluded.message, batch = excluded.batch, at = excluded.at"
)
_KEPT = "key, text_sha256, model, said, error_class, message"


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a text: what was said, or why nothing ever will be (``failure``)."""

    key: str
    sha256: str
    model: str
    said: SaidChunk | None
    error_class: str | None = None
    message: str | None = None

    @property
    def failure(self) -> CallPipelineError | None:
        """Why there is no answer, as an exception."""
        if self.said is not None:
            return None
        return Recorded(self.error_class or "internal", self.message or "", permanent=True)


@dataclass(frozen=True, slots=True)
class Paying:
    """What a batch cost, and what is kept of its answer: for the ledger."""

    result: dict[str, Any]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Under:
    """A batch that is under way; ``paying``: its answers are kept, but the ledger may not know."""

    batch: Batch
    paying: Paying | None


@dataclass(frozen=True, slots=True)
class Begun:
    """What became of keys that were to be sent: a batch of the free ones, answers, and who has the others."""

    batch: Batch | None = None
    kept: Mapping[str, Kept] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """Keys and the batches that they are pending in."""


class ChunkCache:
    """The cache of one store. All methods block for a moment: use a thread."""

    def __init__(self, root: Path, postgres_url: str | None) -> None:
        self._database = open_database(postgres_url, root / FILE, SCHEMA)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    # --- answers ------------------------------------------------------------------------------------------

    def get(self, keys: Iterable[str]) -> dict[str, Kept]:
        """Return what is kept of some keys."""
        with self._database.reading() as session:
            return _kept(session, keys)

    def of_text(self, sha256: str, families: Sequence[str]) -> Kept | None:
        """Return an answer about a text in words of one of some families, see ``Wording.family``."""
        with self._database.reading() as session:
            rows = session.execute(
                f"SELECT {_KEPT} FROM graph_answers WHERE text_sha256 = ? AND said IS NOT NULL"
                f" AND family IN ({_marks(families)}) ORDER BY key",
                (sha256, *families),
            )
        return _kept_of(rows[0]) if rows else None

    def texts(self, families: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield the hash and the text of all that was answered in some families."""
        with self._database.reading() as session:
            rows = session.execute(
                f"SELECT text_sha256, text FROM graph_answers WHERE said IS NOT NULL AND family IN ({_marks(families)})",
                families,
            )
        yield from ((sha256, text) for sha256, text in rows)

    # --- batches ------------------------------------------------------------------------------------------

    def begin(
        self, blocks: Sequence[Block], compose: Callable[[Sequence[Block]], Batch], *, force: bool = False
    ) -> Begun:
        """Write down a batch of those blocks that nobody has, before it is sent.

        Args:
            blocks: What is wanted.
            compose: Makes the request of the free ones.
            force: What is kept does not count.
        """
        keys = [block.key for block in blocks]
        with self._database.changing(_TURN) as session:
            kept = {} if force else _kept(session, keys)
            elsewhere = {key: of for key, of in _pending(session, keys) if key not in kept}
            free = [block for block in blocks if block.key not in kept and block.key not in elsewhere]
            if not free:
                return Begun(None, kept, elsewhere)
            batch = compose(free)
            _insert(session, batch)
            for block in free:
                session.execute(
                    "INSERT INTO graph_pending VALUES (?, ?, ?, ?, ?)",
                    (block.key, batch.id, block.family, block.sha256, block.text),
                )
        return Begun(batch, kept, elsewhere)

    def batch(self, of: str) -> Under | None:
        """Return a batch that is under way, ``None`` when it is over."""
        with self._database.reading() as session:
            rows = session.execute(f"SELECT {_BATCH}, answer FROM graph_batches WHERE id = ?", (of,))
        return _under(rows[0]) if rows else None

    def keep(self, batch: Batch, found: Mapping[str, SaidChunk], paying: Paying) -> None:
        """Keep what a batch was answered, and what that cost, together. Its other keys stay pending."""
        with self._database.changing(_TURN) as session:
            now = session.now()
            for key, said in found.items():
                _answer(session, key, batch, said, now)
            for some in _some(found):
                session.execute(f"DELETE FROM graph_pending WHERE key IN ({_marks(some)})", some)
            answer = json.dumps({"result": paying.result, "usage": paying.usage.model_dump()})
            session.execute("UPDATE graph_batches SET answer = ? WHERE id = ?", (answer, batch.id))

    def refuse(self, block: Block, error: CallPipelineError) -> Kept:
        """Keep that there will never be an answer about a block, so that nobody pays to hear it again."""
        kept = Kept(block.key, block.sha256, block.route.model, None, error.error_class, str(error))
        with self._database.changing(_TURN) as session:
            session.execute(
                f"INSERT INTO graph_answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) {_OR_CHANGE}",
                (
                    *(kept.key, block.family, kept.sha256, block.text, kept.model),
                    *(None, kept.error_class, kept.message, "", session.now()),
                ),
            )
        return kept

    def end(self, batch: Batch) -> None:
        """Forget a batch: what it did not answer is free again."""
        with self._database.changing(_TURN) as session:
            session.execute("DELETE FROM graph_pending WHERE batch = ?", (batch.id,))
            session.execute("DELETE FROM graph_batches WHERE id = ?", (batch.id,))

    def unpaid(self) -> list[Batch]:
        """Return batches whose answers are kept, but not yet surely written down in the ledger."""
        with self._database.reading() as session:
            rows = session.execute(f"SELECT {_BATCH} FROM graph_batches WHERE answer IS NOT NULL")
        return [_batch_of(row) for row in rows]


# --- rows ----------------------------------------------------------------------------------------------------


def _kept(session: Session, keys: Iterable[str]) -> dict[str, Kept]:
    found = {}
    for some in _some(keys):
        rows = session.execute(f"SELECT {_KEPT} FROM graph_answers WHERE key IN ({_marks(some)})", some)
        found.update({kept.key: kept for kept in map(_kept_of, rows)})
    return found


def _kept_of(row: Row) -> Kept:
    key, sha256, model, said, error_class, message = row
    return Kept(
        key,
        sha256,
        model,
        None if said is None else SaidChunk.model_validate_json(said),
        error_class,
        message,
    )


def _pending(session: Session, keys: Iterable[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for some in _some(keys):
        rows = session.execute(f"SELECT key, batch FROM graph_pending WHERE key IN ({_marks(some)})", some)
        found += [(key, batch) for key, batch in rows]
    return found


def _insert(session: Session, batch: Batch) -> None:
    keys, recordings = json.dumps(batch.keys), json.dumps(batch.recordings)
    body = json.dumps(batch.body, ensure_ascii=False)
    session.execute("DELETE FROM graph_batches WHERE id = ?", (batch.id,))
    session.execute(
        "INSERT INTO graph_batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (batch.id, batch.model, batch.pool, keys, recordings, body, batch.tokens, None, session.now()),
    )


def _batch_of(row: Row) -> Batch:
    of, model, pool, keys, recordings, body, tokens = row
    return Batch(
        id=of,
        model=model,
        pool=pool,
        keys=tuple(json.loads(keys)),
        recordings=tuple(json.loads(recordings)),
        body=json.loads(body),
        tokens=tokens,
    )


def _under(row: Row) -> Under:
    *batch, answer = row
    if answer is None:
        return Under(_batch_of(tuple(batch)), None)
    paying = json.loads(answer)
    return Under(_batch_of(tuple(batch)), Paying(paying["result"], Usage(**paying["usage"])))


def _answer(session: Session, key: str, batch: Batch, said: SaidChunk, now: float) -> None:
    """Keep an answer under its key, with the text of the pending row."""
    session.execute(
        "INSERT INTO graph_answers SELECT key, family, text_sha256, text, ?, ?, NULL, NULL, ?, ? FROM graph_pending"
        f" WHERE key = ? {_OR_CHANGE}",
        (batch.model, said.model_dump_json(), batch.id, now, key),
    )


def _some(keys: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Yield keys in as many at once as a statement takes."""
    all_ = tuple(keys)
    for begin in range(0, len(all_), _AT_ONCE):
        yield all_[begin : begin + _AT_ONCE]


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))
