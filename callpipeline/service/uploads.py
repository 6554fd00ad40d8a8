"""What a client sends becomes a recording: checked, kept once, known to the catalogue.

``data/service/<start of the hash>/<name>``, beside the folder that is watched and not below it: otherwise the watcher
would start runs of its own. What belongs here: bytes to a key, and removing them again. What does not: what is done
with a recording.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from callpipeline.audio.decode import open_recording
from callpipeline.failures import EmptyFile
from callpipeline.intake.catalog import Catalog, location
from callpipeline.intake.reading import NO_COMPANIONS, Describer, audio_facts
from callpipeline.intake.walk import Listed, Listing
from callpipeline.settings import Settings
from callpipeline.store import files
from callpipeline.store.raw import raw_path
from callpipeline.store.results import ASSETS, ResultStore

FOLDER = "service"
"""Below the data folder."""
_LONGEST_NAME = 150
_BLOCK = 1 << 20
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\:]+")


@dataclass(frozen=True)
class TakenIn:
    """A recording that is known now: its key, the hash of its bytes, what the client called it."""

    key: str
    sha256: str
    name: str


def take_in(sent: BinaryIO, name: str, catalog: Catalog, settings: Settings) -> TakenIn:
    """Keep what was sent, unless its bytes are known, and return the recording. Blocks while it copies.

    Raises:
        EmptyFile: nothing was sent.
        NotAudio, CorruptAudio, TooLong: it cannot be opened as a recording, or is larger than allowed.
        OSError: it cannot be written.
    """
    name = safe_name(name)
    sha256 = _hash(sent)
    root = settings.data_dir.absolute() / FOLDER
    known = next((path for path in _kept(root, sha256) if path.is_file()), None)
    if known is None:
        known = root / sha256[:32] / name
        try:
            _keep(sent, known, settings)
        finally:
            with suppress(OSError):  # of what was refused not even an empty folder stays
                known.parent.rmdir()
    status = known.stat()
    describer = Describer(settings, Listing(), str(root), str(root))
    listed = Listed(str(known), known.name, status.st_size, status.st_mtime_ns)
    facts = audio_facts(describer, str(known.parent), listed, sha256, NO_COMPANIONS)
    applied = catalog.apply(root, [facts], (), now=time.time())
    (key,) = applied.present
    return TakenIn(key, sha256, name)


def _keep(sent: BinaryIO, path: Path, settings: Settings) -> None:
    with files.replacing(path) as temporary:
        with temporary.open("wb") as copy:
            shutil.copyfileobj(sent, copy, _BLOCK)
        if not temporary.stat().st_size:
            raise EmptyFile(f"{path.name} is empty.", hint="Send the recording again.")
        with open_recording(temporary, max_bytes=settings.service_max_bytes, name=path.name):
            pass  # what is no recording is refused now, not when its turn comes


def safe_name(name: str) -> str:
    """Return the last part of a name as a file may be called here, whatever a client called it."""
    last = _UNSAFE.sub("/", name).rpartition("/")[2].strip().lstrip(".~")
    last = last.encode("utf-8", "replace").decode()
    stem, extension = os.path.splitext(last)  # noqa: PTH122 - a name, not a path
    while stem and len((stem + extension).encode()) > _LONGEST_NAME:
        stem = stem[:-1]
    return (stem + extension)[:_LONGEST_NAME] if stem else "recording"


def forget(key: str, catalog: Catalog, settings: Settings) -> None:
    """Remove an upload, and the results of its recording unless it came from elsewhere too."""
    root = settings.data_dir.absolute() / FOLDER
    sources = catalog.sources(key)
    ours = [source.path for source in sources if source.path.is_relative_to(root)]
    for path in ours:
        path.unlink(missing_ok=True)
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
    catalog.apply(root, (), [location(path) for path in ours], now=time.time())
    if any(source.present and source.path not in ours for source in sources):
        return
    store = ResultStore(settings.store)
    for asset in ASSETS:
        store.remove(asset, key)
    original = raw_path(settings.store, key)
    if original is not None:
        original.unlink(missing_ok=True)


def _hash(sent: BinaryIO) -> str:
    digest = hashlib.sha256()
    sent.seek(0)
    while block := sent.read(_BLOCK):
        digest.update(block)
    sent.seek(0)
    return digest.hexdigest()


def _kept(root: Path, sha256: str) -> list[Path]:
    folder = root / sha256[:32]
    return sorted(folder.glob("[!.]*")) if folder.is_dir() else []
