"""The result store: one JSON file per asset and partition, the truth about what has been worked out.

``store/<asset>/<key>.json`` holds an envelope (what made the value, and from what) and the value;
``<key>.failure.json`` beside it says why there is no (new) value. What belongs here: storing, fetching and
locking them. What does not: deciding what is stale (the caller compares ``cache_key``) and queries over many
recordings (``warehouse``).
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from callpipeline.failures import UsageError, problems
from callpipeline.model import StageFailure
from callpipeline.store import files, locks

log = logging.getLogger(__name__)

T = TypeVar("T", bound=BaseModel)

_ASSET = re.compile(r"[a-z][a-z0-9_]*")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_VALUE = b',"value":'
_HEADER_BYTES = 2048
_FAILURE = ".failure.json"
LOCKS = ".locks"

ASSETS = (
    *("raw_audio", "speech_activity", "audio_chunks", "transcripts", "diarization"),
    *("speaker_turns", "detections", "call_metrics", "chapters"),
    *("text_chunks", "kg_extractions"),
)
"""The assets that have a result file for each recording."""


class Header(BaseModel):
    """What made a stored value. ``data_version`` = first 16 hex of SHA-256 of the value's JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asset: str
    partition: str
    cache_key: str
    code_version: str
    data_version: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Stored(Generic[T]):
    """A stored value with its header; ``path`` is the file it lies in."""

    asset: str
    partition: str
    cache_key: str
    code_version: str
    data_version: str
    created_at: datetime
    value: T
    path: Path


class ResultStore:
    """The results below one ``root`` folder. Holds no state: safe for threads, processes and forks."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # --- values ---------------------------------------------------------------------------------------

    def path(self, asset: str, key: str) -> Path:
        """Return where the value of ``asset`` for the recording ``key`` lies or would lie.

        Raises:
            UsageError: a name that could lead out of the store.
        """
        return self._folder(asset) / f"{_checked_key(key)}.json"

    def put(self, asset: str, key: str, value: T, *, cache_key: str, code_version: str) -> Stored[T]:
        """Store ``value`` (atomic, on the disk when this returns) and forget an earlier failure.

        Raises:
            ValueError: the value could not be read back, such as a NaN where a number is required: better
                now than at the reader.
            OSError: the store cannot be written.
        """
        path = self.path(asset, key)
        value_json = value.model_dump_json().encode()
        type(value).model_validate_json(value_json)
        header = Header(
            asset=asset,
            partition=key,
            cache_key=cache_key,
            code_version=code_version,
            data_version=_data_version(value_json),
            created_at=datetime.now(UTC),
        )
        files.write_bytes(path, header.model_dump_json().encode()[:-1] + _VALUE + value_json + b"}")
        self.clear_failure(asset, key)
        return Stored(**dict(header), value=value, path=path)

    def get(self, asset: str, key: str, kind: type[T]) -> Stored[T] | None:
        """Return the stored value, or ``None`` when there is none that can be used.

        A damaged or foreign file is moved aside to ``*.corrupt``. A sound file whose value does not fit
        ``kind`` (written by another version) is left where it is: the next ``put`` takes its place.
        """
        path = self.path(asset, key)
        content = _content(path)
        if content is None:
            return None
        parsed = parse(content)
        if parsed is None or (parsed[0].asset, parsed[0].partition) != (asset, key):
            _move_aside(path)
            return None
        header, value_json = parsed
        try:
            value = kind.model_validate_json(value_json)
        except ValidationError as error:
            log.warning("%s is from another version and counts as absent: %s", path, problems(error))
            return None
        return Stored(**dict(header), value=value, path=path)

    def header(self, asset: str, key: str) -> Header | None:
        """Return what made the stored value without reading the value itself (some 20 times cheaper)."""
        try:
            with self.path(asset, key).open("rb", buffering=0) as file:
                start = file.read(_HEADER_BYTES)
        except OSError:
            return None
        header = _parse_header(start.partition(_VALUE)[0])
        return header if header and (header.asset, header.partition) == (asset, key) else None

    def keys(self, asset: str) -> set[str]:
        """Return the keys of all recordings that have a value of ``asset``."""
        return {name for name in _stems(self._folder(asset), ".json") if _KEY.fullmatch(name)}

    def remove(self, asset: str, key: str) -> None:
        """Remove the value and the failure of one recording, if any."""
        self.path(asset, key).unlink(missing_ok=True)
        self.clear_failure(asset, key)

    # --- failures -------------------------------------------------------------------------------------

    def fail(self, failure: StageFailure) -> None:
        """Store why a stage has no (new) value. An older value stays beside it."""
        files.write_bytes(
            self._failure_path(failure.asset, failure.partition), failure.model_dump_json().encode()
        )

    def failure(self, asset: str, key: str) -> StageFailure | None:
        """Return the failure that stands for this stage, or ``None``."""
        path = self._failure_path(asset, key)
        content = _content(path)
        if content is None:
            return None
        try:
            return StageFailure.model_validate_json(content)
        except ValidationError:
            _move_aside(path)
            return None

    def clear_failure(self, asset: str, key: str) -> None:
        """Forget the failure of this stage, if any."""
        self._failure_path(asset, key).unlink(missing_ok=True)

    def failed_keys(self, asset: str) -> set[str]:
        """Return the keys of all recordings for which ``asset`` has a failure that stands."""
        return {name for name in _stems(self._folder(asset), _FAILURE) if _KEY.fullmatch(name)}

    # --- locks ----------------------------------------------------------------------------------------

    def lock(self, key: str, *, timeout: float | None = None) -> AbstractContextManager[locks.Lock]:
        """Hold the lock of ``key`` among all processes for a block; see ``locks.holding``."""
        return locks.holding(self._lock_path(key), timeout=timeout)

    def alock(self, key: str, *, timeout: float | None = None) -> AbstractAsyncContextManager[locks.Lock]:
        """Hold the lock of ``key`` for an ``async with`` block; waiting does not block the event loop."""
        return locks.aholding(self._lock_path(key), timeout=timeout)

    def try_lock(self, key: str) -> locks.Lock | None:
        """Take the lock of ``key`` now, or return ``None`` when another holds it."""
        return locks.try_lock(self._lock_path(key))

    # --- inside ---------------------------------------------------------------------------------------

    def _folder(self, asset: str) -> Path:
        if not _ASSET.fullmatch(asset):
            raise UsageError(f"{asset!r} is not the name of an asset.")
        return self.root / asset

    def _failure_path(self, asset: str, key: str) -> Path:
        return self._folder(asset) / f"{_checked_key(key)}{_FAILURE}"

    def _lock_path(self, key: str) -> Path:
        return self.root / LOCKS / f"{_checked_key(key)}.lock"


def parse(content: bytes) -> tuple[Header, bytes] | None:
    """Split the bytes of a result file into header and value JSON; ``None`` when they are not sound.

    Sound = written by ``put`` and not changed since: the value's bytes have the hash that the header names.
    """
    head, separator, rest = content.partition(_VALUE)
    header = _parse_header(head)
    value_json = rest[:-1]
    if header is None or not separator or _data_version(value_json) != header.data_version:
        return None
    return header, value_json


def _parse_header(head: bytes) -> Header | None:
    try:
        return Header.model_validate_json(head + b"}")
    except ValidationError:
        return None


def _data_version(value_json: bytes) -> str:
    return hashlib.sha256(value_json).hexdigest()[:16]


def _checked_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise UsageError(f"{key!r} is not the key of a recording.")
    return key


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s cannot be read and counts as absent: %s", path, error)
        return None


def _move_aside(path: Path) -> None:
    aside = path.with_name(path.name + ".corrupt")
    log.warning("%s is not a sound result: moved to %s", path, aside.name)
    with suppress(OSError):
        path.replace(aside)


def _stems(folder: Path, ending: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(ending):
                    yield entry.name[: -len(ending)]
    except FileNotFoundError:
        return
