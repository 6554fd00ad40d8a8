"""The sensor of the economy mode: a job that has ended becomes a run that fetches its answers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from callpipeline.defs.graph_sensor import build_graph_sensor
from callpipeline.graph.extractors.openai import economy
from callpipeline.knowledge import KgExtraction
from callpipeline.pipeline.workbench import Workbench
from callpipeline_tests.defs.conftest import House
from callpipeline_tests.graph.openai_house import settings_for
from callpipeline_tests.graph.responding import answer
from callpipeline_tests.simulators import OpenAISimulator

pytestmark = pytest.mark.parametrize("instance", ["sqlite"], indirect=True)

SAID = "Chronic stress causes bad sleep. A short walk reduces tension. Morning light improves attention."


@pytest.fixture
def provider() -> Iterator[OpenAISimulator]:
    with OpenAISimulator(responder=answer, batch_seconds=0.2) as sim:
        yield sim


def tick(house: House) -> dg.SensorResult | dg.SkipReason:
    context = dg.build_sensor_context(instance=house.instance, resources={"pipeline": house.resource})
    return build_graph_sensor()(context)  # type: ignore[no-any-return]


def talks(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        turns = [
            {"start": 0, "end": 9, "speaker": "A", "text": f"Talk {number}. {SAID}"},
            {"start": 10, "end": 12, "speaker": "B", "text": f"Practice {number} requires patience."},
        ]
        (folder / f"Talk {number}.json").write_text(json.dumps({"turns": turns}))


def found(house: House, keys: list[str]) -> list[int]:
    """Return how many relations were found in each recording."""
    with Workbench(house.settings) as bench:
        stored = [bench.store.get("kg_extractions", key, KgExtraction) for key in keys]
    return [sum(len(chunk.relations) for chunk in one.value.chunks) if one else 0 for one in stored]


def test_it_is_on_and_asks_nobody_as_long_as_nothing_was_ordered(
    house: House, provider: OpenAISimulator
) -> None:
    assert build_graph_sensor().default_status is dg.DefaultSensorStatus.RUNNING
    house.settings = settings_for(provider, house.settings.store, graph_economy=True)
    assert isinstance(tick(house), dg.SkipReason)
    assert not house.settings.store.exists()
    assert provider.stats.all.requests == 0


def test_a_job_that_has_ended_becomes_one_run_that_fetches_it(
    house: House, provider: OpenAISimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(economy, "LINGER_SECONDS", 0.1)
    house.settings = settings_for(provider, house.settings.store, graph_economy=True)
    talks(house.settings.uploads, 2)
    keys = house.take_in(house.settings.uploads)
    house.process(keys)
    assert found(house, keys) == [0, 0]
    assert len(house.stages("failed")) == 2

    while isinstance(asked := tick(house), dg.SkipReason):
        time.sleep(0.02)
    (request,) = asked.run_requests
    same = tick(house)
    assert isinstance(same, dg.SensorResult)
    assert [one.run_key for one in same.run_requests] == [request.run_key]
    assert sorted(request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end")) == sorted(
        keys
    )

    (run,) = house.process(keys)
    assert run.success
    assert all(count == 4 for count in found(house, keys))
    assert isinstance(tick(house), dg.SkipReason)
    assert provider.stats.paid.duplicates == 0


def test_a_provider_that_does_not_answer_is_no_failure(
    house: House, provider: OpenAISimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(economy, "LINGER_SECONDS", 0.1)
    house.settings = settings_for(provider, house.settings.store, graph_economy=True)
    talks(house.settings.uploads, 1)
    house.process(house.take_in(house.settings.uploads))
    provider.faults.script("batch", *["503"] * 3)
    asked = tick(house)
    assert isinstance(asked, dg.SkipReason)
    assert "not known now" in str(asked.skip_message)
