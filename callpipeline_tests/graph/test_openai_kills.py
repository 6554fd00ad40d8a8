"""Several processes, and processes that are killed: no chunk is paid twice, none is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from callpipeline.graph.extractors.openai.cache import FILE
from callpipeline.knowledge import ChunkState, KgExtraction
from callpipeline.settings import Settings
from callpipeline_tests.graph.openai_house import FAST, ROUTE, sent_blocks, settings_for
from callpipeline_tests.graph.remote import POINTS, extracting, recording
from callpipeline_tests.simulators import OpenAISimulator

pytestmark = pytest.mark.anyio

RESPONDER = "callpipeline_tests.graph.responding:answer"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def start(settings: Settings, *arguments: object) -> subprocess.Popen[str]:
    """Start a process that extracts in the store of these settings."""
    values = {
        "STORE_DIR": settings.store,
        "EXTRACTOR": "openai",
        "RETRY_DELAY_SCALE": "0",
        "POSTGRES_URL": settings.postgres_url,
        "GRAPH_CHUNKS_PER_REQUEST": settings.graph_chunks_per_request,
        **{name.upper(): value for name, value in FAST.items()},
    }
    environment = {f"CALLPIPELINE_{name}": str(value) for name, value in values.items() if value is not None}
    assert settings.openai_api_key
    environment["OPENAI_API_KEY"] = settings.openai_api_key.get_secret_value()
    environment["OPENAI_BASE_URL"] = settings.openai_base_url
    return subprocess.Popen(
        [sys.executable, "-m", "callpipeline_tests.graph.remote", *map(str, arguments)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def paid_for(sim: OpenAISimulator) -> Counter[str]:
    """Return how many different requests that were answered held each claim."""
    bodies = {json.dumps(call.body, sort_keys=True) for call in sim.calls(ROUTE)}
    return Counter(said for body in bodies for said in re.findall(r"Stage \d+ \w+ causes", body))


def complete(found: list[KgExtraction]) -> bool:
    return all(len(chunk.relations) == 1 for one in found for chunk in one.chunks)


async def test_two_processes_with_the_same_recordings_send_each_chunk_once(
    tmp_path: Path, url: str | None
) -> None:
    with OpenAISimulator(responder=RESPONDER, latency="fixed:0.05") as sim:
        settings = settings_for(sim, tmp_path / "store", postgres_url=url, graph_chunks_per_request=3)
        both = [start(settings, 0, 8) for _ in range(2)]
        states: Counter[str] = Counter()
        for process in both:
            states.update(json.loads(process.communicate(timeout=60)[0]))
        assert sum(sent_blocks(sim)) == 32
        assert sim.stats.paid.duplicates == 0
    assert states["extracted"] + states["cached"] == 64


@pytest.mark.parametrize("point", POINTS)
async def test_whatever_a_killed_process_left_is_gone_on_with(tmp_path: Path, point: str) -> None:
    """Another recording asks for one of the chunks, and a new one: the batch goes out as it was composed."""
    with OpenAISimulator(responder=RESPONDER, honour_idempotency=True) as sim:
        settings = settings_for(sim, tmp_path / "store")
        killed = start(settings, 1, 1, point)
        killed.communicate(timeout=60)
        assert killed.returncode == -signal.SIGKILL
        async with extracting(settings) as running:
            found = await running.extract(recording(1), recording(2))
            deadline = time.monotonic() + 10
            while running.spent[1] and time.monotonic() < deadline:
                time.sleep(0.01)
        async with extracting(settings) as running:
            settled, open_, unsure = running.spent
        assert complete(found)
        assert sim.stats.paid.duplicates == 0
        assert set(paid_for(sim).values()) == {1}
        assert sim.stats.paid.calls == 2
    assert settled > 0
    assert open_ == 0.0
    assert (unsure > 0) is (point == "going out")


async def test_any_number_of_kills_pays_for_each_chunk_once(tmp_path: Path) -> None:
    with OpenAISimulator(responder=RESPONDER, honour_idempotency=True, latency="fixed:0.1") as sim:
        settings = settings_for(sim, tmp_path / "store", graph_chunks_per_request=3)
        for requests in (2, 7, 11):
            process = start(settings, 0, 10)
            while sim.stats.all.requests < requests and process.poll() is None:
                time.sleep(0.01)
            process.kill()
            process.communicate()
        async with extracting(settings) as running:
            found = await running.extract(*(recording(number) for number in range(10)))
        assert complete(found)
        assert len(paid_for(sim)) == 40
        assert set(paid_for(sim).values()) == {1}
        assert sim.stats.paid.duplicates == 0
        assert not {chunk.state for one in found for chunk in one.chunks} & {ChunkState.FAILED}


async def test_without_its_cache_the_ledger_still_knows_what_was_bought(tmp_path: Path) -> None:
    with OpenAISimulator(responder=RESPONDER) as sim:
        settings = settings_for(sim, tmp_path / "store")
        async with extracting(settings) as running:
            await running.extract(recording(1))
        for file in settings.store.glob(f"{FILE}*"):
            file.unlink()
        async with extracting(settings) as running:
            (found,) = await running.extract(recording(1))
        assert sim.stats.paid.calls == 1
    assert complete([found])
    assert {chunk.state for chunk in found.chunks} == {ChunkState.CACHED}
