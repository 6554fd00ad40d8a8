"""Runs against a simulated provider, in processes that may be killed at any moment.

A fork server that has everything imported starts them, so that a process is at work in a second. What they do is
what ``callpipeline run`` does: scan, pending, Dagster runs over the pending recordings.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

from bench.recordings import tiny_calls
from callpipeline.settings import Settings

INSTANCE = (
    "storage:\n  custom:\n    module: callpipeline.defs.instance_storage\n    class: InstanceStorage\n"
    "telemetry:\n  enabled: false\n"
)
_PRELOADED = [
    "callpipeline.defs.launch",
    "callpipeline.intake.scan",
    "callpipeline.pipeline.batch",
    "assemblyai",
]


@contextmanager
def house(recordings: int, variables: Mapping[str, str]) -> Iterator[Path]:
    """Make a folder with so many tiny calls and an empty instance, and set the environment for its runs."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "dagster.yaml").write_text(INSTANCE)
        tiny_calls(folder / "calls", recordings)
        os.environ.update(
            {
                "DAGSTER_HOME": str(folder),
                "CALLPIPELINE_DATA_DIR": str(folder / "data"),
                "CALLPIPELINE_STABLE_SECONDS": "0",
                "CALLPIPELINE_TRANSCRIBER": "assemblyai",
                **variables,
            }
        )
        try:
            yield folder
        finally:
            os.environ.clear()
            os.environ.update(before)


def start(calls: Path) -> BaseProcess:
    """Start a process that works off all that is pending in a folder; its environment is this one's."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    process = context.Process(target=work_off, args=(str(calls), dict(os.environ)))
    process.start()
    return process


def work_off(calls: str, variables: Mapping[str, str]) -> None:
    """Scan a folder and run what is pending, as the command line does."""
    from callpipeline.defs.launch import open_instance, process
    from callpipeline.defs.resources import PipelineResource
    from callpipeline.intake.scan import scan
    from callpipeline.pipeline.pending import pending
    from callpipeline.pipeline.workbench import Workbench
    from callpipeline.store.sweep import sweep

    os.environ.update(variables)
    settings = Settings()
    with Workbench(settings) as bench:
        scan(bench.catalog, Path(calls), settings)
        waiting = pending(bench, Path(calls))
    resource = PipelineResource(settings=lambda: settings)
    with open_instance(settings) as instance:
        for _ in process(instance, waiting, resource, batch_size=settings.batch_size):
            pass
    with Workbench(settings) as bench:
        sweep(settings.store, bench.catalog)


def done(settings: Settings) -> int:
    """Count the recordings that are done."""
    from callpipeline.pipeline.workbench import Workbench

    with Workbench(settings) as bench:
        return bench.catalog.counts().done
