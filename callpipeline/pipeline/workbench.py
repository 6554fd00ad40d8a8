"""What a walk works with: settings, store, catalogue, workers and engines, opened once for a run or a service."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import TypeVar

from callpipeline.graph.extractors import extractor
from callpipeline.graph.extractors.base import ExtractionProgress, GraphExtractor, GraphTools
from callpipeline.intake.catalog import Catalog
from callpipeline.limits.ledger_rows import ProviderCall
from callpipeline.limits.retry import RetryPolicy
from callpipeline.limits.slots import Limit, OnChange
from callpipeline.limits.supplies import Supplies, open_supplies
from callpipeline.limits.worker import Worker
from callpipeline.model import Finding
from callpipeline.pipeline.account import Account
from callpipeline.pipeline.progress import ProgressStore
from callpipeline.pipeline.stopping import Stops
from callpipeline.pipeline.workers import Workers
from callpipeline.qa.redaction import redact, redact_transcript
from callpipeline.settings import Settings
from callpipeline.speech.diarizers import diarizer
from callpipeline.speech.diarizers.base import Diarizer
from callpipeline.speech.engines import transcriber
from callpipeline.speech.engines.base import EngineTools, RemoteTranscriber, SpeechJob, Transcriber
from callpipeline.store.pressure import look_ahead
from callpipeline.store.results import ResultStore

T = TypeVar("T")


@dataclass
class Workbench:
    """Supplies of one process. Engines are made at first use, so that a run that needs none loads none.

    ``engine`` replaces the configured transcriber, ``finder`` the configured extractor; benches and tests use them.
    ``run`` is the run's id, under which it holds slots, ``spends_with`` the id in the ledger and for the budget if it
    is another. ``slot_limit`` gives the size of a pool (Dagster's), ``on_slot_change`` shows who holds slots,
    ``on_extraction`` hears of each text chunk. ``force_paid``: buy anew from providers, and pay for it, what is there
    already.
    """

    settings: Settings
    engine: Transcriber | None = None
    run: str = ""
    spends_with: str = ""
    slot_limit: Limit | None = None
    on_slot_change: OnChange | None = None
    force_paid: bool = False
    finder: GraphExtractor | None = None
    on_extraction: Callable[[ExtractionProgress], None] | None = None
    stops: Stops = field(default_factory=Stops)
    """Through which the walk of one recording can be ended from another thread."""
    workers: Workers = field(init=False)
    checks: Worker = field(init=False)
    """A thread for checks before a call: they must not queue behind long decodes."""
    graph_account: Account = field(init=False)
    """What the extractor's provider says of our account."""
    deadline: float | None = field(init=False)

    def __post_init__(self) -> None:
        self.workers = Workers(self.settings.workers, processes=self.settings.use_process_pool)
        self.checks = Worker("checks")
        self._account, self.graph_account = Account(self._policy), Account(self._policy)
        allowed = self.settings.run_deadline
        self.deadline = time.monotonic() + allowed if allowed else None

    @cached_property
    def store(self) -> ResultStore:
        """Results of all stages."""
        return ResultStore(self.settings.store)

    @cached_property
    def catalog(self) -> Catalog:
        """Recordings and their sources."""
        return Catalog(self.settings.store / "catalog.sqlite")

    @cached_property
    def progress(self) -> ProgressStore:
        """How far long recordings have come."""
        return ProgressStore(self.settings.store)

    @cached_property
    def transcriber(self) -> Transcriber:
        """The chosen transcription engine.

        Raises:
            NotConfigured: the chosen engine cannot work here.
        """
        return self.engine or transcriber(self.settings, self.tools)

    @property
    def tools(self) -> EngineTools:
        """What engines are given."""
        return EngineTools(
            cpu=self.workers.cpu,
            thread=self.workers.thread,
            supplies=lambda: self.supplies,
            clean=redact_transcript if self.settings.redact_pii else _as_it_is,
            force_paid=self.force_paid,
            deadline=self.deadline,
            progress=self.progress.note,
            look_ahead=lambda: look_ahead(self.settings),
        )

    @cached_property
    def extractor(self) -> GraphExtractor:
        """What finds entities and relations in text chunks.

        Raises:
            NotConfigured: the chosen extractor cannot work here.
            UsageError: the ontology file cannot be used.
        """
        tools = GraphTools(
            cpu=self.workers.cpu,
            thread=self.workers.thread,
            supplies=lambda: self.supplies,
            clean_text=redact if self.settings.redact_pii else _as_it_is,
            deadline=self.deadline,
            force_paid=self.force_paid,
            progress=self.on_extraction or _nobody,
        )
        return self.finder or extractor(self.settings, tools)

    @cached_property
    def supplies(self) -> Supplies:
        """Slots, rates, ledger, prices and budgets, shared with all other processes."""
        return open_supplies(
            self.settings,
            run=self.run,
            spends_with=self.spends_with or self.run,
            slot_limit=self.slot_limit,
            on_slot_change=self.on_slot_change,
            policy=self._policy,
        )

    def unfinished_calls(self) -> list[ProviderCall]:
        """Return the calls that providers got, or may have got, and whose answers are not here: of all runs.

        Empty when no engine of this run ever needed a provider.
        """
        return self.supplies.ledger.unfinished() if "supplies" in self.__dict__ else []

    async def asked_provider(self) -> tuple[Finding, ...]:
        """Return what the engine's provider says of key and models; asked once, as long as all is well.

        Nothing for an engine of this machine.

        Raises:
            CallPipelineError: it did not answer, after the usual retries.
        """
        engine = self.transcriber
        if not isinstance(engine, RemoteTranscriber):
            return ()
        return await self._account.asked(engine.name, engine.probe)

    async def asked_extractor(self) -> tuple[Finding, ...]:
        """Return what the extractor's provider says of key and models; asked once, as long as all is well.

        Nothing for an extractor of this machine.

        Raises:
            CallPipelineError: it did not answer, after the usual retries.
        """
        if not self.extractor.remote:
            return ()
        return await self.graph_account.asked(self.extractor.name, self.extractor.probe)

    @property
    def _policy(self) -> RetryPolicy:
        return RetryPolicy().scaled(self.settings.retry_delay_scale)

    async def disconnect(self) -> None:
        """Close connections to providers, in the event loop that used them."""
        for engine in (self.__dict__.get("transcriber"), self.__dict__.get("extractor")):
            if engine is not None and engine.remote:
                await engine.disconnect()

    def diarizer(self, job: SpeechJob) -> Diarizer:
        """The diarization engine for a recording."""
        return diarizer(self.settings, self.workers.cpu, job)

    def close(self, *, kill: bool = False) -> None:
        """Give back workers and database handles."""
        self.workers.close(kill=kill)
        self.checks.close()
        if "progress" in self.__dict__:
            self.progress.close()
        if "supplies" in self.__dict__:
            self.supplies.close()
        if "catalog" in self.__dict__:
            self.catalog.close()

    def __enter__(self) -> Workbench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(kill=kind is not None)


def _as_it_is(said: T) -> T:
    return said


def _nobody(progress: ExtractionProgress) -> None:
    """Where nobody wants to know how far text chunks have come."""
