"""A service that stays warm: a recording through it against a process for each recording, and its memory over requests.

The service is ``callpipeline serve`` in a process of its own, its engine faster-whisper with a model of the size of the
published tiny one and random weights. Recordings are sent one after another and timed at the client. Two peers get the
same recordings, each in a process of its own from start to exit: ``callpipeline run`` (which does more: verdicts, graph,
reports), and the leanest thing that makes the same six results, without Dagster and HTTP.

Memory: tiny calls, all different, through a service with a model of a few hundred kilobytes; what the service and its
workers hold is noted every few requests. The slope is that of a straight line through the second half: what a cache
holds it has by then.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bench.provider_runs import INSTANCE
from bench.recordings import SAMPLES, tiny_calls
from bench.result import Result, Scale
from bench.speech import VOCABULARY
from bench.watching import Watch, cpu_seconds

RECORDINGS = {Scale.SMALL: 4, Scale.FULL: 10}
PROCESSES = {Scale.SMALL: 1, Scale.FULL: 10}
"""Recordings that the peers get, too."""
REQUESTS = {Scale.SMALL: 100, Scale.FULL: 1000}
EVERY = 5
GOAL_FASTER = 2.0
GOAL_SLOPE = {Scale.SMALL: 10.0, Scale.FULL: 1.0}
"""MB for each 100 requests. The small scale ends before all caches are full."""
PARALLEL = "/api/v1/parallel"
SAID = " thank you for calling how may we help with your house today"
WORDS = 72
START_SECONDS = 120.0


def run(scale: Scale) -> Result:
    with tempfile.TemporaryDirectory(prefix="callpipeline-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _models(folder)
        files = _recordings(folder / "calls", RECORDINGS[scale])
        with _service(folder / "warm", folder / "large") as (pid, url):
            cpu = cpu_seconds(pid)
            warm = _sent(url, files)
            cpu = (cpu_seconds(pid) - cpu) / len(files)
        few = files[: PROCESSES[scale]]
        commands = [_command(folder / "commands", folder / "large", file) for file in few]
        bare = [_bare(folder / f"bare-{n}", folder / "large", file) for n, file in enumerate(few)]
        tiny_calls(folder / "tiny", REQUESTS[scale])
        with _service(folder / "memory", folder / "small") as (pid, url):
            memory = _memory(pid, url, sorted((folder / "tiny").iterdir()))
    once, command, lean = statistics.median(warm), _medians(commands)[0], _medians(bare)[0]
    faster, slope = command / once, _slope(memory[len(memory) // 2 :])
    return Result(
        "warm",
        round(faster, 1),
        f"a recording through the warm service >= {GOAL_FASTER:g} x as fast as in a process of its own; "
        f"memory <= {GOAL_SLOPE[scale]:g} MB more for each 100 requests",
        faster >= GOAL_FASTER and slope <= GOAL_SLOPE[scale],
        {
            "through the service, s a recording": _spread(warm),
            "callpipeline run, s a recording": _spread([wall for wall, _ in commands]),
            "leanest process, s a recording": _spread([wall for wall, _ in bare]),
            "service is so many times as fast as the leanest process": round(lean / once, 1),
            "CPU s a recording: service, callpipeline run, leanest process": (
                round(cpu, 2),
                round(_medians(commands)[1], 2),
                round(_medians(bare)[1], 2),
            ),
            "memory: requests": REQUESTS[scale],
            "MB for each 100 requests, second half": round(slope, 2),
            "MB after so many requests": {n: round(mb) for n, mb in memory[:: max(1, len(memory) // 5)]},
            "MB at the end": round(memory[-1][1]),
            "load of the machine, last minute": round(os.getloadavg()[0], 1),
        },
    )


def _models(folder: Path) -> None:
    """Write the model of published size, and the tiny one."""
    from callpipeline_tests.tiny_whisper import Size, tiny_whisper

    words = SAID.split()
    said = "".join(f" {word}" for word in (words * WORDS)[:WORDS])
    tiny_whisper(folder / "large", said, size=Size(384, 6, 4, 1536, VOCABULARY))
    tiny_whisper(folder / "small", SAID)


def _recordings(folder: Path, count: int) -> list[Path]:
    """Copy so many calls of half a minute, each into a folder of its own."""
    found = []
    for number, source in enumerate(sorted(SAMPLES.glob("*Decision Maker*.mp3"))[:count]):
        (folder / str(number)).mkdir(parents=True)
        found.append(Path(shutil.copy(source, folder / str(number))))
    if len(found) < count:
        raise RuntimeError(f"only {len(found)} of {count} recordings are there")
    return found


def _environment(home: Path, model: Path) -> dict[str, str]:
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(INSTANCE)
    return {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "CALLPIPELINE_DATA_DIR": str(home / "data"),
        "CALLPIPELINE_STABLE_SECONDS": "0",
        "CALLPIPELINE_TRANSCRIBER": "whisper",
        "CALLPIPELINE_DIARIZER": "auto",
        "CALLPIPELINE_WHISPER_MODEL": str(model),
        "CALLPIPELINE_WHISPER_DEVICE": "cpu",
        "CALLPIPELINE_SERVICE_REQUESTS_PER_MINUTE": "0",
    }


@contextmanager
def _service(home: Path, model: Path) -> Iterator[tuple[int, str]]:
    """Serve for a block; gives the process and the address, after a first recording has warmed it up."""
    environment = _environment(home, model)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "callpipeline", "serve", "--port", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _await(process, url)
        tiny_calls(home / "first", 1, seed=1_000_000)
        _sent(url, sorted((home / "first").iterdir()))
        yield process.pid, url
    finally:
        process.terminate()
        process.wait()


def _await(process: subprocess.Popen[str], url: str) -> None:
    """Wait until the service and its Dagster instance are there."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the service ended: {process.communicate()[1][-2000:]}")
        try:
            health: Mapping[str, Any] = httpx.get(f"{url}/health", timeout=5).raise_for_status().json()
        except httpx.HTTPError:
            time.sleep(0.1)
            continue
        if health["ready"] and health["orchestration"] != "opening":
            return
        time.sleep(0.1)
    raise RuntimeError(f"the service was not ready within {START_SECONDS:g} s")


def _sent(url: str, files: list[Path]) -> list[float]:
    """Send recordings one after another; return the seconds of each."""
    with httpx.Client(base_url=url, timeout=300) as client:
        return [_send(client, file) for file in files]


def _send(client: httpx.Client, file: Path) -> float:
    began = time.perf_counter()
    answer = client.post(f"{PARALLEL}/transcribe", files={"file": (file.name, file.read_bytes())})
    seconds = time.perf_counter() - began
    result = answer.raise_for_status().json()
    if result["reused"] or not result["segments"]:
        raise RuntimeError(f"not a recording that was worked on: {answer.text[:500]}")
    return seconds


def _command(home: Path, model: Path, file: Path) -> tuple[float, float]:
    return _timed([sys.executable, "-m", "callpipeline", "run", str(file.parent)], _environment(home, model))


def _bare(home: Path, model: Path, file: Path) -> tuple[float, float]:
    return _timed([sys.executable, "-c", _LEANEST, str(file.parent)], _environment(home, model))


_LEANEST = """
import asyncio, sys
from pathlib import Path
from callpipeline.intake.scan import scan
from callpipeline.pipeline.walk import walk
from callpipeline.pipeline.workbench import Workbench
from callpipeline.service.results import ASSETS
from callpipeline.settings import Settings
settings = Settings()
with Workbench(settings) as bench:
    scan(bench.catalog, Path(sys.argv[1]), settings)
    [key] = bench.catalog.order()
    ended = asyncio.run(walk(key, ASSETS, bench, lambda outcome: None))
    sys.exit(ended.failure is not None)
"""


def _timed(command: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Run a command; return its seconds and CPU seconds, those of its ended workers included."""
    used, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"{command[-1]}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def _medians(timed: list[tuple[float, float]]) -> tuple[float, float]:
    walls, cpus = zip(*timed, strict=True)
    return statistics.median(walls), statistics.median(cpus)


def _memory(pid: int, url: str, files: list[Path]) -> list[tuple[int, float]]:
    """Send all, one after another; return (requests so far, MB of the service and its workers)."""
    watch = Watch(pid, Path(tempfile.gettempdir()))
    seen = []
    with httpx.Client(base_url=url, timeout=300) as client:
        for number, file in enumerate(files, start=1):
            _send(client, file)
            if number % EVERY == 0:
                seen.append((number, watch.memory_now()))
    return seen


def _slope(seen: list[tuple[int, float]]) -> float:
    """Return MB for each 100 requests, by least squares."""
    line = statistics.linear_regression([number for number, _ in seen], [mb for _, mb in seen])
    return line.slope * 100


def _spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f}, {len(seconds)})"
