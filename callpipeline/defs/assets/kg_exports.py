"""``kg_exports``: the knowledge graph as a picture for people and as files for other programs."""

import dagster as dg

from callpipeline.defs.assets.base import table
from callpipeline.defs.resources import Pipeline
from callpipeline.graph.exports import GraphFormat
from callpipeline.pipeline.graph_exports import Exports, refresh_exports


def build_kg_exports() -> dg.AssetsDefinition:
    """Return the unpartitioned asset."""

    @dg.asset(
        name="kg_exports",
        group_name="graph",
        kinds={"html", "graphml", "neo4j", "jsonld", "parquet"},
        code_version="1",
        deps=["knowledge_graph"],
        description=(
            "One self-contained page that shows the knowledge graph (search, filters, every quote with its recording and "
            "second), and the graph as GraphML, Neo4j CSV with load.cypher, JSON-LD and Parquet. Written when the graph is "
            "another one; may be deleted at any time."
        ),
    )
    def kg_exports(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
        with pipeline.workbench() as bench:
            exports = refresh_exports(bench.settings)
        if exports is None:
            return dg.MaterializeResult(
                metadata={"written": False, "reason": "there is no knowledge graph yet"}
            )
        return dg.MaterializeResult(metadata=_metadata(exports))

    return kg_exports


def _metadata(exports: Exports) -> dict[str, dg.MetadataValue | bool | int]:
    summary = exports.graph.summary
    return {
        "picture": dg.MetadataValue.path(str(exports.paths[GraphFormat.PICTURE])),
        "written": exports.written,
        "entities": summary.entities,
        "relations": summary.relations,
        "files": table(
            ("format", "path", "bytes"),
            [
                (
                    name.value,
                    path,
                    sum(one.stat().st_size for one in (path.iterdir() if path.is_dir() else [path])),
                )
                for name, path in exports.paths.items()
            ],
        ),
    }
