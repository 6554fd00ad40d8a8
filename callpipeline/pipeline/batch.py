"""A batch of recordings: many walks side by side, no barrier between them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime

from callpipeline.failures import CallPipelineError, describe
from callpipeline.model import StageFailure
from callpipeline.pipeline.outcomes import Emit, RecordingOutcome, StageOutcome, Status
from callpipeline.pipeline.stages import ASSETS
from callpipeline.pipeline.stopping import WalkStopped
from callpipeline.pipeline.walk import plan, walk
from callpipeline.pipeline.workbench import Workbench

log = logging.getLogger(__name__)


async def walk_batch(
    keys: Iterable[str], wanted: Collection[str], bench: Workbench, emit: Emit
) -> list[RecordingOutcome]:
    """Walk all recordings, at most ``settings.recordings_in_flight`` at once, and return how each ended.

    A recording that fails never stops another. When all assets were wanted, the catalogue learns the outcome, so
    that the next run knows what is left. Cancelling ends every walk; what was stored stays.
    """
    waiting = iter(keys)
    fingerprint = plan(bench)
    outcomes: list[RecordingOutcome] = []

    async def walker(queue: Iterator[str]) -> None:
        for key in queue:
            outcome = await _one(key, wanted, bench, emit)
            if set(ASSETS) <= set(wanted):
                _remember(bench, outcome, fingerprint)
            elif not outcome.reused:
                bench.catalog.touch(outcome.key)
            outcomes.append(outcome)
            emit(outcome)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(bench.settings.recordings_in_flight):
                group.create_task(walker(waiting))
    finally:
        await bench.disconnect()
    return outcomes


async def _one(key: str, wanted: Collection[str], bench: Workbench, emit: Emit) -> RecordingOutcome:
    try:
        return await bench.stops.walking(key, walk(key, wanted, bench, emit))
    except WalkStopped as stopped:
        outcome = StageOutcome(key, ASSETS[0], Status.FAILED, 0.0, failure=_failure(key, stopped))
        emit(outcome)
        return RecordingOutcome(key, -1, {ASSETS[0]: outcome}, 0.0)
    except Exception as error:  # even a bug outside any stage must not stop the neighbours
        if not isinstance(error, CallPipelineError):
            log.exception("recording %s", key)
        failure = _failure(key, error)
        bench.store.fail(failure)
        outcome = StageOutcome(key, ASSETS[0], Status.FAILED, 0.0, failure=failure)
        emit(outcome)
        return RecordingOutcome(key, -1, {ASSETS[0]: outcome}, 0.0)


def _failure(key: str, error: Exception) -> StageFailure:
    error_class, message, permanent = describe(error)
    return StageFailure(
        asset=ASSETS[0],
        partition=key,
        error_class=error_class,
        message=message,
        permanent=permanent,
        attempts=1,
        at=datetime.now(UTC),
    )


def _remember(bench: Workbench, outcome: RecordingOutcome, fingerprint: str) -> None:
    failure = outcome.failure
    if failure is None:
        bench.catalog.mark_done(outcome.key, fingerprint, seq=outcome.seq)
    else:
        bench.catalog.mark_failed(
            outcome.key,
            fingerprint,
            failure.error_class,
            failure.message,
            failure.permanent,
            seq=outcome.seq,
        )
