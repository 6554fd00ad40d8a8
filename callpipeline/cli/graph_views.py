"""What ``callpipeline graph`` shows: counts, tables of things, cards, quotes with recording and time. No decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from callpipeline.cli.views import console, counted
from callpipeline.graph.ontology import STRUCTURAL_NODES, STRUCTURAL_RELATIONS
from callpipeline.qa.wording import clock

if TYPE_CHECKING:
    from callpipeline.graph.search import Hit, Link, Place, Way
    from callpipeline.knowledge import Entity, GraphSummary, KnowledgeGraph, Merge

NAME_WIDTH = 48
LONGEST_QUOTE = 300


def words(kind: str) -> str:
    """Return the type of a relation as words: IS_PART_OF becomes "is part of"."""
    return kind.lower().replace("_", " ")


def said(place: Place) -> str:
    """Return a quote with its recording and time, as markup."""
    quote = " ".join(place.quote.split())
    quote = quote if len(quote) <= LONGEST_QUOTE else f"{quote[:LONGEST_QUOTE].rstrip()} …"
    speaker = f", {place.speaker}" if place.speaker else ""
    return f"“{escape(quote)}” [dim]{escape(place.title)}, {clock(place.start)}{escape(speaker)}[/dim]"


def show_summary(summary: GraphSummary) -> None:
    """Print what there is, by type, and what could not be done."""
    states = ", ".join(f"{count} {state}" for state, count in summary.chunk_states.items() if count)
    things = {name: count for name, count in summary.by_type.items() if name not in STRUCTURAL_NODES}
    relations = {
        words(name): count for name, count in summary.by_relation.items() if name not in STRUCTURAL_RELATIONS
    }
    console.print(
        f"[bold]{counted(sum(things.values()), 'thing')}, {counted(sum(relations.values()), 'relation')}[/bold] from "
        f"{counted(summary.recordings, 'recording')}, {counted(summary.chunks, 'text chunk')} ({states or 'none'})",
        soft_wrap=True,
    )
    if "embedded" in summary.extractors:
        console.print(
            f"{counted(summary.extractors['embedded'], 'recording')} by rules and statistics (embedded), which needs no key "
            "and misses what only a language model reads. --extractor openai uses one.",
            style="dim",
            soft_wrap=True,
        )
    for what, by in (("things", things), ("relations", relations)):
        if by:
            console.print(f"{what:<10} {_counts(by)}", markup=False, soft_wrap=True)
    failed = summary.chunk_states.get("failed", 0)
    if failed:
        console.print(
            f"[red]{counted(failed, 'text chunk')} failed[/red]: the next build tries these alone",
            soft_wrap=True,
        )
    for note in summary.notes:
        console.print(f"[yellow]note[/yellow]: {escape(note)}", soft_wrap=True)
    if summary.merges or summary.undone:
        console.print(
            f"{'merges':<10} {summary.merges} made, {summary.undone} undone (callpipeline graph merges)",
            markup=False,
        )


def _counts(by: Mapping[str, int]) -> str:
    ordered = sorted(by.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count}" for name, count in ordered)


def most_named(graph: KnowledgeGraph, kind: str | None = None, *, limit: int) -> tuple[Entity, ...]:
    """Return the things to show first, of one type if given; recordings and quotes only when they are asked for."""
    found = [
        one for one in graph.entities if (one.type == kind if kind else one.type not in STRUCTURAL_NODES)
    ]
    found.sort(key=lambda one: (-one.recordings, -one.mentions, one.id))
    return tuple(found[:limit])


def entities_table(entities: Sequence[Entity], title: str) -> Table:
    """Things, a line each."""
    table = Table(title=title, title_justify="left", pad_edge=False, row_styles=["", "dim"])
    table.add_column("thing", overflow="ellipsis", no_wrap=True, max_width=NAME_WIDTH)
    table.add_column("type", no_wrap=True)
    for name in ("named", "recordings", "sure"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in entities:
        table.add_row(
            escape(one.name), one.type, str(one.mentions), str(one.recordings), f"{one.confidence:.0%}"
        )
    return table


def show_entity(entity: Entity, links: Iterable[Link], places: Iterable[Place]) -> None:
    """Print a card: what it is, how it hangs together, where it is said."""
    console.print(f"[bold]{escape(entity.name)}[/bold]  {entity.type}  [dim]{entity.id}[/dim]")
    if entity.description:
        console.print(escape(entity.description))
    if entity.aliases:
        console.print(f"also: {escape(', '.join(entity.aliases))}")
    console.print(
        f"named {counted(entity.mentions, 'time')} in {counted(entity.recordings, 'recording')}, "
        f"sure to {entity.confidence:.0%}",
        style="dim",
    )
    for place in places:
        console.print(f"  {said(place)}")
    show_links(links)


def show_links(links: Iterable[Link]) -> None:
    """Print edges with the surest words that say them."""
    for link in links:
        console.print(_link(link))
        for place in link.places[:1]:
            console.print(f"      {said(place)}")


def _link(link: Link) -> str:
    start, end = escape(link.start.name), escape(link.entity.name)
    kind = f"[cyan]{words(link.relation.type)}[/cyan]"
    line = f"{start} {kind} [bold]{end}[/bold]" if link.outgoing else f"[bold]{end}[/bold] {kind} {start}"
    times = f" [dim]({link.relation.mentions} times)[/dim]" if link.relation.mentions > 1 else ""
    return f"{'  ' * link.hops}{line}{times}"


def show_hit(hit: Hit) -> None:
    """Print one answer to a search."""
    as_ = f" [dim]as {escape(hit.matched)}[/dim]" if hit.matched != hit.entity.name else ""
    console.print(f"[bold]{escape(hit.entity.name)}[/bold]  {hit.entity.type}  {hit.score:.0%}{as_}")
    for place in hit.places[:1]:
        console.print(f"  {said(place)}")


def show_way(way: Way) -> None:
    """Print how two things hang together, a step a line."""
    console.print(
        " → ".join(f"[bold]{escape(entity.name)}[/bold]" for entity in way.entities), soft_wrap=True
    )
    for link in way.links:
        console.print(_link(link.model_copy(update={"hops": 1})))
        for place in link.places[:1]:
            console.print(f"    {said(place)}")


def merges_table(merges: Sequence[Merge]) -> Table:
    """Names that were taken for one thing, the least sure first."""
    table = Table(title=counted(len(merges), "merge"), title_justify="left", pad_edge=False)
    table.add_column("id", no_wrap=True)
    for name in ("name", "and", "type", "because"):
        table.add_column(name, overflow="fold")
    table.add_column("score", justify="right", no_wrap=True)
    for one in merges:
        table.add_row(
            one.id, escape(one.name), escape(one.other), one.type, escape(one.explanation), f"{one.score:.2f}"
        )
    return table
