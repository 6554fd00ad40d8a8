"""What a walk works with: settings, store, catalogue, workers and engines, opened once for a run or a service."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType

from callpipeline.intake.catalog import Catalog
from callpipeline.model import AudioInfo
from callpipeline.pipeline.workers import Workers
from callpipeline.settings import Settings
from callpipeline.speech.diarizers import diarizer
from callpipeline.speech.diarizers.base import Diarizer
from callpipeline.speech.engines import transcriber
from callpipeline.speech.engines.base import Transcriber
from callpipeline.store.results import ResultStore


@dataclass
class Workbench:
    """Supplies of one process. Engines are made at first use, so that a run that needs none loads none.

    ``engine`` replaces the configured transcriber; benches and tests use it.
    """

    settings: Settings
    engine: Transcriber | None = None
    workers: Workers = field(init=False)

    def __post_init__(self) -> None:
        self.workers = Workers(self.settings.workers)

    @cached_property
    def store(self) -> ResultStore:
        """Results of all stages."""
        return ResultStore(self.settings.store)

    @cached_property
    def catalog(self) -> Catalog:
        """Recordings and their sources."""
        return Catalog(self.settings.store / "catalog.sqlite")

    @cached_property
    def transcriber(self) -> Transcriber:
        """The chosen transcription engine.

        Raises:
            NotConfigured: the chosen engine cannot work here.
        """
        return self.engine or transcriber(self.settings, self.workers.cpu)

    def diarizer(self, info: AudioInfo) -> Diarizer:
        """The diarization engine for a recording of this shape."""
        return diarizer(self.settings, self.workers.cpu, info)

    def close(self, *, kill: bool = False) -> None:
        """Give back workers and database handles."""
        self.workers.close(kill=kill)
        if "catalog" in self.__dict__:
            self.catalog.close()

    def __enter__(self) -> Workbench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(kill=kind is not None)
