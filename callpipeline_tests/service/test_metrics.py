"""/metrics, and a dashboard that asks only for what is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from callpipeline_tests.service.conftest import Running, until

Make = Callable[[int], list[Path]]
DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "callpipeline.json"


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_figures_come_from_the_tables(running: Running, recordings: Make) -> None:
    (file,) = recordings(1)
    running.send("transcribe", file).raise_for_status()
    until(lambda: running.service.orchestration.state == "ready")
    text = running.client.get("/metrics").raise_for_status().text
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["callpipeline_tasks", "done"] >= 1
    assert found["callpipeline_recordings", "new"] >= 1
    work = [value for name, value in found.items() if name[0] == "callpipeline_task_work_seconds_bucket"]
    assert work == sorted(work)
    assert found[("callpipeline_task_work_seconds_count",)] == work[-1] == found["callpipeline_tasks", "done"]
    path = "/api/v1/parallel/transcribe"
    assert found["callpipeline_http_requests_total", path, "200", "POST"] >= 1
    assert found["callpipeline_pool_slots", "assemblyai"] == 5
    assert found[("callpipeline_disk_free_bytes",)] > 0


def test_the_dashboard_asks_for_nothing_that_is_not_there(running: Running) -> None:
    until(lambda: running.service.orchestration.state == "ready")
    text = running.client.get("/metrics").raise_for_status().text
    # A family whose labels nothing has met yet has no samples, but it is told.
    told = set(re.findall(r"^# TYPE (\S+)", text, flags=re.MULTILINE))
    ends = ("_bucket", "")
    for expression in expressions():
        names = set(re.findall(r"\bcallpipeline_\w+", expression))
        assert names
        for name in names:
            assert any(name.removesuffix(end) in told for end in ends), name


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool comes with Debian's package prometheus"
)
def test_prometheus_understands_the_dashboard_and_the_figures(running: Running, tmp_path: Path) -> None:
    rules = [{"record": f"r{n}", "expr": expression} for n, expression in enumerate(expressions())]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = subprocess.run(
        ["promtool", "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    text = running.client.get("/metrics").text
    linted = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert linted.returncode == 0, linted.stderr
