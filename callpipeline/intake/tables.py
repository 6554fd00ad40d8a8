"""The catalogue's tables. What their rows mean is said where they are written (``arrivals``, ``catalog``)."""

from __future__ import annotations

from pathlib import Path

from callpipeline.store.database import SqliteFile

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sources (
    path BLOB PRIMARY KEY,
    root BLOB NOT NULL,
    kind TEXT NOT NULL,
    part_of BLOB,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sha256 TEXT,
    key TEXT,
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL,
    present INTEGER NOT NULL,
    problem TEXT,
    signature TEXT NOT NULL,
    metadata TEXT NOT NULL,
    transcript BLOB,
    transcript_sha256 TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sources_by_key ON sources (key) WHERE key IS NOT NULL;
CREATE TABLE IF NOT EXISTS waiting (
    path BLOB PRIMARY KEY,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    since REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS roots (path BLOB PRIMARY KEY, scanned_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS recordings (
    key TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    seq INTEGER NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    plan TEXT,
    inputs TEXT NOT NULL,
    updated_at REAL NOT NULL,
    error_class TEXT,
    message TEXT,
    permanent INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""


def open_tables(path: Path) -> SqliteFile:
    """Return the catalogue's file.

    A power cut may take back its last commits, which a scan finds again.
    """
    return SqliteFile(
        path,
        _SCHEMA,
        synchronous="NORMAL",
        if_damaged="Move it away and scan again: results are kept and will be found again.",
    )
