"""What it costs to find nothing new: the sensor's tick and ``callpipeline run`` over known files.

Every file has been taken in and has results of all stages (one call's results under every key), so what is measured
is the look at the folder, the catalogue, and what the command shows. Peer: a bare walk that only lists and stats.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg

from bench.recordings import InstantTranscriber, tiny_calls
from bench.result import Result, Scale
from callpipeline.defs.launch import open_instance, process, roll_up
from callpipeline.defs.resources import PipelineResource
from callpipeline.defs.sensors import build_uploads_sensor
from callpipeline.intake.scan import scan
from callpipeline.pipeline.stage import always
from callpipeline.pipeline.stages import STAGES
from callpipeline.pipeline.walk import plan
from callpipeline.pipeline.workbench import Workbench
from callpipeline.settings import Settings

COUNTS = {Scale.SMALL: 1000, Scale.FULL: 10_000}
GOAL_TICK, GOAL_RUN = 2.0, 5.0


def run(scale: Scale) -> Result:
    count = COUNTS[scale]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(data_dir=folder / "data", uploads_dir=folder / "calls", stable_seconds=0)
        environment = {
            "DAGSTER_HOME": name,
            "CALLPIPELINE_DATA_DIR": str(settings.data_dir),
            "CALLPIPELINE_UPLOADS_DIR": str(settings.uploads),
            "CALLPIPELINE_TRANSCRIBER": "sphinx",
        }
        os.environ.update(environment)
        _known_files(folder, settings, count)
        tick = _tick(settings)
        command = _command(settings)
        bare = _bare_walk(settings.uploads)
    return Result(
        "rerun",
        round(command, 2),
        f"tick <= {GOAL_TICK} s, run <= {GOAL_RUN} s with nothing new",
        tick <= GOAL_TICK and command <= GOAL_RUN,
        {
            "known files": count,
            "sensor tick s": round(tick, 3),
            "callpipeline run s, process start to exit": round(command, 3),
            "bare list and stat s": round(bare, 3),
        },
    )


def _known_files(folder: Path, settings: Settings, count: int) -> None:
    """Take in ``count`` files; one is processed for real, the others get its results."""
    (folder / "dagster.yaml").write_text(
        "storage:\n  custom:\n    module: callpipeline.defs.instance_storage\n    class: InstanceStorage\n"
        "telemetry:\n  enabled: false\n"
    )
    tiny_calls(settings.uploads, count)
    resource = PipelineResource(settings=lambda: settings, engine=InstantTranscriber())
    with Workbench(settings) as bench, open_instance(settings) as instance:
        scan(bench.catalog, settings.uploads, settings)
        first, *others = bench.catalog.order()
        list(process(instance, [first], resource, batch_size=1))
        for stage in STAGES:
            stored = bench.store.get(stage.asset, first, stage.value)
            if stored is None and stage.applies is not always:
                continue
            if stored is None:
                raise RuntimeError(f"{stage.asset} has no result")
            for key in others:
                bench.store.put(
                    stage.asset,
                    key,
                    stored.value,
                    cache_key=stored.cache_key,
                    code_version=stored.code_version,
                )
        fingerprint = plan(bench)
        for key in [first, *others]:
            bench.catalog.mark_done(key, fingerprint)
        instance.add_dynamic_partitions("recordings", others)
        roll_up(instance, resource)


def _tick(settings: Settings) -> float:
    sensor = build_uploads_sensor()
    resource = PipelineResource(settings=lambda: settings)
    with open_instance(settings) as instance:
        cursor = None
        for _ in range(100):
            context = dg.build_sensor_context(
                instance=instance, cursor=cursor, resources={"pipeline": resource}
            )
            started = time.perf_counter()
            result = sensor.evaluate_tick(context)
            seconds = time.perf_counter() - started
            if result.cursor == cursor:
                return seconds
            cursor = result.cursor
    raise RuntimeError("the sensor found something new each time")


def _command(settings: Settings) -> float:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "callpipeline", "run", str(settings.uploads)],
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0 or "0 processed" not in done.stdout:
        raise RuntimeError(f"not a run with nothing new: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return seconds


def _bare_walk(folder: Path) -> float:
    started = time.perf_counter()
    with os.scandir(folder) as entries:
        for entry in entries:
            entry.stat()
    return time.perf_counter() - started
