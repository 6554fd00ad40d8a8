"""Batches of recordings as Dagster runs: contiguous ranges of the partition set.

A run can take one partition or one range of them, in the order in which they were added.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
PARTITION = "dagster/partition"


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


def batches(wanted: Iterable[str], order: Sequence[str], size: int) -> Iterator[Batch]:
    """Split ``wanted`` into runs of neighbours in ``order`` (all partitions), ``size`` recordings at most."""
    position = {key: number for number, key in enumerate(order)}
    run: list[str] = []
    for key in sorted(wanted, key=position.__getitem__):
        if run and (len(run) == size or position[key] != position[run[-1]] + 1):
            yield Batch(tuple(run))
            run = []
        run.append(key)
    if run:
        yield Batch(tuple(run))
