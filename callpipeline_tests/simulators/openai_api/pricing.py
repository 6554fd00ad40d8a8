"""What one answer costs in tokens and seconds, before anything is sent.

Belongs here: the value that an endpoint computes, which feeds the limits, the ledger and the latency.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Computed:
    """An answer that is ready. ``reserve`` = tokens it counts for until the real usage is known."""

    payload: Any
    """JSON, or text for the plain formats."""
    key: str
    """Same question = same key."""
    input_tokens: int = 0
    output_tokens: int = 0
    reserve: int = 0
    audio_seconds: float = 0.0
    media_type: str = "application/json"

    @property
    def tokens(self) -> int:
        """What the answer really used."""
        return self.input_tokens + self.output_tokens


def request_key(*parts: object) -> str:
    """Return a key of what was asked; the order of fields does not matter."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
