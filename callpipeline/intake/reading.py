"""What one file says: the hash of a recording, its metadata, the content of a ready-made transcript.

Builds ``FileFacts``; knows nothing of the catalogue or of what was known before.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from callpipeline.intake.formats import MANIFEST, TRANSCRIPT_EXTENSIONS, decode_text
from callpipeline.intake.metadata import (
    METADATA_VERSION,
    Manifest,
    combine,
    dumped,
    from_folder,
    from_json,
    from_name,
    read_manifest,
)
from callpipeline.intake.records import FileFacts, Kind
from callpipeline.intake.transcript_files import holds_turns, transcript_lines
from callpipeline.intake.walk import Listed, Listing
from callpipeline.settings import Settings


class Vanished(Exception):
    """The file went away between listing and reading."""


class Changed(Exception):
    """The file was written to while it was read."""


@dataclass(frozen=True, slots=True)
class Companions:
    """What lies beside an audio file under the same stem."""

    metadata: str = "{}"
    problem: str | None = None
    transcript: bytes | None = None
    transcript_sha256: str | None = None


NO_COMPANIONS = Companions()


class Describer:
    """Works out metadata of files from patterns, the manifests around them and what lies beside them."""

    def __init__(self, settings: Settings, listing: Listing, root: str, outermost: str) -> None:
        self._settings = settings
        self._base = _digest(METADATA_VERSION, settings.name_pattern, settings.folder_pattern)
        self._manifests = {
            folder: read_manifest(Path(folder, MANIFEST)) for folder in _with_manifest(listing)
        }
        for above in _folders_above(root, outermost):
            if (path := Path(above, MANIFEST)).is_file():
                self._manifests[above] = read_manifest(path)
        self._outermost = outermost
        self._chains: dict[str, tuple[Manifest, ...]] = {}

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong with manifests, by path."""
        return {str(Path(m.folder, MANIFEST)): m.problem for m in self._manifests.values() if m.problem}

    def is_listed(self, folder: str, file: Listed) -> bool:
        """Tell whether a manifest names this file, whatever its extension."""
        return any(manifest.fields_for(file.path) for manifest in self._chain(folder))

    def signature(self, folder: str, path: str, companions: Companions = NO_COMPANIONS) -> str:
        """Name everything that the metadata of this file would be made from."""
        rows = self._rows(folder, path)
        if not rows and companions is NO_COMPANIONS:
            return self._base
        return _digest(self._base, repr(rows), repr(companions))

    def metadata(
        self, folder: str, path: str, name: str, own: Mapping[str, Any], *, named: bool = True
    ) -> tuple[str, str | None]:
        """Return the metadata as JSON, and what was wrong with it. ``own`` is what ``NAME.json`` says."""
        layers = [
            from_name(_stem(name), self._settings.name_pattern) if named else {},
            from_folder(path, self._settings.folder_pattern),
            *self._rows(folder, path),
            own,
        ]
        metadata, problem = combine(layers, source_name=name)
        return dumped(metadata), problem

    def _rows(self, folder: str, path: str) -> list[Mapping[str, Any]]:
        chain = self._chain(folder)
        return [row for manifest in chain if (row := manifest.fields_for(path))] if chain else []

    def _chain(self, folder: str) -> tuple[Manifest, ...]:
        """Return the manifests that count in a folder, the farthest first."""
        if folder not in self._chains:
            folders = [folder, *_folders_above(folder, self._outermost)] if self._manifests else []
            self._chains[folder] = tuple(
                self._manifests[f] for f in reversed(folders) if f in self._manifests
            )
        return self._chains[folder]


def audio_facts(
    describer: Describer, folder: str, file: Listed, sha256: str, companions: Companions
) -> FileFacts:
    """Describe a recording whose hash is known."""
    metadata, problem = describer.metadata(folder, file.path, file.name, json.loads(companions.metadata))
    return FileFacts(
        path=os.fsencode(file.path),
        kind=Kind.AUDIO,
        size=file.size,
        mtime_ns=file.mtime_ns,
        sha256=sha256,
        problem=problem,
        signature=describer.signature(folder, file.path, companions),
        metadata=metadata,
        transcript=companions.transcript,
        transcript_sha256=companions.transcript_sha256,
    )


def hash_of(file: Listed) -> str:
    """Return the SHA-256 of a file that must still be as listed.

    Raises:
        Vanished: it is not there any more.
        Changed: it was written to since the listing.
        OSError: it cannot be read.
    """
    try:
        with Path(file.path).open("rb", buffering=0) as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            _check_unchanged(file, os.fstat(stream.fileno()))
    except FileNotFoundError as error:
        raise Vanished from error
    return digest


def transcript_facts(
    describer: Describer, folder: str, file: Listed, *, beside_audio: bool
) -> list[FileFacts]:
    """Read a file that may be metadata or a transcript, and describe it (and the lines in it, for JSONL).

    What is wrong inside is a ``problem``; for a transcript it shows again, as a failure, when it is used.

    Raises:
        Vanished: it is not there any more.
        Changed: it was written to since the listing.
        OSError: it cannot be read.
    """
    try:
        with Path(file.path).open("rb") as stream:
            data = stream.read()
            _check_unchanged(file, os.fstat(stream.fileno()))
    except FileNotFoundError as error:
        raise Vanished from error
    extension = _extension(file.name)
    if extension == ".jsonl" and not beside_audio:
        return _line_facts(describer, folder, file, data)
    fields, problem, is_transcript = _content(extension, data)
    path = os.fsencode(file.path)
    facts = FileFacts(
        path=path,
        kind=Kind.COMPANION,
        size=file.size,
        mtime_ns=file.mtime_ns,
        sha256=hashlib.sha256(data).hexdigest(),
        problem=problem,
        metadata=json.dumps(fields),
        transcript=path if is_transcript else None,
    )
    facts = replace(facts, transcript_sha256=facts.sha256 if is_transcript else None)
    if beside_audio:
        return [facts]
    if not is_transcript:
        return [replace(facts, kind=Kind.OTHER, metadata="{}", problem=None)]
    metadata, problem = describer.metadata(folder, file.path, file.name, fields)
    signature = describer.signature(folder, file.path)
    return [replace(facts, kind=Kind.TRANSCRIPT, metadata=metadata, problem=problem, signature=signature)]


def companions_of(beside: Sequence[FileFacts]) -> Companions:
    """Combine the files beside an audio file, given in order of ``TRANSCRIPT_EXTENSIONS``."""
    if not beside:
        return NO_COMPANIONS
    said = next((facts for facts in beside if facts.path.lower().endswith(b".json")), None)
    transcript = next((facts for facts in beside if facts.transcript is not None), None)
    return Companions(
        metadata=said.metadata if said else "{}",
        problem=said.problem if said else None,
        transcript=transcript.path if transcript else None,
        transcript_sha256=transcript.sha256 if transcript else None,
    )


def extension_rank(name: str) -> int:
    """Return the place of a file among several beside one recording."""
    return TRANSCRIPT_EXTENSIONS.index(_extension(name))


def _content(extension: str, data: bytes) -> tuple[dict[str, Any], str | None, bool]:
    """Return (metadata, problem, whether it is a transcript)."""
    if extension != ".json":
        return {}, None, True
    try:
        content = json.loads(decode_text(data))
    except json.JSONDecodeError as error:
        return {}, f"is not JSON: {error.msg} in line {error.lineno}", False
    except (ValueError, RecursionError) as error:
        return {}, f"is not JSON that can be read: {error}", False
    if not isinstance(content, dict):
        return {}, "must hold a JSON object", False
    return from_json(content), None, holds_turns(content)


def _line_facts(describer: Describer, folder: str, file: Listed, data: bytes) -> list[FileFacts]:
    lines, problem = transcript_lines(data)
    path = os.fsencode(file.path)
    signature = describer.signature(folder, file.path)
    whole = FileFacts(
        path=path,
        kind=Kind.LINES,
        size=file.size,
        mtime_ns=file.mtime_ns,
        sha256=hashlib.sha256(data).hexdigest(),
        problem=problem,
        signature=signature,
    )
    result = [whole]
    for line in lines:
        name = f"{file.name}#{line.id}"
        metadata, wrong = describer.metadata(folder, file.path, name, from_json(line.content), named=False)
        line_path = path + b"#" + line.id.encode()
        result.append(
            replace(
                whole,
                path=line_path,
                kind=Kind.TRANSCRIPT,
                sha256=line.sha256,
                problem=wrong,
                metadata=metadata,
                transcript=line_path,
                transcript_sha256=line.sha256,
                part_of=path,
            )
        )
    return result


def _check_unchanged(file: Listed, state: os.stat_result) -> None:
    if (state.st_size, state.st_mtime_ns) != (file.size, file.mtime_ns):
        raise Changed


def _with_manifest(listing: Listing) -> list[str]:
    return [folder for folder, files in listing.folders.items() if MANIFEST in files]


def _folders_above(folder: str, outermost: str) -> list[str]:
    """Return the folders above ``folder`` up to ``outermost``, the nearest first."""
    result: list[str] = []
    while folder != outermost and len(folder) > len(outermost):
        folder = os.path.dirname(folder)  # noqa: PTH120 - strings, not a Path a file
        result.append(folder)
    return result


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]  # noqa: PTH122 - strings, not a Path a file


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - strings, not a Path a file
