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
UNCAUGHT = {
    "module": "dagster._core.storage.noop_compute_log_manager",
    "class": "NoOpComputeLogManager",
}
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


def open_servers_instance(settings: Settings) -> dg.DagsterInstance:
    """Open the same instance for a process that executes runs in several threads.

    What its steps print is not caught: that is done by redirecting the output of the whole process, and two runs at
    once leave it redirected for ever.
    """
    from dagster._core.instance.ref import InstanceRef

    home = instance_home(settings).absolute()
    os.environ["DAGSTER_HOME"] = str(home)
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides={"compute_logs": UNCAUGHT}))


def side_by_side(instance: dg.DagsterInstance) -> bool:
    """Let runs execute in several threads of this process; false where dagster.yaml sets handlers for logs.

    Dagster sets logging up anew at the start of each run, also where there is nothing to set up. That takes the locks
    of logging in another order than a run that writes an event, and two such runs wait for each other for ever.
    """
    if instance.get_python_log_dagster_handler_config():
        return False
    instance.get_yaml_python_handlers = list  # type: ignore[method-assign]
    return True


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
    assets: Collection[str] = (),
    origin: str = "cli",
) -> Iterator[Launched]:
    """Add the recordings as partitions and walk them, batch by batch; yield each run when it has ended.

    A run that is interrupted is the last one. All of them share one budget, that of the first. ``force_paid``:
    transcribe anew at a provider, and pay for it, what was bought before. ``along``: recordings that are done, of
    which a few may be walked along; see ``batches``. ``assets``: only these, else all. ``origin``: who started it.
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
            tags={**batch.tags, "callpipeline/from": origin, SPENDS_WITH: first},
            run_id=first if number == 0 else None,
            asset_selection=[dg.AssetKey(asset) for asset in assets] or None,
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


def report_lost(instance: dg.DagsterInstance, run_id: str) -> None:
    """Mark a run whose process is gone as failed; one that has ended stays as it is."""
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished:
        instance.report_run_failed(run, message="The process that executed this run is gone.")


def roll_up(instance: dg.DagsterInstance, resource: PipelineResource) -> Launched:
    """Bring knowledge graph, warehouse and report up to date."""
    job = build_defs({"pipeline": resource}).resolve_job_def(ROLL_UP)
    result = job.execute_in_process(run_config=QUIET, instance=instance, raise_on_error=False)
    return Launched(result.run_id, Batch(()), result.success)
