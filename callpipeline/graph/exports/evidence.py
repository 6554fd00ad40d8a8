"""Where nodes and edges of a graph are said, looked up by id: every export needs it, each shows it in its own way.

What belongs here: the mentions of each thing in the order in which people want to see them, and text that fits on one
line. What does not: file formats.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from functools import cached_property

from callpipeline.knowledge import Entity, Episode, KnowledgeGraph, Mention

_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+")
"""Line breaks, and what XML and databases do not take as text."""


class Evidence:
    """The mentions of a graph by what they mention."""

    def __init__(self, graph: KnowledgeGraph) -> None:
        self._graph = graph

    @cached_property
    def entities(self) -> dict[str, Entity]:
        """Entities by id."""
        return {entity.id: entity for entity in self._graph.entities}

    @cached_property
    def episodes(self) -> dict[str, Episode]:
        """Recordings by key."""
        return {episode.recording: episode for episode in self._graph.episodes}

    @cached_property
    def _by_thing(self) -> dict[str, list[Mention]]:
        found: dict[str, list[Mention]] = defaultdict(list)
        for mention in self._graph.mentions:
            found[mention.of].append(mention)
        return {thing: _in_order(mentions) for thing, mentions in found.items()}

    def of(self, thing: str) -> list[Mention]:
        """Return where an entity or relation is said: the surest place of each recording first, then the next."""
        return self._by_thing.get(thing, [])

    def best(self, thing: str) -> Mention | None:
        """Return the surest place that says it, ``None`` for what follows from the graph's structure alone."""
        found = self.of(thing)
        return found[0] if found else None

    def title(self, recording: str) -> str:
        """Return what people call a recording."""
        episode = self.episodes.get(recording)
        return one_line(episode.title) if episode and episode.title else recording

    def name(self, entity: str) -> str:
        """Return the name of an entity, its id if the graph does not have it."""
        found = self.entities.get(entity)
        return one_line(found.name) if found else entity


def mention_id(mention: Mention) -> str:
    """Return what names a mention: what was found may be said of an entity and of the edges that lead to it."""
    return f"{mention.of}/{mention.found}"


def one_line(text: str) -> str:
    """Return a text without line breaks and control characters."""
    return _UNPRINTABLE.sub(" ", text).strip()


def _in_order(mentions: list[Mention]) -> list[Mention]:
    seen: Counter[str] = Counter()
    ranked = []
    for mention in sorted(
        mentions, key=lambda one: (-one.confidence, one.recording, one.span.start, one.found)
    ):
        ranked.append((seen[mention.recording], mention))
        seen[mention.recording] += 1
    return [mention for _, mention in sorted(ranked, key=lambda pair: pair[0])]
