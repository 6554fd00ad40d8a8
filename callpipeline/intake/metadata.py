"""What file names, folders, ``manifest.csv`` and ``NAME.json`` say about a recording.

Precedence, field by field: name pattern < folder pattern < ``manifest.csv`` (the nearer folder wins) <
``NAME.json``. Nothing here is an error of the recording: what cannot be read is left blank and reported as a
problem of the file that says it. Times and phone numbers stay text as given, trimmed.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from callpipeline.intake.formats import decode_text, display
from callpipeline.model import CallMetadata, Role

METADATA_VERSION = "3"
"""Goes up when the same files would give other metadata, so that a scan works them out anew."""

_TEXT_FIELDS = frozenset(CallMetadata.model_fields) - {"channel_roles", "speakers", "extra"}
_ALIASES = {
    "agent_name": "agent",
    "phone_number": "phone",
    "dialer_name": "dialer",
    "user_name": "user",
    "campaign_name": "campaign",
    "time": "timestamp",
    "call_time": "timestamp",
    "file_name": "file",
    "filename": "file",
    "file_path": "file",
    "path": "file",
    "speaker_count": "speakers",
    "number_of_speakers": "speakers",
}
_MOST_SPEAKERS = 20
_NOT_METADATA = frozenset({"turns", "duration_s"})
"""Keys of a ``NAME.json`` that are the ready-made transcript's."""


@dataclass(frozen=True)
class Manifest:
    """One ``manifest.csv``: the fields that it gives to files, by path relative to its folder."""

    folder: str
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    problem: str | None = None

    def fields_for(self, path: str) -> Mapping[str, Any]:
        """Return what is said of ``path``, a file below; a bare name counts in every sub-folder."""
        relative = display(path[len(self.folder) :]).replace(os.sep, "/").lstrip("/")
        return self.rows.get(relative) or self.rows.get(relative.rpartition("/")[2], {})


def from_name(stem: str, pattern: str) -> dict[str, str]:
    """Return the named groups of ``pattern`` in a file name without extension; {} when it does not match."""
    return _groups(_compiled(pattern).search(display(stem)))


def from_folder(path: str, pattern: str) -> dict[str, str]:
    """Return the named groups of ``pattern`` in a whole path; {} when it does not match."""
    return _groups(_compiled(pattern).search(display(path).replace(os.sep, "/")))


def read_manifest(path: Path) -> Manifest:
    """Read a ``manifest.csv``: comma, semicolon or tab; its column ``file`` or ``File Name`` names files.

    Never raises for what is in it: ``problem`` says what is wrong, and what can be read is there.
    """
    folder = str(path.parent)
    try:
        text = decode_text(path.read_bytes())
    except OSError as error:
        return Manifest(folder, problem=f"cannot be read: {error.strerror}")
    header = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    try:
        table = list(csv.reader(io.StringIO(text.lstrip(), newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        return Manifest(folder, problem=f"is not a readable table: {error}")
    if not table:
        return Manifest(folder, problem="is empty")
    columns = [_canonical(name) for name in table[0]]
    if "file" not in columns:
        return Manifest(folder, problem='has no column "file" or "File Name"')
    rows: dict[str, dict[str, Any]] = {}
    for cells in table[1:]:
        fields = _row_fields(table[0], columns, cells)
        if name := fields.pop("file", None):
            rows.setdefault(_relative(name), {}).update(fields)
    return Manifest(folder, rows)


def from_json(content: object) -> dict[str, Any]:
    """Return the metadata in the object of a ``NAME.json``, under their canonical names."""
    if not isinstance(content, dict):
        return {}
    sound = json.loads(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))
    return {
        (canonical if canonical in CallMetadata.model_fields else name.strip()): value
        for name, value in sound.items()
        if (canonical := _canonical(name)) not in _NOT_METADATA
    }


def combine(layers: Iterable[Mapping[str, Any]], *, source_name: str) -> tuple[CallMetadata, str | None]:
    """Lay metadata over each other, the last one on top, and return them with what was wrong, if anything."""
    text: dict[str, str] = {}
    extra: dict[str, Any] = {}
    roles: dict[int, Role] = {}
    speakers: int | None = None
    problems: list[str] = []
    for layer in layers:
        for name, value in layer.items():
            if value is None or value == "":
                continue
            if name == "channel_roles":
                roles.update(_roles(value, problems))
            elif name == "speakers":
                speakers = _speakers(value, problems) or speakers
            elif name in _TEXT_FIELDS:
                _take_text(name, value, text, problems)
            elif name == "extra" and isinstance(value, dict):
                extra.update(value)
            else:
                extra[name] = value
    text.setdefault("source_name", display(source_name))
    metadata = CallMetadata(**text, channel_roles=roles or None, speakers=speakers, extra=extra)
    return metadata, "; ".join(problems) or None


def merged(primary: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``primary`` (metadata as a JSON object) with its blanks filled from ``others`` in order."""
    result = dict(primary)
    extra = dict(primary.get("extra") or {})
    for other in others:
        for name, value in other.items():
            if value is not None and result.get(name) is None:
                result[name] = value
        for name, value in (other.get("extra") or {}).items():
            extra.setdefault(name, value)
    return {**result, "extra": extra} if extra else result


def dumped(metadata: CallMetadata) -> str:
    """Return metadata as compact JSON without blanks, the same text for the same content."""
    content = metadata.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=16)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _groups(match: re.Match[str] | None) -> dict[str, str]:
    return {name: value.strip() for name, value in match.groupdict().items() if value} if match else {}


def _canonical(name: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")
    return _ALIASES.get(plain, plain)


def _relative(name: str) -> str:
    return os.path.normpath(name.strip().replace("\\", "/")).removeprefix("/")


def _row_fields(names: list[str], columns: list[str], cells: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    roles: dict[str, str] = {}
    for name, column, cell in zip(names, columns, cells, strict=False):
        value = cell.strip()
        if not value:
            continue
        if channel := re.fullmatch(r"channel_(\d+)", column):
            roles[channel[1]] = value
        elif column == "file":
            fields.setdefault("file", value)
        else:
            fields[column if column in (*_TEXT_FIELDS, "speakers") else name.strip()] = value
    return {**fields, "channel_roles": roles} if roles else fields


def _roles(value: object, problems: list[str]) -> dict[int, Role]:
    """Read ``{"0": "customer", ...}``."""
    roles = (
        {str(k).strip(): str(v).strip().lower() for k, v in value.items()} if isinstance(value, dict) else {}
    )
    if roles and all(re.fullmatch(r"\d{1,3}", k) and v in frozenset(Role) for k, v in roles.items()):
        return {int(channel): Role(role) for channel, role in roles.items()}
    names = ", ".join(Role)
    problems.append(f'channel_roles must be like {{"0": "customer"}} with roles {names}; got {value!r:.80}')
    return {}


def _speakers(value: object, problems: list[str]) -> int | None:
    """Read how many people speak."""
    text = str(value).strip()
    if re.fullmatch(r"\d{1,3}", text) and 1 <= int(text) <= _MOST_SPEAKERS:
        return int(text)
    problems.append(f"speakers must be a number from 1 to {_MOST_SPEAKERS}, got {value!r:.80}")
    return None


def _take_text(name: str, value: object, text: dict[str, str], problems: list[str]) -> None:
    if isinstance(value, str):
        if value.strip():
            text[name] = value.strip()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        text[name] = str(value)
    else:
        problems.append(f"{name} must be text, got {value!r:.80}")
