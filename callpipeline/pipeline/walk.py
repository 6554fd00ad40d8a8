"""One recording walks through its stages; each starts the moment its inputs are there.

Every stage is a task that waits only for the stages it needs: transcription and diarization run side by side, and
nothing waits for another recording. A result is stored, and told to the caller, the moment it is done.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

from callpipeline.failures import Recorded, UpstreamMissing, describe
from callpipeline.model import StageFailure
from callpipeline.pipeline.case import Case, Inputs
from callpipeline.pipeline.outcomes import Emit, RecordingOutcome, StageOutcome, Status
from callpipeline.pipeline.stage import Stage
from callpipeline.pipeline.stages import BY_ASSET, STAGES
from callpipeline.pipeline.workbench import Workbench
from callpipeline.store.results import Stored


def digest(value: Any) -> str:
    """Short stable hash of anything that JSON can say."""
    text = json.dumps(value, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plan(bench: Workbench) -> str:
    """Fingerprint of all rules, engines and settings that decide results: equal plan, equal results."""
    return digest([(stage.asset, stage.code_version, stage.parameters(bench)) for stage in STAGES])


async def walk(key: str, wanted: Collection[str], bench: Workbench, emit: Emit) -> RecordingOutcome:
    """Bring the ``wanted`` assets of one recording up to date and tell ``emit`` about each as it ends.

    Stages that are not wanted are read from the store. Holds the recording's lock, so that a second process that
    walks the same recording waits and then finds everything done.
    """
    started = time.perf_counter()
    async with bench.store.alock(key):
        case = Case(key, bench)
        if not bench.settings.parallel_processing:
            case.listening = asyncio.Lock()
        seq = case.row.recording.seq
        tasks: dict[str, asyncio.Task[StageOutcome]] = {}
        async with asyncio.TaskGroup() as group:
            for stage in STAGES:
                if stage.asset in wanted:
                    tasks[stage.asset] = group.create_task(_run(stage, case, dict(tasks), emit))
    stages = {asset: task.result() for asset, task in tasks.items()}
    return RecordingOutcome(key, seq, stages, time.perf_counter() - started)


_LISTENING = frozenset({"transcripts", "diarization"})
"""Stages that hear a recording with models, and go side by side unless the settings forbid it."""


class _Blocked(Exception):
    """A stage above failed that this one cannot do without."""

    def __init__(self, failure: StageFailure | None) -> None:
        self.failure = failure


_Above = Mapping[str, asyncio.Task[StageOutcome]]


async def _run(stage: Stage, case: Case, above: _Above, emit: Emit) -> StageOutcome:
    """Wait for the inputs, make or reuse the result, record a failure; never raises but for cancellation."""
    started = time.perf_counter()
    try:
        inputs, lacking = await _inputs(stage, case, above)
        started = time.perf_counter()
        outcome = await _make_if_needed(stage, case, inputs, lacking)
    except _Blocked as blocked:
        outcome = StageOutcome(case.key, stage.asset, Status.BLOCKED, 0.0, failure=blocked.failure)
    except Exception as error:  # a failure of one stage of one recording is a result, whatever it is
        outcome = _failed(stage, case, error, time.perf_counter() - started)
    emit(outcome)
    return outcome


async def _inputs(stage: Stage, case: Case, above: _Above) -> tuple[Inputs, Exception | None]:
    """Collect what the stage needs, from the stages above or from the store, and say why it cannot go on."""
    inputs = Inputs()
    lacking: Exception | None = None
    for asset in stage.inputs:
        outcome = await above[asset] if asset in above else None
        if outcome is None and asset in stage.optional and not await _applies(asset, case):
            continue
        stored = outcome.stored if outcome else stored_result(case, asset)
        if stored is not None:
            inputs.stored[asset] = stored
        elif outcome is None or outcome.status is not Status.NOT_NEEDED:
            lacking = lacking or _without(stage, case, asset, outcome, inputs)
    return inputs, lacking


def _without(
    stage: Stage, case: Case, asset: str, outcome: StageOutcome | None, inputs: Inputs
) -> Exception | None:
    """Note that an input failed, or say why the stage cannot do without it."""
    failure = outcome.failure if outcome else case.bench.store.failure(asset, case.key)
    if asset in stage.can_do_without and failure is not None:
        inputs.failures[asset] = failure
        return None
    if outcome is not None:
        return _Blocked(failure)
    return UpstreamMissing(
        f"{stage.asset} needs {asset}, which is not there for {case.key}.",
        hint=f"Materialize {asset} first, or select both.",
    )


async def _applies(asset: str, case: Case) -> bool:
    """Tell whether a recording needs a stage that is not a part of this walk."""
    inputs, _ = await _inputs(BY_ASSET[asset], case, {})
    return BY_ASSET[asset].applies(case, inputs)


def stored_result(case: Case, asset: str) -> Stored[Any] | None:
    """Return the stored result of a stage, current or not."""
    return case.bench.store.get(asset, case.key, BY_ASSET[asset].value)


def cache_key_of(stage: Stage, case: Case, inputs: Inputs) -> str:
    """Fingerprint of all that decides one result: a stored one that carries it need not be made again."""
    return digest(
        {
            "code": stage.code_version,
            "parameters": stage.parameters(case.bench),
            "case": {**stage.facts(case), **stage.shows(case, inputs)},
            "inputs": {
                asset: inputs.data_version(asset)
                for asset in stage.inputs
                if asset in stage.needs or asset in inputs.stored
            },
        }
    )


async def _make_if_needed(
    stage: Stage, case: Case, inputs: Inputs, lacking: Exception | None
) -> StageOutcome:
    if not stage.applies(case, inputs):
        case.bench.store.remove(stage.asset, case.key)
        return StageOutcome(case.key, stage.asset, Status.NOT_NEEDED, 0.0)
    if lacking is not None:
        raise lacking
    return await _make(stage, case, inputs, time.perf_counter())


async def _make(stage: Stage, case: Case, inputs: Inputs, started: float) -> StageOutcome:
    cache_key = cache_key_of(stage, case, inputs)
    store = case.bench.store
    stored = stored_result(case, stage.asset)
    status = Status.REUSED
    if (
        stored is None
        or stored.cache_key != cache_key
        or stage.anew(case.bench)
        or stage.lacks(stored.value) is not None
    ):
        async with case.listening if stage.asset in _LISTENING else nullcontext():
            value = await stage.run(case, inputs)
        stored = store.put(stage.asset, case.key, value, cache_key=cache_key, code_version=stage.code_version)
        status = Status.DONE
    missing = _missing(stage, stored, inputs)
    if missing is not None:
        # What there is is stored and shown; the asset stays unmaterialized until the rest is there too.
        failure = _record(stage, case, *describe(missing))
        seconds = time.perf_counter() - started
        return StageOutcome(case.key, stage.asset, Status.FAILED, seconds, stored, failure)
    store.clear_failure(stage.asset, case.key)
    return StageOutcome(case.key, stage.asset, status, time.perf_counter() - started, stored)


def _missing(stage: Stage, stored: Stored[Any], inputs: Inputs) -> Recorded | None:
    """Say what a result lacks that could be made in part only."""
    failed = next(iter(inputs.failures.values()), None)
    if failed is None:
        return stage.lacks(stored.value)
    message = f"decided in part only: {failed.asset} failed ({failed.message})"
    return Recorded(failed.error_class, message, failed.permanent)


def _failed(stage: Stage, case: Case, error: Exception, seconds: float) -> StageOutcome:
    failure = _record(stage, case, *describe(error))
    return StageOutcome(case.key, stage.asset, Status.FAILED, seconds, failure=failure)


def _record(stage: Stage, case: Case, error_class: str, message: str, permanent: bool) -> StageFailure:
    before = case.bench.store.failure(stage.asset, case.key)
    failure = StageFailure(
        asset=stage.asset,
        partition=case.key,
        error_class=error_class,
        message=message,
        permanent=permanent,
        attempts=1 + (before.attempts if before else 0),
        at=datetime.now(UTC),
    )
    case.bench.store.fail(failure)
    return failure
