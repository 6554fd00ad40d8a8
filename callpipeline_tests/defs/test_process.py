"""The step that walks a batch: what a person sees in Dagster after, and during, a run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from bench.recordings import InstantTranscriber
from callpipeline.definitions import build_defs
from callpipeline.defs.jobs import PROCESS
from callpipeline.failures import EngineFailed
from callpipeline.model import Transcript
from callpipeline.speech.engines.base import SpeechJob
from callpipeline_tests.defs.conftest import OF_A_CALL, House

Calls = Callable[[int], Path]

BELOW_THE_TEXT = (
    "transcripts",
    "speaker_turns",
    "detections",
    "call_metrics",
    "text_chunks",
    "kg_extractions",
)
"""The assets of a call that need its transcript, and the transcript."""


class FailingTranscriber(InstantTranscriber):
    """Breaks on the recordings that it is told to."""

    def __init__(self) -> None:
        self.broken: set[str] = set()

    async def transcribe(self, job: SpeechJob) -> Transcript:
        if job.key in self.broken:
            raise EngineFailed(f"no text for {job.key}", hint="Run again.")
        return await super().transcribe(job)


def test_every_recording_materializes_every_asset_in_one_run(house: House, calls: Calls) -> None:
    keys = house.take_in(calls(3))
    runs = house.process(keys)
    assert [run.success for run in runs] == [True]
    for asset in OF_A_CALL:
        assert house.materialized(asset) == set(keys)


def test_a_failed_recording_stays_unmaterialized_while_its_neighbours_finish(
    house: House, calls: Calls
) -> None:
    folder = calls(3)
    (folder / "damaged.mp3").write_bytes(b"this is no audio" * 100)
    keys = house.take_in(folder)
    [damaged] = [key for key in keys if _source_name(house, key) == "damaged.mp3"]
    [run] = house.process(keys)
    assert not run.success
    for asset in OF_A_CALL:
        assert house.materialized(asset) == set(keys) - {damaged}
    [failure] = [
        entry.get_dagster_event()
        for entry in house.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    ]
    description = failure.step_failure_data.user_failure_data.description
    assert description.startswith("1 of 4 recordings failed; the others are done.")
    assert damaged in description
    assert "not_audio" in description


def test_a_late_failure_keeps_what_came_before_it(house: House, calls: Calls) -> None:
    house.engine = engine = FailingTranscriber()
    keys = house.take_in(calls(3))
    engine.broken = {keys[1]}
    house.process(keys)
    good = {keys[0], keys[2]}
    assert house.materialized("raw_audio") == set(keys)
    assert house.materialized("diarization") == set(keys)
    for asset in BELOW_THE_TEXT:
        assert house.materialized(asset) == good


def test_running_again_after_a_failure_does_only_what_failed(house: House, calls: Calls) -> None:
    house.engine = engine = FailingTranscriber()
    keys = house.take_in(calls(3))
    engine.broken = {keys[1]}
    house.process(keys)
    engine.broken = set()
    [run] = house.process([keys[1]])
    assert run.success
    assert house.stages("done") == {(keys[1], asset) for asset in BELOW_THE_TEXT}
    assert house.materialized("call_metrics") == set(keys)


def test_a_subset_of_assets_reads_the_others_from_the_store(house: House, calls: Calls) -> None:
    keys = house.take_in(calls(2))
    house.process(keys)
    before = {
        asset: house.instance.get_latest_materialization_event(dg.AssetKey(asset)) for asset in OF_A_CALL
    }
    job = build_defs({"pipeline": house.resource}).resolve_job_def(PROCESS)
    result = job.execute_in_process(
        instance=house.instance, partition_key=keys[0], asset_selection=[dg.AssetKey("detections")]
    )
    assert result.success
    changed = {
        asset
        for asset in OF_A_CALL
        if house.instance.get_latest_materialization_event(dg.AssetKey(asset)).timestamp
        != before[asset].timestamp
    }
    assert changed == {"detections"}


def test_a_subset_whose_inputs_are_missing_says_what_to_do(house: House, calls: Calls) -> None:
    keys = house.take_in(calls(1))
    house.instance.add_dynamic_partitions("recordings", keys)
    job = build_defs({"pipeline": house.resource}).resolve_job_def(PROCESS)
    with pytest.raises(dg.Failure, match="Materialize transcripts first, or select both"):
        job.execute_in_process(
            instance=house.instance, partition_key=keys[0], asset_selection=[dg.AssetKey("speaker_turns")]
        )


def test_a_recording_shows_up_while_the_batch_still_runs(
    house: House, calls: Calls, event_partitions: Callable[[dg.DagsterInstance, str], set[tuple[str, str]]]
) -> None:
    seen = threading.Event()

    class WaitsForTheFirst(InstantTranscriber):
        """Answers for the second recording only once the first one's last asset is in the event log."""

        async def transcribe(self, job: SpeechJob) -> Transcript:
            if job.key == keys[1]:
                [run_id] = house.instance.get_run_ids()
                while ("call_metrics", keys[0]) not in event_partitions(house.instance, run_id):
                    await asyncio.sleep(0.05)  # the other recording walks meanwhile
                seen.set()
            return await super().transcribe(job)

    house.engine = WaitsForTheFirst()
    keys = house.take_in(calls(2))
    [run] = house.process(keys)
    assert run.success
    assert seen.is_set()


def test_an_unchanged_recording_is_reused_not_redone(house: House, calls: Calls) -> None:
    keys = house.take_in(calls(2))
    house.process(keys)
    house.process(keys)
    assert house.stages("done") == set()
    assert house.stages("reused") == {(key, asset) for key in keys for asset in OF_A_CALL}


def test_a_changed_threshold_redoes_only_what_is_below_it(house: House, calls: Calls) -> None:
    keys = house.take_in(calls(1))
    house.process(keys)
    house.settings = house.settings.model_copy(update={"late_hello_after": 0.01})
    house.process(keys)
    assert house.stages("done") == {(keys[0], "detections")}


def test_a_changed_rule_redoes_only_what_is_below_it(
    house: House, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = house.take_in(calls(1))
    house.process(keys)
    monkeypatch.setattr("callpipeline.qa.late_hello.RULE_VERSION", "late_hello-next")
    house.process(keys)
    assert house.stages("done") == {(keys[0], "detections")}


def test_checks_are_reported_for_each_recording(house: House, calls: Calls) -> None:
    keys = house.take_in(calls(2))
    [run] = house.process(keys)
    found = [
        entry.get_dagster_event().asset_check_evaluation_data
        for entry in house.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    ]
    assert {(check.check_name, check.partition) for check in found} == {
        (name, key)
        for key in keys
        for name in (
            "duration_matches_claim",
            "not_clipped",
            "not_silent",
            "fit_to_send",
            "text_where_speech",
            "confidence",
        )
    }


def test_a_call_has_no_event_of_what_only_hearings_have(house: House, calls: Calls) -> None:
    keys = house.take_in(calls(2))
    [run] = house.process(keys)
    made = house.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    found = [entry.get_dagster_event() for entry in made]
    assert sorted((event.partition, event.asset_key.to_user_string()) for event in found) == sorted(
        (key, asset) for key in keys for asset in OF_A_CALL
    )


def test_a_hearing_has_chapters_and_no_verdicts(house: House, calls: Calls) -> None:
    house.settings = house.settings.model_copy(update={"hearing_from": 1.0})
    keys = house.take_in(calls(1))
    [run] = house.process(keys)
    assert run.success
    assert house.materialized("chapters") == house.materialized("call_metrics") == set(keys)
    assert house.materialized("detections") == house.materialized("audio_chunks") == set()
    house.process(keys)
    assert house.stages("done") == set()


def test_what_is_up_to_date_is_not_shown_as_out_of_date(house: House, calls: Calls) -> None:
    keys = house.take_in(calls(1))
    house.process(keys)
    graph = build_defs().resolve_asset_graph()
    resolver = CachingStaleStatusResolver(house.instance, graph, LoadingContextForTest(house.instance))
    for asset in OF_A_CALL:
        assert resolver.get_status(dg.AssetKey(asset), keys[0]).value == "FRESH"


def test_scattered_recordings_become_runs_of_neighbours(house: House, calls: Calls) -> None:
    keys = house.take_in(calls(5))
    house.instance.add_dynamic_partitions("recordings", keys)
    runs = house.process([keys[0], keys[1], keys[4]])
    assert [run.batch.keys for run in runs] == [(keys[0], keys[1]), (keys[4],)]
    assert house.materialized("detections") == {keys[0], keys[1], keys[4]}
    assert len(house.process(keys, batch_size=2)) == 3


def _source_name(house: House, key: str) -> str:
    from callpipeline.intake.catalog import Catalog

    with Catalog(house.settings.store / "catalog.sqlite") as catalog:
        return catalog.sources(key)[0].path.name
