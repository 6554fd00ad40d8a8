"""What an extractor of entities and relations is, and what it gets to work with.

What belongs here: the protocol, its tools, and small value types that extractors and those who call them share. What
does not: any extractor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar, runtime_checkable

from callpipeline.knowledge import ChunkExtraction, ChunkState, KgExtraction, TextChunk, TextChunks
from callpipeline.model import Finding

if TYPE_CHECKING:
    from callpipeline.limits.supplies import Supplies

P = ParamSpec("P")
T = TypeVar("T")


class Runner(Protocol):
    """Runs a function elsewhere: in a worker process (it and its arguments must be picklable), or a thread."""

    async def __call__(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``fn`` returns, or raise what it raises."""
        ...


@dataclass(frozen=True, slots=True)
class ExtractionProgress:
    """What became of one text chunk just now. ``cost`` is its share of what was paid, in dollars."""

    recording: str
    chunk: str
    state: ChunkState
    cost: float = 0.0


def _nobody_listens(progress: ExtractionProgress) -> None:
    """Where nobody wants to know how far chunks have come."""


def _as_it_is(text: str) -> str:
    return text


@dataclass(frozen=True)
class GraphTools:
    """What an extractor may need beside its settings.

    ``supplies`` opens the limits, the ledger and the prices at first use. ``clean_text`` is applied to a chunk's text
    before it leaves this machine (redaction, where it is set). ``deadline``: when to stop making calls, by
    ``time.monotonic()``. ``force_paid``: buy again what was bought before. ``progress`` is told of every chunk.
    """

    cpu: Runner
    thread: Runner
    supplies: Callable[[], Supplies]
    clean_text: Callable[[str], str] = _as_it_is
    deadline: float | None = None
    force_paid: bool = False
    progress: Callable[[ExtractionProgress], None] = _nobody_listens


class GraphExtractor(Protocol):
    """Finds entities and relations in text chunks.

    ``version`` and ``ontology`` are parts of the results' cache key: they name everything beside the text that decides
    what is found. ``remote`` extractors send text away and cost money.
    """

    @property
    def name(self) -> str:
        """The registered name."""
        ...

    @property
    def version(self) -> str:
        """What decides the result: models, prompt, schema, our own revision."""
        ...

    @property
    def ontology(self) -> str:
        """The hash of the ontology that is used."""
        ...

    @property
    def remote(self) -> bool:
        """Whether text leaves this machine."""
        ...

    async def extract(self, chunks: TextChunks) -> KgExtraction:
        """Return what is found in a recording's text chunks, one result for each, in their order.

        A chunk that fails is a result of state ``FAILED`` and costs its neighbours nothing.

        Raises:
            CallPipelineError: nothing can be had now, for any chunk: the account, the budget, the deadline, the set-up.
        """
        ...

    async def probe(self) -> tuple[Finding, ...]:
        """Ask, for nothing, whether it can work: nothing to say for an extractor of this machine.

        Raises:
            CallPipelineError: the provider does not answer, or cannot now: nothing is known yet.
        """
        ...

    async def disconnect(self) -> None:
        """Close connections of the running event loop."""
        ...


@dataclass(frozen=True, slots=True)
class GraphPlan:
    """What the chunks of some recordings would need, worked out before anything is sent.

    ``cached``: chunks whose result is in the cache (or equal to another's), which cost nothing. ``filtered``: chunks in
    which nothing is looked for. ``tokens``/``cost`` (dollars) are estimates, rather too high. ``minutes``: how long the
    limits of the pools make it take at least.
    """

    chunks: int = 0
    filtered: int = 0
    cached: int = 0
    to_send: int = 0
    requests: int = 0
    tokens: int = 0
    cost: float = 0.0
    minutes: float = 0.0
    by_model: dict[str, int] = field(default_factory=dict)
    """Chunks to send, by model."""


@runtime_checkable
class RemoteGraphExtractor(GraphExtractor, Protocol):
    """An extractor at a provider: it can say before what it will send."""

    def planned(self, recordings: Iterable[TextChunks]) -> GraphPlan:
        """Return what ``extract`` would need for these recordings together. Sends nothing.

        Raises:
            NotConfigured: a model has no price.
        """
        ...


def filtered(chunk: TextChunk) -> ChunkExtraction:
    """Return the result of a chunk in which nothing is looked for."""
    return ChunkExtraction(chunk=chunk.id, state=ChunkState.FILTERED, message=chunk.low_value)
