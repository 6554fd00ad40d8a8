"""What a provider's answer says beyond its result: which failure it is, and how fast we may go on. All pure.

Callers pass a status, a body and headers as plain values; how they travelled is none of this module's
business.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from callpipeline.failures import (
    AuthenticationFailed,
    BadRequest,
    CallFailed,
    CorruptChunk,
    NetworkFailed,
    ProviderFailed,
    QuotaExceeded,
    RateLimited,
)

_QUOTA = re.compile(
    r"insufficient_quota|billing_hard_limit|billing_not_active|exceeded your current quota"
    r"|account balance|insufficient (?:funds|credit)|payment required",
    re.IGNORECASE,
)
_KEY = re.compile(r"invalid_api_key|incorrect api key|authentication error|invalid api (?:key|token)", re.I)
_CORRUPT = re.compile(
    r"could not (?:be )?decod|corrupt|invalid file format|unsupported file|audio file (?:might|may) be"
    r"|does not (?:appear to )?contain audio|transcoding failed",
    re.IGNORECASE,
)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_TEXT = 300
_LONGEST_KIND = 50


def failure_of(
    provider: str,
    status: int | None,
    body: str | bytes | Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    now: datetime | None = None,
) -> CallFailed:
    """Put a provider's answer that is not a success into a class of failures.

    ``status`` ``None`` = no answer came. Codes in the body go before the status: a 429 for an empty account
    is no matter of waiting. Of an answer that ought to be a success only the size is told: what is in it, whole or
    cut off, may be what somebody said in a recording, and messages of failures go into logs.
    """
    if status is not None and status < 400:
        return unreadable(provider, status, _size(body), headers)
    text = _text(body)
    code = f"{_code(body)} {text}"
    wait = retry_after(headers or {}, now=now)
    said = (
        f"{provider} answered {status}: {text or 'nothing'}."
        if status
        else f"{provider}: {text or 'no answer'}."
    )
    if status is None or status in (408, 499):
        return NetworkFailed(said, retry_after=wait)
    if _QUOTA.search(code) or status == 402:
        return QuotaExceeded(said, hint=f"Add credit to the {provider} account.")
    if status in (401, 403) or _KEY.search(code):
        return AuthenticationFailed(said, hint=f"Check the API key of {provider}.")
    if status == 429:
        return RateLimited(said, retry_after=wait)
    if status in (400, 415, 422) and _CORRUPT.search(code):
        return CorruptChunk(said, hint="The piece is cut anew and sent once more.")
    if status >= 500 or status in (409, 425):
        return ProviderFailed(said, retry_after=wait)
    return BadRequest(said)


def unreadable(
    provider: str, status: int, size: int, headers: Mapping[str, str] | None = None, *, why: str = ""
) -> ProviderFailed:
    """Say that an answer cannot be used, without a word of it.

    Args:
        provider: Who answered.
        status: Its status, which promised a success.
        size: Bytes of its body.
        headers: Its headers; the type of the content is told.
        why: What is wrong with it, in words of ours.
    """
    kind = {name.lower(): value for name, value in (headers or {}).items()}.get("content-type", "")
    kind = kind.partition(";")[0].strip()[:_LONGEST_KIND] or "an unknown type"
    reason = f", {why}" if why else ""
    return ProviderFailed(
        f"{provider} answered {status} with something that cannot be read: {size} bytes of {kind}{reason}."
    )


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Return the seconds that ``Retry-After`` (seconds or a date) or ``retry-after-ms`` asks for."""
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(lower[name]) * unit)
        except (KeyError, ValueError):
            continue
    if "retry-after" not in lower:
        return None
    try:
        until = parsedate_to_datetime(lower["retry-after"])
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())


@dataclass(frozen=True, slots=True)
class Allowance:
    """One limit as the provider reports it: its size, what is left, seconds until it is full again."""

    limit: float | None
    remaining: float | None
    reset: float | None


def allowances(headers: Mapping[str, str]) -> dict[str, Allowance]:
    """Read ``x-ratelimit-*`` headers into allowances of ``requests`` and ``tokens``.

    Names without a metric (``x-ratelimit-remaining``) count as requests; their limit is left out, for nothing
    says which period it is for.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    found = {}
    for metric in ("requests", "tokens"):
        values = [lower.get(f"x-ratelimit-{part}-{metric}") for part in ("limit", "remaining", "reset")]
        if metric == "requests" and values[1] is None:
            values = [None, lower.get("x-ratelimit-remaining"), lower.get("x-ratelimit-reset")]
        if values[0] is not None or values[1] is not None:
            found[metric] = Allowance(_number(values[0]), _number(values[1]), _duration(values[2]))
    return found


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _duration(text: str | None) -> float | None:
    """Read ``1s``, ``6m0s``, ``120ms``, or plain seconds."""
    plain = _number(text)
    if plain is not None or not text:
        return plain
    parts = _DURATION.findall(text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else None


def _error(body: str | bytes | Mapping[str, Any] | None) -> Any:
    """Return what stands under ``error`` in a JSON body, else the body."""
    if isinstance(body, bytes):
        body = body.decode(errors="replace")
    if isinstance(body, str):
        try:
            parsed = json.loads(body)
        except ValueError:
            return body
        body = parsed if isinstance(parsed, dict) else body
    return body.get("error", body) if isinstance(body, Mapping) else body


def _code(body: str | bytes | Mapping[str, Any] | None) -> str:
    error = _error(body)
    return f"{error.get('code') or ''} {error.get('type') or ''}" if isinstance(error, Mapping) else ""


def _text(body: str | bytes | Mapping[str, Any] | None) -> str:
    error = _error(body)
    if isinstance(error, Mapping):
        error = error.get("message") or _details(error)
    return " ".join(str(error or "").split())[:_LONGEST_TEXT].rstrip(".")


def _details(error: Mapping[str, Any]) -> str:
    """Return what an error without a message says.

    FastAPI, on which many servers stand, sends back what it was given beside each complaint, and that may be words
    of a recording: only the complaints are read.
    """
    details = error.get("detail")
    if isinstance(details, str):
        return details
    if isinstance(details, list):
        return "; ".join(str(one["msg"]) for one in details if isinstance(one, Mapping) and one.get("msg"))
    return f"an object of {', '.join(map(str, error))}" if error else ""


def _size(body: str | bytes | Mapping[str, Any] | None) -> int:
    if isinstance(body, Mapping):
        body = json.dumps(body)
    return len(body.encode() if isinstance(body, str) else body or b"")
