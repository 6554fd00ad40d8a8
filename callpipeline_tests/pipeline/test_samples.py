"""The shipped samples, from their folder to their verdicts, with the embedded engines: what the demo shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from callpipeline_tests.samples.conftest import SAMPLES, Truth, truths

JUDGED = truths("call", "mono", "transcript")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ``callpipeline run data/samples --json`` says, in a data folder of its own."""
    data = tmp_path_factory.mktemp("samples")
    (data / "dagster.yaml").write_text(
        "storage:\n  custom:\n    module: callpipeline.defs.instance_storage\n    class: InstanceStorage\n"
        "telemetry:\n  enabled: false\n"
    )
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(data),
        "CALLPIPELINE_DATA_DIR": str(data),
        "CALLPIPELINE_TRANSCRIBER": "sphinx",
        "CALLPIPELINE_STABLE_SECONDS": "0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "callpipeline", "run", str(SAMPLES), "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr[-3000:]  # two samples are damaged on purpose
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def _row(result: dict[str, Any], truth: Truth) -> dict[str, Any]:
    name = Path(truth["file"]).name
    [row] = [row for row in result["recordings"] if row["file_name"] == name]
    return dict(row)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("truth", JUDGED)
def test_the_verdicts_are_those_of_the_sidecar(result: dict[str, Any], truth: Truth) -> None:
    row = _row(result, truth)
    got = {name: detection["verdict"] for name, detection in row["detections"].items()}
    expected = truth["expected"]
    names = [name for name in ("releasing", "late_hello", "rebuttal") if name in expected]
    assert {name: got[name] for name in names} == {name: expected[name] for name in names}
    assert row["flag"] == expected["flag"]


@pytest.mark.parametrize("truth", truths("broken"))
def test_a_damaged_sample_is_an_error_with_its_class(result: dict[str, Any], truth: Truth) -> None:
    row = _row(result, truth)
    assert row["status"] == "error"
    assert row["errors"][0]["error_class"] == truth["expected"]["error_class"]
    assert row["detections"] == {}


def test_the_duplicate_is_no_recording_of_its_own(result: dict[str, Any]) -> None:
    files = [row["file_name"] for row in result["recordings"]]
    assert len(files) == len(set(files)) == len(JUDGED) + len(truths("broken"))
