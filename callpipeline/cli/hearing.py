"""``callpipeline hearing FILE``: one long recording, from its file to its transcript and chapters."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from callpipeline.cli.processing import announced, bring_up_to_date, process, say_broken_off
from callpipeline.cli.views import SOME_FAILED, Steps, console, counted
from callpipeline.failures import NotFit, SourceUnavailable, UsageError
from callpipeline.intake.formats import display
from callpipeline.limits.costs import Grouping, Totals, dollars
from callpipeline.model import Chapter, Chapters, Finding, SpeakerMetrics, SpeakerTurns
from callpipeline.qa.rows import CallRow, day_of
from callpipeline.qa.wording import clock
from callpipeline.settings import Settings

if TYPE_CHECKING:
    from callpipeline.intake.hearings import Place
    from callpipeline.pipeline.workbench import Workbench

FOLDER = "hearings"
"""Below the data, where results are written for people."""


def hearing(
    file: Annotated[Path, typer.Argument(help="The recording: mp3, wav, m4a, mp4, flac, ogg ...")],
    title: Annotated[str | None, typer.Option(help="What it is about.")] = None,
    committee: Annotated[str | None, typer.Option(help="Who held it.")] = None,
    date: Annotated[str | None, typer.Option(help="When, such as 2026-03-02.")] = None,
    source: Annotated[str | None, typer.Option(help="Where it was taken from, such as an address.")] = None,
    language: Annotated[str | None, typer.Option(help="Language spoken, as a code such as en.")] = None,
    speakers: Annotated[
        int | None,
        typer.Option(help="How many people speak; default: as many voices as are heard.", min=1, max=20),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for the results; default: data/hearings/NAME."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON, for scripts.")] = False,
) -> None:
    """Transcribe one long recording and write its transcript, subtitles and chapters.

    Title, committee and date must be given, here or in a NAME.json or manifest.csv beside the file. The file gets a
    second name in data/uploads/hearings, with what is known of it in a NAME.json.

    Run it again at any time: nothing is sent or paid twice. Stretches that failed are marked in the results, and the
    same command tries these alone again.

    Exit code 0: all is there. 1: something is missing. 2: wrong usage or set-up.
    """
    from callpipeline.pipeline.workbench import Workbench

    settings = Settings()
    given = {
        "title": title,
        "committee": committee,
        "date": date,
        "source": source,
        "language": language,
        "speakers": None if speakers is None else str(speakers),
    }
    started = time.monotonic()
    with Workbench(settings) as bench:
        _check_output(output, settings)
        place, key = _take_in(bench, file, given)
        broken = _work(bench, key)
        found = _results(bench, key)
        if found.has_transcript:
            _write(bench, key, found, output or settings.data_dir / FOLDER / place.path.stem)
    if as_json:
        typer.echo(json.dumps(_as_json(found, time.monotonic() - started)))
    else:
        _print(found, time.monotonic() - started)
    if broken or found.row.status != "ok":
        raise typer.Exit(SOME_FAILED)


# --- taking in --------------------------------------------------------------------------------------------


def _check_output(output: Path | None, settings: Settings) -> None:
    """Refuse a folder whose files the next scan would take for recordings."""
    if output is not None and output.resolve().is_relative_to(settings.uploads.resolve()):
        raise UsageError(
            f"{output} is among the uploads: its subtitles would be taken for recordings.",
            hint="Name another folder.",
        )


def _take_in(bench: Workbench, file: Path, given: dict[str, str | None]) -> tuple[Place, str]:
    """Put the file in its place and return it with the key of the recording.

    Raises:
        NotFit: with all that is against it; nothing was put anywhere.
        SourceUnavailable: it cannot be read now, or is still being written.
    """
    from callpipeline.intake import hearings
    from callpipeline.intake.scan import scan
    from callpipeline.store import locks
    from callpipeline.store.results import LOCKS

    settings = bench.settings
    folder = settings.uploads.absolute() / hearings.FOLDER
    with locks.holding(settings.store / LOCKS / "hearings.lock", timeout=600):
        place = hearings.place(file, folder, given)
        _check(place, settings)
        place.take(settled_for=settings.stable_seconds)
    with Steps("reading the recording", None) as steps:
        report = scan(bench.catalog, folder, settings, wait=True, on_progress=steps.update)
    known = bench.catalog.known_files(folder).get(os.fsencode(place.path))
    if known is None or known.key is None or place.path in report.waiting:
        reasons = [p.problem for p in report.problems if p.path == place.path]
        raise SourceUnavailable(
            f"{display(file)} {reasons[0] if reasons else 'is still being written'}.",
            hint="Run the command again when it is complete.",
        )
    return place, known.key


def _check(place: Place, settings: Settings) -> None:
    from callpipeline.pipeline.fitness import failed, machine, metadata_of_hearing

    said = metadata_of_hearing(place.metadata)
    options = " ".join(f"--{name} ..." for name in ("title", "committee", "date") if name in said.message)
    hint = (
        f"Give {options}, or write it into {display(place.file.with_suffix('.json').name)} beside the file."
    )
    findings = [said if said.passed else said.model_copy(update={"hint": hint})]
    if place.metadata.date and not day_of(place.metadata):
        message = f"its date {place.metadata.date!r} is none that can be read"
        findings.append(Finding(name="date", passed=False, message=message, hint="Write it like 2026-03-02."))
    if not place.known:
        size = place.file.stat().st_size  # the store keeps a copy of its own
        findings += machine(settings, needed_bytes=size if place.linked else 2 * size)
    if against := failed(findings):
        reasons = " ".join(f"({number}) {reason}" for number, reason in enumerate(against, 1))
        name = display(place.file.name)
        raise NotFit(
            f"{name} was not taken in, and nothing was sent: {reasons if len(against) > 1 else against[0]}"
        )


# --- working ----------------------------------------------------------------------------------------------


def _work(bench: Workbench, key: str) -> list[str]:
    """Bring the recording up to date; return the ids of runs that broke off."""
    from callpipeline.cli.chunk_view import ChunkView
    from callpipeline.pipeline.pending import pending
    from callpipeline.store.sweep import sweep

    broken: list[str] = []
    if key in pending(bench, retry_failed=True):
        announced(bench, [key])
        with ChunkView(bench.progress, key, bench.settings) as view:
            broken += process(bench, [key], view.listen)
        sweep(bench.settings.store, bench.catalog)
    broken += bring_up_to_date(bench)
    say_broken_off(broken)
    return broken


@dataclass
class _Found:
    """What there is of the recording now. ``names`` says how speakers are called."""

    row: CallRow
    has_transcript: bool
    chapters: tuple[Chapter, ...]
    speakers: tuple[SpeakerMetrics, ...]
    names: dict[str, str]
    cost: Totals
    paths: dict[str, Path] = field(default_factory=dict)


def _results(bench: Workbench, key: str) -> _Found:
    from callpipeline.limits.books import open_books
    from callpipeline.pipeline.report import line_states, lines
    from callpipeline.speech.captions import speaker_names

    line_states(bench)
    [row] = lines(bench, [key])
    chapters = bench.store.get("chapters", key, Chapters)
    turns = bench.store.get("speaker_turns", key, SpeakerTurns)
    with open_books(bench.settings) as books:
        shares = books.costs.by(Grouping.RECORDING) if books is not None else []
    nothing = Totals(settled=0.0, open=0.0, unsure=0.0)
    return _Found(
        row=row,
        has_transcript=row.turns is not None,
        chapters=chapters.value.chapters if chapters else (),
        speakers=row.metrics.speakers if row.metrics else (),
        names=speaker_names(turns.value) if turns else {},
        cost=next((share for share in shares if share.name == key), nothing),
    )


def _write(bench: Workbench, key: str, found: _Found, folder: Path) -> None:
    from callpipeline.pipeline.export import export_transcript, write_transcript
    from callpipeline.store.files import write_text

    for form in ("txt", "srt", "vtt", "json"):
        found.paths[form] = folder / f"transcript.{form}"
        write_transcript(export_transcript(bench, key, form), found.paths[form])
    found.paths["chapters"] = folder / "chapters.json"
    write_text(found.paths["chapters"], Chapters(chapters=found.chapters).model_dump_json(indent=1) + "\n")


# --- showing ----------------------------------------------------------------------------------------------


def _print(found: _Found, seconds: float) -> None:
    row = found.row
    what = ", ".join(part for part in (row.title, row.committee, row.day) if part)
    length = "" if row.duration is None else f" ({clock(row.duration)})"
    console.print(f"[bold]{escape(what or row.file_name)}[/bold]{length}", soft_wrap=True)
    if found.chapters:
        console.print(_chapters_table(found.chapters))
    if found.speakers:
        console.print(_speakers_table(found))
    for gap in row.gaps:
        where = f"{clock(gap.start)} to {clock(gap.end)} is missing"
        _say(where, f"{gap.error_class}: {gap.message}")
    for error in row.errors:
        if error.where == "transcripts" and row.gaps:
            continue  # it names the gaps once more
        _say(error.where.replace("_", " "), error.message.removeprefix(row.file_name).lstrip(": "))
    if row.status != "ok":
        console.print("The same command tries again what is missing, and only that.")
    unsure = f", of ${dollars(found.cost.unsure)} it is unsure whether it was charged" * bool(
        found.cost.unsure
    )
    console.print(f"cost ${dollars(found.cost.total)} in all{unsure}; took {seconds:.1f} s this time")
    for name, path in found.paths.items():
        console.print(f"{name:<9} {path}", markup=False, soft_wrap=True)


def _chapters_table(chapters: tuple[Chapter, ...]) -> Table:
    table = Table(title=counted(len(chapters), "chapter"), title_justify="left", pad_edge=False)
    for name in ("from", "to"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("chapter", overflow="fold")
    for chapter in chapters:
        title = escape(chapter.title) if chapter.announced else f"[dim]{escape(chapter.title)}[/dim]"
        table.add_row(clock(chapter.start), clock(chapter.end), title)
    return table


def _speakers_table(found: _Found) -> Table:
    table = Table(title=counted(len(found.speakers), "speaker"), title_justify="left", pad_edge=False)
    table.add_column("speaker", overflow="fold")
    for name in ("talks", "share", "turns", "words"):
        table.add_column(name, justify="right", no_wrap=True)
    for speaker in sorted(found.speakers, key=lambda speaker: -speaker.talk_seconds):
        table.add_row(
            escape(found.names.get(speaker.speaker, speaker.speaker)),
            clock(speaker.talk_seconds),
            f"{speaker.talk_ratio:.0%}",
            str(speaker.turns),
            str(speaker.words),
        )
    return table


def _as_json(found: _Found, seconds: float) -> dict[str, Any]:
    row = found.row
    return {
        **row.model_dump(mode="json", include={"key", "status", "title", "committee", "day", "duration"}),
        "file": row.file_path,
        "chapters": [chapter.model_dump(mode="json") for chapter in found.chapters],
        "speakers": [
            {
                "name": found.names.get(speaker.speaker, speaker.speaker),
                **speaker.model_dump(
                    mode="json", include={"speaker", "talk_seconds", "talk_ratio", "turns", "words"}
                ),
            }
            for speaker in found.speakers
        ],
        "gaps": [gap.model_dump(mode="json") for gap in row.gaps],
        "errors": [error.model_dump(mode="json") for error in row.errors],
        "cost": {"total": round(found.cost.total, 6), "unsure": round(found.cost.unsure, 6)},
        "paths": {name: str(path) for name, path in found.paths.items()},
        "seconds": round(seconds, 2),
    }


def _say(what: str, message: str) -> None:
    console.print(f"[red]{escape(what)}[/red]: {escape(message)}", soft_wrap=True)
