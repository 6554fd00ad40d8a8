"""What is to do: new and changed recordings, those that failed, and those whose results somebody removed."""

from __future__ import annotations

from pathlib import Path

from callpipeline.pipeline.stage import always
from callpipeline.pipeline.stages import STAGES
from callpipeline.pipeline.walk import plan
from callpipeline.pipeline.workbench import Workbench

_OF_EVERY_RECORDING = tuple(stage.asset for stage in STAGES if stage.applies is always)


def pending(bench: Workbench, folder: Path | None = None, *, retry_failed: bool = False) -> list[str]:
    """Return keys to work on, in order of arrival.

    ``retry_failed``: also what failed for good. What was done counts as done while its results are there.
    """
    waiting = set(bench.catalog.pending(plan(bench), folder, retry_failed=retry_failed))
    order = bench.catalog.order(folder)
    wiped = _done(bench, folder, order) - _whole(bench)
    return [key for key in order if key in waiting or key in wiped]


def done(bench: Workbench) -> frozenset[str]:
    """Return the keys that are done with the present rules and engines, results and all."""
    return frozenset(_done(bench, None, bench.catalog.order()) & _whole(bench))


def _done(bench: Workbench, folder: Path | None, order: list[str]) -> set[str]:
    return set(order) - set(bench.catalog.pending(plan(bench), folder, retry_failed=True))


def _whole(bench: Workbench) -> set[str]:
    """Return the keys of which each result that every recording has is there. One look at a folder for each."""
    return set.intersection(*(bench.store.keys(asset) for asset in _OF_EVERY_RECORDING))
