"""The knowledge graph of a workbench: made from all that the store holds, and asked by meaning.

What belongs here: bringing results, catalogue, decisions and vectors together, and seeing when nothing has changed. What
does not: how a graph is made and kept (``graph``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from callpipeline.failures import CallPipelineError, UsageError
from callpipeline.graph import decisions, store
from callpipeline.graph.build import GRAPH_VERSION, assemble
from callpipeline.graph.gathering import gather
from callpipeline.graph.search import GraphSearch, Hit
from callpipeline.intake.formats import display
from callpipeline.intake.records import CatalogRow
from callpipeline.knowledge import Episode, GraphSummary, KgExtraction, TextChunks
from callpipeline.model import AudioInfo
from callpipeline.pipeline.walk import digest
from callpipeline.pipeline.workbench import Workbench

if TYPE_CHECKING:
    from callpipeline.graph.alike import Vectors

log = logging.getLogger(__name__)

TEXTS, FOUND = "text_chunks", "kg_extractions"


def build_graph(bench: Workbench) -> GraphSummary:
    """Make the graph from the results in the store, and return its figures; at once when nothing changed since.

    With an extractor that is a model, names are also compared by what they mean: their vectors are bought once. When
    that fails the graph is made without them, its summary says so, and the next time they are tried again.

    Raises:
        Busy: another process was at it all that time.
        UsageError: the decisions about merges cannot be read.
    """
    root = bench.settings.store
    with store.lock(root):
        rows = _rows(bench)
        decided = decisions.read(root)
        made_from = _made_from(bench, rows, decisions.apart(decided))
        now = store.current(root)
        if now is not None and now.made_from == made_from and store.is_whole(root, now):
            return now.summary
        found = gather(_extractions(bench, rows))
        vectors, problem = _vectors(bench, found.names)
        graph = assemble(found, decided, vectors)
        if problem:
            summary = graph.summary.model_copy(update={"notes": (*graph.summary.notes, problem)})
            graph, made_from = graph.model_copy(update={"summary": summary}), ""
        return store.write(root, graph, made_from=made_from).summary


def search_by_meaning(
    bench: Workbench,
    search: GraphSearch,
    query: str,
    *,
    type: str | None = None,  # noqa: A002 - the word users know
    limit: int = 20,
) -> tuple[Hit, ...]:
    """Return what means something like ``query``. Buys the vectors that are not bought yet: of the query, as a rule.

    Raises:
        UsageError: the extractor is none that has an embedding model.
        CallPipelineError: the vectors cannot be had.
    """
    if not _has_embeddings(bench):
        raise UsageError(
            "Search by meaning needs an embedding model.",
            hint="Set CALLPIPELINE_EXTRACTOR=openai, or search by name.",
        )
    names = search.names_with_meaning()
    vectors = _embedded(bench, [query, *names])
    return search.nearest(vectors[query], vectors, type=type, limit=limit)


# --- what it is made from -----------------------------------------------------------------------------


def _rows(bench: Workbench) -> list[CatalogRow]:
    """Return the recordings that were looked into, in an order that stays."""
    known = bench.store.keys(TEXTS) & bench.store.keys(FOUND)
    rows = [row for row in bench.catalog.rows(absent=True) if row.recording.key in known]
    return sorted(rows, key=lambda row: row.recording.key)


def _made_from(bench: Workbench, rows: Sequence[CatalogRow], apart: frozenset[str]) -> str:
    """Name all that decides the graph: while this is the same, so is the graph."""
    model = bench.settings.graph_embedding_model if _has_embeddings(bench) else None
    return digest([GRAPH_VERSION, model, sorted(apart), [_mark(bench, row) for row in rows]])


def _mark(bench: Workbench, row: CatalogRow) -> list[str | None]:
    headers = (bench.store.header(asset, row.recording.key) for asset in (TEXTS, FOUND))
    versions = [header.data_version if header else None for header in headers]
    return [row.recording.key, *versions, _date(row), _path(row)]


def _extractions(
    bench: Workbench, rows: Sequence[CatalogRow]
) -> Iterator[tuple[Episode, TextChunks, KgExtraction]]:
    for row in rows:
        key = row.recording.key
        texts, found = bench.store.get(TEXTS, key, TextChunks), bench.store.get(FOUND, key, KgExtraction)
        if texts is not None and found is not None:
            yield _episode(bench, row, texts.value), texts.value, found.value


def _episode(bench: Workbench, row: CatalogRow, texts: TextChunks) -> Episode:
    info = bench.store.get("raw_audio", row.recording.key, AudioInfo)
    said_until = max((chunk.end for chunk in texts.chunks), default=0.0)
    return Episode(
        recording=row.recording.key,
        title=texts.title,
        date=_date(row),
        path=_path(row),
        duration=info.value.duration if info else said_until,
    )


def _date(row: CatalogRow) -> str:
    return row.metadata.date or row.metadata.timestamp or ""


def _path(row: CatalogRow) -> str:
    return display(row.sources[0]) if row.sources else ""


# --- vectors ------------------------------------------------------------------------------------------


def _has_embeddings(bench: Workbench) -> bool:
    return bench.settings.extractor == "openai"


def _vectors(bench: Workbench, names: Sequence[str]) -> tuple[Vectors | None, str]:
    """Return vectors of names, or why there are none."""
    if not names or not _has_embeddings(bench):
        return None, ""
    try:
        return _embedded(bench, names), ""
    except CallPipelineError as error:
        problem = f"Names were compared as strings only: {error}"
        log.warning("%s", problem)
        return None, problem


def _embedded(bench: Workbench, names: Sequence[str]) -> Vectors:
    from contextlib import closing

    from callpipeline.graph.embeddings import Embedder

    async def embed() -> Vectors:
        try:
            return dict(zip(names, await embedder.embed(names), strict=True))
        finally:
            await embedder.disconnect()

    with closing(Embedder(bench.settings, lambda: bench.supplies, deadline=bench.deadline)) as embedder:
        return asyncio.run(embed())
