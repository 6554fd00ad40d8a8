"""A simulated OpenAI whose answers the test module chooses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from callpipeline_tests.simulators import OpenAISimulator


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def running_sim(request: pytest.FixtureRequest) -> Iterator[OpenAISimulator]:
    """One server for a module; it answers as the module's ``RESPONDER`` does."""
    with OpenAISimulator(responder=request.module.RESPONDER) as running:
        yield running


@pytest.fixture
def sim(running_sim: OpenAISimulator) -> OpenAISimulator:
    """That server, with nothing counted yet."""
    running_sim.reset()
    return running_sim
