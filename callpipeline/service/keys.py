"""API keys: several, each with a name and what it may do. Only their hashes are kept.

A key is ``cp_<id>_<secret>``; the secret has 256 random bits, so that a plain SHA-256 of it tells nothing. What does
not belong here: where a request carries its key (``auth``).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from enum import StrEnum

from callpipeline.failures import UsageError
from callpipeline.limits.database import Database
from callpipeline.model import Record

TURN = "service_keys"
FRESH_SECONDS = 2.0
"""How long a look at the table is good for: a revoked key may be used for so long."""
_KEY = re.compile(r"cp_(?P<id>[0-9a-f]{8})_(?P<secret>[A-Za-z0-9_-]{43})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}")


class Scope(StrEnum):
    """What a key may do."""

    TRANSCRIBE = "transcribe"
    """Send recordings, and cancel its own tasks."""
    READ = "read"
    """See its own tasks, their progress and results, and what the service offers."""
    METRICS = "metrics"
    """Read /metrics."""
    ADMIN = "admin"
    """See and cancel the tasks of all keys."""


class ApiKey(Record):
    """A key, without its secret. ``revoked``: when, in seconds since 1970."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    created: float
    revoked: float | None


class Keys:
    """The table of keys. All methods block for a moment."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[ApiKey, str]] = {}
        self._looked = float("-inf")

    def add(self, name: str, scopes: tuple[Scope, ...]) -> str:
        """Make a key and return it: the only time that anybody sees its secret.

        Raises:
            UsageError: the name cannot be one, or a key that is not revoked has it.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} cannot be the name of a key.", hint="Use letters, digits and . _ @ -")
        of, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
        with self._database.changing(TURN) as session:
            if session.execute("SELECT 1 FROM service_keys WHERE name = ? AND revoked IS NULL", (name,)):
                raise UsageError(
                    f"there is a key {name!r} already.", hint="Revoke it first, or use another name."
                )
            session.execute(
                "INSERT INTO service_keys VALUES (?, ?, ?, ?, ?, NULL)",
                (of, name, _hash(secret), ",".join(scopes), session.now()),
            )
        self._looked = float("-inf")
        return f"cp_{of}_{secret}"

    def all(self) -> list[ApiKey]:
        """Return all keys, revoked ones too, in order of making."""
        with self._database.reading() as session:
            rows = session.execute(
                "SELECT id, name, scopes, created, revoked FROM service_keys ORDER BY created"
            )
        return [
            ApiKey(id=of, name=name, scopes=_scopes(scopes), created=created, revoked=revoked)
            for of, name, scopes, created, revoked in rows
        ]

    def revoke(self, name: str) -> None:
        """Let a key open nothing any more.

        Raises:
            UsageError: there is no such key.
        """
        with self._database.changing(TURN) as session:
            gone = session.execute(
                "UPDATE service_keys SET revoked = ? WHERE (name = ? OR id = ?) AND revoked IS NULL RETURNING id",
                (session.now(), name, name),
            )
        if not gone:
            raise UsageError(f"there is no key {name!r}.", hint="callpipeline keys list shows them.")
        self._looked = float("-inf")

    def needed(self) -> bool:
        """Tell whether there are keys, so that requests need one. Revoking the last one opens nothing."""
        self._look()
        return bool(self._known)

    def check(self, given: str) -> ApiKey | None:
        """Return the key that a client gave, ``None`` if it opens nothing."""
        self._look()
        match = _KEY.fullmatch(given)
        key, known = self._known.get(match["id"] if match else "", (None, _hash("")))
        right = hmac.compare_digest(known, _hash(match["secret"] if match else ""))
        return key if key is not None and right and key.revoked is None else None

    def _look(self) -> None:
        if time.monotonic() - self._looked < FRESH_SECONDS:
            return
        with self._database.reading() as session:
            rows = session.execute("SELECT id, name, secret, scopes, created, revoked FROM service_keys")
        self._known = {
            of: (ApiKey(id=of, name=name, scopes=_scopes(scopes), created=created, revoked=revoked), secret)
            for of, name, secret, scopes, created, revoked in rows
        }
        self._looked = time.monotonic()


def _scopes(text: str) -> tuple[Scope, ...]:
    return tuple(Scope(scope) for scope in text.split(","))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
