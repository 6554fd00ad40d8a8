"""What assets and sensors are given: a place that opens plain domain objects.

Tests, benches and the command line pass their own ``PipelineResource`` to ``build_defs``; nothing else is swapped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import dagster as dg

from callpipeline.defs import pools
from callpipeline.graph.extractors.base import ExtractionProgress, GraphExtractor
from callpipeline.pipeline.outcomes import RecordingOutcome, StageOutcome
from callpipeline.pipeline.workbench import Workbench
from callpipeline.settings import Settings
from callpipeline.speech.engines.base import Transcriber

Outcome: TypeAlias = StageOutcome | RecordingOutcome


SPENDS_WITH = "callpipeline/spends_with"
"""Run tag: the run whose budget this one shares, because one command started both."""


def _nobody(outcome: Outcome) -> None:
    pass


@dataclass(frozen=True)
class PipelineResource:
    """Opens a workbench for a run. Settings are read when a run starts, not when the code is loaded.

    ``listener`` hears every outcome as it happens, ``on_extraction`` of each text chunk: the command line draws its
    progress from them. ``engine`` and ``finder``: see ``Workbench``.
    """

    settings: Callable[[], Settings] = Settings
    engine: Transcriber | None = None
    finder: GraphExtractor | None = None
    listener: Callable[[Outcome], None] = _nobody
    on_extraction: Callable[[ExtractionProgress], None] | None = None

    @contextmanager
    def workbench(
        self, context: dg.AssetExecutionContext | None = None, *, force_paid: bool = False
    ) -> Iterator[Workbench]:
        """Open the supplies of a run, and close them after.

        With ``context`` the run may call providers: under its id, and with Dagster's pools for limits.
        ``force_paid``: buy anew, and pay for it, what was bought before.
        """
        settings = self.settings()
        if context is None:
            with Workbench(settings, engine=self.engine, finder=self.finder) as bench:
                yield bench
            return
        for note in pools.prepare(context.instance, settings):
            context.log.warning(note)
        run_id = context.run.run_id
        page = pools.PoolPage(context.instance, run_id)
        bench = Workbench(
            settings,
            engine=self.engine,
            finder=self.finder,
            on_extraction=self.on_extraction,
            run=run_id,
            spends_with=context.run.tags.get(SPENDS_WITH, run_id),
            slot_limit=pools.slot_limit(context.instance),
            on_slot_change=page.changed,
            force_paid=force_paid,
        )
        with bench, closing(page):
            yield bench


Pipeline: TypeAlias = dg.ResourceParam[PipelineResource]
