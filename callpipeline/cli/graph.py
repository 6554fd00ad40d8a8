"""``callpipeline graph``: what recordings talk about, over all of them. Building stands in ``graph_build``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from callpipeline.cli import graph_build
from callpipeline.cli.graph_views import (
    entities_table,
    merges_table,
    most_named,
    show_entity,
    show_hit,
    show_links,
    show_summary,
    show_way,
)
from callpipeline.cli.views import console
from callpipeline.failures import UsageError
from callpipeline.graph.exports import GraphFormat
from callpipeline.settings import Settings

if TYPE_CHECKING:
    from callpipeline.graph.search import GraphSearch, Hit, Way
    from callpipeline.knowledge import GraphSummary
    from callpipeline.model import Record

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help=(
        "What recordings talk about: things, how they hang together, and the words that say so.\n\n"
        "Start with [bold]callpipeline graph build FOLDER[/bold], then open the picture it names, or ask: "
        "[bold]graph show[/bold], [bold]graph search sleep --hops 2[/bold], "
        "[bold]graph search stress --path memory[/bold]."
    ),
)
app.command("build")(graph_build.build)

_JSON = typer.Option("--json", help="Print the answer as JSON, for scripts.")
_TYPE = typer.Option("--type", "-t", help="Only things of this type, such as Person or Concept.")


@app.command("show")
def show(
    name: Annotated[
        str | None, typer.Argument(help="A thing, by its name or id; default: what is named most often.")
    ] = None,
    kind: Annotated[str | None, _TYPE] = None,
    limit: Annotated[int, typer.Option(min=1, help="Things or relations shown, at most.")] = 30,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Show one thing with all that is said of it, or what there is.

    callpipeline graph show                  what is named most often
    callpipeline graph show --type Person    the people
    callpipeline graph show "deep sleep"     one thing: relations, quotes, recordings, times
    """
    search = _search()
    if name is None:
        found = most_named(search.graph, _known_type(search, kind), limit=limit)
        if as_json:
            _print_json({"graph": search.graph.summary, "entities": found})
            return
        if kind is None:
            show_summary(search.graph.summary)
        console.print(entities_table(found, f"named most often{f', {kind}' if kind else ''}"))
        return
    entity = search.entity(name, type=_known_type(search, kind))
    links = search.neighbours(entity.id, limit=limit)
    places = search.places(entity.id)
    if as_json:
        _print_json({"entity": entity, "relations": links, "places": places})
    else:
        show_entity(entity, links, places)


@app.command("search")
def search(
    query: Annotated[str, typer.Argument(help="A name or a part of it; small mistakes do not matter.")],
    kind: Annotated[str | None, _TYPE] = None,
    hops: Annotated[
        int | None,
        typer.Option(min=1, max=6, help="Also show what is so many relations away from the best answer."),
    ] = None,
    relation: Annotated[
        str | None, typer.Option(help="With --hops: only relations of this type, such as CAUSES.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--path", metavar="TO", help="Show the shortest way from the best answer to TO."),
    ] = None,
    meaning: Annotated[
        bool,
        typer.Option(
            "--meaning",
            help="Search by what names mean, not by letters (asks the provider for one embedding).",
        ),
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Answers shown, at most.")] = 20,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Find things by name or meaning, what is around them, and how two of them hang together.

    callpipeline graph search sleep
    callpipeline graph search "Dr Smith" --type Person
    callpipeline graph search stress --hops 2 --relation CAUSES
    callpipeline graph search stress --path memory
    """
    found = _search()
    known = _known_type(found, kind)
    hits = _by_meaning(found, query, known, limit) if meaning else found.find(query, type=known, limit=limit)
    if not hits:
        raise UsageError(
            f"The graph has nothing like {query!r}.", hint="callpipeline graph show lists what there is."
        )
    if to is not None:
        _show_way(found, hits[0], to, as_json=as_json)
    elif hops is not None:
        links = found.neighbours(hits[0].entity.id, hops=hops, relation=_relation(relation), limit=limit)
        if as_json:
            _print_json({"entity": hits[0].entity, "links": links})
        else:
            show_hit(hits[0])
            show_links(links)
    elif as_json:
        _print_json({"hits": hits})
    else:
        for hit in hits:
            show_hit(hit)


@app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write into; it is made.")],
    formats: Annotated[
        list[GraphFormat] | None,
        typer.Option("--format", "-f", help="May be given several times; default: all of them."),
    ] = None,
) -> None:
    """Write the graph for other programs, and the picture for people.

    picture: one HTML page with search and filters. graphml: Gephi, yEd, networkx. neo4j: CSV and load.cypher.
    jsonld: triple stores. parquet: DuckDB, pandas.

    The same files lie in the store already (kg_exports) after every build.
    """
    from callpipeline.graph import store as graphs
    from callpipeline.graph.exports import write_exports

    graph = graphs.load(Settings().store)
    for name, path in write_exports(graph, folder, formats or list(GraphFormat)).items():
        console.print(f"{name.value:<9} {path}", markup=False, soft_wrap=True)


@app.command("merges")
def merges(
    name: Annotated[str | None, typer.Argument(help="Only merges that this name is a part of.")] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """List the names that were taken for one thing, with the reason; the least sure come first.

    What is wrong is taken apart with callpipeline graph undo ID, and stays apart.
    """
    from callpipeline.graph import decisions
    from callpipeline.graph import store as graphs

    root = Settings().store
    wanted = name.casefold() if name else ""
    found = [
        one
        for one in graphs.load(root).merges
        if wanted in one.name.casefold() or wanted in one.other.casefold()
    ]
    found.sort(key=lambda one: (one.score, one.name, one.id))
    undone = decisions.apart(decisions.read(root))
    if as_json:
        _print_json({"merges": found, "undone": sorted(undone)})
        return
    console.print(merges_table(found))
    if undone:
        console.print(
            f"undone: {', '.join(sorted(undone))} (callpipeline graph redo ID makes them again)",
            soft_wrap=True,
        )


@app.command("undo")
def undo(merge: Annotated[str, typer.Argument(help="Id of the merge: callpipeline graph merges.")]) -> None:
    """Take a merge apart: the two stay two things, in this graph and all later ones."""
    from callpipeline.graph import decisions
    from callpipeline.graph import store as graphs

    root = Settings().store
    found = decisions.undo(root, graphs.load(root), merge)
    summary = _rebuilt()
    console.print(
        f"“{escape(found.name)}” and “{escape(found.other)}” are two again; the graph has {summary.entities} things now. "
        f"callpipeline graph redo {merge} takes it back.",
        soft_wrap=True,
    )


@app.command("redo")
def redo(merge: Annotated[str, typer.Argument(help="Id of a merge that was undone.")]) -> None:
    """Make a merge again that was undone."""
    from callpipeline.graph import decisions

    taken_back = decisions.redo(Settings().store, merge)
    summary = _rebuilt()
    console.print(
        f"“{escape(taken_back.name)}” and “{escape(taken_back.other)}” may be one thing again; the graph has "
        f"{summary.entities} things now.",
        soft_wrap=True,
    )


# --- answers ----------------------------------------------------------------------------------------------


def _search() -> GraphSearch:
    from callpipeline.graph import store as graphs
    from callpipeline.graph.search import GraphSearch

    return GraphSearch(graphs.load(Settings().store))


def _known_type(search: GraphSearch, kind: str | None) -> str | None:
    """Return the type that is meant, whatever its case.

    Raises:
        UsageError: the graph has nothing of this type; the message names those it has.
    """
    if kind is None:
        return None
    types = sorted({entity.type for entity in search.graph.entities})
    wanted = _letters(kind)
    for one in types:
        if _letters(one) in (wanted, wanted.removesuffix("s")):
            return one
    raise UsageError(
        f"The graph has nothing of the type {kind!r}.", hint=f"It has {', '.join(types) or 'nothing'}."
    )


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def _relation(name: str | None) -> str | None:
    return name.strip().replace(" ", "_").replace("-", "_") if name else None


def _by_meaning(search: GraphSearch, query: str, kind: str | None, limit: int) -> tuple[Hit, ...]:
    from callpipeline.pipeline.graph import search_by_meaning
    from callpipeline.pipeline.workbench import Workbench

    with Workbench(Settings()) as bench:
        return search_by_meaning(bench, search, query, type=kind, limit=limit)


def _show_way(search: GraphSearch, start: Hit, to: str, *, as_json: bool) -> None:
    end = search.entity(to)
    way: Way | None = search.path(start.entity.id, end.id)
    if way is None:
        raise UsageError(
            f"No way of few relations leads from {start.entity.name!r} to {end.name!r}.",
            hint="callpipeline graph search NAME --hops 3 shows what is around one of them.",
        )
    if as_json:
        _print_json({"way": way})
    else:
        show_way(way)


def _print_json(answer: dict[str, Record | Sequence[Record] | Sequence[str]]) -> None:
    def plain(value: Record | Sequence[Record] | Sequence[str]) -> object:
        if isinstance(value, (list, tuple)):
            return [one if isinstance(one, str) else one.model_dump(mode="json") for one in value]
        return value.model_dump(mode="json") if not isinstance(value, Sequence) else value

    typer.echo(json.dumps({name: plain(value) for name, value in answer.items()}, ensure_ascii=False))


def _rebuilt() -> GraphSummary:
    """Carry out what was decided, and bring the exports up to date."""
    from callpipeline.pipeline.graph import build_graph
    from callpipeline.pipeline.graph_exports import refresh_exports
    from callpipeline.pipeline.workbench import Workbench

    with Workbench(Settings()) as bench:
        summary = build_graph(bench)
        refresh_exports(bench.settings)
    return summary
