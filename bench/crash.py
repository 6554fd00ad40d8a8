"""Kill -9 at random moments in the middle of a batch, until a last run is left alone: what was paid twice?

Real Dagster runs in processes of their own, the real AssemblyAI SDK, a simulated provider that counts what it
charges. The ideal is one paid job a recording and every recording done.
"""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path
from typing import Any

from bench.provider_runs import done, house, start
from bench.result import Result, Scale
from callpipeline.settings import Settings
from callpipeline_tests.simulators import AssemblyAISimulator

SCALES = {Scale.SMALL: (60, 8, "lognormal:0.4,0.5"), Scale.FULL: (400, 40, "lognormal:1,0.5")}
LONGEST_RUN = 600.0
EARLY = 0.25
"""Share of the kills that come at any moment after the start; the others wait for a first paid job."""


def run(scale: Scale) -> Result:
    recordings, kills, latency = SCALES[scale]
    figures = campaign(recordings, kills, latency)
    return Result(
        "crash",
        figures["paid twice"],
        f"0 paid twice and all {recordings} recordings done after {kills} kills",
        figures["paid twice"] == 0 and figures["done"] == recordings and figures["kills"] == kills,
        figures,
    )


def campaign(
    recordings: int, kills: int, latency: str, *, variables: dict[str, str] | None = None, seed: int = 0
) -> dict[str, Any]:
    """Kill ``kills`` runs, let the last one end, and return what came of it."""
    chance = random.Random(seed)
    begun = time.monotonic()
    with (
        AssemblyAISimulator(latency=latency, child=True) as provider,
        house(recordings, {**provider.environment(), **(variables or {})}) as folder,
    ):
        killed = sum(_run_and_kill(folder / "calls", provider, chance) for _ in range(kills))
        last = start(folder / "calls")
        last.join(LONGEST_RUN)
        stats = provider.stats
        return {
            "recordings": recordings,
            "kills": killed,
            "done": done(Settings()),
            "paid": stats.paid.calls,
            "paid twice": stats.paid.duplicates,
            "most jobs in flight": stats.jobs.in_flight_max,
            "left over temporary files": len(list(folder.rglob("*.tmp"))),
            "seconds": round(time.monotonic() - begun, 1),
        }


def _run_and_kill(calls: Path, provider: AssemblyAISimulator, chance: random.Random) -> bool:
    """Start a run and kill it; return whether it was still at work."""
    before = provider.stats.jobs.submitted
    run = start(calls)
    early = chance.random() < EARLY
    while not early and run.is_alive() and provider.stats.jobs.submitted == before:
        time.sleep(0.02)
    run.join(chance.uniform(0.0, 1.5 if early else 0.6))
    alive = run.is_alive()
    if alive and run.pid is not None:
        run.kill()
    run.join()
    return alive and run.exitcode == -signal.SIGKILL
