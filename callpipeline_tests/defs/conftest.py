"""A real Dagster instance, on SQLite and on Postgres, and runs on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest

from bench.recordings import InstantTranscriber
from callpipeline.defs.launch import Launched, open_instance, process
from callpipeline.defs.resources import Outcome, PipelineResource
from callpipeline.intake.scan import scan
from callpipeline.pipeline.outcomes import StageOutcome
from callpipeline.pipeline.stages import ASSETS
from callpipeline.pipeline.workbench import Workbench
from callpipeline.settings import Settings
from callpipeline.speech.engines.base import Transcriber

OF_A_CALL = tuple(asset for asset in ASSETS if asset not in ("audio_chunks", "chapters"))
"""A call is short enough to be sent at once, and has no chapters."""


@dataclass
class House:
    """The pipeline on an instance, as the command line and the daemon drive it."""

    settings: Settings
    instance: dg.DagsterInstance
    engine: Transcriber | None
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def resource(self) -> PipelineResource:
        return PipelineResource(
            settings=lambda: self.settings, engine=self.engine, listener=self.outcomes.append
        )

    def take_in(self, folder: Path) -> list[str]:
        """Scan and return all keys in order of arrival."""
        with Workbench(self.settings) as bench:
            scan(bench.catalog, folder, self.settings)
            return bench.catalog.order()

    def process(
        self, keys: Sequence[str], *, batch_size: int = 100, force_paid: bool = False
    ) -> list[Launched]:
        self.outcomes.clear()
        runs = process(self.instance, keys, self.resource, batch_size=batch_size, force_paid=force_paid)
        return list(runs)

    def materialized(self, asset: str) -> set[str]:
        return set(self.instance.get_materialized_partitions(dg.AssetKey(asset)))

    def stages(self, status: str) -> set[tuple[str, str]]:
        """(key, asset) of the last runs' outcomes with this status."""
        return {
            (outcome.key, outcome.asset)
            for outcome in self.outcomes
            if isinstance(outcome, StageOutcome) and outcome.status == status
        }


@pytest.fixture(params=["sqlite", "postgres"])
def instance(request: pytest.FixtureRequest, settings: Settings) -> Iterator[dg.DagsterInstance]:
    """An empty instance on each storage that a user may choose."""
    if request.param == "postgres":
        request.getfixturevalue("dagster_postgres")
    with open_instance(settings) as opened:
        yield opened


@pytest.fixture
def house(instance: dg.DagsterInstance) -> House:
    """The pipeline with an engine that answers at once."""
    return House(Settings(), instance, InstantTranscriber())


@pytest.fixture
def event_partitions() -> Callable[[dg.DagsterInstance, str], set[tuple[str, str]]]:
    """Read (asset, partition) of the materializations that a run logged."""

    def read(instance: dg.DagsterInstance, run_id: str) -> set[tuple[str, str]]:
        found = set()
        for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
            event = entry.get_dagster_event()
            found.add((event.asset_key.to_user_string(), event.partition))
        return found

    return read
