"""Taking in one hearing: its file goes into a folder below the uploads, with a ``NAME.json`` that says what it is.

What belongs here: finding out whether the same bytes are there already, under which name they go in otherwise, what
is known of them, and putting both files in place. What does not: what must be known (``pipeline.fitness``).
"""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callpipeline.failures import ResourceExhausted, SourceUnavailable, UsageError
from callpipeline.intake.formats import AUDIO_EXTENSIONS, MANIFEST, decode_text, display
from callpipeline.intake.metadata import combine, from_json, read_manifest
from callpipeline.intake.transcript_files import holds_turns
from callpipeline.model import CallMetadata
from callpipeline.store import files

FOLDER = "hearings"
"""Below the uploads."""

PROFILE = "hearing"

_LONGEST_STEM = 150
"""Characters of a name: file systems allow 255 bytes for all of it."""


@dataclass(frozen=True)
class Place:
    """Where a hearing goes, or is. Nothing is written before ``take``.

    ``known``: the same bytes are there. ``fields`` is what its sidecar will hold, ``metadata`` what that and the
    manifest beside the original mean.
    """

    file: Path
    path: Path
    known: bool
    fields: Mapping[str, Any]
    metadata: CallMetadata

    @property
    def sidecar(self) -> Path:
        """The file with its metadata."""
        return self.path.with_suffix(".json")

    @property
    def linked(self) -> bool:
        """Whether the file will take no more room: it is there, or a second name of it can be made."""
        above = next(folder for folder in self.path.parents if folder.exists())
        return self.known or above.stat().st_dev == self.file.stat().st_dev

    def take(self, *, settled_for: float) -> None:
        """Put the recording and its sidecar there: as a second name of the file where that is possible, else a copy.

        Args:
            settled_for: Seconds for which a scan wants a file to be unchanged; the sidecar is dated back by them,
                because it is whole.

        Raises:
            ResourceExhausted: there is no room for a copy.
            SourceUnavailable: the file cannot be read, or the folder cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self.fields, ensure_ascii=False, indent=2) + "\n"
            if _object_in(self.sidecar) != self.fields:
                files.write_text(self.sidecar, text)
                before = time.time() - settled_for - 1
                os.utime(self.sidecar, (before, before))
            if not self.known:
                _link_or_copy(self.file, self.path)
        except OSError as error:
            raise SourceUnavailable(
                f"{display(self.file)} could not be put into {display(self.path.parent)}: {error.strerror or error}.",
                hint="Make both readable, or set CALLPIPELINE_UPLOADS_DIR to a folder that can be written.",
            ) from error


def place(file: Path, folder: Path, given: Mapping[str, str | None]) -> Place:
    """Find out where a hearing goes in ``folder`` and what is known of it.

    What is ``given`` (by field of ``CallMetadata``) counts before what the sidecar in the folder says, and that
    before what stands beside the file itself: its own ``NAME.json``, and ``manifest.csv`` last.

    Raises:
        UsageError: the file is none that a scan would take for a recording.
        SourceUnavailable: it cannot be read.
    """
    if not file.is_file():
        raise UsageError(f"{display(file)} is not a file.", hint="Give the recording of the hearing.")
    if file.suffix.lower() not in AUDIO_EXTENSIONS:
        raise UsageError(
            f"{display(file)} does not have the name of a recording.",
            hint=f"Rename it to what it is: {', '.join(AUDIO_EXTENSIONS[:7])} ...",
        )
    file, folder = file.resolve(), folder.absolute()
    try:
        there = next((other for other in _recordings(folder) if _same(file, other)), None)
        path = there or folder / f"{_free_stem(file.stem, folder)}{file.suffix.lower()}"
        beside = _beside(file)
        kept = _object_in(path.with_suffix(".json"))
    except OSError as error:
        raise SourceUnavailable(
            f"{display(error.filename or file)} cannot be read: {error.strerror}.", hint="Make it readable."
        ) from error
    said = {name: value.strip() for name, value in given.items() if value and value.strip()}
    said["profile"] = PROFILE
    fields = {**beside, **_without(said, kept), **said}
    return Place(
        file=file,
        path=path,
        known=there is not None,
        fields=fields,
        metadata=combine([from_json(fields)], source_name=path.name)[0],
    )


def _beside(file: Path) -> dict[str, Any]:
    """Return what ``manifest.csv`` and ``NAME.json`` beside the file say; turns of a transcript are left there."""
    manifest = file.parent / MANIFEST
    rows = read_manifest(manifest).fields_for(str(file)) if manifest.is_file() else {}
    return {**rows, **from_json(_object_in(file.with_suffix(".json")))}


def _without(said: Mapping[str, str], kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept but for fields that are said anew, however they are spelled."""
    return {name: value for name, value in kept.items() if not from_json({name: value}).keys() & said.keys()}


def _object_in(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file, empty when there is none."""
    try:
        content = json.loads(decode_text(path.read_bytes()))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _recordings(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (p for p in sorted(folder.iterdir()) if p.suffix.lower() in AUDIO_EXTENSIONS)


def _same(file: Path, other: Path) -> bool:
    """Tell whether two files hold the same bytes."""
    try:
        return other.stat().st_size == file.stat().st_size and (
            other.samefile(file) or filecmp.cmp(file, other, shallow=False)
        )
    except FileNotFoundError:
        return False


def _free_stem(stem: str, folder: Path) -> str:
    """Return a name that no recording or transcript there has: files with the same one belong together.

    A sidecar that waits for its recording has the name of that recording.
    """
    stem = re.sub(r"[\x00-\x1f/\\]", " ", stem).lstrip(". ").strip()[:_LONGEST_STEM] or "hearing"
    taken = set()
    if folder.is_dir():
        taken = {
            path.stem.lower()
            for path in folder.iterdir()
            if path.suffix.lower() != ".json" or holds_turns(_object_in(path))
        }
    number, name = 2, stem
    while name.lower() in taken:
        name, number = f"{stem} ({number})", number + 1
    return name


def _link_or_copy(file: Path, path: Path) -> None:
    try:
        path.hardlink_to(file)
    except FileExistsError:
        raise
    except OSError:  # another disk, or a file system without links
        state = file.stat()
        free = shutil.disk_usage(path.parent).free
        if state.st_size > free:
            raise ResourceExhausted(
                f"{display(file)} has {state.st_size / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free at {path.parent}.",
                hint="Make room, or put the file on the disk of CALLPIPELINE_UPLOADS_DIR.",
            ) from None
        with files.replacing(path) as temporary:
            shutil.copyfile(file, temporary)
            os.utime(temporary, ns=(state.st_atime_ns, state.st_mtime_ns))
