"""The sensors: what has landed becomes runs, once; finished work brings the report up to date."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from callpipeline.definitions import build_defs
from callpipeline.defs.jobs import PROCESS
from callpipeline.defs.sensors import build_results_sensor, build_uploads_sensor
from callpipeline_tests.defs.conftest import House

Calls = Callable[[int], Path]


def _tick(house: House, sensor: dg.SensorDefinition, cursor: str | None) -> dg.SensorResult:
    context = dg.build_sensor_context(
        instance=house.instance, cursor=cursor, resources={"pipeline": house.resource}
    )
    return sensor(context)


def _apply(house: House, result: dg.SensorResult) -> None:
    """Do what the daemon does with a tick: add partitions, run what is asked for."""
    for request in result.dynamic_partitions_requests or []:
        house.instance.add_dynamic_partitions("recordings", list(request.partition_keys))


def _ranges(result: dg.SensorResult) -> list[tuple[str | None, str | None]]:
    return [
        (
            request.tags.get("dagster/asset_partition_range_start", request.tags.get("dagster/partition")),
            request.tags.get("dagster/asset_partition_range_end", request.tags.get("dagster/partition")),
        )
        for request in result.run_requests or []
    ]


def test_both_sensors_run_without_being_switched_on() -> None:
    for sensor in (build_uploads_sensor(), build_results_sensor()):
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


def test_what_has_landed_is_requested_as_batches(house: House, calls: Calls) -> None:
    house.settings = house.settings.model_copy(update={"batch_size": 2})
    calls(5)
    result = _tick(house, build_uploads_sensor(), None)
    [request] = result.dynamic_partitions_requests
    keys = list(request.partition_keys)
    assert len(keys) == 5
    assert _ranges(result) == [(keys[0], keys[1]), (keys[2], keys[3]), (keys[4], keys[4])]


def test_the_same_tick_twice_asks_for_the_same_runs(house: House, calls: Calls) -> None:
    calls(3)
    sensor = build_uploads_sensor()
    first, again = _tick(house, sensor, None), _tick(house, sensor, None)
    assert [r.run_key for r in first.run_requests] == [r.run_key for r in again.run_requests]
    _apply(house, first)
    third = _tick(house, sensor, None)
    assert [r.run_key for r in third.run_requests] == [r.run_key for r in first.run_requests]


def test_nothing_new_is_skipped_and_says_so(house: House, calls: Calls) -> None:
    calls(2)
    sensor = build_uploads_sensor()
    first = _tick(house, sensor, None)
    _apply(house, first)
    second = _tick(house, sensor, first.cursor)
    assert not second.run_requests
    assert "nothing new among 2 files" in second.skip_reason.skip_message


def test_a_file_under_another_name_or_touched_asks_for_nothing(house: House, calls: Calls) -> None:
    folder = calls(1)
    sensor = build_uploads_sensor()
    first = _tick(house, sensor, None)
    _apply(house, first)
    house.process(list(first.dynamic_partitions_requests[0].partition_keys))
    [file] = folder.iterdir()
    shutil.copy(file, folder / "the same under another name.wav")
    os.utime(file, (1, 1))
    second = _tick(house, sensor, first.cursor)
    assert not second.run_requests


def test_changed_bytes_are_a_new_recording(house: House, calls: Calls) -> None:
    folder = calls(1)
    sensor = build_uploads_sensor()
    first = _tick(house, sensor, None)
    _apply(house, first)
    [file] = folder.iterdir()
    file.write_bytes(file.read_bytes()[:-200])
    second = _tick(house, sensor, first.cursor)
    assert len(second.run_requests) == 1
    assert (
        second.dynamic_partitions_requests[0].partition_keys
        != first.dynamic_partitions_requests[0].partition_keys
    )


def test_a_file_still_being_written_waits(
    house: House, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.settings = house.settings.model_copy(update={"stable_seconds": 3600})
    calls(1)
    result = _tick(house, build_uploads_sensor(), None)
    assert not result.run_requests
    assert "1 still being written" in result.skip_reason.skip_message


def test_a_recording_that_vanished_before_it_was_processed_comes_back(house: House, calls: Calls) -> None:
    folder = calls(1)
    sensor = build_uploads_sensor()
    first = _tick(house, sensor, None)
    _apply(house, first)
    [key] = first.dynamic_partitions_requests[0].partition_keys
    [file] = folder.iterdir()
    aside = folder.parent / file.name
    file.rename(aside)
    [run] = house.process([key])
    assert not run.success
    gone = _tick(house, sensor, first.cursor)
    assert not gone.run_requests
    aside.rename(file)
    back = _tick(house, sensor, gone.cursor)
    assert _ranges(back) == [(key, key)]
    assert back.run_requests[0].run_key != first.run_requests[0].run_key
    [run] = house.process([key])
    assert run.success


def test_a_missing_upload_folder_is_made(house: House) -> None:
    result = _tick(house, build_uploads_sensor(), None)
    assert not result.run_requests
    assert house.settings.uploads.is_dir()


def test_the_report_follows_finished_recordings_once(house: House, calls: Calls) -> None:
    from callpipeline.defs.launch import roll_up

    sensor = build_results_sensor()
    house.process(house.take_in(calls(2)))
    asked = _tick(house, sensor, None)
    assert len(asked.run_requests) == 1
    assert roll_up(house.instance, house.resource).success
    with (house.settings.store / "qa_report" / "qa_report.csv").open(
        encoding="utf-8-sig", newline=""
    ) as file:
        assert len(list(csv.DictReader(file))) == 2
    after = _tick(house, sensor, asked.cursor)
    assert isinstance(after, dg.SkipReason)
    assert "up to date" in after.skip_message


def test_a_catalogue_that_was_lost_is_taken_up_from_the_start(house: House, calls: Calls) -> None:
    calls(2)
    sensor = build_uploads_sensor()
    first = _tick(house, sensor, None)
    _apply(house, first)
    shutil.rmtree(house.settings.store)
    again = _tick(house, sensor, first.cursor)
    assert _ranges(again) == _ranges(first)
    assert again.run_requests[0].run_key != first.run_requests[0].run_key


def test_a_subset_that_changed_something_brings_the_report_up_to_date(house: House, calls: Calls) -> None:
    from callpipeline.defs.launch import roll_up

    keys = house.take_in(calls(1))
    house.process(keys)
    roll_up(house.instance, house.resource)
    sensor = build_results_sensor()
    assert isinstance(_tick(house, sensor, None), dg.SkipReason)
    house.settings = house.settings.model_copy(update={"late_hello_after": 0.01})
    job = build_defs({"pipeline": house.resource}).resolve_job_def(PROCESS)
    job.execute_in_process(
        instance=house.instance, partition_key=keys[0], asset_selection=[dg.AssetKey("detections")]
    )
    assert len(_tick(house, sensor, None).run_requests) == 1
