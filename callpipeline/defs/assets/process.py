"""The one step that walks a batch of recordings through all their stages.

Why one step and not an asset function a stage: a process for each step costs seconds, a step that fails for one
recording would stop its neighbours' later stages, and a barrier between stages would leave paid API slots idle
(docs/adr/001). The UI still sees an asset for each stage, each selectable, each materialized for each recording that
needs it as it is done.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from callpipeline.defs.assets import (
    audio_chunks,
    call_metrics,
    chapters,
    detections,
    diarization,
    kg_extractions,
    raw_audio,
    speaker_turns,
    speech_activity,
    text_chunks,
    transcripts,
)
from callpipeline.defs.assets.base import AssetFace, View
from callpipeline.defs.bridge import Bridge, undisturbed
from callpipeline.defs.partitions import recordings
from callpipeline.defs.progress import Progress, line
from callpipeline.defs.resources import Outcome, Pipeline
from callpipeline.graph.extractors import REMOTE
from callpipeline.limits.supplies import POOLS
from callpipeline.pipeline.batch import walk_batch
from callpipeline.pipeline.outcomes import StageOutcome, Status
from callpipeline.pipeline.stages import BY_ASSET as STAGES
from callpipeline.pipeline.workbench import Workbench

FACES: tuple[AssetFace, ...] = (
    raw_audio.FACE,
    speech_activity.FACE,
    audio_chunks.FACE,
    transcripts.FACE,
    diarization.FACE,
    speaker_turns.FACE,
    detections.FACE,
    call_metrics.FACE,
    chapters.FACE,
    text_chunks.FACE,
    kg_extractions.FACE,
)
BY_ASSET = {face.asset: face for face in FACES}
STEP = "walk_recordings"
NO_EVENT = "NULL"
"""What Dagster writes where an input has no event of its own."""
NO_VALUE = "NULL"
"""What Dagster takes for the version of an input that was never materialized: this recording does not need it."""


class WalkConfig(dg.Config):
    """What the launchpad offers for the step."""

    force_paid: bool = Field(
        default=False,
        description=(
            "Buy the selected transcripts (and extractions, if their extractor is a provider's) again, and pay for them "
            "again, although they are there. Without it, what was bought once is never bought again."
        ),
    )


def build_step() -> dg.AssetsDefinition:
    """Return the multi-asset of all per-recording assets."""

    @dg.multi_asset(
        name=STEP,
        specs=[face.spec() for face in FACES],
        check_specs=[spec for face in FACES for spec in face.check_specs()],
        can_subset=True,
        partitions_def=recordings,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def walk_recordings(
        context: dg.AssetExecutionContext, config: WalkConfig, pipeline: Pipeline
    ) -> Iterator[Any]:
        keys = list(context.partition_keys)
        wanted = {key.to_user_string() for key in context.selected_asset_keys}
        progress = Progress(keys)
        with pipeline.workbench(context, force_paid=config.force_paid) as bench:
            try:
                if sent := _sent(bench):
                    context.log.info("%s %s", sent, _terms(bench))
                for outcome in Bridge[Outcome](partial(walk_batch, keys, wanted, bench)):
                    with undisturbed():
                        pipeline.listener(outcome)
                        progress.note(outcome)
                        if isinstance(outcome, StageOutcome):
                            _tell(context, outcome, bench)
            except BaseException as error:  # cancelled, or broken off: the run's last words say what is left
                left = progress.left(bench)
                context.log.warning(left)
                error.add_note(left)
                raise
            if progress.failed:
                raise progress.failure(bench)
        yield from ()  # a step that returned would be asked for its outputs

    return walk_recordings


def _sent(bench: Workbench) -> str:
    """Say what leaves this machine, "" if nothing does."""
    audio, text = bench.transcriber.remote, bench.settings.extractor in REMOTE
    return " ".join(
        [
            *([f"Engine {bench.transcriber.name}: audio is sent to a provider."] if audio else []),
            *([f"Extractor {bench.settings.extractor}: text is sent to a provider."] if text else []),
        ]
    )


def _terms(bench: Workbench) -> str:
    """Say how much is sent at a time, and what it may cost."""
    settings = bench.settings
    limits = {pool: bench.slot_limit(pool) if bench.slot_limit else None for pool in POOLS}
    slots = (
        f"{pool} {getattr(settings, f'{pool}_slots') if limit is None else limit}"
        for pool, limit in limits.items()
    )
    budgets = (
        f"{'none' if dollars is None else f'${dollars:g}'} per {what}"
        for what in ("recording", "run", "day")
        for dollars in [getattr(settings, f"budget_per_{what}")]
    )
    again = " What was bought before is bought again (force_paid)." if bench.force_paid else ""
    return f"Slots of the pools, now: {', '.join(slots)}. Budgets: {', '.join(budgets)}.{again}"


def _tell(context: dg.AssetExecutionContext, outcome: StageOutcome, bench: Workbench) -> None:
    """Write what a stage did to the event log, now.

    A yielded event would be written by Dagster while the step stands still: a run that is cancelled meanwhile
    would end without the step hearing of it, with its calls going on and nothing said about what is left.
    """
    if outcome.status is Status.FAILED:
        context.log.error(line(outcome))
    elif outcome.stored is not None:
        for event in events(outcome, bench):
            context.log_event(event)
        list(
            context.consume_events()
        )  # they are written; nobody needs those of thousands of recordings at the end


def events(
    outcome: StageOutcome, bench: Workbench
) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    """Yield what Dagster shall know of a stage that has a result: how it came out, and the verdicts of its checks."""
    assert outcome.stored is not None  # noqa: S101 - the caller looked
    face, stored = BY_ASSET[outcome.asset], outcome.stored
    view = View(bench, stored)
    yield dg.AssetMaterialization(
        outcome.asset,
        partition=outcome.key,
        metadata={
            **face.metadata(view),
            "seconds": round(outcome.seconds, 3),
            "reused": outcome.status is Status.REUSED,
        },
        tags={
            "dagster/data_version": stored.data_version,
            "dagster/code_version": stored.code_version,
            **_made_from(outcome, bench),
        },
    )
    for check in face.checks(view):
        yield dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(outcome.asset),
            check_name=check.name,
            passed=check.passed,
            description=check.description,
            metadata=dict(check.metadata),
            severity=dg.AssetCheckSeverity.WARN,
            partition=outcome.key,
        )


def _made_from(outcome: StageOutcome, bench: Workbench) -> dict[str, str]:
    """Name the inputs' versions, so that Dagster can tell when a result is out of date and when it is not."""
    tags: dict[str, str] = {}
    stage = STAGES[outcome.asset]
    for asset in stage.inputs:
        header = bench.store.header(asset, outcome.key)
        version = header.data_version if header else NO_VALUE if asset in stage.optional else None
        if version is not None:
            tags[f"dagster/input_data_version/{asset}"] = version
            tags[f"dagster/input_event_pointer/{asset}"] = (
                NO_EVENT  # the version decides, not which event told it
            )
    return tags
