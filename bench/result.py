"""What a benchmark returns, the same for all."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Scale(StrEnum):
    """``small`` ends within 50 s on two cores; ``full`` is what the goals are stated for."""

    SMALL = "small"
    FULL = "full"


def machine() -> str:
    """Say what this ran on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"


@dataclass
class Result:
    """One figure against its goal, with everything that led to it."""

    name: str
    value: float
    goal: str
    holds: bool
    details: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": self.value,
            "goal": self.goal,
            "holds": self.holds,
            "machine": machine(),
            "details": self.details,
        }

    def as_text(self) -> str:
        lines = [
            f"{self.name}: {self.value} (goal {self.goal}: {'holds' if self.holds else 'DOES NOT HOLD'})"
        ]
        lines += [f"  {name}: {value}" for name, value in self.details.items()]
        return "\n".join([*lines, f"  on {machine()}"])
