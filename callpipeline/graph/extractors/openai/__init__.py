"""Extraction by a chat model at OpenAI, or at a server of one's own that speaks its API.

What belongs here: the extractor. What does not: requests and their answers (the modules beside this one), what is
looked for (``graph.ontology``), where it stands in a chunk (``graph.grounding``).

Chunks of all recordings that are walked at once share requests (``desk``). What is kept of an answer knows nothing of
recordings: it is put into the places of whichever chunk it is wanted for, here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from callpipeline.failures import (
    AccountRefused,
    BudgetExceeded,
    CallPipelineError,
    DeadlineExceeded,
    NotConfigured,
)
from callpipeline.graph.extractors.base import ExtractionProgress, GraphPlan, GraphTools, filtered
from callpipeline.graph.extractors.openai.answers import placed
from callpipeline.graph.extractors.openai.batches import Block, Wording
from callpipeline.graph.extractors.openai.desk import Desk, Reply
from callpipeline.graph.extractors.openai.forecast import forecast
from callpipeline.graph.extractors.openai.prompt import PROMPT_VERSION
from callpipeline.graph.extractors.openai.routing import Routing
from callpipeline.graph.extractors.openai.schema import SCHEMA_VERSION
from callpipeline.graph.ontology import load
from callpipeline.knowledge import ChunkExtraction, ChunkState, KgExtraction, TextChunk, TextChunks
from callpipeline.model import Finding
from callpipeline.providers.openai import OpenAI

if TYPE_CHECKING:
    from callpipeline.settings import Settings

NAME = "openai"
REVISION = "1"
"""Goes up when the same answers would become another result."""

_NOBODYS = (AccountRefused, NotConfigured, BudgetExceeded, DeadlineExceeded)
"""Failures that are no chunk's: the recording is taken up again as a whole, and what was paid comes from the cache."""


class OpenAIExtractor:
    """Extraction by OpenAI: text leaves this machine and costs money."""

    name = NAME
    remote = True

    def __init__(self, settings: Settings, tools: GraphTools) -> None:
        """Set it up, without asking anything.

        Raises:
            NotConfigured: there is no key, or the package is missing.
            UsageError: the ontology file cannot be used.
        """
        if settings.openai_api_key is None:
            raise NotConfigured(
                "There is no API key of OpenAI.",
                hint="Set OPENAI_API_KEY (to any word for a server of your own that wants none), or"
                " CALLPIPELINE_EXTRACTOR=embedded.",
            )
        key = settings.openai_api_key.get_secret_value()
        self._settings = settings
        self._tools = tools
        self._provider = OpenAI(key, settings.openai_base_url, timeout=settings.call_timeout)
        self._wording = Wording(load(settings.ontology_file))
        self._routing = Routing(settings)
        self._desks: WeakKeyDictionary[asyncio.AbstractEventLoop, Desk] = WeakKeyDictionary()

    @property
    def version(self) -> str:
        """Our revision, the prompt's, the schema's, and the models."""
        models = " ".join(route.model for route in self._routing.routes)
        return f"{NAME}+{REVISION}.{PROMPT_VERSION}.{SCHEMA_VERSION} {models}"

    @property
    def ontology(self) -> str:
        """The hash of the ontology."""
        return self._wording.ontology.sha256

    async def extract(self, chunks: TextChunks) -> KgExtraction:
        """Return what the models find in a recording's chunks, a result for each.

        Raises:
            AccountRefused, NotConfigured, BudgetExceeded, DeadlineExceeded: nothing can be had for any chunk now. What
                was answered is kept.
            CallFailed: every chunk failed, and trying again may help.
        """
        worth_it = chunks.worth_it
        replies: list[Reply] = []
        if worth_it:
            replies = await self._desk.ask([(self._block(chunk), chunk.priority) for chunk in worth_it])
        _raise_for_all(replies)
        told = {chunk.id: reply for chunk, reply in zip(worth_it, replies, strict=True)}
        found = tuple(
            self._placed(chunk, told[chunk.id]) if chunk.id in told else filtered(chunk)
            for chunk in chunks.chunks
        )
        for result in found:
            cost = told[result.chunk].told.cost if result.chunk in told else 0.0
            self._tools.progress(ExtractionProgress(chunks.recording, result.chunk, result.state, cost))
        return KgExtraction(
            recording=chunks.recording,
            extractor=NAME,
            version=self.version,
            ontology=self.ontology,
            chunks=found,
        )

    def planned(self, recordings: Iterable[TextChunks]) -> GraphPlan:
        """Return what ``extract`` would need for these recordings together. Sends nothing.

        Raises:
            NotConfigured: a model has no price.
        """
        return forecast(self._settings, self._tools.supplies(), self._wording, self._blocks(recordings))

    async def probe(self) -> tuple[Finding, ...]:
        """Ask whether the key is accepted and the models are served. Costs nothing.

        Raises:
            CallPipelineError: it does not answer, or cannot now: nothing is known yet.
        """
        findings = []
        for route, variable in zip(self._routing.routes, _VARIABLES, strict=False):
            try:
                told = await self._provider.check(route.model, setting=variable)
            except CallPipelineError as error:
                if not (error.permanent or isinstance(error, NotConfigured)):
                    raise
                message = str(error).removesuffix(error.hint).strip()
                return (
                    Finding(
                        name=NAME,
                        passed=False,
                        message=message,
                        hint=error.hint,
                        error_class=error.error_class,
                    ),
                )
            served = f"{route.model} is served" if told else f"whether {route.model} is served is not told"
            findings.append(Finding(name=NAME, passed=True, message=f"the key is accepted; {served}"))
        return tuple(findings)

    async def disconnect(self) -> None:
        """Stop asking and close connections of the running event loop; what still comes in is kept."""
        desk = self._desks.pop(asyncio.get_running_loop(), None)
        if desk is not None:
            await desk.close()
        await self._provider.disconnect()

    @property
    def _desk(self) -> Desk:
        loop = asyncio.get_running_loop()
        if loop not in self._desks:
            self._desks[loop] = Desk(self._settings, self._tools, self._wording, self._provider)
        return self._desks[loop]

    def _blocks(self, recordings: Iterable[TextChunks]) -> Iterable[Block | None]:
        for chunks in recordings:
            for chunk in chunks.chunks:
                yield self._block(chunk) if chunk.low_value is None else None

    def _block(self, chunk: TextChunk) -> Block:
        return self._wording.block(chunk, self._routing.of(chunk.text), self._tools.clean_text)

    def _placed(self, chunk: TextChunk, reply: Reply) -> ChunkExtraction:
        kept, failure = reply.told.kept, reply.told.failure
        if kept is None or kept.said is None:
            return ChunkExtraction(
                chunk=chunk.id,
                state=ChunkState.FAILED,
                model=kept.model if kept else "",
                error_class=failure.error_class if failure else None,
                message=str(failure),
                permanent=kept is not None,
            )
        return placed(
            kept.said,
            chunk,
            self._wording.ontology,
            least=self._settings.graph_min_confidence,
            state=reply.state,
            model=kept.model,
            reused_from=reply.reused_from,
            similarity=reply.similarity,
        )


_VARIABLES = ("CALLPIPELINE_GRAPH_MODEL", "CALLPIPELINE_GRAPH_SMALL_MODEL")


def _raise_for_all(replies: list[Reply]) -> None:
    """Raise a failure that is no single chunk's, or the first where trying again may help and there is nothing else."""
    errors = [reply.told.error for reply in replies if reply.told.error is not None]
    for error in errors:
        if isinstance(error, _NOBODYS):
            raise error
    if errors and len(errors) == len(replies):
        raise errors[0]
