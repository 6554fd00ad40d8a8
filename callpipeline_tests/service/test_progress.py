"""Progress, asked for and told, while the work goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from callpipeline.model import ChunkState
from callpipeline.pipeline.progress import ProgressStore
from callpipeline_tests.service.conftest import Running

Make = Callable[[int], list[Path]]
NONE = "task_" + "0" * 32


def test_events_tell_each_change_and_end(running: Running, recordings: Make) -> None:
    (file,) = recordings(1)
    task = running.send("transcribe/async", file).json()
    with running.client.stream("GET", task["links"]["events"]) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in stream.iter_lines() if line.startswith(("event:", "data:"))]
    kinds = [line.removeprefix("event: ") for line in lines[::2]]
    told = [json.loads(line.removeprefix("data: ")) for line in lines[1::2]]
    assert kinds[-1] == "end"
    assert set(kinds[:-1]) <= {"progress"}
    shares = [one["progress"] for one in told]
    assert shares == sorted(shares)
    assert (told[-1]["status"], told[-1]["progress"]) == ("done", 1.0)
    assert all(stage["state"] != "waiting" for stage in told[-1]["tasks"][0]["stages"])


def test_a_websocket_tells_the_same(running: Running, recordings: Make) -> None:
    (file,) = recordings(1)
    task = running.send("transcribe/async", file).json()["task_id"]
    with connect(f"{running.url.replace('http', 'ws')}/api/v1/jobs/{task}/ws") as socket:
        told = [json.loads(message) for message in socket]
    assert told[-1]["status"] == "done"
    assert told[-1] == running.client.get(f"/api/v1/jobs/{task}/progress").json()


def test_a_recording_that_another_command_transcribes_tells_its_chunks(running: Running) -> None:
    key = "0123456789abcdef"

    async def noted(store: ProgressStore) -> None:
        with store.of(key):
            for index, state in enumerate(("done", "sending", "waiting", "waiting")):
                chunk = {
                    "recording": key,
                    "index": index,
                    "of": 4,
                    "start": index * 10,
                    "end": index * 10 + 10,
                }
                store.note(ChunkState.model_validate({**chunk, "state": state}))
            while not (answer := await asyncio.to_thread(running.client.get, address)).is_success:
                await asyncio.sleep(0.02)
            told.update(answer.json())

    told: dict[str, Any] = {}
    address = f"/api/v1/jobs/{key}/progress"
    store = ProgressStore(running.service.settings.store)
    asyncio.run(noted(store))
    store.close()
    assert (told["kind"], told["status"], told["progress"]) == ("recording", "running", 0.25)
    assert (told["chunks"]["done"], told["chunks"]["of"]) == (1, 4)
    assert running.client.get(address).status_code == 404


def test_a_job_that_nobody_knows_is_not_found_in_all_ways(running: Running) -> None:
    assert running.client.get(f"/api/v1/jobs/{NONE}/progress").status_code == 404
    assert running.client.get(f"/api/v1/jobs/{NONE}/events").status_code == 404
    assert running.client.get("/api/v1/jobs/nonsense/progress").status_code == 422
    with pytest.raises(InvalidStatus) as refused, connect(_ws(running, NONE)):
        pass
    assert refused.value.response.status_code == 404


def test_a_page_of_another_origin_gets_neither_answers_nor_a_websocket(running: Running) -> None:
    elsewhere = {"Origin": "https://elsewhere.example"}
    assert running.client.get("/health", headers=elsewhere).status_code == 403
    with pytest.raises(InvalidStatus) as refused, connect(_ws(running, NONE), origin=elsewhere["Origin"]):
        pass
    assert refused.value.response.status_code == 403
    rebound = httpx.get(f"{running.url}/health", headers={"Host": "evil.example"})
    assert rebound.status_code == 403


def _ws(running: Running, job: str) -> str:
    return f"{running.url.replace('http', 'ws')}/api/v1/jobs/{job}/ws"
