"""What a walk reports while it goes: one outcome for each stage of each recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from callpipeline.model import StageFailure
from callpipeline.store.results import Stored


class Status(StrEnum):
    """How a stage of one recording ended."""

    DONE = "done"
    REUSED = "reused"
    """The stored result was made from the same inputs by the same rules: nothing was done."""
    FAILED = "failed"
    BLOCKED = "blocked"
    """Not tried, because a stage above it failed."""
    NOT_NEEDED = "not_needed"
    """Nothing that this recording has: a call has no chapters, a hearing no verdicts."""


@dataclass(frozen=True)
class StageOutcome:
    """One stage of one recording, finished.

    ``stored`` for done and reused (and for a failed one of which a part could be decided), ``failure`` for failed;
    a blocked one carries the failure that blocks it.
    """

    key: str
    asset: str
    status: Status
    seconds: float
    stored: Stored[Any] | None = None
    failure: StageFailure | None = None


@dataclass(frozen=True)
class RecordingOutcome:
    """One recording, all wanted stages finished. ``seq`` = its state in the catalogue when the walk began."""

    key: str
    seq: int
    stages: dict[str, StageOutcome]
    seconds: float

    @property
    def failure(self) -> StageFailure | None:
        """The first failure, in order of the stages."""
        return next((o.failure for o in self.stages.values() if o.failure), None)

    @property
    def reused(self) -> bool:
        """True if nothing had to be done."""
        return all(o.status in (Status.REUSED, Status.NOT_NEEDED) for o in self.stages.values())


Emit = Callable[[StageOutcome | RecordingOutcome], None]
