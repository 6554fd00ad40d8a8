"""Settings of a store whose paid extractor asks a simulated OpenAI that reads text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from callpipeline.settings import Settings
from callpipeline_tests.simulators import OpenAISimulator

ROUTE = "chat"
FAST = {
    f"openai_{pool}_{metric}_per_minute": limit
    for pool in ("chat", "chat_small")
    for metric, limit in (("requests", 60_000), ("tokens", 600_000_000))
}


def settings_for(sim: OpenAISimulator, root: Path, **more: Any) -> Settings:
    """Return settings under which nothing waits for rates, and retries do not wait either."""
    given = {
        "store_dir": root,
        "extractor": "openai",
        "openai_api_key": sim.api_key,
        "openai_base_url": sim.base_url,
        "retry_delay_scale": 0.0,
        **FAST,
        **more,
    }
    return Settings(**given)


def sent_blocks(sim: OpenAISimulator) -> list[int]:
    """Return how many blocks each chat request held, in order."""
    bodies = [call.body for call in sim.calls(ROUTE)]
    return [str(body["messages"][-1]["content"]).count("### ") for body in bodies if isinstance(body, dict)]
