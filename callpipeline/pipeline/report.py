"""The lines of the report over all recordings, kept up to date by difference.

Building a line reads four result files; ten thousand would take half a minute each time. So lines are kept in
``store/qa_report/rows.sqlite`` with a fingerprint of what they were made from, and only changed ones are made anew.
The file is derived: delete it, and the next roll-up makes it again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from callpipeline.intake.formats import display
from callpipeline.intake.records import CatalogRow
from callpipeline.model import (
    AudioInfo,
    CallMetrics,
    Chapters,
    Detections,
    SpeakerTurns,
    SpeechActivity,
    StageFailure,
    Transcript,
)
from callpipeline.pipeline.case import HEARING, profile_of
from callpipeline.pipeline.stages import ASSETS
from callpipeline.pipeline.walk import digest
from callpipeline.pipeline.workbench import Workbench
from callpipeline.qa.marks import verdict_marks
from callpipeline.qa.rollups import Rollups, roll_up
from callpipeline.qa.rows import CallRow, Status, call_row

FOLDER = "qa_report"
ROWS_VERSION = "2"
"""Goes up when the same results would give other lines."""

_SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    key TEXT PRIMARY KEY, fingerprint TEXT, status TEXT, flag INTEGER, hearing INTEGER, content TEXT, waveform TEXT
);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT);
"""
_MADE_FROM = ("raw_audio", "speech_activity", "speaker_turns", "detections", "call_metrics", "chapters")


@dataclass(frozen=True)
class Report:
    """What one roll-up wrote."""

    csv: Path
    html: Path
    rollups: Rollups
    rows: int
    changed: int


def report_paths(store: Path) -> dict[str, Path]:
    """Where people find the results: the report, the table, the warehouse."""
    return {
        "report": store / FOLDER / "qa_report.html",
        "csv": store / FOLDER / "qa_report.csv",
        "warehouse": store / "warehouse.duckdb",
    }


def reported_revision(store: Path) -> str | None:
    """Return the catalogue's revision that the report shows, ``None`` without a report."""
    if not all(path.exists() for path in report_paths(store).values()):
        return None
    with _rows(store) as rows:
        found = rows.execute("SELECT value FROM state WHERE name = 'revision'").fetchone()
    return found[0] if found else None


def write_report(bench: Workbench) -> Report:
    """Bring CSV and HTML up to date with the results in the store; return what was counted."""
    from callpipeline.qa.report import write_html
    from callpipeline.qa.table import write_csv

    store = bench.settings.store
    revision = bench.catalog.revision()
    with _rows(store) as cache:
        changed = _refresh(cache, bench)
        found = cache.execute("SELECT key, content, waveform FROM rows").fetchall()
    by_key = {key: CallRow.model_validate_json(content) for key, content, _ in found}
    rows = [
        by_key[row.recording.key] for row in bench.catalog.rows(absent=True) if row.recording.key in by_key
    ]
    rollups = roll_up(rows)
    paths = report_paths(store)
    write_csv(rows, paths["csv"])
    write_html(
        rows,
        paths["report"],
        title="Call quality report",
        generated_at=datetime.now(UTC),
        rollups=rollups,
        waveforms={key: waveform for key, _, waveform in found if waveform},
    )
    with _rows(store) as cache:
        cache.execute("INSERT OR REPLACE INTO state VALUES ('revision', ?)", (revision,))
    return Report(paths["csv"], paths["report"], rollups, len(rows), changed)


@dataclass(frozen=True)
class LineState:
    """As much of a line as decides whether somebody must look at it."""

    key: str
    status: Status
    flag: bool
    hearing: bool


def line_states(bench: Workbench, folder: Path | None = None) -> list[LineState]:
    """Return the state of each recording, in order of arrival; ``folder`` keeps those with a source below it."""
    current = reported_revision(bench.settings.store) == bench.catalog.revision()
    with _rows(bench.settings.store) as cache:
        if not current:
            _refresh(cache, bench)
        found = cache.execute("SELECT key, status, flag, hearing FROM rows").fetchall()
    states = {key: LineState(key, status, bool(flag), bool(hearing)) for key, status, flag, hearing in found}
    return [states[key] for key in bench.catalog.order(folder) if key in states]


def lines(bench: Workbench, keys: Sequence[str]) -> list[CallRow]:
    """Return the lines of these recordings, as ``line_states`` knows them."""
    with _rows(bench.settings.store) as cache:
        return [
            CallRow.model_validate_json(content)
            for key in keys
            for (content,) in cache.execute("SELECT content FROM rows WHERE key = ?", (key,))
        ]


@contextmanager
def _rows(store: Path) -> Iterator[sqlite3.Connection]:
    path = store / FOLDER / "rows.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        if connection.execute("PRAGMA user_version").fetchone() != (_SCHEMA_VERSION,):
            connection.executescript(f"DROP TABLE IF EXISTS rows; PRAGMA user_version = {_SCHEMA_VERSION}")
        connection.executescript(_SCHEMA)
        with connection:
            yield connection


def _refresh(cache: sqlite3.Connection, bench: Workbench) -> int:
    """Make the lines anew whose results, failures or metadata changed; return how many."""
    known = dict(cache.execute("SELECT key, fingerprint FROM rows").fetchall())
    failing = {asset: bench.store.failed_keys(asset) for asset in ASSETS}
    changed = 0
    for row in bench.catalog.rows(absent=True):
        key = row.recording.key
        failures = _failures(bench, key, failing)
        fingerprint = _fingerprint(bench, row, failures)
        if known.get(key) == fingerprint:
            continue
        line, waveform = _line(bench, row, failures)
        cache.execute(
            "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)",
            (key, fingerprint, line.status, line.flag, line.hearing, line.model_dump_json(), waveform),
        )
        changed += 1
    return changed


def _failures(bench: Workbench, key: str, failing: Mapping[str, set[str]]) -> list[StageFailure]:
    found = (bench.store.failure(asset, key) for asset in ASSETS if key in failing[asset])
    return [failure for failure in found if failure is not None]


def _fingerprint(bench: Workbench, row: CatalogRow, failures: list[StageFailure]) -> str:
    key = row.recording.key
    headers = [bench.store.header(asset, key) for asset in _MADE_FROM]
    return digest(
        [
            ROWS_VERSION,
            bench.settings.hearing_from,
            [header.data_version if header else None for header in headers],
            [failure.model_dump(mode="json") for failure in failures],
            row.metadata.model_dump(mode="json"),
            [display(source) for source in row.sources[:1]],
        ]
    )


def _line(bench: Workbench, row: CatalogRow, failures: list[StageFailure]) -> tuple[CallRow, str | None]:
    key, get = row.recording.key, bench.store.get
    info = get("raw_audio", key, AudioInfo)
    turns = get("speaker_turns", key, SpeakerTurns)
    seconds = info.value.duration if info else 0.0
    hearing = profile_of(row.metadata, seconds, bench.settings) == HEARING
    detections = None if hearing else get("detections", key, Detections)
    chapters = get("chapters", key, Chapters) if hearing else None
    transcript = get("transcripts", key, Transcript) if hearing else None
    metrics = get("call_metrics", key, CallMetrics)
    activity = get("speech_activity", key, SpeechActivity)
    source = row.sources[0] if row.sources else Path(key)
    line = call_row(
        key,
        metadata=row.metadata,
        file_name=display(source.name),
        file_path=display(source),
        info=info.value if info else None,
        detections=detections.value if detections else None,
        metrics=metrics.value if metrics else None,
        turns=turns.value if turns else None,
        failures=failures,
        hearing=hearing,
        chapters=chapters.value if chapters else None,
        gaps=transcript.value.gaps if transcript else (),
    )
    if info is None or not info.value.peaks:
        return line, None
    from callpipeline.audio.waveform import waveform_svg

    marks = verdict_marks(detections.value) if detections else ()
    return line, waveform_svg(info.value, activity.value if activity else None, marks)
