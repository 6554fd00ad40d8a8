"""The catalogue: which recordings there are, where their bytes lie, what is known about them, what is to do.

``store/catalog.sqlite``, used by several processes at once in short transactions. Results are not here: if it
is lost, a scan makes it anew and the result store says what need not be done again.
"""
# ruff: noqa: S608 - queries are put together from the constants below only; every value is bound

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from callpipeline.intake import arrivals
from callpipeline.intake.records import (
    Applied,
    CatalogRow,
    Counts,
    FileFacts,
    Kind,
    KnownFile,
    Recording,
    Source,
    SourceProblem,
    State,
    Waiting,
)
from callpipeline.intake.tables import open_tables
from callpipeline.model import CallMetadata

_RECORDING = "key, sha256, seq, kind, state, plan, updated_at, error_class, message, permanent"
_FACTS = (
    "path, kind, size, mtime_ns, sha256, problem, signature, metadata, transcript, transcript_sha256, part_of"
)
_SAID = "key, present, path, metadata, transcript, transcript_sha256 FROM sources"
_IN_RANK = "ORDER BY present DESC, first_seen, path"
_HAS_SOURCE = (
    "EXISTS (SELECT 1 FROM sources s WHERE s.key = recordings.key AND s.present = 1"
    " AND s.path >= :first AND s.path < :end)"
)

_Said = tuple[str, int, bytes, str, bytes | None, str | None]


class Catalog:
    """The catalogue in one SQLite file. Threads, forks and other processes may use it at the same time.

    ``folder`` arguments limit an answer to recordings with a present source below it; ``None`` = all.
    ``plan`` is the caller's fingerprint of everything that decides results (versions, engines, parameters).
    """

    def __init__(self, path: Path, *, key_length: int = arrivals.KEY_LENGTH) -> None:
        self.path = path
        self._database = open_tables(path)
        self._key_length = key_length

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; it opens again when needed."""
        self._database.close()

    # --- what is to do --------------------------------------------------------------------------------

    def pending(self, plan: str, folder: Path | None = None, *, retry_failed: bool = False) -> list[str]:
        """Return keys to work on, in order of arrival.

        Not among them: done with this plan; failed for good with this plan, unless ``retry_failed``.
        """
        query = (
            f"SELECT key FROM recordings WHERE {_HAS_SOURCE} AND NOT (state = 'done' AND plan IS :plan)"
            " AND (:retry OR NOT (state = 'failed' AND permanent AND plan IS :plan)) ORDER BY seq"
        )
        with self._database.reading() as connection:
            rows = connection.execute(
                query, {**_below(folder), "plan": plan, "retry": retry_failed}
            ).fetchall()
        return [key for (key,) in rows]

    def since(self, seq: int, limit: int, *, folder: Path | None = None) -> list[Recording]:
        """Return up to ``limit`` recordings with a present source that arrived or changed after ``seq``."""
        query = (
            f"SELECT {_RECORDING} FROM recordings"
            f" WHERE seq > :seq AND {_HAS_SOURCE} ORDER BY seq LIMIT :limit"
        )
        with self._database.reading() as connection:
            rows = connection.execute(query, {**_below(folder), "seq": seq, "limit": limit}).fetchall()
        return [_recording(row) for row in rows]

    def mark_done(self, key: str, plan: str, *, seq: int | None = None) -> bool:
        """Note that a recording is done with ``plan``.

        Args:
            key: the recording.
            plan: what it was done with.
            seq: its ``seq`` when the work began: if it changed since, nothing is noted and it stays to do.

        Returns:
            Whether it was noted.
        """
        return self._mark(key, seq, State.DONE, plan, None, None, permanent=False)

    def mark_failed(
        self, key: str, plan: str, error_class: str, message: str, permanent: bool, *, seq: int | None = None
    ) -> bool:
        """Note that a recording failed with ``plan``; see ``mark_done`` for ``seq`` and what is returned."""
        return self._mark(key, seq, State.FAILED, plan, error_class, message, permanent=permanent)

    def touch(self, key: str) -> None:
        """Note that some results of a recording changed: what shows them is out of date, the next run looks again."""
        now = datetime.now(UTC).timestamp()
        with self._database.changing() as connection:
            connection.execute("UPDATE recordings SET plan = NULL, updated_at = ? WHERE key = ?", (now, key))

    def identity(self) -> str:
        """Return a name of this catalogue that a new one, made after it was lost, does not have."""
        with self._database.reading() as connection:
            (first,) = connection.execute("SELECT MIN(first_seen) FROM sources").fetchone()
        return "empty" if first is None else f"{first:.6f}"

    # --- what is known --------------------------------------------------------------------------------

    def get(self, key: str) -> CatalogRow | None:
        """Return one recording with what its sources say, or ``None``."""
        with self._database.reading() as connection:
            row = connection.execute(f"SELECT {_RECORDING} FROM recordings WHERE key = ?", (key,)).fetchone()
            sources = connection.execute(f"SELECT {_SAID} WHERE key = ? {_IN_RANK}", (key,)).fetchall()
        return None if row is None else _catalog_row(_recording(row), sources)

    def rows(self, folder: Path | None = None, *, absent: bool = False) -> list[CatalogRow]:
        """Return all recordings in order of arrival; with ``absent`` also those without a present source."""
        query = f"SELECT {_RECORDING} FROM recordings WHERE :absent OR {_HAS_SOURCE} ORDER BY seq"
        with self._database.reading() as connection:
            recordings = connection.execute(query, {**_below(folder), "absent": absent}).fetchall()
            sources = connection.execute(f"SELECT {_SAID} WHERE key IS NOT NULL {_IN_RANK}").fetchall()
        by_key: dict[str, list[_Said]] = {}
        for source in sources:
            by_key.setdefault(source[0], []).append(source)
        return [_catalog_row(_recording(row), by_key.get(row[0], [])) for row in recordings]

    def revision(self) -> str:
        """Return a mark that differs after any change that a report would show."""
        with self._database.reading() as connection:
            marks = connection.execute(
                "SELECT (SELECT COUNT(*) FROM recordings), (SELECT MAX(seq) FROM recordings),"
                " (SELECT MAX(updated_at) FROM recordings),"
                " (SELECT COUNT(*) FROM sources WHERE present = 1), (SELECT MAX(first_seen) FROM sources)"
            ).fetchone()
        return ":".join("-" if mark is None else str(mark) for mark in marks)

    def sources(self, key: str) -> list[Source]:
        """Return every place where the bytes lie or lay: present ones first, the primary one at the top."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT path, size, sha256, present, first_seen, last_seen, metadata, transcript FROM sources"
                " WHERE key = ? ORDER BY present DESC, first_seen, path",
                (key,),
            ).fetchall()
        return [
            Source(
                path=_path(path),
                size=size,
                sha256=sha256,
                present=bool(present),
                first_seen=_time(first_seen),
                last_seen=_time(last_seen),
                metadata=CallMetadata.model_validate_json(metadata),
                transcript=_path_or_none(transcript),
            )
            for path, size, sha256, present, first_seen, last_seen, metadata, transcript in rows
        ]

    def metadata(self, key: str) -> CallMetadata:
        """Return what the primary source says about a recording, its blanks filled by the others."""
        row = self.get(key)
        return CallMetadata() if row is None else row.metadata

    def transcript_file(self, key: str) -> Path | None:
        """Return the ready-made transcript of a recording (for ``read_transcript``), or ``None``."""
        row = self.get(key)
        return None if row is None else row.transcript

    def order(self, folder: Path | None = None) -> list[str]:
        """Return keys as they arrived: with a present source below ``folder``, or ``None``: all ever seen."""
        where = "1" if folder is None else _HAS_SOURCE
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT key FROM recordings WHERE {where} ORDER BY seq", _below(folder)
            ).fetchall()
        return [key for (key,) in rows]

    def keys(self) -> set[str]:
        """Return the keys of all recordings ever seen."""
        with self._database.reading() as connection:
            return {key for (key,) in connection.execute("SELECT key FROM recordings").fetchall()}

    def counts(self, folder: Path | None = None) -> Counts:
        """Count recordings by state, and the problems and unfinished files beside them."""
        below = _below(folder)
        with self._database.reading() as connection:
            states = connection.execute(
                f"SELECT state, permanent, COUNT(*) FROM recordings WHERE {_HAS_SOURCE} GROUP BY 1, 2",
                below,
            ).fetchall()
            (problems,) = connection.execute(
                "SELECT COUNT(*) FROM sources WHERE present = 1 AND problem IS NOT NULL"
                " AND path >= :first AND path < :end",
                below,
            ).fetchone()
            (waiting,) = connection.execute(
                "SELECT COUNT(*) FROM waiting WHERE path >= :first AND path < :end", below
            ).fetchone()
        number = {state: sum(n for s, _, n in states if s == state) for state in State}
        return Counts(
            recordings=sum(number.values()),
            new=number[State.NEW],
            done=number[State.DONE],
            failed=number[State.FAILED],
            permanent=sum(n for state, permanent, n in states if state == State.FAILED and permanent),
            problems=problems,
            waiting=waiting,
        )

    def problems(self, folder: Path | None = None) -> list[SourceProblem]:
        """Return files and folders that could not be used at the last scan, by path."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT path, problem FROM sources WHERE present = 1 AND problem IS NOT NULL"
                " AND (path >= :first AND path < :end OR path = :itself) ORDER BY path",
                {**_below(folder), "itself": b"" if folder is None else location(folder)},
            ).fetchall()
        return [SourceProblem(_path(path), problem) for path, problem in rows]

    # --- what a scan needs ----------------------------------------------------------------------------

    def known_files(self, folder: Path) -> dict[bytes, KnownFile]:
        """Return every file below ``folder`` (and the folder itself) that the catalogue has a row of."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {_FACTS}, key, present FROM sources"
                " WHERE path >= :first AND path < :end OR path = :itself",
                {**_below(folder), "itself": location(folder)},
            ).fetchall()
        return {row[0]: _known_file(row) for row in rows}

    def waiting(self, folder: Path) -> dict[bytes, Waiting]:
        """Return the files below ``folder`` that were not stable at the last scan."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT path, size, mtime_ns, since FROM waiting WHERE path >= :first AND path < :end",
                _below(folder),
            ).fetchall()
        return {path: Waiting(size, mtime_ns, since) for path, size, mtime_ns, since in rows}

    def outermost_root(self, folder: Path) -> Path:
        """Return the highest folder at or above ``folder`` that was ever scanned, else ``folder``."""
        own = location(folder)
        with self._database.reading() as connection:
            roots = [path for (path,) in connection.execute("SELECT path FROM roots").fetchall()]
        return _path(min([own, *(r for r in roots if own.startswith(r.rstrip(b"/") + b"/"))], key=len))

    def apply(
        self, folder: Path, found: Sequence[FileFacts], gone: Sequence[bytes], *, now: float
    ) -> Applied:
        """Store what a scan of ``folder`` found and lost; see ``arrivals.apply``."""
        with self._database.changing() as connection:
            return arrivals.apply(
                connection, found, gone, root=location(folder), now=now, key_length=self._key_length
            )

    def end_scan(
        self,
        folder: Path,
        *,
        settled: Iterable[bytes],
        waiting: Iterable[tuple[bytes, int, int, float]],
        now: float,
    ) -> None:
        """Note at the end of a scan which files wait to be stable and which do so no longer."""
        with self._database.changing() as connection:
            arrivals.remember_root(connection, location(folder), now)
            arrivals.replace_waiting(connection, settled, waiting)

    # --- inside ---------------------------------------------------------------------------------------

    def _mark(
        self,
        key: str,
        seq: int | None,
        state: State,
        plan: str,
        error_class: str | None,
        message: str | None,
        *,
        permanent: bool,
    ) -> bool:
        now = datetime.now(UTC).timestamp()
        with self._database.changing() as connection:
            cursor = connection.execute(
                "UPDATE recordings SET state = ?, plan = ?, error_class = ?, message = ?, permanent = ?,"
                " updated_at = ? WHERE key = ? AND (? IS NULL OR seq = ?)",
                (state, plan, error_class, message, permanent, now, key, seq, seq),
            )
            return cursor.rowcount == 1


def location(folder: Path) -> bytes:
    """Return the absolute path as the catalogue stores it (no links resolved, any bytes)."""
    return os.fsencode(os.path.abspath(folder))  # noqa: PTH100 - keeps links, drops ".."


def _below(folder: Path | None) -> dict[str, Any]:
    """Return the bounds of all paths below ``folder``: "folder/" to "folder0" ("0" follows "/")."""
    if folder is None:
        return {"first": b"", "end": b"\xff"}
    own = location(folder).rstrip(b"/")
    return {"first": own + b"/", "end": own + b"0"}


def _recording(row: Sequence[Any]) -> Recording:
    key, sha256, seq, kind, state, plan, updated_at, error_class, message, permanent = row
    return Recording(
        key=key,
        sha256=sha256,
        seq=seq,
        kind=Kind(kind),
        state=State(state),
        plan=plan,
        updated_at=_time(updated_at),
        error_class=error_class,
        message=message,
        permanent=bool(permanent),
    )


def _known_file(row: Sequence[Any]) -> KnownFile:
    path, kind, *between, key, present = row
    return KnownFile(FileFacts(path, Kind(kind), *between), key, bool(present))


def _catalog_row(recording: Recording, sources: Sequence[_Said]) -> CatalogRow:
    present = [source for source in sources if source[1]]
    speaking = present or sources
    metadata, transcript, transcript_sha256 = arrivals.together([source[3:] for source in speaking])
    return CatalogRow(
        recording=recording,
        metadata=CallMetadata.model_validate(metadata),
        sources=tuple(_path(source[2]) for source in speaking),
        present=bool(present),
        transcript=_path_or_none(transcript),
        transcript_sha256=transcript_sha256,
    )


def _path(path: bytes) -> Path:
    return Path(os.fsdecode(path))


def _path_or_none(path: bytes | None) -> Path | None:
    return None if path is None else _path(path)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
