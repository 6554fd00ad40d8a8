"""``callpipeline graph build``: from recordings to the knowledge graph, its exports and its picture; and its dry run."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from callpipeline.cli.graph_views import entities_table, most_named, show_summary
from callpipeline.cli.processing import announced, bring_up_to_date, process, say_broken_off
from callpipeline.cli.views import SOME_FAILED, USAGE, Steps, console, counted, errors
from callpipeline.failures import CallPipelineError, UsageError
from callpipeline.limits.costs import dollars
from callpipeline.model import Finding
from callpipeline.settings import Settings, variable_of

if TYPE_CHECKING:
    from callpipeline.defs.resources import Outcome
    from callpipeline.graph.exports import GraphFormat
    from callpipeline.graph.extractors.base import ExtractionProgress, GraphPlan
    from callpipeline.knowledge import Entity, GraphSummary, TextChunks
    from callpipeline.pipeline.workbench import Workbench

TOP_SHOWN = 15


class ExtractorName(StrEnum):
    """What finds entities and relations."""

    EMBEDDED = "embedded"
    OPENAI = "openai"


def build(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Folder tree with recordings; default: all recordings that are known already."),
    ] = None,
    extractor: Annotated[
        ExtractorName | None,
        typer.Option(
            help="What finds entities and relations: embedded (rules and statistics, on this machine, free) or openai (a "
            "language model, paid by tokens). Default: CALLPIPELINE_EXTRACTOR, else embedded."
        ),
    ] = None,
    economy: Annotated[
        bool,
        typer.Option(
            "--economy", help="Send through the provider's Batch API: half the price, results within a day."
        ),
    ] = False,
    look_only: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Send nothing: say how many text chunks would be sent, tokens, dollars, minutes.",
        ),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Also try again what failed for good, such as damaged files."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON, for scripts.")] = False,
) -> None:
    """Find the things and relations that recordings talk about, over all of them, and draw the picture.

    Recordings are transcribed and cut into text chunks; each chunk is looked through once: what was found is kept, and
    equal text is never sent twice. Run it again at any time; only what is new or failed is done.

        callpipeline graph build data/samples                        free, on this machine
        callpipeline graph build talks --extractor openai --dry-run  what it would cost
        callpipeline graph build talks --extractor openai            with a language model

    Exit code 0: all recordings are done. 1: something failed, the rest is in the graph. 2: wrong usage or set-up.
    """
    from callpipeline.pipeline.workbench import Workbench

    settings = _settings(extractor, economy=economy)
    if folder is not None and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder.", hint="Give the folder that holds the recordings.")
    folder = folder.absolute() if folder else None
    with Workbench(settings) as bench:
        if folder is not None:
            _take_in(bench, folder)
        if look_only:
            _dry_run(bench, folder, as_json=as_json)
            return
        built = _build(bench, folder, retry_failed=retry_failed)
    if as_json:
        typer.echo(json.dumps(built.as_json()))
    else:
        _show(built, kept=settings.extractor == Settings().extractor)
    if built.broken or built.failed:
        raise typer.Exit(SOME_FAILED)


def _settings(extractor: ExtractorName | None, *, economy: bool) -> Settings:
    settings = Settings()
    chosen: dict[str, Any] = {"extractor": extractor.value} if extractor else {}
    settings = settings.model_copy(update=chosen | ({"graph_economy": True} if economy else {}))
    if economy and settings.extractor == "embedded":
        raise UsageError(
            "--economy is for extractors at a provider; embedded works on this machine, for nothing.",
            hint="Add --extractor openai, or leave the option out.",
        )
    return settings


# --- building ---------------------------------------------------------------------------------------------


@dataclass
class _Built:
    """What a build did. ``chunks``: text chunks of this time, by state; ``cost`` in dollars, of this time."""

    broken: list[str] = field(default_factory=list)
    processed: int = 0
    failed: int = 0
    chunks: Counter[str] = field(default_factory=Counter)
    cost: float = 0.0
    seconds: float = 0.0
    summary: GraphSummary | None = None
    top: tuple[Entity, ...] = ()
    paths: dict[GraphFormat, Path] = field(default_factory=dict)

    def hear(self, progress: ExtractionProgress) -> None:
        self.chunks[progress.state.value] += 1
        self.cost += progress.cost

    def as_json(self) -> dict[str, Any]:
        return {
            "processed": self.processed,
            "failed": self.failed,
            "chunks": dict(self.chunks),
            "cost": round(self.cost, 6),
            "seconds": round(self.seconds, 2),
            "graph": self.summary.model_dump(mode="json") if self.summary else None,
            "paths": {name.value: str(path) for name, path in self.paths.items()},
        }


def _take_in(bench: Workbench, folder: Path) -> None:
    from callpipeline.intake.scan import scan

    with Steps("reading new files", None) as steps:
        scan(bench.catalog, folder, bench.settings, wait=True, on_progress=steps.update)


def _build(bench: Workbench, folder: Path | None, *, retry_failed: bool) -> _Built:
    from callpipeline.graph import store as graphs
    from callpipeline.pipeline.graph import build_graph
    from callpipeline.pipeline.graph_exports import refresh_exports
    from callpipeline.pipeline.pending import pending
    from callpipeline.store.sweep import sweep

    started = time.monotonic()
    built = _Built()
    waiting = pending(bench, folder, retry_failed=retry_failed)
    if waiting:
        announced(bench, waiting)
        _walk(bench, waiting, built)
        sweep(bench.settings.store, bench.catalog)
    built.broken += bring_up_to_date(bench)
    say_broken_off(built.broken)
    built.failed = _failed(bench, folder)
    built.summary = build_graph(bench)
    exports = refresh_exports(bench.settings)
    if exports is not None:
        built.paths = exports.paths
        built.top = most_named(graphs.load(bench.settings.store), limit=TOP_SHOWN)
    built.seconds = time.monotonic() - started
    return built


def _walk(bench: Workbench, waiting: Sequence[str], built: _Built) -> None:
    from callpipeline.pipeline.outcomes import RecordingOutcome

    with Steps("processing recordings", len(waiting)) as steps:

        def hear(progress: ExtractionProgress) -> None:
            built.hear(progress)
            steps.note = f"{counted(built.chunks.total(), 'text chunk')}, ${dollars(built.cost)}"
            steps.update(steps.done, steps.total)

        def listen(outcome: Outcome) -> None:
            if isinstance(outcome, RecordingOutcome):
                built.processed += 1
                steps.advance(failed=outcome.failure is not None)

        bench.on_extraction = hear
        built.broken += process(bench, waiting, listen)


def _failed(bench: Workbench, folder: Path | None) -> int:
    """Return how many recordings the graph lacks, or has in part, because something failed."""
    needed = ("raw_audio", "transcripts", "speaker_turns", "text_chunks", "kg_extractions")
    failing = set[str]().union(*(bench.store.failed_keys(asset) for asset in needed))
    return len(failing.intersection(bench.catalog.order(folder))) + len(
        bench.catalog.problems(folder) if folder else ()
    )


def _show(built: _Built, *, kept: bool) -> None:
    if built.summary is None:
        return
    show_summary(built.summary)
    if built.top:
        console.print(entities_table(built.top, f"the {len(built.top)} named most often"))
    chunks = ", ".join(f"{count} {state}" for state, count in built.chunks.most_common())
    console.print(
        f"{counted(built.processed, 'recording')} processed, {built.failed} failed"
        f"{f', text chunks: {chunks}' if chunks else ''}, cost ${dollars(built.cost)} this time, in {built.seconds:.1f} s"
    )
    if built.failed:
        console.print("what failed, and why: callpipeline status --failed")
    for name, path in built.paths.items():
        console.print(f"{name.value:<9} {path}", markup=False, soft_wrap=True)
    if not kept:
        console.print(
            f"Set {variable_of('extractor')} too, so that later runs keep to this extractor; what was paid for stays in "
            "the cache either way.",
            style="dim",
        )


# --- looking only -----------------------------------------------------------------------------------------


def _dry_run(bench: Workbench, folder: Path | None, *, as_json: bool) -> None:
    """Cut what is transcribed into text chunks, which is kept, and say what an extractor would do with them."""
    from callpipeline.pipeline.pending import pending

    keys = bench.catalog.order(folder)
    transcribed = bench.store.keys("speaker_turns") & bench.store.keys("transcripts")
    ready = [key for key in keys if key in transcribed]
    findings = asyncio.run(_look(bench, ready))
    waiting = set(pending(bench, folder, retry_failed=True))
    plan = _plan(bench, [key for key in ready if key in waiting])
    unknown, done = len(keys) - len(ready), len(set(keys) - waiting)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "extractor": bench.extractor.name,
                    "remote": bench.extractor.remote,
                    "economy": bench.settings.graph_economy,
                    "recordings": len(keys),
                    "not_transcribed": unknown,
                    "done": done,
                    **asdict(plan),
                    "findings": [finding.model_dump() for finding in findings],
                }
            )
        )
    else:
        console.print("dry run: nothing was sent")
        for name, text in _lines(bench, plan, len(keys), unknown, done):
            console.print(f"{name:<12} {text}", markup=False, soft_wrap=True)
        for finding in findings:
            if not finding.passed:
                errors.print(
                    f"[red]{escape(finding.name)}[/red]: {escape(f'{finding.message} {finding.hint}')}"
                )
    if not all(finding.passed for finding in findings):
        raise typer.Exit(USAGE)


async def _look(bench: Workbench, keys: Sequence[str]) -> tuple[Finding, ...]:
    from callpipeline.pipeline.batch import walk_batch
    from callpipeline.pipeline.outcomes import RecordingOutcome, StageOutcome

    with Steps("cutting text", len(keys)) as steps:

        def listen(outcome: StageOutcome | RecordingOutcome) -> None:
            if isinstance(outcome, RecordingOutcome):
                steps.advance(failed=outcome.failure is not None)

        await walk_batch(keys, ("text_chunks",), bench, listen)
    try:
        return await bench.asked_extractor()
    except CallPipelineError as error:  # the plan can be made all the same
        return (
            Finding(
                name=bench.extractor.name, passed=False, message=str(error), error_class=error.error_class
            ),
        )
    finally:
        await bench.disconnect()


def _plan(bench: Workbench, waiting: Sequence[str]) -> GraphPlan:
    """Return what the extractor would have to do for these recordings."""
    from callpipeline.graph.extractors.base import GraphPlan, RemoteGraphExtractor

    chunks, extractor = _text_chunks(bench, waiting), bench.extractor
    if isinstance(extractor, RemoteGraphExtractor):
        return extractor.planned(chunks)
    found = [chunk for recording in chunks for chunk in recording.chunks]
    worth = sum(chunk.low_value is None for chunk in found)
    return GraphPlan(chunks=len(found), filtered=len(found) - worth, to_send=worth)


def _text_chunks(bench: Workbench, keys: Sequence[str]) -> Iterator[TextChunks]:
    from callpipeline.knowledge import TextChunks

    for key in keys:
        if stored := bench.store.get("text_chunks", key, TextChunks):
            yield stored.value


def _lines(
    bench: Workbench, plan: GraphPlan, recordings: int, unknown: int, done: int
) -> Iterator[tuple[str, str]]:
    extractor, settings = bench.extractor, bench.settings
    where = "a provider" if extractor.remote else "on this machine, for nothing"
    yield "extractor", f"{extractor.name} ({where}{', economy' if settings.graph_economy else ''})"
    yield "recordings", f"{recordings}, of which {done} need nothing"
    if unknown:
        yield "", f"{unknown} not transcribed yet, so not counted below (callpipeline run FOLDER --dry-run)"
    yield (
        "text chunks",
        (
            f"{plan.chunks}: {plan.filtered} not worth it, {plan.cached} known already, {plan.to_send} to look through"
        ),
    )
    if not extractor.remote:
        return
    by_model = ", ".join(f"{model} {count}" for model, count in plan.by_model.items())
    yield "requests", f"{plan.requests}{f' (text chunks by model: {by_model})' if by_model else ''}"
    yield "tokens", f"about {plan.tokens:,}"
    yield "cost", f"about ${dollars(plan.cost)}"
    yield "time", "within a day" if settings.graph_economy else f"at least {plan.minutes:.1f} min"
