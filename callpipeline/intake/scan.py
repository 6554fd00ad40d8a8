"""Scanning a folder: what is new, changed or gone since last time, at the cost of a listing.

A file whose path, size and modification time are known is not read. Others are hashed once they are stable,
that is, nobody seems to write to them any more. Nothing in a folder makes a scan fail: it becomes a problem
that is reported and kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from callpipeline.cancellation import checkpoint
from callpipeline.intake.catalog import Catalog, location
from callpipeline.intake.formats import AUDIO_EXTENSIONS, MANIFEST, TRANSCRIPT_EXTENSIONS
from callpipeline.intake.reading import (
    Changed,
    Companions,
    Describer,
    Vanished,
    audio_facts,
    companions_of,
    extension_rank,
    hash_of,
    transcript_facts,
)
from callpipeline.intake.records import FileFacts, Kind, SourceProblem, Waiting
from callpipeline.intake.walk import Listed, Listing, list_files
from callpipeline.settings import Settings

Progress = Callable[[int, int], None]
"""Called with (files read, files to read)."""

T = TypeVar("T")

_FLUSH_FILES = 500
_FLUSH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What a scan found. Recordings are named by key.

    Attributes:
        new: seen for the first time.
        changed: known ones that must be looked at again: metadata or transcript changed, or came back.
        removed: known ones whose last source has gone.
        waiting: files that are still being written.
        problems: everything that could not be used, old or new.
        files: audio files seen, stable or not.
        complete: false when the budget ended before all new files were read; the next scan goes on there.
        bytes_hashed: bytes read to hash recordings.
        seconds: how long it took.
    """

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    waiting: tuple[Path, ...] = ()
    problems: tuple[SourceProblem, ...] = ()
    files: int = 0
    complete: bool = True
    bytes_hashed: int = 0
    seconds: float = 0.0


def scan(
    catalog: Catalog,
    folder: Path,
    settings: Settings,
    *,
    budget_seconds: float | None = None,
    on_progress: Progress | None = None,
    wait: bool = False,
) -> ScanReport:
    """Bring the catalogue up to date with ``folder``.

    Args:
        catalog: where findings go.
        folder: the root of the tree.
        settings: patterns of names, and how long a file must be unchanged.
        budget_seconds: stop reading files after this long; at least one file is read.
        on_progress: told how many of the files to be read have been read.
        wait: when files are still being written, wait for them once, up to ``settings.stable_seconds``.
    """
    began = time.monotonic()
    end = None if budget_seconds is None else began + budget_seconds
    first = _Scan(catalog, folder, settings, end, on_progress)
    report = first.run()
    if wait and report.waiting and report.complete:
        time.sleep(first.seconds_to_wait())
        second = _Scan(catalog, folder, settings, end, on_progress).run()
        report = _joined(report, second)
    return replace(report, seconds=time.monotonic() - began)


def _joined(first: ScanReport, second: ScanReport) -> ScanReport:
    new = {*first.new, *second.new}
    return replace(
        second,
        new=tuple(sorted(new)),
        changed=tuple(sorted({*first.changed, *second.changed} - new)),
        removed=tuple(sorted({*first.removed, *second.removed} - new)),
        bytes_hashed=first.bytes_hashed + second.bytes_hashed,
    )


@dataclass(slots=True)
class _File:
    """A file of interest: where it is, and what was known about it."""

    folder: str
    listed: Listed
    known: FileFacts | None
    beside_audio: bool = False

    @property
    def path(self) -> bytes:
        return os.fsencode(self.listed.path)

    @property
    def stem(self) -> str:
        """The path without extension: files with the same one belong together."""
        return os.path.splitext(self.listed.path)[0]  # noqa: PTH122 - strings, not a Path a file

    @property
    def is_as_known(self) -> bool:
        known = self.known
        return (
            known is not None
            and known.sha256 is not None
            and (known.size, known.mtime_ns) == (self.listed.size, self.listed.mtime_ns)
        )


class _Scan:
    """One pass over a folder."""

    def __init__(
        self,
        catalog: Catalog,
        root: Path,
        settings: Settings,
        end: float | None,
        on_progress: Progress | None,
    ) -> None:
        self._catalog = catalog
        self._root = root
        self._settings = settings
        self._end = end
        self._on_progress = on_progress
        self._now = time.time()
        self._known = catalog.known_files(root)
        self._were_waiting = catalog.waiting(root)
        self._parts: dict[bytes, list[bytes]] = {}
        for path, known in self._known.items():
            if known.facts.part_of is not None:
                self._parts.setdefault(known.facts.part_of, []).append(path)
        self._waiting: dict[bytes, Waiting] = {}
        self._seen: set[bytes] = set()
        self._found: list[FileFacts] = []
        self._flushed_at = time.monotonic()
        self._new: set[str] = set()
        self._changed: set[str] = set()
        self._removed: set[str] = set()
        self._files = 0
        self._read = 0
        self._to_read = 0
        self._bytes_hashed = 0
        self._complete = True

    def run(self) -> ScanReport:
        root = os.fsdecode(location(self._root))
        store = os.fsdecode(location(self._catalog.path.parent))
        listing = list_files(root, leave_out=(store,))
        problems = dict(listing.problems)
        if listing.reached:
            outermost = str(self._catalog.outermost_root(self._root))
            describer = Describer(self._settings, listing, root, outermost)
            problems.update(describer.problems)
            self._take_all(listing, describer)
        for path, problem in problems.items():
            self._put(FileFacts(os.fsencode(path), Kind.PLACE, 0, 0, None, problem))
        self._flush(self._gone(listing))
        if listing.reached:
            self._end_scan()
        return self._report()

    def seconds_to_wait(self) -> float:
        """Return how long until all files that wait can be stable, at most about ``stable_seconds``."""
        limit = self._settings.stable_seconds
        now = time.time()
        left = [min(w.since, w.mtime_ns / 1e9) + limit - now for w in self._waiting.values()]
        return min(max(left, default=0.0), limit) + 0.01

    # --- which file is what ---------------------------------------------------------------------------

    def _take_all(self, listing: Listing, describer: Describer) -> None:
        texts: list[_File] = []
        recordings: list[_File] = []
        for folder, files in listing.folders.items():
            audio, other = _sorted_out(folder, files, describer)
            here = [self._file(folder, listed) for listed in audio]
            recordings += here
            stems = {file.stem for file in here} if other else set()
            for listed in other:
                text = self._file(folder, listed)
                text.beside_audio = text.stem in stems
                texts.append(text)
        texts.sort(key=lambda file: extension_rank(file.listed.name))
        self._files = len(recordings)
        self._to_read = sum(not file.is_as_known for file in (*texts, *recordings))
        beside: dict[str, list[FileFacts]] = {}
        for file in texts:
            facts = self._take_text(file, describer)
            if facts is not None and file.beside_audio:
                beside.setdefault(file.stem, []).append(facts)
        for file in recordings:
            self._take_recording(file, describer, companions_of(beside.get(file.stem, ())))

    def _file(self, folder: str, listed: Listed) -> _File:
        known = self._known.get(os.fsencode(listed.path))
        if known is not None and known.facts.kind is Kind.LINES and not known.present:
            known = None  # came back: which of its lines still count is in the file
        return _File(folder, listed, known.facts if known else None)

    def _take_text(self, file: _File, describer: Describer) -> FileFacts | None:
        """Take a file that is metadata or a transcript; return what is known about it now."""
        if file.known is not None and file.is_as_known and _means_the_same(file, file.known, describer):
            self._keep(file.known)
            return file.known
        found = self._reading(
            file,
            lambda: transcript_facts(describer, file.folder, file.listed, beside_audio=file.beside_audio),
        )
        for facts in found or ():
            self._put(facts)
        return found[0] if found else file.known

    def _take_recording(self, file: _File, describer: Describer, companions: Companions) -> None:
        sha256: str | None
        if file.known is not None and file.is_as_known:
            signature = describer.signature(file.folder, file.listed.path, companions)
            if file.known.kind is Kind.AUDIO and file.known.signature == signature:
                self._keep(file.known)
                return
            sha256 = file.known.sha256
        else:
            sha256 = self._reading(file, lambda: hash_of(file.listed))
            self._bytes_hashed += file.listed.size if sha256 is not None else 0
        if sha256 is not None:
            self._put(audio_facts(describer, file.folder, file.listed, sha256, companions))

    # --- reading --------------------------------------------------------------------------------------

    def _reading(self, file: _File, read: Callable[[], T]) -> T | None:
        """Read a file if it is its turn and it can be read; otherwise note why not and return ``None``."""
        checkpoint()
        if self._end is not None and self._read and time.monotonic() > self._end:
            self._complete = False
            self._see(file.path)
            return None
        if not self._is_stable(file):
            self._let_wait(file)
            return None
        try:
            result = read()
        except Vanished:
            return None
        except Changed:
            self._let_wait(file)
            return None
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
            self._put(FileFacts(file.path, Kind.OTHER, file.listed.size, file.listed.mtime_ns, None, problem))
            return None
        finally:
            self._read += 1
            if self._on_progress is not None:
                self._on_progress(self._read, max(self._read, self._to_read))
        return result

    def _is_stable(self, file: _File) -> bool:
        """Tell whether nobody seems to write to a file any more.

        Its time is long enough ago; or, where clocks disagree, it has looked the same for long enough.
        """
        limit = self._settings.stable_seconds
        before = self._were_waiting.get(file.path)
        same = before is not None and (before.size, before.mtime_ns) == (
            file.listed.size,
            file.listed.mtime_ns,
        )
        return (
            limit == 0
            or self._now - file.listed.mtime_ns / 1e9 >= limit
            or (same and before is not None and self._now - before.since >= limit)
        )

    def _let_wait(self, file: _File) -> None:
        before = self._were_waiting.get(file.path)
        current = Waiting(file.listed.size, file.listed.mtime_ns, self._now)
        if before is not None and replace(before, since=self._now) == current and before.since <= self._now:
            current = before
        self._waiting[file.path] = current
        self._see(file.path)

    # --- writing down ---------------------------------------------------------------------------------

    def _see(self, path: bytes) -> None:
        """Note that a file is there, and with it the lines that were found in it."""
        self._seen.add(path)
        self._seen.update(self._parts.get(path, ()))

    def _keep(self, facts: FileFacts) -> None:
        """Note that a file is there and as known; it is only written down if it had been away."""
        self._see(facts.path)
        if not self._known[facts.path].present:
            self._found.append(facts)

    def _put(self, facts: FileFacts) -> None:
        self._seen.add(facts.path)
        known = self._known.get(facts.path)
        if known is None or not known.present or known.facts != facts:
            self._found.append(facts)
        if len(self._found) >= _FLUSH_FILES or time.monotonic() - self._flushed_at > _FLUSH_SECONDS:
            self._flush()

    def _flush(self, gone: Sequence[bytes] = ()) -> None:
        if self._found or gone:
            applied = self._catalog.apply(self._root, self._found, gone, now=self._now)
            self._new |= applied.new
            self._changed |= applied.changed
            self._removed = (self._removed - applied.present) | applied.removed
            self._found = []
        self._flushed_at = time.monotonic()

    def _gone(self, listing: Listing) -> list[bytes]:
        """Return known files that are not there any more; what could not be listed does not count."""
        candidates = [path for path, known in self._known.items() if known.present and path not in self._seen]
        if not candidates or not listing.reached:
            return []
        listed = {os.fsencode(file.path) for files in listing.folders.values() for file in files.values()}
        unread = tuple(os.fsencode(folder) + b"/" for folder in listing.unread)
        return [
            path
            for path in candidates
            if not (path + b"/").startswith(unread)
            and (self._known[path].facts.kind is Kind.PLACE or path in listed or not os.path.lexists(path))
        ]

    def _end_scan(self) -> None:
        changed = [
            (path, w.size, w.mtime_ns, w.since)
            for path, w in self._waiting.items()
            if self._were_waiting.get(path) != w
        ]
        settled = [path for path in self._were_waiting if path not in self._waiting] if self._complete else []
        self._catalog.end_scan(self._root, settled=settled, waiting=changed, now=self._now)

    def _report(self) -> ScanReport:
        return ScanReport(
            new=tuple(sorted(self._new)),
            changed=tuple(sorted(self._changed - self._new)),
            removed=tuple(sorted(self._removed)),
            waiting=tuple(Path(os.fsdecode(path)) for path in sorted(self._waiting)),
            problems=tuple(self._catalog.problems(self._root)),
            files=self._files,
            complete=self._complete,
            bytes_hashed=self._bytes_hashed,
        )


def _sorted_out(
    folder: str, files: Mapping[str, Listed], describer: Describer
) -> tuple[list[Listed], list[Listed]]:
    """Return (recordings, files that may be transcripts or metadata) of one folder."""
    audio: list[Listed] = []
    other: list[Listed] = []
    for file in files.values():
        extension = os.path.splitext(file.name)[1].lower()  # noqa: PTH122 - strings, not a Path a file
        if extension in AUDIO_EXTENSIONS:
            audio.append(file)
        elif extension in TRANSCRIPT_EXTENSIONS:
            other.append(file)
        elif file.name != MANIFEST and describer.is_listed(folder, file):
            audio.append(file)
    return audio, other


def _means_the_same(file: _File, known: FileFacts, describer: Describer) -> bool:
    """Tell whether a text that was not written to is still what it was, by neighbours and patterns."""
    if file.beside_audio or known.kind is Kind.COMPANION:
        return file.beside_audio and known.kind is Kind.COMPANION
    if known.kind is Kind.OTHER:
        return True
    return known.signature == describer.signature(file.folder, file.listed.path)
