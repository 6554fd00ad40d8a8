"""The graph out of all that was found: nodes, edges, and for each of them where it is said.

The same findings make the same graph, with the same ids, in whatever order the recordings come. What belongs here:
putting it together. What does not: which names are one thing (``resolution``), the edges that follow from where things are
said (``structure``), who contradicts whom (``conflicts``).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from callpipeline.graph.conflicts import conflicts
from callpipeline.graph.decisions import Decision, apart
from callpipeline.graph.gathering import Claimed, Found, gather
from callpipeline.graph.names import normal
from callpipeline.graph.parts import Edge, Node, hashed, relation_id
from callpipeline.graph.resolution import Merged, resolve
from callpipeline.graph.structure import structure
from callpipeline.graph.units import Cluster
from callpipeline.knowledge import (
    Conflict,
    Dropped,
    Episode,
    GraphSummary,
    KgExtraction,
    KnowledgeGraph,
    Merge,
    TextChunks,
)

if TYPE_CHECKING:
    from callpipeline.graph.alike import Vectors

GRAPH_VERSION = "1"
"""Goes up when the same findings would make another graph."""

SYMMETRIC = frozenset({"RELATES_TO"})
"""Edges that say the same in both directions; they lead from the lower id to the higher one."""

MOST_ALIASES = 30


def build(
    extractions: Iterable[tuple[Episode, TextChunks, KgExtraction]],
    decisions: Iterable[Decision] = (),
    vectors: Vectors | None = None,
) -> KnowledgeGraph:
    """Return the graph over these recordings.

    Args:
        extractions: what was found in each; they are taken one after another and let go.
        decisions: what people said about merges.
        vectors: by name (see ``Found.names``), of unit length; ``None`` compares names as strings only.
    """
    return assemble(gather(extractions), decisions, vectors)


def assemble(
    found: Found, decisions: Iterable[Decision] = (), vectors: Vectors | None = None
) -> KnowledgeGraph:
    """Return the graph of what was gathered; see ``build``."""
    told_apart = apart(decisions)
    clusters, merged = resolve(found.named, told_apart, vectors)
    nodes = _nodes(clusters)
    of_thing = {
        thing: node for node, cluster in zip(nodes, clusters, strict=True) for thing in _things(cluster)
    }
    for named in found.named:
        of_thing[named.thing].see(named)
    edges = _edges(found.claimed, of_thing)
    disagreements = conflicts(nodes, edges)
    more_nodes, more_edges = structure(found, nodes, of_thing)
    return _graph(
        found,
        [*nodes, *more_nodes],
        [*edges, *more_edges],
        merges=_merges(merged, of_thing),
        conflicts=disagreements,
        undone=len(told_apart),
    )


def _things(cluster: Cluster) -> Iterable[str]:
    return (thing for unit in cluster.units for thing in unit.things)


# --- nodes --------------------------------------------------------------------------------------------


def _nodes(clusters: Sequence[Cluster]) -> list[Node]:
    types = [_type(cluster) for cluster in clusters]
    ids = _ids(clusters, types)
    return [
        Node(of, cluster.name, kind, _aliases(cluster))
        for of, kind, cluster in zip(ids, types, clusters, strict=True)
    ]


def _type(cluster: Cluster) -> str:
    said: Counter[str] = Counter()
    for unit in cluster.units:
        said[unit.type] += unit.count
    return min(said, key=lambda kind: (-said[kind], kind))


def _ids(clusters: Sequence[Cluster], types: Sequence[str]) -> list[str]:
    """Name each cluster by its type and normal name; things with one name that were told apart by more than that."""
    found: list[str] = [""] * len(clusters)
    left = list(range(len(clusters)))
    for level in range(3):
        named: dict[str, list[int]] = defaultdict(list)
        for at in left:
            named[_basis(clusters[at], types[at], level)].append(at)
        for basis, those in named.items():
            if len(those) == 1:
                found[those[0]] = hashed("e", basis)
        left = [at for those in named.values() if len(those) > 1 for at in those]
    for at in left:
        found[at] = hashed("e", "\n".join(sorted(_things(clusters[at]))))
    return found


def _basis(cluster: Cluster, kind: str, level: int) -> str:
    lead = cluster.units[0]
    parts = (kind, normal(lead.plain, kind)), (kind, lead.type, lead.plain), (kind, lead.base, lead.scope)
    return "\n".join(parts[level])


def _aliases(cluster: Cluster) -> tuple[str, ...]:
    """Return the other ways in which it is written, the most frequent first, each once whatever its case."""
    ways: Counter[str] = Counter()
    for unit in cluster.units:
        ways.update(unit.written)
    seen = {cluster.name.casefold()}
    found = []
    for way in sorted(ways, key=lambda one: (-ways[one], one)):
        if way.casefold() not in seen:
            seen.add(way.casefold())
            found.append(way)
    return tuple(found[:MOST_ALIASES])


# --- edges and merges ---------------------------------------------------------------------------------


def _edges(claimed: Iterable[Claimed], of_thing: Mapping[str, Node]) -> list[Edge]:
    """Return one edge for all places that say the same; what became a thing's relation to itself is none."""
    edges: dict[str, Edge] = {}
    for claim in claimed:
        source, target = of_thing[claim.source].id, of_thing[claim.target].id
        if source == target:
            continue
        if claim.type in SYMMETRIC:
            source, target = sorted((source, target))
        of = relation_id(claim.type, source, target)
        edge = edges.get(of)
        if edge is None:
            edge = edges[of] = Edge(of, claim.type, source, target)
        edge.see(claim)
    return list(edges.values())


def _merges(merged: Iterable[Merged], of_thing: Mapping[str, Node]) -> tuple[Merge, ...]:
    found = [
        Merge(
            id=one.id,
            entity=of_thing[one.into.things[0]].id,
            name=one.name,
            other=one.other,
            type=one.type,
            reason=one.reason,
            score=one.score,
            explanation=one.explanation,
        )
        for one in merged
    ]
    return tuple(sorted(found, key=lambda merge: (merge.entity, merge.id)))


# --- all of it ----------------------------------------------------------------------------------------


def _graph(
    found: Found,
    nodes: Sequence[Node],
    edges: Sequence[Edge],
    *,
    merges: tuple[Merge, ...],
    conflicts: tuple[Conflict, ...],
    undone: int,
) -> KnowledgeGraph:
    nodes = sorted(nodes, key=lambda node: (-node.count, node.id))
    edges = sorted(edges, key=lambda edge: (-edge.count, edge.id))
    mentions = tuple(mention for parts in (nodes, edges) for part in parts for mention in part.mentions)
    tally = found.tally
    return KnowledgeGraph.model_construct(
        episodes=found.episodes,
        entities=tuple(node.entity() for node in nodes),
        relations=tuple(edge.relation() for edge in edges),
        mentions=mentions,
        merges=merges,
        conflicts=conflicts,
        summary=GraphSummary(
            built=datetime.now(UTC).isoformat(timespec="seconds"),
            extractors=dict(sorted(tally.extractors.items())),
            recordings=len(found.episodes),
            chunks=tally.chunks,
            chunk_states=dict(sorted(tally.states.items())),
            entities=len(nodes),
            relations=len(edges),
            structural=sum(edge.structural for edge in edges),
            mentions=len(mentions),
            merges=len(merges),
            undone=undone,
            conflicts=len(conflicts),
            by_type=_counted(node.type for node in nodes),
            by_relation=_counted(edge.type for edge in edges),
            unknown_types=dict(sorted(tally.unknown_types.items())),
            dropped=Dropped(**tally.dropped),
        ),
    )


def _counted(types: Iterable[str]) -> dict[str, int]:
    """Return how often each occurs, the most frequent first."""
    return dict(sorted(Counter(types).items(), key=lambda one: (-one[1], one[0])))
