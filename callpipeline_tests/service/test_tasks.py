"""The queue: many clients at once, a service that is killed, priorities, cancelling, idempotency, a full queue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from bench.recordings import InstantTranscriber
from callpipeline.limits.database import Database
from callpipeline.service.tables import open_service_tables
from callpipeline.service.tasks import MOST_ATTEMPTS, OtherRequest, QueueFull, Task, Tasks, TaskState
from callpipeline.settings import Settings
from callpipeline_tests.service.conftest import PARALLEL, Running, free_port, serving, until
from callpipeline_tests.service.process import EndlessTranscriber

Make = Callable[[int], list[Path]]
CLIENTS = 20


def test_twenty_clients_at_once_each_get_their_own(running: Running, recordings: Make) -> None:
    files = recordings(CLIENTS)
    output = [os.fstat(number).st_ino for number in (1, 2)]

    def send(number: int) -> dict[str, str]:
        if number % 2:
            return running.send("transcribe", files[number]).raise_for_status().json()
        task = running.send("transcribe/async", files[number]).raise_for_status().json()
        assert running.ended(task["task_id"])["status"] == "done"
        return running.client.get(f"{PARALLEL}/result/{task['task_id']}").raise_for_status().json()

    with ThreadPoolExecutor(CLIENTS) as clients:
        results = list(clients.map(send, range(CLIENTS)))
    assert [result["file_name"] for result in results] == [file.name for file in files]
    assert len({result["recording"] for result in results}) == CLIENTS
    assert len({result["task_id"] for result in results}) == CLIENTS
    assert [
        os.fstat(number).st_ino for number in (1, 2)
    ] == output  # runs leave what the process prints where it goes
    assert running.client.get(f"{PARALLEL}/stats").json()["tasks"]["done"] >= CLIENTS


def test_a_killed_service_loses_no_task(settings: Settings, recordings: Make) -> None:
    files = recordings(4)
    port = free_port()
    command = [sys.executable, "-m", "callpipeline_tests.service.process", str(port)]
    process = subprocess.Popen(command, env=os.environ.copy())
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            until(lambda: _answers(client))
            ids = []
            for file in files:
                with file.open("rb") as content:
                    answer = client.post(f"{PARALLEL}/transcribe/async", files={"file": (file.name, content)})
                ids.append(answer.raise_for_status().json()["task_id"])
            running = until(
                lambda: [one for of in ids if (one := _status(client, of))["stages"][2]["state"] != "waiting"]
            )
            lost = running[0]["run_id"]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with serving(settings, InstantTranscriber()) as after:
        ended = [after.ended(of) for of in ids]
        assert [one["status"] for one in ended] == ["done"] * len(ids)
        assert [one["file_name"] for one in ended] == [file.name for file in files]
        texts = {after.client.get(f"{PARALLEL}/result/{of}").json()["text"] for of in ids}
        assert len(texts) == 1
        instance = after.service.orchestration.instance
        assert instance is not None
        until(
            lambda: instance.get_run_by_id(lost).is_finished
        )  # its run does not count as under way for ever


def _answers(client: httpx.Client) -> bool:
    try:
        return bool(client.get("/health").json()["ready"])
    except httpx.TransportError:
        return False


def _status(client: httpx.Client, of: str) -> dict[str, object]:
    found: dict[str, object] = client.get(f"{PARALLEL}/status/{of}").json()
    return found


def test_cancelling_ends_the_work_and_what_waits(settings: Settings, recordings: Make) -> None:
    one = settings.model_copy(update={"service_workers": 1})
    files = recordings(2)
    with serving(one, EndlessTranscriber()) as running:
        first, second = (running.send("transcribe/async", file).json()["task_id"] for file in files)
        until(lambda: running.status(first)["stages"][1]["state"] != "waiting")
        assert running.status(second)["ahead"] == 0
        for task in (second, first):
            assert running.client.post(f"{PARALLEL}/cancel/{task}").json()["status"] == "cancelled"
            assert running.client.get(f"{PARALLEL}/result/{task}").status_code == 410
        instance = running.service.orchestration.instance
        run = running.status(first)["run_id"]
        until(lambda: instance.get_run_by_id(run).is_finished)


def test_a_full_queue_turns_away_and_says_when_to_come_again(settings: Settings, recordings: Make) -> None:
    small = settings.model_copy(update={"service_workers": 1, "service_queue": 1})
    files = recordings(3)
    with serving(small, EndlessTranscriber()) as running:
        first = running.send("transcribe/async", files[0]).json()["task_id"]
        until(lambda: running.status(first)["status"] == "running")
        assert running.send("transcribe/async", files[1]).status_code == 202
        answer = running.send("transcribe/async", files[2])
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.json()["error"]["type"] == "queue_full"


def test_the_same_idempotency_key_is_the_same_task(running: Running, recordings: Make) -> None:
    one, other = recordings(2)
    headers = {"Idempotency-Key": "order 7"}
    first = running.send("transcribe/async", one, headers=headers).json()["task_id"]
    assert running.send("transcribe/async", one, headers=headers).json()["task_id"] == first
    assert running.send("transcribe/async", other, headers=headers).status_code == 422
    assert running.send("transcribe", one, headers=headers).json()["task_id"] == first


def test_a_batch_is_one_run_and_a_bad_file_refuses_it(running: Running, recordings: Make) -> None:
    files = recordings(3)
    sent = [("files", (file.name, file.read_bytes())) for file in files]
    batch = running.client.post(f"{PARALLEL}/batch", files=sent).raise_for_status().json()
    ended = [running.ended(task["task_id"]) for task in batch["tasks"]]
    assert [one["status"] for one in ended] == ["done"] * 3
    assert len({one["run_id"] for one in ended}) == 1
    progress = running.client.get(f"/api/v1/jobs/{batch['batch_id']}/progress").json()
    assert (progress["kind"], progress["done"], progress["progress"]) == ("batch", 3, 1.0)
    bad = running.client.post(f"{PARALLEL}/batch", files=[*sent, ("files", ("x.mp3", b"no sound" * 99))])
    assert bad.status_code == 415


# --- the table, on both databases ---------------------------------------------------------------------------


@pytest.fixture
def database(settings: Settings, url: str | None) -> Iterator[Database]:
    opened = open_service_tables(settings.model_copy(update={"postgres_url": url}))
    yield opened
    opened.close()


def task(of: str, **values: object) -> Task:
    wanted = {"who": "", "recording": of, "file_name": of, "options": "{}", "variant": "", "request": of}
    return Task.model_validate({"id": of, "waiting_client": False, "priority": 5, **wanted, **values})


def test_the_most_urgent_comes_first_then_the_oldest(database: Database) -> None:
    tasks = Tasks(database)
    for of, priority in (("a", 5), ("b", 9), ("c", 5), ("d", 0)):
        tasks.add([task(of, priority=priority)], room=9)
    order = [claimed.id for _ in range(4) for claimed in tasks.claim("me")]
    assert order == ["b", "a", "c", "d"]
    assert tasks.claim("me") == []


def test_a_task_with_which_the_service_dies_again_and_again_is_given_up(database: Database) -> None:
    tasks = Tasks(database)
    tasks.add([task("a")], room=9)
    for _ in range(MOST_ATTEMPTS):
        assert tasks.claim("me")
        tasks.give_back("me", died=True)
    found = tasks.get("a")
    assert found is not None
    assert (found.state, found.error_class) == (TaskState.FAILED, "engine_failed")


def test_what_is_cancelled_stays_cancelled_and_all_or_none_are_added(database: Database) -> None:
    tasks = Tasks(database)
    tasks.add([task("a", idempotency="k")], room=1)
    tasks.claim("me")
    tasks.cancel("a")
    tasks.finish("a", reused=False, duration=1.0)
    found = tasks.get("a")
    assert found is not None
    assert found.state is TaskState.CANCELLED
    with pytest.raises(QueueFull):
        tasks.add([task("b"), task("c")], room=1)
    assert tasks.get("b") is None
    with pytest.raises(OtherRequest):
        tasks.add([task("b", idempotency="k")], room=9)
