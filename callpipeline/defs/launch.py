"""Runs from the command line: the same jobs on the same instance, in this process, so that progress is live."""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from callpipeline.definitions import build_defs
from callpipeline.defs.assets.process import STEP
from callpipeline.defs.batches import Batch, batches
from callpipeline.defs.jobs import PROCESS, ROLL_UP
from callpipeline.defs.partitions import RECORDINGS
from callpipeline.defs.resources import SPENDS_WITH, PipelineResource
from callpipeline.settings import Settings, project_root
from callpipeline.store.files import write_text

OUTSIDE_A_PROJECT = """storage:
  custom:
    module: callpipeline.defs.instance_storage
    class: InstanceStorage
telemetry:
  enabled: false
"""
INTERRUPTED = "DagsterExecutionInterruptedError"
QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def instance_home(settings: Settings) -> Path:
    """Return the folder of ``dagster.yaml``: DAGSTER_HOME, the project, or one made beside the data."""
    given = os.environ.get("DAGSTER_HOME")
    if given:
        return Path(given).expanduser()
    root = project_root()
    if (root / "dagster.yaml").is_file():
        return root
    home = settings.data_dir.absolute() / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        write_text(home / "dagster.yaml", OUTSIDE_A_PROJECT)
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """Open the instance that ``dagster dev`` in the same folder uses."""
    os.environ["DAGSTER_HOME"] = str(instance_home(settings).absolute())
    return dg.DagsterInstance.get()


@dataclass(frozen=True)
class Launched:
    """One run, finished. ``left``: what it says that it leaves, when somebody stopped it (Ctrl-C, SIGTERM)."""

    run_id: str
    batch: Batch
    success: bool
    interrupted: bool = False
    left: str = ""


def process(
    instance: dg.DagsterInstance,
    keys: Iterable[str],
    resource: PipelineResource,
    *,
    batch_size: int,
    force_paid: bool = False,
    along: Collection[str] = (),
) -> Iterator[Launched]:
    """Add the recordings as partitions and walk them, batch by batch; yield each run when it has ended.

    A run that is interrupted is the last one. All of them share one budget, that of the first. ``force_paid``:
    transcribe anew at a provider, and pay for it, what was bought before. ``along``: recordings that are done, of
    which a few may be walked along; see ``batches``.
    """
    wanted = list(dict.fromkeys(keys))
    known = set(instance.get_dynamic_partitions(RECORDINGS))
    new = [key for key in wanted if key not in known]
    if new:
        instance.add_dynamic_partitions(RECORDINGS, new)
    job = build_defs({"pipeline": resource}).resolve_job_def(PROCESS)
    ops = {STEP: {"config": {"force_paid": force_paid}}}
    along = () if force_paid else frozenset(along)
    first = str(uuid.uuid4())
    for number, batch in enumerate(
        batches(wanted, instance.get_dynamic_partitions(RECORDINGS), batch_size, along=along)
    ):
        result = job.execute_in_process(
            run_config={**QUIET, "ops": ops},
            instance=instance,
            tags={**batch.tags, "callpipeline/from": "cli", SPENDS_WITH: first},
            run_id=first if number == 0 else None,
            raise_on_error=False,
        )
        stopped = _interruption(result)
        left = stopped.message.partition("\n")[2].strip() if stopped else ""
        yield Launched(result.run_id, batch, result.success, stopped is not None, left)
        if stopped:
            return


def _interruption(result: dg.ExecuteInProcessResult) -> SerializableErrorInfo | None:
    """Return how the step was stopped; its first line names the class, the others are the notes it was given."""
    errors = (event.step_failure_data.error for event in result.all_events if event.is_step_failure)
    return next((error for error in errors if error is not None and error.cls_name == INTERRUPTED), None)


def roll_up(instance: dg.DagsterInstance, resource: PipelineResource) -> Launched:
    """Bring the warehouse and the report up to date."""
    job = build_defs({"pipeline": resource}).resolve_job_def(ROLL_UP)
    result = job.execute_in_process(run_config=QUIET, instance=instance, raise_on_error=False)
    return Launched(result.run_id, Batch(()), result.success)
