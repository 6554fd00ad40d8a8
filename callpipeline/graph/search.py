"""Questions to a graph: what is there by a name or a meaning, what is around it, and how two things hang together.

Every answer leads to what was said: the words, the recording and the second. What belongs here: finding in a graph that
is in memory. What does not: reading it (``store``), vectors of a question (``embeddings``), and how answers look.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from callpipeline.failures import UsageError
from callpipeline.graph.names import plain
from callpipeline.graph.ontology import STRUCTURAL_NODES
from callpipeline.knowledge import Entity, Episode, KnowledgeGraph, Mention, Relation
from callpipeline.model import Record, Role

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]

LEAST_ALIKE = 70.0
"""Percent that a name must be like what is asked for."""

LEAST_MEANT = 0.35
"""Cosine from which on a name means something like what is asked for; OpenAI's small embeddings give unrelated short
texts 0.1 to 0.3."""

QUOTES = 3
"""Places that an answer shows of each thing, the surest first."""

_MANY_HITS = 200

Why = Literal["name", "alias", "similar", "meaning"]


class Place(Record):
    """Where something is said. ``title`` and ``path`` are the recording's, ``start`` and ``end`` seconds of it."""

    quote: str
    recording: str
    title: str
    path: str
    chunk: str
    start: float
    end: float
    speaker: str
    role: Role


class Hit(Record):
    """An entity that answers a question: how well (0-1), by what, and where it is named."""

    entity: Entity
    score: float
    why: Why
    matched: str
    """The name that was like the question."""
    places: tuple[Place, ...]


class Link(Record):
    """An edge on the way to ``entity``, and what says so. ``outgoing``: it leads to ``entity`` and not from it.

    ``start`` is the entity at its other end, ``hops`` how far ``entity`` is from where the question began.
    """

    relation: Relation
    start: Entity
    entity: Entity
    outgoing: bool
    hops: int
    places: tuple[Place, ...]


class Way(Record):
    """The shortest way between two entities. ``links`` leads from each of ``entities`` to the next."""

    entities: tuple[Entity, ...]
    links: tuple[Link, ...]


class GraphSearch:
    """A graph with what makes questions fast. Safe to share between threads once made."""

    def __init__(self, graph: KnowledgeGraph) -> None:
        self.graph = graph
        self._entities = {entity.id: entity for entity in graph.entities}
        self._episodes = {episode.recording: episode for episode in graph.episodes}

    # --- by name --------------------------------------------------------------------------------------

    def find(self, query: str, *, type: str | None = None, limit: int = 20) -> tuple[Hit, ...]:  # noqa: A002 - the word users know
        """Return entities with a name like ``query``, the best first; only those of ``type`` if given (any case)."""
        wanted = plain(query)
        best: dict[str, tuple[float, Why, str]] = {}
        for score, why, matched, of in self._alike(wanted):
            if of not in best or score > best[of][0]:
                best[of] = (score, why, matched)
        chosen = [
            (score, why, matched, self._entities[of])
            for of, (score, why, matched) in best.items()
            if _is_of(self._entities[of], type)
        ]
        chosen.sort(key=lambda one: (-one[0], -one[3].mentions, one[3].id))
        return tuple(self._hit(*one) for one in chosen[:limit])

    def entity(self, name: str, *, type: str | None = None) -> Entity:  # noqa: A002 - as above
        """Return the entity that a name or an id means: of several with this name, the one most often named.

        Raises:
            UsageError: there is none; the message names the most similar ones.
        """
        if name in self._entities:
            return self._entities[name]
        hits = self.find(name, type=type, limit=5)
        if hits and hits[0].why in ("name", "alias"):
            return hits[0].entity
        near = ", ".join(f"{hit.entity.name} ({hit.entity.type})" for hit in hits)
        raise UsageError(
            f"The graph has nothing called {name!r}.",
            hint=f"Near it: {near}." if near else "callpipeline graph show lists what there is.",
        )

    def by_type(self, type: str, *, limit: int = 50) -> tuple[Entity, ...]:  # noqa: A002 - as above
        """Return the entities of a type (any case), those named most often first."""
        found = [entity for entity in self.graph.entities if _is_of(entity, type)]
        found.sort(key=lambda entity: (-entity.recordings, -entity.mentions, entity.id))
        return tuple(found[:limit])

    # --- by meaning -----------------------------------------------------------------------------------

    def names_with_meaning(self) -> tuple[str, ...]:
        """Return the names that ``nearest`` can find: those of things, as somebody said them; each once, sorted."""
        told = {entity.name for entity in self.graph.entities if entity.type not in STRUCTURAL_NODES}
        return tuple(sorted(told & {mention.name for mention in self.graph.mentions}))

    def nearest(
        self,
        vector: Vector,
        vectors: Mapping[str, Vector],
        *,
        type: str | None = None,  # noqa: A002 - as above
        limit: int = 20,
    ) -> tuple[Hit, ...]:
        """Return entities that mean something like ``vector``, the nearest first.

        Args:
            vector: of the question, of unit length.
            vectors: by name, as ``resolution`` got them; entities whose name is not among them are not found.
            type: only these.
            limit: at most so many.
        """
        import numpy as np

        known = [one for one in self.graph.entities if one.name in vectors and _is_of(one, type)]
        if not known:
            return ()
        scores = np.stack([vectors[entity.name] for entity in known]) @ vector
        order = sorted(range(len(known)), key=lambda at: (-float(scores[at]), known[at].id))
        return tuple(
            self._hit(round(float(scores[at]), 4), "meaning", known[at].name, known[at])
            for at in order[:limit]
            if scores[at] >= LEAST_MEANT
        )

    # --- around ---------------------------------------------------------------------------------------

    def neighbours(
        self,
        entity: str,
        *,
        hops: int = 1,
        relation: str | None = None,
        structural: bool = False,
        limit: int = 100,
    ) -> tuple[Link, ...]:
        """Return the edges around an entity: the nearest first, then those said most often.

        Args:
            entity: its id.
            hops: how many edges away.
            relation: only edges of this type (any case).
            structural: also edges that follow from where things are said; ``relation`` may name one as well.
            limit: at most so many.
        """
        distance = {entity: 0}
        links: list[Link] = []
        taken: set[str] = set()
        waiting = deque([entity])
        while waiting:
            here = waiting.popleft()
            if distance[here] >= hops:
                continue
            for edge, other in self._edges(here, relation=relation, structural=structural):
                if other not in distance:
                    distance[other] = distance[here] + 1
                    waiting.append(other)
                if edge.id not in taken:
                    taken.add(edge.id)
                    links.append(self._link(edge, here, distance[here] + 1))
        links.sort(key=lambda link: (link.hops, -link.relation.mentions, link.relation.id))
        return tuple(self._with_places(link) for link in links[:limit])

    def path(self, source: str, target: str, *, longest: int = 6, structural: bool = False) -> Way | None:
        """Return the shortest way between two entities by id, ``None`` when there is none of ``longest`` edges.

        Edges may be walked against their direction; of ways of one length, the one whose edges are said most often
        at each step. With ``structural`` also over recordings and quotes.
        """
        came: dict[str, Relation | None] = {source: None}
        depth = {source: 0}
        waiting = deque([source])
        while waiting and target not in came:
            here = waiting.popleft()
            if depth[here] >= longest:
                continue
            for edge, other in self._edges(here, relation=None, structural=structural):
                if other not in came:
                    came[other], depth[other] = edge, depth[here] + 1
                    waiting.append(other)
        if target not in came:
            return None
        edges: list[tuple[Relation, str]] = []
        at = target
        while (last := came[at]) is not None:
            at = last.source if last.target == at else last.target
            edges.append((last, at))
        edges.reverse()
        links = [self._link(edge, start, hop) for hop, (edge, start) in enumerate(edges, 1)]
        steps = (self._entities[source], *(link.entity for link in links))
        return Way(entities=steps, links=tuple(map(self._with_places, links)))

    def places(self, of: str, *, limit: int | None = QUOTES) -> tuple[Place, ...]:
        """Return where an entity or relation (by id) is said, the surest first, by different recordings in turn."""
        turns: dict[str, list[Mention]] = defaultdict(list)
        for mention in sorted(self._mentions.get(of, ()), key=_surest):
            turns[mention.recording].append(mention)
        order = sorted(
            (
                (place, _surest(mention), mention)
                for held in turns.values()
                for place, mention in enumerate(held)
            ),
            key=lambda one: one[:2],
        )
        return tuple(self._place(mention) for _, _, mention in order[:limit])

    # --- inside ---------------------------------------------------------------------------------------

    @cached_property
    def _mentions(self) -> Mapping[str, Sequence[Mention]]:
        found: dict[str, list[Mention]] = defaultdict(list)
        for mention in self.graph.mentions:
            found[mention.of].append(mention)
        return found

    @cached_property
    def _around(self) -> Mapping[str, Sequence[Relation]]:
        found: dict[str, list[Relation]] = defaultdict(list)
        for relation in self.graph.relations:
            found[relation.source].append(relation)
            if relation.target != relation.source:
                found[relation.target].append(relation)
        for edges in found.values():
            edges.sort(key=lambda edge: (-edge.mentions, -edge.confidence, edge.id))
        return found

    @cached_property
    def _names(self) -> tuple[tuple[str, ...], tuple[tuple[str, str, bool], ...]]:
        """Plain names, and for each of them (name, entity, whether it is an alias)."""
        told = [
            (plain(name), (name, entity.id, name != entity.name))
            for entity in self.graph.entities
            for name in (entity.name, *entity.aliases)
        ]
        return tuple(name for name, _ in told), tuple(what for _, what in told)

    def _alike(self, wanted: str) -> Iterator[tuple[float, Why, str, str]]:
        from rapidfuzz import fuzz, process

        names, told = self._names
        for found, score, at in process.extract(
            wanted, names, scorer=fuzz.WRatio, score_cutoff=LEAST_ALIKE, limit=_MANY_HITS
        ):
            name, of, is_alias = told[at]
            if found == wanted:
                yield 1.0, "alias" if is_alias else "name", name, of
            else:
                # Never as good as the name itself: a part of a longer name counts 90 to 100 percent alike.
                yield round(min(score, 99.0) / 100, 4), "similar", name, of

    def _edges(self, here: str, *, relation: str | None, structural: bool) -> Iterator[tuple[Relation, str]]:
        for edge in self._around.get(here, ()):
            if relation is not None and edge.type.casefold() != relation.casefold():
                continue
            if edge.structural and not structural and relation is None:
                continue
            yield edge, edge.target if edge.source == here else edge.source

    def _link(self, edge: Relation, start: str, hops: int) -> Link:
        other = edge.target if edge.source == start else edge.source
        return Link(
            relation=edge,
            start=self._entities[start],
            entity=self._entities[other],
            outgoing=edge.source == start,
            hops=hops,
            places=(),
        )

    def _with_places(self, link: Link) -> Link:
        return link.model_copy(update={"places": self.places(link.relation.id)})

    def _hit(self, score: float, why: Why, matched: str, entity: Entity) -> Hit:
        return Hit(entity=entity, score=score, why=why, matched=matched, places=self.places(entity.id))

    def _place(self, mention: Mention) -> Place:
        episode = self._episodes.get(mention.recording) or Episode(
            recording=mention.recording, title=mention.recording
        )
        return Place(
            quote=mention.span.said,
            recording=mention.recording,
            title=episode.title,
            path=episode.path,
            chunk=mention.chunk,
            start=mention.span.start,
            end=mention.span.end,
            speaker=mention.span.speaker,
            role=mention.span.role,
        )


def _surest(mention: Mention) -> tuple[float, str, float, str]:
    return -mention.confidence, mention.recording, mention.span.start, mention.found


def _is_of(entity: Entity, kind: str | None) -> bool:
    return kind is None or entity.type.casefold() == kind.casefold()


def quoted(places: Iterable[Place]) -> Iterator[str]:
    """Yield places for people: ``"the words" (title, 12:07)``."""
    for place in places:
        seconds = int(place.start)
        hours, minutes = divmod(seconds // 60, 60)
        at = f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"
        yield f'"{" ".join(place.quote.split())}" ({place.title}, {at})'
