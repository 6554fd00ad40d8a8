"""Where the shipped samples lie, and what their dialogue files say must come out of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[2] / "data"
SAMPLES = DATA / "samples"
SOURCE = DATA / "samples_src"

Truth = dict[str, Any]


def truths(*kinds: str) -> list[Any]:
    """Return the truth of every sample of these kinds (all without), as parameters named by sample."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted((SOURCE / "expected").glob("*.json"))]
    return [pytest.param(t, id=t["name"]) for t in found if not kinds or t["kind"] in kinds]


@pytest.fixture(scope="session")
def all_truths() -> list[Truth]:
    """The truth of every shipped sample."""
    return [parameter.values[0] for parameter in truths()]
