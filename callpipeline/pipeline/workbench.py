"""What a walk works with: settings, store, catalogue, workers and engines, opened once for a run or a service."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from types import TracebackType

from callpipeline.failures import CallPipelineError, NotConfigured
from callpipeline.intake.catalog import Catalog
from callpipeline.limits.ledger_rows import ProviderCall
from callpipeline.limits.retry import RetryPolicy, retrying
from callpipeline.limits.slots import Limit, OnChange
from callpipeline.limits.supplies import Supplies, open_supplies
from callpipeline.limits.worker import Turns, Worker
from callpipeline.model import AudioInfo, Finding, Transcript
from callpipeline.pipeline.progress import ProgressStore
from callpipeline.pipeline.workers import Workers
from callpipeline.qa.redaction import redact_transcript
from callpipeline.settings import Settings
from callpipeline.speech.diarizers import diarizer
from callpipeline.speech.diarizers.base import Diarizer
from callpipeline.speech.engines import transcriber
from callpipeline.speech.engines.base import EngineTools, RemoteTranscriber, Transcriber, refused
from callpipeline.store.pressure import look_ahead
from callpipeline.store.results import ResultStore

ASK_AGAIN_SECONDS = 30.0
"""A provider that said no, or nothing, is asked again after this: a run outlives a short outage."""


@dataclass
class Workbench:
    """Supplies of one process. Engines are made at first use, so that a run that needs none loads none.

    ``engine`` replaces the configured transcriber; benches and tests use it. ``run`` is the run's id, under which
    it holds slots, ``spends_with`` the id in the ledger and for the budget if it is another. ``slot_limit`` gives
    the size of a pool (Dagster's), ``on_slot_change`` shows who holds slots. ``force_paid``: transcribe anew at
    a provider, and pay for it, what is there already.
    """

    settings: Settings
    engine: Transcriber | None = None
    run: str = ""
    spends_with: str = ""
    slot_limit: Limit | None = None
    on_slot_change: OnChange | None = None
    force_paid: bool = False
    workers: Workers = field(init=False)
    checks: Worker = field(init=False)
    """A thread for checks before a call: they must not queue behind long decodes."""
    deadline: float | None = field(init=False)

    def __post_init__(self) -> None:
        self.workers = Workers(self.settings.workers)
        self.checks = Worker("checks")
        self._turns = Turns()
        self._answer: tuple[Finding, ...] | CallPipelineError = ()
        self._ask_after = float("-inf")
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
        async with self._turns.of("provider"):
            if time.monotonic() >= self._ask_after:
                try:
                    self._answer = await retrying(engine.probe, self._policy)
                except NotConfigured as error:
                    self._answer = (refused(engine.name, error),)
                except CallPipelineError as error:
                    self._answer = error
                well = isinstance(self._answer, tuple) and all(finding.passed for finding in self._answer)
                self._ask_after = inf if well else time.monotonic() + ASK_AGAIN_SECONDS
            if isinstance(self._answer, CallPipelineError):
                raise type(self._answer)(str(self._answer)) from self._answer
            return self._answer

    @property
    def _policy(self) -> RetryPolicy:
        return RetryPolicy().scaled(self.settings.retry_delay_scale)

    async def disconnect(self) -> None:
        """Close a provider's connections, in the event loop that used them."""
        if isinstance(self.__dict__.get("transcriber"), RemoteTranscriber):
            await self.__dict__["transcriber"].disconnect()

    def diarizer(self, info: AudioInfo) -> Diarizer:
        """The diarization engine for a recording of this shape."""
        return diarizer(self.settings, self.workers.cpu, info)

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


def _as_it_is(transcript: Transcript) -> Transcript:
    return transcript
