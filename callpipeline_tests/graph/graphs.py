"""Graphs made by hand: a small one with all that exports must cope with, and one of any size."""

from __future__ import annotations

import random
from collections import Counter

from callpipeline.knowledge import (
    Conflict,
    Entity,
    Episode,
    GraphSummary,
    KnowledgeGraph,
    Mention,
    Merge,
    Relation,
    Span,
)

HOSTILE = "<img src=x onerror=alert(1)>"
CLOSING = "</script><script>alert(2)</script><!-- \u2028"
QUOTES = 'so "deep\nwork", they say; it\'s C:\\new\x07'


def span(start: float, quote: str, speaker: str = "A") -> Span:
    return Span(begin=0, finish=len(quote), quote=quote, start=start, end=start + 2.5, speaker=speaker)


def entity(
    number: int, name: str, kind: str, mentions: int = 1, recordings: int = 1, **more: object
) -> Entity:
    given = {"confidence": 0.9, "mentions": mentions, "recordings": recordings, **more}
    return Entity.model_validate({"id": f"e{number:015x}", "name": name, "type": kind, **given})


def relation(number: int, kind: str, source: Entity, target: Entity, **more: object) -> Relation:
    given = {"confidence": 0.8, "mentions": 1, **more}
    return Relation.model_validate(
        {"id": f"r{number:015x}", "type": kind, "source": source.id, "target": target.id, **given}
    )


def mention(
    of: Entity | Relation, recording: str, number: int, where: Span, confidence: float = 0.9
) -> Mention:
    sign = "e" if isinstance(of, Entity) else "r"
    chunk = f"{recording}:0"
    return Mention(
        of=of.id,
        found=f"{chunk}#{sign}{number}",
        recording=recording,
        chunk=chunk,
        name=of.name if isinstance(of, Entity) else "",
        type=of.type,
        confidence=confidence,
        span=where,
    )


def summary(
    entities: list[Entity], relations: list[Relation], mentions: int, recordings: int
) -> GraphSummary:
    return GraphSummary(
        built="2026-03-02T10:00:00+00:00",
        extractors={"embedded": recordings},
        recordings=recordings,
        chunks=recordings,
        chunk_states={"extracted": recordings},
        entities=len(entities),
        relations=len(relations),
        structural=sum(one.structural for one in relations),
        mentions=mentions,
        merges=0,
        undone=0,
        conflicts=0,
        by_type=dict(Counter(one.type for one in entities)),
        by_relation=dict(Counter(one.type for one in relations)),
    )


def small_graph() -> KnowledgeGraph:
    """Two recordings; names that are markup, quotes with every awkward character, an edge said in both."""
    sleep = entity(
        1, "deep sleep", "CognitiveState", 3, 2, aliases=("slow-wave sleep", "SWS; deep"), description="Rest."
    )
    memory = entity(2, "memory", "Concept", 2, 2)
    hostile = entity(3, HOSTILE, "Person", 1, 1, description=CLOSING)
    closing = entity(4, CLOSING, "Organization", 1, 1)
    episode = entity(5, "On sleep", "Episode", 0, 1)
    quote = entity(6, QUOTES, "Quote", 1, 1)
    entities = [sleep, memory, hostile, closing, episode, quote]
    causes = relation(1, "OPTIMIZES", sleep, memory, mentions=2, description="Sleep makes memory better.")
    again = relation(2, "RELATES_TO", sleep, memory)
    works = relation(3, "IS_PART_OF", hostile, closing)
    said = relation(4, "SAID", hostile, quote, structural=True)
    about = relation(5, "ABOUT", quote, sleep, structural=True)
    there = relation(6, "MENTIONED_IN", sleep, episode, structural=True)
    relations = [causes, again, works, said, about, there]
    mentions = [
        mention(sleep, "r-one", 0, span(12.34, "deep sleep helps memory")),
        mention(sleep, "r-one", 1, span(80.0, "sleep again"), 0.7),
        mention(sleep, "r-two", 0, span(3.0, "we talked of deep sleep", "B"), 0.6),
        mention(memory, "r-one", 2, span(12.34, "deep sleep helps memory")),
        mention(memory, "r-two", 1, span(5.0, "memory", "B")),
        mention(hostile, "r-two", 2, span(61.0, HOSTILE, "B")),
        mention(closing, "r-two", 3, span(61.0, CLOSING, "B")),
        mention(quote, "r-two", 4, span(62.0, QUOTES, "B")),
        mention(causes, "r-one", 0, span(12.34, "deep sleep helps memory")),
        mention(causes, "r-two", 0, span(5.0, QUOTES, "B"), 0.6),
        mention(again, "r-one", 1, span(12.34, "deep sleep helps memory")),
        mention(works, "r-two", 1, span(61.0, CLOSING, "B")),
    ]
    return KnowledgeGraph(
        episodes=(
            Episode(recording="r-one", title="On sleep", date="2026-03-02", path="/talks/one.mp3", duration=1800.0),
            Episode(recording="r-two", title=f"A talk with {HOSTILE}"),
        ),
        entities=tuple(entities),
        relations=tuple(relations),
        mentions=tuple(mentions),
        merges=(
            Merge(
                id="m1", entity=sleep.id, name="deep sleep", other="slow-wave sleep", type="CognitiveState",
                reason="alias", score=1.0, explanation="The text names both.",
            ),
        ),
        conflicts=(
            Conflict(
                entity=sleep.id,
                field="type",
                values=(("Concept", "r-two:0#e0"), ("CognitiveState", "r-one:0#e0")),
            ),
        ),
        summary=summary(entities, relations, len(mentions), 2),
    )  # fmt: skip


_WORDS = (
    "attention", "sleep", "stress", "memory", "habit", "dopamine", "focus", "exercise", "water", "policy", "budget",
    "hospital", "staffing", "waiting", "surgery", "training", "motivation", "breathing", "light", "morning",
)  # fmt: skip
_TYPES = (
    "Concept",
    "Practice",
    "CognitiveState",
    "BehavioralPattern",
    "Principle",
    "Outcome",
    "Person",
    "Place",
    "Organization",
)
_KINDS = (
    "CAUSES",
    "INFLUENCES",
    "OPTIMIZES",
    "ENABLES",
    "REDUCES",
    "LEADS_TO",
    "REQUIRES",
    "RELATES_TO",
    "IS_PART_OF",
)


def large_graph(count: int, *, recordings: int = 150, seed: int = 1) -> KnowledgeGraph:
    """A graph of ``count`` things in communities, with about twice as many edges; as real ones, a few have most."""
    draw = random.Random(seed)
    keys = [f"{number:016x}" for number in range(recordings)]
    episodes = tuple(
        Episode(recording=key, title=f"Talk {n}: {draw.choice(_WORDS)}") for n, key in enumerate(keys)
    )
    entities, mentions = [], []
    for number in range(count):
        places = 1 + min(30, int(draw.paretovariate(1.1)))
        where = [draw.choice(keys) for _ in range(places)]
        name = f"{draw.choice(_WORDS)} {draw.choice(_WORDS)} {number}"
        made = entity(number, name, draw.choice(_TYPES), places, len(set(where)))
        entities.append(made)
        for at, key in enumerate(where):
            text = f"and {name} is what we looked at when the question of {draw.choice(_WORDS)} came up {at}"
            mentions.append(mention(made, key, number * 100 + at, span(draw.uniform(0, 3600), text)))
    relations: list[Relation] = []
    for number in range(1, count):
        group = number // 60 * 60
        for _ in range(draw.choice((1, 1, 2, 3))):
            near = draw.random() < 0.85 and number > group
            other = draw.randrange(group, number) if near else int(number * draw.random() ** 2)
            edge = relation(len(relations), draw.choice(_KINDS), entities[number], entities[other])
            relations.append(edge)
            text = f"because {entities[number].name} changes {entities[other].name}"
            mentions.append(
                mention(edge, draw.choice(keys), len(relations), span(draw.uniform(0, 3600), text))
            )
    return KnowledgeGraph(
        episodes=episodes,
        entities=tuple(entities),
        relations=tuple(relations),
        mentions=tuple(mentions),
        summary=summary(entities, relations, len(mentions), recordings),
    )
