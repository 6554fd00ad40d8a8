"""The one step that walks a batch of recordings through all their stages.

Why one step and not an asset function a stage: a process for each step costs seconds, a step that fails for one
recording would stop its neighbours' later stages, and a barrier between stages would leave paid API slots idle
(docs/adr/001). The UI still sees seven assets, each selectable, each materialized for each recording as it is done.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dagster as dg

from callpipeline.defs.assets import (
    call_metrics,
    detections,
    diarization,
    raw_audio,
    speaker_turns,
    speech_activity,
    transcripts,
)
from callpipeline.defs.assets.base import AssetFace, View
from callpipeline.defs.bridge import Bridge
from callpipeline.defs.partitions import recordings
from callpipeline.defs.resources import Outcome, Pipeline
from callpipeline.pipeline.batch import walk_batch
from callpipeline.pipeline.outcomes import StageOutcome, Status
from callpipeline.pipeline.stages import BY_ASSET as STAGES
from callpipeline.pipeline.workbench import Workbench

FACES: tuple[AssetFace, ...] = (
    raw_audio.FACE,
    speech_activity.FACE,
    transcripts.FACE,
    diarization.FACE,
    speaker_turns.FACE,
    detections.FACE,
    call_metrics.FACE,
)
BY_ASSET = {face.asset: face for face in FACES}
LISTED_FAILURES = 20
NO_EVENT = "NULL"
"""What Dagster writes where an input has no event of its own."""


def build_step() -> dg.AssetsDefinition:
    """Return the multi-asset of all per-recording assets."""

    @dg.multi_asset(
        name="walk_recordings",
        specs=[face.spec() for face in FACES],
        check_specs=[spec for face in FACES for spec in face.check_specs()],
        can_subset=True,
        partitions_def=recordings,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def walk_recordings(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Iterator[Any]:
        wanted = {key.to_user_string() for key in context.selected_asset_keys}
        failed: list[StageOutcome] = []
        with pipeline.workbench() as bench:
            work = partial(walk_batch, list(context.partition_keys), wanted, bench)
            for outcome in Bridge[Outcome](work):
                pipeline.listener(outcome)
                if not isinstance(outcome, StageOutcome):
                    continue
                if outcome.status is Status.FAILED:
                    failed.append(outcome)
                    context.log.error(_line(outcome))
                elif outcome.stored is not None:
                    yield from _events(outcome, bench)
        if failed:
            raise _failure(failed, len(context.partition_keys))

    return walk_recordings


def _events(outcome: StageOutcome, bench: Workbench) -> Iterator[Any]:
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
    for asset in STAGES[outcome.asset].needs:
        header = bench.store.header(asset, outcome.key)
        if header is not None:
            tags[f"dagster/input_data_version/{asset}"] = header.data_version
            tags[f"dagster/input_event_pointer/{asset}"] = (
                NO_EVENT  # the version decides, not which event told it
            )
    return tags


def _line(outcome: StageOutcome) -> str:
    failure = outcome.failure
    assert failure is not None  # noqa: S101 - failed outcomes carry one
    return f"{outcome.asset} of {outcome.key}: {failure.error_class}: {failure.message}"


def _failure(failed: list[StageOutcome], total: int) -> dg.Failure:
    """Say which recordings failed, so that the run's page answers the question without a search."""
    keys = list(dict.fromkeys(outcome.key for outcome in failed))
    lines = [_line(outcome) for outcome in failed[:LISTED_FAILURES]]
    if len(failed) > LISTED_FAILURES:
        lines.append(f"... and {len(failed) - LISTED_FAILURES} more: callpipeline status --failed lists all")
    return dg.Failure(
        description=f"{len(keys)} of {total} recordings failed; the others are done.\n" + "\n".join(lines),
        metadata={"failed": len(keys), "done": total - len(keys)},
        # What can be tried again is tried by the next run: a retry of this one would repeat permanent failures.
        allow_retries=False,
    )
