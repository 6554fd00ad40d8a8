"""Dagster's event log on SQLite as we open it: what other processes and a killed one leave is read and repaired."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from callpipeline.defs.instance_storage import default_base
from callpipeline.defs.launch import open_instance
from callpipeline.settings import Settings
from callpipeline_tests.defs.conftest import House

Calls = Callable[[int], Path]
pytestmark = pytest.mark.parametrize("instance", ["sqlite"], indirect=True)


def test_two_instances_read_what_the_other_wrote(house: House, calls: Calls, settings: Settings) -> None:
    keys = house.take_in(calls(3))
    with open_instance(settings) as other:
        assert other.get_materialized_partitions(dg.AssetKey("transcripts")) == set()
        (launched,) = house.process(keys)
        assert other.get_materialized_partitions(dg.AssetKey("transcripts")) == set(keys)
        planned = [
            entry.get_dagster_event().partition
            for entry in other.all_logs(
                launched.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
            )
            if entry.get_dagster_event().asset_key == dg.AssetKey("transcripts")
        ]
    assert sorted(planned) == sorted(keys)


def test_a_follower_of_a_run_hears_its_events(house: House, calls: Calls, settings: Settings) -> None:
    keys = house.take_in(calls(2))
    heard = threading.Event()
    with open_instance(settings) as other:
        run_id = house.process(keys)[0].run_id

        def listen(entry: dg.EventLogEntry, cursor: str) -> None:
            if "after the fact" in entry.message:
                heard.set()

        other.watch_event_logs(run_id, None, listen)
        logger = house.instance
        logger.report_engine_event("after the fact", dagster_run=logger.get_run_by_id(run_id))
        assert heard.wait(30)
        other.end_watch_event_logs(run_id, listen)


def test_a_file_without_tables_is_repaired(house: House, calls: Calls, settings: Settings) -> None:
    keys = house.take_in(calls(1))
    run_id = house.process(keys)[0].run_id
    (file,) = default_base().rglob(f"{run_id}.db")
    house.instance.dispose()
    with sqlite3.connect(file) as database:
        database.execute("DROP TABLE event_logs")
    database.close()
    with open_instance(settings) as other:
        assert other.all_logs(run_id) == []
        other.report_engine_event("still here", dagster_run=other.get_run_by_id(run_id))
        assert len(other.all_logs(run_id)) == 1


def test_a_removed_run_is_gone_and_the_next_is_written(house: House, calls: Calls) -> None:
    keys = house.take_in(calls(1))
    run_id = house.process(keys)[0].run_id
    house.instance.delete_run(run_id)
    assert house.instance.all_logs(run_id) == []
    house.instance.wipe()
    assert house.materialized("transcripts") == set()
    house.process(keys)
    assert house.materialized("transcripts") == set(keys)
