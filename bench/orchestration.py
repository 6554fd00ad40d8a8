"""CPU and wall seconds that a recording costs beside the engine, through a real Dagster run, all assets.

Ideal and peer in the same run: the same walk without Dagster. Flat means: a recording among many costs what one
among few costs.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path

from bench.recordings import InstantTranscriber, tiny_calls
from bench.result import Result, Scale
from callpipeline.defs.launch import open_instance, process
from callpipeline.defs.resources import PipelineResource
from callpipeline.intake.scan import scan
from callpipeline.pipeline.batch import walk_batch
from callpipeline.pipeline.stages import ASSETS
from callpipeline.pipeline.workbench import Workbench
from callpipeline.settings import Settings

COUNTS = {Scale.SMALL: (30, 90), Scale.FULL: (100, 1000)}
GOAL_CPU = 0.3
GOAL_FLAT = 1.25


def run(scale: Scale) -> Result:
    few, many = COUNTS[scale]
    _dagster_run(5)  # imports and model loading are start-up, not a recording's cost
    small, large, alone = _dagster_run(few), _dagster_run(many), _walk_only(few)
    flat = large["cpu_s"] / small["cpu_s"]
    return Result(
        "orchestration",
        round(large["cpu_s"], 4),
        f"< {GOAL_CPU} CPU s a recording, flat (<= {GOAL_FLAT} x from {few} to {many})",
        large["cpu_s"] < GOAL_CPU and flat <= GOAL_FLAT,
        {
            f"{few} recordings through Dagster": small,
            f"{many} recordings through Dagster": large,
            f"{few} recordings without Dagster (decode, VAD, rules, store)": alone,
            "growth": round(flat, 3),
            "Dagster's share of CPU": round(1 - alone["cpu_s"] / small["cpu_s"], 3),
        },
    )


def _dagster_run(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        settings, keys = _prepared(Path(folder), count)
        os.environ["DAGSTER_HOME"] = folder
        resource = PipelineResource(settings=lambda: settings, engine=InstantTranscriber())
        with open_instance(settings) as instance:
            cpu, wall = time.process_time(), time.perf_counter()
            runs = list(process(instance, keys, resource, batch_size=settings.batch_size))
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if not all(run.success for run in runs):
            raise RuntimeError("a run failed: the figures would mean nothing")
    return {"cpu_s": round(cpu / count, 4), "wall_s": round(wall / count, 4)}


def _walk_only(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        settings, keys = _prepared(Path(folder), count)
        with Workbench(settings, engine=InstantTranscriber()) as bench:
            cpu, wall = time.process_time(), time.perf_counter()
            outcomes = asyncio.run(walk_batch(keys, ASSETS, bench, lambda outcome: None))
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if any(outcome.failure for outcome in outcomes):
            raise RuntimeError("a recording failed: the figures would mean nothing")
    return {"cpu_s": round(cpu / count, 4), "wall_s": round(wall / count, 4)}


def _prepared(folder: Path, count: int) -> tuple[Settings, list[str]]:
    (folder / "dagster.yaml").write_text(
        "storage:\n  custom:\n    module: callpipeline.defs.instance_storage\n    class: InstanceStorage\n"
        "telemetry:\n  enabled: false\n"
    )
    tiny_calls(folder / "calls", count)
    settings = Settings(data_dir=folder / "data", stable_seconds=0)
    with Workbench(settings) as bench:
        scan(bench.catalog, folder / "calls", settings)
        return settings, bench.catalog.order()
