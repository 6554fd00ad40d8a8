"""The service's own tables: tasks, API keys, the audit log; in SQLite on one host, in Postgres for many."""

from __future__ import annotations

from callpipeline.limits.database import Database, open_database
from callpipeline.settings import Settings

FILE = "service.sqlite"

SCHEMA = """
CREATE TABLE IF NOT EXISTS service_tasks (
    id TEXT PRIMARY KEY,
    batch TEXT,
    who TEXT NOT NULL,
    recording TEXT NOT NULL,
    file_name TEXT NOT NULL,
    options TEXT NOT NULL,
    variant TEXT NOT NULL,
    waiting_client BIGINT NOT NULL,
    priority BIGINT NOT NULL,
    state TEXT NOT NULL,
    stages TEXT NOT NULL,
    idempotency TEXT,
    request TEXT NOT NULL,
    created DOUBLE PRECISION NOT NULL,
    started DOUBLE PRECISION,
    finished DOUBLE PRECISION,
    run TEXT,
    worker TEXT,
    attempts BIGINT NOT NULL,
    reused BIGINT NOT NULL,
    duration DOUBLE PRECISION NOT NULL,
    error_class TEXT,
    message TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS service_tasks_idempotency ON service_tasks (who, idempotency);
CREATE INDEX IF NOT EXISTS service_tasks_state ON service_tasks (state, priority, created);
CREATE INDEX IF NOT EXISTS service_tasks_batch ON service_tasks (batch);
CREATE TABLE IF NOT EXISTS service_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    secret TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created DOUBLE PRECISION NOT NULL,
    revoked DOUBLE PRECISION
);
CREATE TABLE IF NOT EXISTS service_audit (
    at DOUBLE PRECISION NOT NULL,
    who TEXT NOT NULL,
    address TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    status BIGINT NOT NULL,
    about TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS service_audit_at ON service_audit (at)
"""


def open_service_tables(settings: Settings) -> Database:
    """Open the tables of the service of these settings."""
    return open_database(settings.postgres_url, settings.store / FILE, SCHEMA)
