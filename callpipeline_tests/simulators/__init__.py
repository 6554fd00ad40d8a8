"""Simulators of the AssemblyAI and OpenAI APIs: real HTTP servers on loopback.

Belongs here: what the providers do as seen from outside (answers, limits, queueing, faults), counted exactly.
Does not: anything of callpipeline; the simulators import nothing of the product, so that its bugs cannot
hide in them.

    with AssemblyAISimulator(concurrency=5, latency="lognormal:3,0.5") as sim:
        os.environ.update(sim.environment())      # ASSEMBLYAI_BASE_URL, ASSEMBLYAI_API_KEY
        sim.faults.script("submit", "429:1", "reset@after")
        ...
        assert sim.stats.jobs.in_flight_max <= 5
        assert sim.stats.paid.duplicates == 0

``child=True`` runs the server in a process of its own. A person starts one with
``python -m callpipeline_tests.simulators assemblyai|openai|both``.
"""

from __future__ import annotations

from callpipeline_tests.simulators.counting import Stats
from callpipeline_tests.simulators.faults import Fault
from callpipeline_tests.simulators.latency import Latency
from callpipeline_tests.simulators.options import RateLimit
from callpipeline_tests.simulators.running import AssemblyAISimulator, OpenAISimulator
from callpipeline_tests.simulators.words import SpokenTurn

__all__ = [
    "AssemblyAISimulator",
    "Fault",
    "Latency",
    "OpenAISimulator",
    "RateLimit",
    "SpokenTurn",
    "Stats",
]
