"""Nodes and edges that follow from where things are said: recordings, quotes and those who say them.

Recordings are nodes of type Episode, and everything that is named in one leads there (MENTIONED_IN). The words of a claim
are a Quote: a Person SAID it and it is ABOUT its ends. Recordings that share most are joined (CROSS_EPISODE). What does
not belong here: anything that somebody claims about the world.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from callpipeline.graph.gathering import Claimed, Found, is_label, thing_key
from callpipeline.graph.names import PERSON, plain
from callpipeline.graph.ontology import ABOUT, CROSS_EPISODE, EPISODE, MENTIONED_IN, QUOTE, SAID
from callpipeline.graph.parts import Edge, Node, hashed, mention, relation_id
from callpipeline.knowledge import Episode, Mention
from callpipeline.model import Role

QUOTES_A_CHUNK = 2
"""At most so many claims of a text chunk become quotes, the surest first."""
SHORTEST_QUOTE = 4
"""Words that a quote must have: fewer say nothing by themselves."""
LONGEST_NAME = 160
"""Characters of a quote that are its node's name; all of it stands in its mention."""
ABOUT_THINGS = 5
"""Most things that a quote is about, its ends among them."""
RELATED_EPISODES = 5
"""A recording is joined to so many others at most, those with which it shares most."""
COMMON = 30
"""What is named in more recordings than this joins none of them: it says nothing of two."""
SHARED_SHOWN = 3
"""Shared things that an edge between recordings names and quotes."""

NO_CLAIM = frozenset({"RELATES_TO", "IS_PART_OF"})
"""Edges whose words are no claim worth quoting: two things that are named together, or belong together."""


def structure(
    found: Found, nodes: Sequence[Node], of_thing: Mapping[str, Node]
) -> tuple[list[Node], list[Edge]]:
    """Return the structural nodes and edges of a graph whose other nodes are ``nodes``."""
    episodes = {
        episode.recording: _episode(episode, found)
        for episode in found.episodes
        if episode.recording in found.openings
    }
    quoting = _Quoting(found, of_thing)
    quotes = quoting.nodes()
    edges = [
        *_mentioned_in((*nodes, *quotes), episodes),
        *quoting.edges(),
        *_cross_episode(nodes, episodes),
    ]
    return [*episodes.values(), *quotes, *quoting.speakers()], edges


# --- recordings ---------------------------------------------------------------------------------------


def _episode(episode: Episode, found: Found) -> Node:
    opening = found.openings[episode.recording]
    node = Node(hashed("e", f"{EPISODE}\n{episode.recording}"), episode.title, EPISODE)
    node.mentions.append(
        mention(
            node.id,
            opening.chunk,
            episode.recording,
            opening.chunk,
            episode.title,
            EPISODE,
            1.0,
            opening.span,
        )
    )
    return node


def _mentioned_in(nodes: Iterable[Node], episodes: Mapping[str, Node]) -> Iterator[Edge]:
    for node in nodes:
        for recording, held in sorted(_by_recording(node).items()):
            episode = episodes.get(recording)
            if episode is not None:
                yield _edge(MENTIONED_IN, node, episode, [min(held, key=surest)], places=len(held))


def _cross_episode(nodes: Iterable[Node], episodes: Mapping[str, Node]) -> Iterator[Edge]:
    """Join recordings that share things; a thing counts the more the fewer recordings name it."""
    shared: dict[tuple[str, str], list[tuple[float, Node]]] = defaultdict(list)
    for node in nodes:
        recordings = sorted(_by_recording(node).keys() & episodes.keys())
        if 2 <= len(recordings) <= COMMON:
            for pair in combinations(recordings, 2):
                shared[pair].append((1 / (len(recordings) - 1), node))
    weights = {pair: round(sum(weight for weight, _ in those), 6) for pair, those in shared.items()}
    for pair in sorted(_strongest(weights)):
        those = [
            node for _, node in sorted(shared[pair], key=lambda one: (-one[0], -one[1].count, one[1].id))
        ]
        shown = those[:SHARED_SHOWN]
        places = [min(_by_recording(node)[recording], key=surest) for node in shown for recording in pair]
        edge = _edge(CROSS_EPISODE, episodes[pair[0]], episodes[pair[1]], places, places=len(those))
        more = f" and {len(those) - len(shown)} more" if len(those) > len(shown) else ""
        edge.description = f"Both name {', '.join(node.name for node in shown)}{more}."
        yield edge


def _strongest(weights: Mapping[tuple[str, str], float]) -> set[tuple[str, str]]:
    """Return the pairs that are among the strongest of either of their recordings."""
    of: dict[str, list[tuple[float, tuple[str, str]]]] = defaultdict(list)
    for pair, weight in weights.items():
        for recording in pair:
            of[recording].append((-weight, pair))
    return {pair for held in of.values() for _, pair in sorted(held)[:RELATED_EPISODES]}


# --- quotes -------------------------------------------------------------------------------------------


class _Quoting:
    """The claims that are quoted, who says them, and what they are about."""

    def __init__(self, found: Found, of_thing: Mapping[str, Node]) -> None:
        self._of_thing = of_thing
        self._titles = {episode.recording: episode.title for episode in found.episodes}
        self._nodes: dict[str, Node] = {}
        self._speakers: dict[str, Node] = {}
        self._said: dict[tuple[str, str], tuple[Node, Node, list[Mention]]] = {}
        self._about: dict[tuple[str, str], tuple[Node, Node, list[Mention]]] = {}
        for claims in _quoted(found.claimed):
            self._quote(claims)

    def nodes(self) -> list[Node]:
        return list(self._nodes.values())

    def speakers(self) -> list[Node]:
        """People who are known by a label only, and so are nobody else's namesakes."""
        return list(self._speakers.values())

    def edges(self) -> Iterator[Edge]:
        for kind, held in ((SAID, self._said), (ABOUT, self._about)):
            for source, target, places in held.values():
                yield _edge(kind, source, target, [min(places, key=surest)], places=len(places))

    def _quote(self, claims: Sequence[Claimed]) -> None:
        """Take claims that stand in the same words."""
        claim = claims[0]
        text = " ".join(claim.span.quote.split())
        of = hashed("e", f"{QUOTE}\n{claim.recording}\n{plain(text)}")
        node = self._nodes.get(of)
        if node is None:
            name = text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1].rstrip()}…"
            node = self._nodes[of] = Node(of, name, QUOTE)
        place = mention(
            of, claim.found, claim.recording, claim.chunk, node.name, QUOTE, claim.confidence, claim.span
        )
        if any((one.chunk, one.span.begin) == (place.chunk, place.span.begin) for one in node.mentions):
            return
        node.mentions.append(place)
        speaker = self._speaker(claim)
        self._said.setdefault((speaker.id, of), (speaker, node, []))[2].append(place)
        for thing in self._things(claims):
            self._about.setdefault((of, thing.id), (node, thing, []))[2].append(place)

    def _things(self, claims: Sequence[Claimed]) -> list[Node]:
        ends = [end for claim in claims for end in (claim.source, claim.target)]
        things = {self._of_thing[key].id: self._of_thing[key] for key in (*ends, *claims[0].within)}
        return list(things.values())[:ABOUT_THINGS]

    def _speaker(self, claim: Claimed) -> Node:
        label, role = claim.span.speaker, claim.span.role
        known = self._of_thing.get(thing_key(PERSON, label, claim.recording))
        if known is not None and not is_label(label):
            return known
        of = hashed("e", f"{PERSON}\n{claim.recording}\n{label}")
        node = self._speakers.get(of)
        if node is None:
            name = f"{_called(label, role)} ({self._titles[claim.recording]})"
            node = self._speakers[of] = Node(of, name, PERSON)
        node.mentions.append(
            mention(
                of, claim.found, claim.recording, claim.chunk, node.name, PERSON, claim.confidence, claim.span
            )
        )
        return node


def _quoted(claimed: Iterable[Claimed]) -> Iterator[list[Claimed]]:
    """Yield, chunk by chunk, the claims that are quoted; those in the same words together, the surest first."""
    chunks: dict[str, dict[tuple[int, int], list[Claimed]]] = defaultdict(dict)
    for claim in claimed:
        if claim.type not in NO_CLAIM and len(claim.span.quote.split()) >= SHORTEST_QUOTE:
            chunks[claim.chunk].setdefault((claim.span.begin, claim.span.finish), []).append(claim)
    for spans in chunks.values():
        held = [sorted(claims, key=_surest_claim) for claims in spans.values()]
        held.sort(key=lambda claims: _surest_claim(claims[0]))
        yield from held[:QUOTES_A_CHUNK]


def _called(label: str, role: Role) -> str:
    if role is not Role.UNKNOWN:
        return role.value.capitalize()
    name = label.replace("_", " ").strip() or "Speaker"
    return name.capitalize() if len(name) > 2 else f"Speaker {name.upper()}"


# --- inside -------------------------------------------------------------------------------------------


def _edge(kind: str, source: Node, target: Node, kept: Sequence[Mention], *, places: int) -> Edge:
    """Return a structural edge; ``kept`` are the places that stand for all of them."""
    of = relation_id(kind, source.id, target.id)
    own = [
        mention(of, one.found, one.recording, one.chunk, one.name, kind, one.confidence, one.span)
        for one in kept
    ]
    return Edge(of, kind, source.id, target.id, structural=True, places=places, mentions=own)


def _by_recording(node: Node) -> dict[str, list[Mention]]:
    found: dict[str, list[Mention]] = defaultdict(list)
    for one in node.mentions:
        found[one.recording].append(one)
    return found


def surest(one: Mention) -> tuple[float, str, float, str]:
    """Sorts places: the surest first, then in order of recording and time."""
    return -one.confidence, one.recording, one.span.start, one.found


def _surest_claim(claim: Claimed) -> tuple[float, int, str]:
    return -claim.confidence, claim.span.begin, claim.found
