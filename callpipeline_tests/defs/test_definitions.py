"""What Dagster loads, and the commands that CI uses on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from callpipeline.definitions import build_defs
from callpipeline.defs.launch import open_instance
from callpipeline.intake.scan import scan
from callpipeline.pipeline.stages import ASSETS
from callpipeline.pipeline.workbench import Workbench
from callpipeline.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
GRAPH = {
    "raw_audio": ("audio", []),
    "speech_activity": ("audio", ["raw_audio"]),
    "audio_chunks": ("audio", ["raw_audio", "speech_activity"]),
    "transcripts": ("speech", ["raw_audio", "speech_activity", "audio_chunks"]),
    "diarization": ("speech", ["raw_audio", "speech_activity"]),
    "speaker_turns": ("speech", ["diarization", "transcripts"]),
    "detections": ("qa", ["diarization", "speaker_turns", "speech_activity"]),
    "call_metrics": ("qa", ["raw_audio", "speaker_turns", "speech_activity"]),
    "chapters": ("speech", ["raw_audio", "speaker_turns"]),
    "text_chunks": ("graph", ["speaker_turns", "transcripts"]),
    "kg_extractions": ("graph", ["text_chunks", "transcripts"]),
    "knowledge_graph": ("graph", ["raw_audio", "text_chunks", "kg_extractions"]),
    "kg_exports": ("graph", ["knowledge_graph"]),
    "warehouse": ("results", [*ASSETS, "knowledge_graph"]),
    "qa_report": ("results", ["raw_audio", "speaker_turns", "detections", "call_metrics"]),
}


def test_the_asset_graph_is_the_one_that_people_know() -> None:
    specs = {spec.key.to_user_string(): spec for spec in build_defs().resolve_all_asset_specs()}
    shown = {
        name: (spec.group_name, sorted(dep.asset_key.to_user_string() for dep in spec.deps))
        for name, spec in specs.items()
    }
    assert shown == {name: (group, sorted(deps)) for name, (group, deps) in GRAPH.items()}
    for spec in specs.values():
        assert spec.description
        assert spec.code_version


def test_definitions_load_without_warnings_or_heavy_imports() -> None:
    code = (
        "import sys, callpipeline.definitions;"
        "print([m for m in ('torch','ctranslate2','faster_whisper','sklearn','pocketsphinx') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


@pytest.fixture
def keys(settings: Settings, calls: Callable[[int], Path]) -> list[str]:
    """Three recordings, taken in and known to Dagster; none has speech that needs an engine."""
    folder = calls(3)
    with Workbench(settings) as bench:
        scan(bench.catalog, folder, settings)
        found = bench.catalog.order()
    with open_instance(settings) as instance:
        instance.add_dynamic_partitions("recordings", found)
    return found


def _dagster(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "dagster"), *arguments],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_partition_materializes_from_the_command_line(keys: list[str], settings: Settings) -> None:
    done = _dagster(
        "asset", "materialize", "-m", "callpipeline.definitions",
        "--select", "raw_audio,speech_activity", "--partition", keys[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    with open_instance(settings) as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("speech_activity")) == {keys[1]}


def test_a_range_of_partitions_materializes_in_one_run(keys: list[str], settings: Settings) -> None:
    done = _dagster(
        "asset", "materialize", "-m", "callpipeline.definitions",
        "--select", "raw_audio", "--partition-range", f"{keys[0]}...{keys[2]}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    with open_instance(settings) as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("raw_audio")) == set(keys)
        assert instance.get_runs_count() == 1


def test_the_shipped_workspace_and_instance_files_are_valid() -> None:
    done = _dagster("definitions", "validate", "-w", "workspace.yaml")
    assert done.returncode == 0, done.stderr[-2000:]
    from dagster._core.instance.config import dagster_instance_config

    config, _ = dagster_instance_config(str(ROOT))
    assert json.dumps(config)
    assert config["telemetry"] == {"enabled": False}
