"""What assets and sensors are given: a place that opens plain domain objects.

Tests, benches and the command line pass their own ``PipelineResource`` to ``build_defs``; nothing else is swapped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import dagster as dg

from callpipeline.pipeline.outcomes import RecordingOutcome, StageOutcome
from callpipeline.pipeline.workbench import Workbench
from callpipeline.settings import Settings
from callpipeline.speech.engines.base import Transcriber

Outcome: TypeAlias = StageOutcome | RecordingOutcome


def _nobody(outcome: Outcome) -> None:
    pass


@dataclass(frozen=True)
class PipelineResource:
    """Opens a workbench for a run. Settings are read when a run starts, not when the code is loaded.

    ``listener`` hears every outcome as it happens: the command line draws its progress from it.
    """

    settings: Callable[[], Settings] = Settings
    engine: Transcriber | None = None
    listener: Callable[[Outcome], None] = _nobody

    def workbench(self) -> Workbench:
        """Open the supplies of a run; the caller closes them."""
        return Workbench(self.settings(), engine=self.engine)


Pipeline: TypeAlias = dg.ResourceParam[PipelineResource]
