"""``warehouse``: all results as tables in one DuckDB file, for questions over many recordings."""

from pathlib import Path

import dagster as dg

from callpipeline.defs.assets.base import over_all_recordings, table
from callpipeline.defs.resources import Pipeline
from callpipeline.pipeline.stages import ASSETS
from callpipeline.pipeline.warehouse import refresh_warehouse
from callpipeline.store.warehouse import FILE, connect


def build_warehouse() -> dg.AssetsDefinition:
    """Return the unpartitioned asset."""

    @dg.asset(
        name="warehouse",
        group_name="results",
        kinds={"duckdb"},
        code_version="3",
        deps=[*over_all_recordings(*ASSETS), "knowledge_graph"],
        description=(
            "warehouse.duckdb: recordings, segments, words, turns, detections, call_metrics, agent_scores, "
            "campaign_reach, text_chunks, entities, relations, mentions, provider_calls, charges, costs_by_recording, "
            "costs_by_run, costs_by_day. Made from the result files, the graph and the ledger by difference; may be deleted "
            "at any time. Open it read-only with DuckDB, or use callpipeline export --table NAME."
        ),
    )
    def warehouse(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
        with pipeline.workbench() as bench:
            root = bench.settings.store
            delta = refresh_warehouse(bench)
        return dg.MaterializeResult(
            metadata={
                "file": dg.MetadataValue.path(str(root / FILE)),
                "recordings": delta.recordings,
                "provider_calls": delta.calls,
                "added": delta.added,
                "changed": delta.changed,
                "removed": delta.removed,
                "unreadable": delta.unreadable,
                "rebuilt": delta.rebuilt,
                "seconds": round(delta.seconds, 3),
                "tables": table(("table", "rows"), _counts(root)),
            }
        )

    return warehouse


def _counts(root: Path) -> list[tuple[object, ...]]:
    with connect(root) as connection:
        names = connection.execute("SELECT table_name FROM information_schema.tables ORDER BY 1").fetchall()
        shown = [name for (name,) in names if name not in ("files", "state", "catalog", "call_marks")]
        return [
            (name, connection.execute(f'SELECT count(*) FROM "{name}"').fetchall()[0][0])  # noqa: S608 - names from its own schema
            for name in shown
        ]
