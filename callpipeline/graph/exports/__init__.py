"""The graph as files for other programs and as a picture for people. Each module writes one format, none reads it back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from pathlib import Path

from callpipeline.graph.exports.evidence import Evidence
from callpipeline.knowledge import KnowledgeGraph


class GraphFormat(StrEnum):
    """What a graph can be written as."""

    PICTURE = "picture"
    GRAPHML = "graphml"
    NEO4J = "neo4j"
    JSONLD = "jsonld"
    PARQUET = "parquet"


FILES: Mapping[GraphFormat, str] = {
    GraphFormat.PICTURE: "knowledge_graph.html",
    GraphFormat.GRAPHML: "knowledge_graph.graphml",
    GraphFormat.NEO4J: "neo4j",
    GraphFormat.JSONLD: "knowledge_graph.jsonld",
    GraphFormat.PARQUET: "parquet",
}
"""The file, or the folder of files, of each format below the folder of exports."""


def write_exports(
    graph: KnowledgeGraph, folder: Path, formats: Collection[GraphFormat] = tuple(GraphFormat)
) -> dict[GraphFormat, Path]:
    """Write the graph into ``folder`` and return the file (or folder) of each format. Each file appears at once.

    Raises:
        OSError: the folder cannot be written.
    """
    evidence = Evidence(graph)
    paths = {wanted: folder / FILES[wanted] for wanted in GraphFormat if wanted in formats}
    for wanted, path in paths.items():
        _writer(wanted)(graph, path, evidence)
    return paths


def _writer(wanted: GraphFormat) -> Callable[[KnowledgeGraph, Path, Evidence], object]:
    if wanted is GraphFormat.PICTURE:
        from callpipeline.graph.exports.picture import write_picture

        return write_picture
    if wanted is GraphFormat.GRAPHML:
        from callpipeline.graph.exports.graphml import write_graphml

        return write_graphml
    if wanted is GraphFormat.NEO4J:
        from callpipeline.graph.exports.neo4j import write_neo4j

        return write_neo4j
    if wanted is GraphFormat.JSONLD:
        from callpipeline.graph.exports.jsonld import write_jsonld

        return write_jsonld
    from callpipeline.graph.exports.parquet import write_parquet

    return write_parquet
