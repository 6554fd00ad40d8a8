"""The kept originals: the exact bytes of every recording, so that results stay reproducible.

``store/raw_audio/<key><lower-case extension>``, beside the results of the asset of that name. What happens to
the source later changes nothing here.
"""

from __future__ import annotations

import hashlib
import os
from io import FileIO
from pathlib import Path

from callpipeline.failures import SourceUnavailable
from callpipeline.intake.formats import AUDIO_EXTENSIONS
from callpipeline.store import files

FOLDER = "raw_audio"

_BLOCK = 1 << 20


def keep(root: Path, source: Path, key: str, sha256: str) -> Path:
    """Copy the bytes of ``source`` into the store below ``root``, unless they are there, and return the copy.

    The hash is taken of the bytes as they are copied, so the copy is what ``sha256`` names or does not exist.

    Raises:
        SourceUnavailable: the source has gone, cannot be read, or holds other bytes by now.
        OSError: the store cannot be written.
    """
    kept = raw_path(root, key)
    if kept is not None:
        return kept
    target = root / FOLDER / f"{key}{_extension(source)}"
    try:
        original = source.open("rb", buffering=0)
    except OSError as error:
        raise SourceUnavailable(
            f"{source} cannot be read ({error.strerror}).",
            hint="Put the file back, or scan the folder again.",
        ) from error
    with original, files.writing(target) as copy:
        digest = hashlib.sha256()
        while block := _read(original, source):
            digest.update(block)
            copy.write(block)
        if digest.hexdigest() != sha256:
            raise SourceUnavailable(
                f"{source} was changed after it had been taken in.",
                hint="Scan the folder again to take the new bytes.",
            )
    return target


def raw_path(root: Path, key: str) -> Path | None:
    """Return the kept original of a recording, or ``None``. As a rule it costs look-ups and no listing."""
    folder = root / FOLDER
    for extension in AUDIO_EXTENSIONS:
        path = folder / f"{key}{extension}"
        if path.exists():
            return path
    return _by_listing(folder, key)


def _by_listing(folder: Path, key: str) -> Path | None:
    """Find an original with an unusual extension (a file that only a manifest calls a recording)."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.name == key or e.name.startswith(f"{key}."))
    except FileNotFoundError:
        return None
    return next((folder / name for name in names if not name.endswith((".json", ".corrupt"))), None)


def _extension(source: Path) -> str:
    """Return the source's extension; never one that would pass for a result of the asset ``raw_audio``."""
    extension = source.suffix.lower()
    return ".original" if extension in (".json", ".corrupt") else extension


def _read(original: FileIO, source: Path) -> bytes:
    try:
        return original.read(_BLOCK) or b""
    except OSError as error:
        raise SourceUnavailable(f"{source} could not be read to its end ({error.strerror}).") from error
