"""N calls through five jobs at a time: how close the whole comes to what the provider's jobs take by themselves.

The ideal is the sum of the jobs' lengths over the number of slots, by the simulator's own count. The peer, in the same
run: the usual way, a thread pool of five in which each thread transcribes a call with the SDK as it comes (polling
every 3 s) and keeps its slot while it does the local part.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from bench.provider_runs import house
from bench.recordings import InstantTranscriber
from bench.result import Result, Scale
from callpipeline.settings import Settings
from callpipeline_tests.simulators import AssemblyAISimulator

SLOTS = 5
SCALES = {Scale.SMALL: (50, "lognormal:1,0.5"), Scale.FULL: (500, "lognormal:3,0.5")}
GOALS = {Scale.SMALL: 1.35, Scale.FULL: 1.05}
"""At a small scale the start of the run and the last jobs weigh more."""


def run(scale: Scale) -> Result:
    count, latency = SCALES[scale]
    ours = _ours(count, latency)
    usual = _usual_way(count, latency)
    return Result(
        "calls500",
        ours["against the ideal"],
        f"makespan <= {GOALS[scale]} x (sum of job times / {SLOTS})",
        ours["against the ideal"] <= GOALS[scale] and ours["most jobs in flight"] <= SLOTS,
        {"calls": count, "job length": latency, "callpipeline": ours, "thread pool of 5": usual},
    )


def _ours(count: int, latency: str) -> dict[str, Any]:
    from callpipeline.defs.launch import open_instance, process
    from callpipeline.defs.resources import PipelineResource

    with (
        AssemblyAISimulator(latency=latency, child=True) as provider,
        house(count, provider.environment()) as folder,
    ):
        settings, keys = _scanned(folder / "calls")
        resource = PipelineResource(settings=lambda: settings)
        with open_instance(settings) as instance:
            begun, cpu = time.monotonic(), time.process_time()
            runs = list(process(instance, keys, resource, batch_size=count))
            seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
        if not all(run.success for run in runs):
            raise RuntimeError("a run failed: the figures would mean nothing")
        return _figures(provider, seconds, cpu)


def _usual_way(count: int, latency: str) -> dict[str, Any]:
    import assemblyai as aai

    from callpipeline.intake.catalog import Catalog
    from callpipeline.pipeline.stages import ASSETS
    from callpipeline.pipeline.walk import walk
    from callpipeline.pipeline.workbench import Workbench

    with (
        AssemblyAISimulator(latency=latency, child=True) as provider,
        house(count, provider.environment()) as folder,
    ):
        settings, keys = _scanned(folder / "calls")
        sdk = aai.Settings(api_key=provider.api_key, base_url=provider.base_url)
        config = aai.TranscriptionConfig(multichannel=True, speech_models=["universal-2"])
        client = aai.Client(settings=sdk)
        with (
            Workbench(settings, engine=InstantTranscriber()) as bench,
            closing(client.http_client),
            ThreadPoolExecutor(SLOTS) as pool,
        ):
            catalog: Catalog = bench.catalog

            def one(key: str) -> None:
                path = str(catalog.sources(key)[0].path)
                transcript = aai.Transcriber(client=client).transcribe(path, config)
                if transcript.error:
                    raise RuntimeError(transcript.error)
                asyncio.run(walk(key, ASSETS, bench, lambda outcome: None))

            begun, cpu = time.monotonic(), time.process_time()
            list(pool.map(one, keys))
            return _figures(provider, time.monotonic() - begun, time.process_time() - cpu)


def _scanned(calls: os.PathLike[str]) -> tuple[Settings, list[str]]:
    from pathlib import Path

    from callpipeline.intake.scan import scan
    from callpipeline.pipeline.workbench import Workbench

    settings = Settings()
    with Workbench(settings) as bench:
        scan(bench.catalog, Path(calls), settings)
        return settings, bench.catalog.order()


def _figures(provider: AssemblyAISimulator, seconds: float, cpu: float) -> dict[str, Any]:
    stats = provider.stats
    ideal = stats.jobs.work_seconds / SLOTS
    return {
        "makespan_s": round(seconds, 2),
        "ideal_s": round(ideal, 2),
        "against the ideal": round(seconds / ideal, 4),
        "most jobs in flight": stats.jobs.in_flight_max,
        "requests a call": round(stats.all.requests / stats.jobs.submitted, 1),
        "cpu_s a call": round(cpu / stats.jobs.submitted, 3),
        "paid twice": stats.paid.duplicates,
    }
