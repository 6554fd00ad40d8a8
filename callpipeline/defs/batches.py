"""Batches of recordings as Dagster runs: contiguous ranges of the partition set.

A run can take one partition or one range of them, in the order in which they were added. Recordings that wait here
and there among others would become many small runs, one after another; so short stretches of what is done already
are taken along where the caller says so: to find a recording done costs less than to start a run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
PARTITION = "dagster/partition"
LONGEST_GAP = 15
"""Recordings that are done between two that are not: finding so many done takes about as long as a run's start."""


@dataclass(frozen=True)
class Batch:
    """Recordings of one run, next to each other in the partition set."""

    keys: tuple[str, ...]

    @property
    def tags(self) -> Mapping[str, str]:
        """Run tags that select exactly these partitions."""
        if len(self.keys) == 1:
            return {PARTITION: self.keys[0]}
        return {RANGE_START: self.keys[0], RANGE_END: self.keys[-1]}

    @property
    def run_key(self) -> str:
        """Same batch, same run: a sensor that asks twice gets one run."""
        return f"{self.keys[0]}..{self.keys[-1]}:{len(self.keys)}"


def batches(
    wanted: Iterable[str], order: Sequence[str], size: int, *, along: Collection[str] = ()
) -> Iterator[Batch]:
    """Split ``wanted`` into runs of neighbours in ``order`` (all partitions), ``size`` recordings at most.

    Up to ``LONGEST_GAP`` recordings between two wanted ones are taken along if all of them are in ``along``.
    """
    position = {key: number for number, key in enumerate(order)}
    run: list[str] = []
    for key in sorted(wanted, key=position.__getitem__):
        between = order[position[run[-1]] + 1 : position[key]] if run else ()
        fits = len(run) + len(between) < size and len(between) <= LONGEST_GAP
        if run and not (fits and all(other in along for other in between)):
            yield Batch(tuple(run))
            run, between = [], ()
        run += [*between, key]
    if run:
        yield Batch(tuple(run))
