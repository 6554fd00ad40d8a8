"""``knowledge_graph``: what all recordings talk about, as one graph."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from callpipeline.defs.assets.base import over_all_recordings, table
from callpipeline.defs.resources import Pipeline
from callpipeline.graph import store
from callpipeline.knowledge import Entity, GraphSummary, Merge
from callpipeline.pipeline.graph import build_graph

SHOWN = 25
"""Rows of each table: what most recordings name."""


def build_knowledge_graph() -> dg.AssetsDefinition:
    """Return the unpartitioned asset."""

    @dg.asset(
        name="knowledge_graph",
        group_name="graph",
        kinds={"parquet"},
        code_version="1",
        deps=over_all_recordings("raw_audio", "text_chunks", "kg_extractions"),
        description=(
            "Entities and relations over all recordings: names of one thing are merged (each merge is told, and can be "
            "undone with callpipeline graph undo), sources that disagree are kept, and every node and edge leads back to "
            "words, recording and second. Parquet tables below store/knowledge_graph; made when something changed."
        ),
    )
    def knowledge_graph(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
        with pipeline.workbench(context) as bench:
            summary = build_graph(bench)
            root = bench.settings.store
            top, merges = store.top(root, SHOWN), store.merges(root)[:SHOWN]
        for note in summary.notes:
            context.log.warning(note)
        return dg.MaterializeResult(
            metadata={
                "folder": dg.MetadataValue.path(str(root / store.FOLDER)),
                **_metadata(summary, top, merges),
            }
        )

    return knowledge_graph


def _metadata(summary: GraphSummary, top: Iterable[Entity], merges: Iterable[Merge]) -> Mapping[str, Any]:
    return {
        "recordings": summary.recordings,
        "chunks": summary.chunks,
        "entities": summary.entities,
        "relations": summary.relations,
        "structural": summary.structural,
        "mentions": summary.mentions,
        "merges": summary.merges,
        "undone": summary.undone,
        "conflicts": summary.conflicts,
        "extractors": _counts(summary.extractors),
        "chunk_states": _counts(summary.chunk_states),
        "entity_types": _counts(summary.by_type),
        "relation_types": _counts(summary.by_relation),
        "unknown_types": _counts(summary.unknown_types),
        "dropped": _counts(summary.dropped.model_dump()),
        "notes": " ".join(summary.notes) or "none",
        "built": summary.built,
        "top_entities": table(
            ("name", "type", "recordings", "mentions", "description"),
            [(one.name, one.type, one.recordings, one.mentions, one.description) for one in top],
        ),
        "least_sure_merges": table(
            ("id", "reason", "score", "explanation"),
            [(one.id, one.reason, one.score, one.explanation) for one in merges],
        ),
    }


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count) or "none"
