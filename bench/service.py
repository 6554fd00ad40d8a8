"""The speech service under many clients at once, over HTTP on loopback, with an engine that answers at once.

What is measured is everything around the engine: uploads, tasks, stages, runs, results. Half of the clients wait for
their answer, half send a task and ask for it until it is done; another one asks for /health all the time. Then each
recording is sent again, which must be answered from the store.
"""

from __future__ import annotations

import os
import socket
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from bench.recordings import InstantTranscriber, tiny_calls
from bench.result import Result, Scale
from callpipeline.service.app import create_app
from callpipeline.settings import Settings

CLIENTS = 20
RECORDINGS = {Scale.SMALL: 40, Scale.FULL: 400}
GOAL_SECONDS = 0.5
PARALLEL = "/api/v1/parallel"


def run(scale: Scale) -> Result:
    """Return the 95th percentile of /health while all clients are at it, in seconds; wrong answers fail."""
    with tempfile.TemporaryDirectory(prefix="callpipeline-bench-") as folder:
        home = Path(folder)
        (home / "dagster.yaml").write_text(
            "storage:\n  custom:\n    module: callpipeline.defs.instance_storage\n    class: InstanceStorage\n"
            "telemetry:\n  enabled: false\n"
        )
        os.environ["DAGSTER_HOME"] = folder
        tiny_calls(home / "sent", RECORDINGS[scale])
        settings = Settings(data_dir=home / "data", service_queue=RECORDINGS[scale])
        app = create_app(settings, engine=InstantTranscriber())
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        listener = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            while not app.state.service.engine or app.state.service.orchestration.state == "opening":
                time.sleep(0.05)
            return _measured(url, sorted((home / "sent").iterdir()))
        finally:
            server.should_exit = True
            thread.join()


def _measured(url: str, files: list[Path]) -> Result:
    healths: list[float] = []
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not over.wait(0.05):
                began = time.perf_counter()
                client.get("/health").raise_for_status()
                healths.append(time.perf_counter() - began)

    asking = threading.Thread(target=ask)
    asking.start()
    first, wall = _sent(url, files)
    over.set()
    asking.join()
    again, wall_again = _sent(url, files, later=False)
    right = [one["file_name"] for one, _ in first] == [file.name for file in files]
    right = right and all(one["reused"] for one, _ in again)
    p95 = _percentile(healths, 95)
    return Result(
        "service",
        round(p95, 3),
        f"/health within {GOAL_SECONDS:g} s (95 %) while {CLIENTS} clients are at it, and every answer right",
        p95 <= GOAL_SECONDS and right,
        {
            "clients": CLIENTS,
            "recordings": len(files),
            "all_right": right,
            "recordings_per_second": round(len(files) / wall, 2),
            "waiting_client_median_s": round(statistics.median(s for _, s in first[::2]), 3),
            "task_median_s": round(statistics.median(s for _, s in first[1::2]), 3),
            "sent_again_per_second": round(len(files) / wall_again, 2),
            "sent_again_median_s": round(statistics.median(s for _, s in again), 3),
            "health_median_s": round(statistics.median(healths), 4),
        },
    )


def _sent(
    url: str, files: list[Path], *, later: bool = True
) -> tuple[list[tuple[dict[str, Any], float]], float]:
    """Send all recordings, every other one as a task; return each answer with its seconds, and the seconds of all."""
    with httpx.Client(base_url=url, timeout=300, limits=httpx.Limits(max_connections=CLIENTS)) as client:

        def send(number: int) -> tuple[dict[str, Any], float]:
            began, file = time.perf_counter(), files[number]
            path = "transcribe/async" if later and number % 2 else "transcribe"
            sent = client.post(f"{PARALLEL}/{path}", files={"file": (file.name, file.read_bytes())})
            answer: dict[str, Any] = sent.raise_for_status().json()
            while "status" in answer:
                time.sleep(0.05)
                asked = client.get(f"{PARALLEL}/result/{answer['task_id']}")
                if asked.status_code != 409:
                    answer = asked.raise_for_status().json()
            return answer, time.perf_counter() - began

        began = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as clients:
            answers = list(clients.map(send, range(len(files))))
        return answers, time.perf_counter() - began


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1] if len(values) > 1 else values[0]
