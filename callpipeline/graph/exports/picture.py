"""The graph as one HTML page that people open, search and send on: it holds all that it shows and asks no network.

What belongs here: choosing what the page shows, and putting it into the page. What does not: where nodes stand
(``layout``), markup and behaviour (``templates/``; cytoscape draws).

Names and quotes come from what strangers said: they go into the page as data only, in which nothing can end the
element that holds it, and the script puts them on the page as text, never as markup. The page's own policy lets no
other script run.

A page shows the strongest things; quotes are not nodes there but the evidence of what they are about.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import math
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from callpipeline.graph.exports.evidence import Evidence, one_line
from callpipeline.graph.exports.layout import Point, positions
from callpipeline.graph.ontology import EPISODE, QUOTE
from callpipeline.knowledge import Entity, KnowledgeGraph, Mention, Relation
from callpipeline.store.files import write_text

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_NODES = 3000
"""More than anybody looks through, and as many as a laptop's browser draws smoothly."""
MOST_EDGES_A_NODE = 4
MAX_BYTES = 6_000_000
"""Size of the data that the page holds; with less evidence for each thing it always fits."""

_PLACES = (8, 5, 3, 2, 1)
"""Places that say a thing, at most: the first number with which the page is small enough."""
_LONGEST_QUOTE = 320
_NOTES = 12
_MOST_RECORDINGS = 60
"""With more of them, recordings do not make a picture clearer."""
_PLAYED = frozenset({".mp3", ".m4a", ".mp4", ".wav", ".ogg", ".oga", ".opus", ".flac", ".webm", ".aac"})
"""Files that browsers play, from a given second on."""


def write_picture(
    graph: KnowledgeGraph, path: Path, evidence: Evidence, *, most_nodes: int = MOST_NODES
) -> None:
    """Write the page to ``path``, all at once.

    Raises:
        OSError: the folder cannot be written.
    """
    script, library = _template("picture.js"), _template("cytoscape.min.js")
    page = _environment().get_template("picture.html")
    html = page.render(
        css=_template("picture.css"),
        script=script,
        library=library,
        hashes=" ".join(map(_source_hash, (library, script))),
        data=_in_script(_data(graph, evidence, most_nodes)),
        summary=graph.summary,
    )
    write_text(path, html)


def _in_script(value: Any) -> str:
    """Return JSON that no parser of HTML takes for the end of its element, or the start of another."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _source_hash(script: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


# --- choosing ---------------------------------------------------------------------------------------------


def _data(graph: KnowledgeGraph, evidence: Evidence, most_nodes: int) -> dict[str, Any]:
    """Return what the page shows: indexes into its own lists stand for ids, so that it stays small."""
    things = [entity for entity in graph.entities if entity.type not in (EPISODE, QUOTE)]
    edges = [relation for relation in graph.relations if not relation.structural]
    shown = _strongest(things, edges, most_nodes)
    known = {entity.id for entity in shown}
    among = [edge for edge in edges if edge.source in known and edge.target in known]
    among = sorted(among, key=_strength_of_edge)[: MOST_EDGES_A_NODE * max(len(shown), 1)]
    page = _Page(graph, evidence, shown, among)
    data: dict[str, Any] = {}
    for places in _PLACES:
        data = page.data(places)
        if len(_in_script(data)) <= MAX_BYTES:
            break
    return data | {"left_out": {"nodes": len(things) - len(shown), "edges": len(edges) - len(among)}}


def _strongest(things: Iterable[Entity], edges: Iterable[Relation], most: int) -> list[Entity]:
    """Return ``most`` things: what is named often and hangs together with much, and with what stands before it, first.

    The first hundred of the list are then a picture with edges, and not a hundred lonely giants.
    """
    known = {entity.id: entity for entity in things}
    near: dict[str, set[str]] = {name: set() for name in known}
    for edge in edges:
        if edge.source in near and edge.target in near and edge.source != edge.target:
            near[edge.source].add(edge.target)
            near[edge.target].add(edge.source)
    weakness = {
        name: -math.log1p(entity.mentions) - math.log1p(len(near[name])) for name, entity in known.items()
    }
    waiting = [(weakness[name], entity.name, name) for name, entity in known.items()]
    heapq.heapify(waiting)
    links: Counter[str] = Counter()
    ordered: dict[str, Entity] = {}
    while waiting and len(ordered) < most:
        _, _, name = heapq.heappop(waiting)
        if name in ordered:
            continue
        ordered[name] = known[name]
        for other in near[name]:
            if other in ordered:
                continue
            links[other] += 1
            heapq.heappush(waiting, (weakness[other] - math.log1p(links[other]), known[other].name, other))
    return list(ordered.values())


def _strength_of_edge(edge: Relation) -> tuple[int, float, str]:
    return -edge.mentions, -edge.confidence, edge.id


class _Page:
    """Turns parts of a graph into the page's data. Keys are short because there are thousands of each."""

    def __init__(
        self, graph: KnowledgeGraph, evidence: Evidence, shown: list[Entity], edges: list[Relation]
    ) -> None:
        self._graph, self._evidence, self._shown, self._edges = graph, evidence, shown, edges
        self._index = {entity.id: number for number, entity in enumerate(shown)}
        self._recordings = {episode.recording: number for number, episode in enumerate(graph.episodes)}
        self._types = [name for name, _ in Counter(entity.type for entity in shown).most_common()]
        self._kinds = [name for name, _ in Counter(edge.type for edge in edges).most_common()]
        self._by_recording = len(edges) < len(shown) and 1 < len(graph.episodes) <= _MOST_RECORDINGS
        self._positions, self._places = self._placed()
        self._notes = self._noted()

    def data(self, places: int) -> dict[str, Any]:
        """Return the data with as many places for each thing."""
        quotes: dict[str, int] = {}
        return {
            "types": self._types,
            "kinds": self._kinds,
            "recordings": [self._recording(number) for number in range(len(self._graph.episodes))],
            "nodes": [self._node(number, places, quotes) for number in range(len(self._shown))],
            "edges": [self._edge(edge, places, quotes) for edge in self._edges],
            "quotes": list(quotes),
            "by_recording": self._by_recording,
        }

    def _placed(self) -> tuple[list[Point], list[Point]]:
        """Return where things and recordings stand; where edges are few, recordings keep their things together."""
        ends = [(self._index[edge.source], self._index[edge.target]) for edge in self._edges]
        if not self._by_recording:
            return positions(len(self._shown), ends), []
        first = len(self._recordings)
        edges = [(first + source, first + target) for source, target in ends]
        for number, entity in enumerate(self._shown):
            edges += [(place, first + number) for place in self._where(self._evidence.of(entity.id))]
        points = positions(first + len(self._shown), edges)
        return points[first:], points[:first]

    def _node(self, number: int, places: int, quotes: dict[str, int]) -> dict[str, Any]:
        entity = self._shown[number]
        mentions = self._evidence.of(entity.id)
        node = {
            "n": one_line(entity.name),
            "t": self._types.index(entity.type),
            "c": round(entity.confidence, 2),
            "m": entity.mentions,
            "p": self._positions[number],
            "r": self._where(mentions),
            "e": [self._place(one, quotes) for one in mentions[:places]],
        }
        more = {
            "d": one_line(entity.description),
            "a": [one_line(alias) for alias in entity.aliases],
            "i": self._notes.get(entity.id, []),
        }
        return node | {name: value for name, value in more.items() if value}

    def _edge(self, edge: Relation, places: int, quotes: dict[str, int]) -> dict[str, Any]:
        mentions = self._evidence.of(edge.id)
        made = {
            "s": self._index[edge.source],
            "g": self._index[edge.target],
            "k": self._kinds.index(edge.type),
            "c": round(edge.confidence, 2),
            "m": edge.mentions,
            "r": self._where(mentions),
            "e": [self._place(one, quotes) for one in mentions[:places]],
        }
        return made | ({"d": one_line(edge.description)} if edge.description else {})

    def _where(self, mentions: list[Mention]) -> list[int]:
        return sorted(
            {self._recordings[one.recording] for one in mentions if one.recording in self._recordings}
        )

    def _place(self, mention: Mention, quotes: dict[str, int]) -> tuple[int, float, float, str, int]:
        """Return recording, seconds from and to, speaker, and the number of the quote: many things share one."""
        text = one_line(mention.span.said)
        text = text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE].rstrip()} …"
        return (
            self._recordings.get(mention.recording, -1),
            round(mention.span.start, 1),
            round(mention.span.end, 1),
            one_line(mention.span.speaker),
            quotes.setdefault(text, len(quotes)),
        )

    def _recording(self, number: int) -> dict[str, Any]:
        episode = self._graph.episodes[number]
        path = PurePath(episode.path)
        played = path.is_absolute() and path.suffix.lower() in _PLAYED
        return {
            "n": self._evidence.title(episode.recording),
            "key": episode.recording,
            "date": episode.date,
            **({"file": path.as_uri()} if played else {}),
            **({"p": self._places[number]} if self._places else {}),
        }

    def _noted(self) -> dict[str, list[str]]:
        """Return what people should know of an entity: what it was put together from, and where sources disagree."""
        notes: dict[str, list[str]] = defaultdict(list)
        for merge in self._graph.merges:
            notes[merge.entity].append(
                one_line(f"“{merge.name}” and “{merge.other}” were taken for one. {merge.explanation}")
            )
        for conflict in self._graph.conflicts:
            said = sorted({value for value, _ in conflict.values})
            notes[conflict.entity].append(
                one_line(f"Its {conflict.field} is told differently: {' / '.join(said)}")
            )
        return {entity: found[:_NOTES] for entity, found in notes.items()}


def _template(name: str) -> str:
    return resources.files("callpipeline.graph.exports").joinpath("templates", name).read_text("utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("callpipeline.graph.exports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
