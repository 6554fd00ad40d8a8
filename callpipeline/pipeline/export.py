"""Results as files for other tools: the report's lines, a table of the warehouse, the transcript of a recording."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from callpipeline.failures import UsageError
from callpipeline.intake.formats import display
from callpipeline.intake.records import CatalogRow
from callpipeline.model import Chapter, Chapters, Diarization, SpeakerTurns, Transcript
from callpipeline.pipeline.case import HEARING, profile_of
from callpipeline.pipeline.report import line_states, lines
from callpipeline.pipeline.warehouse import refresh_warehouse
from callpipeline.pipeline.workbench import Workbench
from callpipeline.qa.table import write_csv
from callpipeline.store import warehouse
from callpipeline.store.files import write_text

Format = Literal["csv", "json", "parquet"]
TranscriptFormat = Literal["txt", "srt", "vtt", "json"]

_NAMED = 5


def export_report(bench: Workbench, path: Path, file_format: Format) -> int:
    """Write one line a call, with the columns of the report; return how many.

    Raises:
        UsageError: the format is not known.
    """
    rows = lines(bench, [state.key for state in line_states(bench)])
    if file_format == "csv":
        write_csv(rows, path)
        return len(rows)
    refresh_warehouse(bench)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "report.csv"
        write_csv(rows, table)
        options = "header = true, all_varchar = true, strict_mode = false"
        query = f"SELECT * FROM read_csv('{table}', {options})"  # noqa: S608 - a path that we just made
        return warehouse.export(bench.settings.store, query, path, file_format)


def export_table(bench: Workbench, table: str, path: Path, file_format: Format) -> int:
    """Write a table of the warehouse, brought up to date first; return its rows.

    Raises:
        UsageError: there is no such table.
    """
    if not table.isidentifier():
        raise UsageError(
            f"{table!r} is not the name of a table.", hint="callpipeline export --help names them."
        )
    refresh_warehouse(bench)
    return warehouse.export(bench.settings.store, table, path, file_format)


# --- one recording ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exported:
    """What was said in a recording, in the format that was asked for, with what a person must know about it."""

    content: str
    row: CatalogRow
    transcript: Transcript


def recording(bench: Workbench, name: str) -> CatalogRow:
    """Return the recording that is meant by its key, by the name of its file (with or without ending) or its path.

    Raises:
        UsageError: there is none, or there are several.
    """
    if row := bench.catalog.get(name):
        return row
    found = [row for row in bench.catalog.rows(absent=True) if name in _names(row)]
    if not found:
        raise UsageError(
            f"There is no recording {name!r}.",
            hint="Name it by its key or its file: callpipeline export --table recordings lists both.",
        )
    if len(found) > 1:
        keys = ", ".join(row.recording.key for row in found[:_NAMED])
        raise UsageError(
            f"{len(found)} recordings are called {name!r}.", hint=f"Name one by its key: {keys}."
        )
    return found[0]


def _names(row: CatalogRow) -> set[str]:
    paths = {display(path) for path in row.sources}
    files = {row.metadata.source_name or "", *(display(path.name) for path in row.sources)}
    return {*paths, *files, *(Path(file).stem for file in files if file)} - {""}


def export_transcript(bench: Workbench, name: str, file_format: TranscriptFormat) -> Exported:
    """Return what was said in a recording as text, subtitles, or JSON with everything that is known of it.

    Raises:
        UsageError: no such recording, or it has no transcript yet.
    """
    from callpipeline.speech import captions
    from callpipeline.speech.turns import speaker_turns

    row = recording(bench, name)
    transcript, diarization = _stored(bench, row)
    hearing = profile_of(row.metadata, transcript.duration, bench.settings) == HEARING
    turns = speaker_turns(
        transcript, diarization, channel_roles=row.metadata.channel_roles, parties=not hearing
    )
    found = bench.store.get("chapters", row.recording.key, Chapters) if hearing else None
    parts = found.value.chapters if found else ()
    if file_format == "txt":
        content = captions.text(transcript, turns, title=_title(row), chapters=parts)
    elif file_format == "json":
        content = _json(row, transcript, turns, parts)
    else:
        cues = captions.cues(transcript, diarization, turns)
        content = (
            captions.srt(cues)
            if file_format == "srt"
            else captions.vtt(cues, chapters=parts, demo=transcript.demo)
        )
    return Exported(content, row, transcript)


def write_transcript(exported: Exported, path: Path) -> None:
    """Write it to a file that appears whole or not at all.

    Raises:
        UsageError: beside the recording the file would be taken for its ready-made transcript by the next run.
        OSError: the folder cannot be written.
    """
    place = path.resolve()
    beside = any(
        (source.parent.resolve(), source.stem) == (place.parent, place.stem)
        for source in exported.row.sources
    )
    if beside and place.suffix.lower() != ".txt":
        raise UsageError(
            f"{path} lies beside its recording: the next run would take it for a transcript to be used.",
            hint="Write it to another folder, or under another name.",
        )
    write_text(path, exported.content)


def _stored(bench: Workbench, row: CatalogRow) -> tuple[Transcript, Diarization]:
    key = row.recording.key
    transcript = bench.store.get("transcripts", key, Transcript)
    diarization = bench.store.get("diarization", key, Diarization)
    if transcript is None or diarization is None:
        name, failed = row.metadata.source_name or key, row.recording.error_class
        if failed:
            raise UsageError(f"{name} has no transcript with speakers: {failed}: {row.recording.message}")
        raise UsageError(f"{name} was not worked on yet.", hint="Run callpipeline run FOLDER first.")
    return transcript.value, diarization.value


def _title(row: CatalogRow) -> str:
    said = row.metadata
    return ", ".join(part for part in (said.title or said.source_name, said.committee, said.date) if part)


def _json(row: CatalogRow, transcript: Transcript, turns: SpeakerTurns, chapters: tuple[Chapter, ...]) -> str:
    content = {
        "recording": row.recording.key,
        "metadata": row.metadata.model_dump(mode="json", exclude_none=True),
        "chapters": [chapter.model_dump(mode="json") for chapter in chapters],
        "speaker_turns": turns.model_dump(mode="json"),
        "transcript": transcript.model_dump(mode="json"),
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"
