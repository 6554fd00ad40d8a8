"""How scan findings become sources and recordings: keys, order of arrival, and what must be done anew.

Everything here runs inside one write transaction of the catalogue.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from callpipeline.intake.metadata import merged
from callpipeline.intake.records import Applied, FileFacts, Kind, State

KEY_LENGTH = 16
_KEY_STEP = 8
_RECORDINGS = (Kind.AUDIO, Kind.TRANSCRIPT)

_UPSERT = """
INSERT INTO sources (path, root, kind, part_of, size, mtime_ns, sha256, key, first_seen, last_seen, present,
    problem, signature, metadata, transcript, transcript_sha256)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?)
ON CONFLICT (path) DO UPDATE SET
    root = excluded.root, kind = excluded.kind, part_of = excluded.part_of, size = excluded.size,
    mtime_ns = excluded.mtime_ns, sha256 = excluded.sha256, key = excluded.key,
    first_seen = CASE WHEN sources.key IS excluded.key THEN sources.first_seen ELSE excluded.first_seen END,
    last_seen = excluded.last_seen, present = 1, problem = excluded.problem,
    signature = excluded.signature, metadata = excluded.metadata, transcript = excluded.transcript,
    transcript_sha256 = excluded.transcript_sha256
"""

Inputs = tuple[dict[str, Any], bytes | None, str | None]
"""What the present sources of a recording say together: metadata, transcript path, transcript hash."""


def apply(
    connection: sqlite3.Connection,
    found: Sequence[FileFacts],
    gone: Sequence[bytes],
    *,
    root: bytes,
    now: float,
    key_length: int = KEY_LENGTH,
) -> Applied:
    """Store what a scan found and lost, and return what that means for recordings.

    A recording gets a new ``seq`` when it is new, when what decides its results changed (metadata, ready-made
    transcript: it is then to be done again), and when it comes back after it had no source and is not done.
    """
    touched: set[str] = set()
    new: set[str] = set()
    absent: set[str] = set()
    for facts in found:
        before = connection.execute("SELECT key FROM sources WHERE path = ?", (facts.path,)).fetchone()
        key = None
        if facts.sha256 is not None and facts.kind in _RECORDINGS:
            key, is_new = _key_for(connection, facts, now, key_length)
            new |= {key} if is_new else set()
            absent |= {key} if not _has_source(connection, key) else set()
            touched.add(key)
        if before is not None and before[0] is not None:
            touched.add(before[0])
        _store(connection, facts, key, root, now)
    for path in gone:
        rows = connection.execute(
            "UPDATE sources SET present = 0, last_seen = ? WHERE path = ? AND present = 1 RETURNING key",
            (now, path),
        ).fetchall()
        touched |= {key for (key,) in rows if key is not None}
    removed = {key for key in touched if not _has_source(connection, key)}
    changed = {
        key for key in touched - removed if _settle(connection, key, now, came_back=key in absent)
    } - new
    return Applied(frozenset(new), frozenset(changed), frozenset(removed), frozenset(touched - removed))


def inputs(connection: sqlite3.Connection, key: str) -> Inputs:
    """Return what the present sources of a recording say together; the first present one is the primary."""
    rows = connection.execute(
        "SELECT metadata, transcript, transcript_sha256 FROM sources"
        " WHERE key = ? AND present = 1 ORDER BY first_seen, path",
        (key,),
    ).fetchall()
    return together(rows)


def together(rows: Sequence[tuple[str, bytes | None, str | None]]) -> Inputs:
    """Combine (metadata, transcript, transcript hash) of sources, the primary one first."""
    if not rows:
        return {}, None, None
    layers = [json.loads(metadata) for metadata, _, _ in rows]
    metadata = merged(layers[0], layers[1:]) if len(layers) > 1 else layers[0]
    transcript, sha256 = next(((path, sha) for _, path, sha in rows if path is not None), (None, None))
    return metadata, transcript, sha256


def remember_root(connection: sqlite3.Connection, root: bytes, now: float) -> None:
    """Note that ``root`` was scanned."""
    connection.execute(
        "INSERT INTO roots VALUES (?, ?) ON CONFLICT (path) DO UPDATE SET scanned_at = excluded.scanned_at",
        (root, now),
    )


def replace_waiting(
    connection: sqlite3.Connection, remove: Iterable[bytes], add: Iterable[tuple[bytes, int, int, float]]
) -> None:
    """Note files that are not stable yet as (path, size, mtime in ns, since when)."""
    connection.executemany("DELETE FROM waiting WHERE path = ?", [(path,) for path in remove])
    connection.executemany("INSERT OR REPLACE INTO waiting VALUES (?, ?, ?, ?)", list(add))


def _key_for(connection: sqlite3.Connection, facts: FileFacts, now: float, length: int) -> tuple[str, bool]:
    """Return the key of these bytes, longer where a shorter one is taken, and whether it is a new one."""
    sha256 = facts.sha256 or ""
    row = connection.execute("SELECT key FROM recordings WHERE sha256 = ?", (sha256,)).fetchone()
    if row is not None:
        return str(row[0]), False
    while connection.execute("SELECT 1 FROM recordings WHERE key = ?", (sha256[:length],)).fetchone():
        length += _KEY_STEP
    key = sha256[:length]
    connection.execute(
        "INSERT INTO recordings (key, sha256, seq, kind, state, inputs, updated_at)"
        " VALUES (?, ?, (SELECT COALESCE(MAX(seq), 0) + 1 FROM recordings), ?, ?, '', ?)",
        (key, sha256, facts.kind, State.NEW, now),
    )
    return key, True


def _has_source(connection: sqlite3.Connection, key: str) -> bool:
    query = "SELECT 1 FROM sources WHERE key = ? AND present = 1 LIMIT 1"
    return connection.execute(query, (key,)).fetchone() is not None


def _store(
    connection: sqlite3.Connection, facts: FileFacts, key: str | None, root: bytes, now: float
) -> None:
    connection.execute(
        _UPSERT,
        (
            *(facts.path, root, facts.kind, facts.part_of, facts.size, facts.mtime_ns, facts.sha256, key),
            *(now, now, facts.problem, facts.signature, facts.metadata),
            *(facts.transcript, facts.transcript_sha256),
        ),
    )


def _settle(connection: sqlite3.Connection, key: str, now: float, *, came_back: bool) -> bool:
    """Bring a recording in line with its sources, and tell whether it has to be looked at again."""
    state, seen = connection.execute("SELECT state, inputs FROM recordings WHERE key = ?", (key,)).fetchone()
    current = _fingerprint(inputs(connection, key))
    if current != seen:
        connection.execute(
            "UPDATE recordings SET inputs = ?, state = ?, plan = NULL, error_class = NULL, message = NULL,"
            " permanent = 0, updated_at = ? WHERE key = ?",
            (current, State.NEW, now, key),
        )
        first_time = seen == ""
        if not first_time:
            _to_the_end(connection, key)
        return not first_time
    if came_back and state != State.DONE:
        _to_the_end(connection, key)
        return True
    return False


def _to_the_end(connection: sqlite3.Connection, key: str) -> None:
    connection.execute(
        "UPDATE recordings SET seq = (SELECT MAX(seq) + 1 FROM recordings) WHERE key = ?", (key,)
    )


def _fingerprint(said: Inputs) -> str:
    metadata, _, transcript_sha256 = said
    text = json.dumps([metadata, transcript_sha256], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
