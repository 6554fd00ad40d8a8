"""What the embedded extractor keeps of a recording: names, the terms that carry it, and how they hang together.

What belongs here: the choice over the whole recording, and its form as results. What does not: finding phrases and cues
in a sentence. Few and right is the aim: a term must come up again, or take part in a relation that is said.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from callpipeline.graph.extractors.embedded.causes import Link, links
from callpipeline.graph.extractors.embedded.figures import SUM, figures
from callpipeline.graph.extractors.embedded.lexicon import Kind
from callpipeline.graph.extractors.embedded.names import names
from callpipeline.graph.extractors.embedded.people import full_names, in_full, speaking
from callpipeline.graph.extractors.embedded.phrases import Phrase, noun_phrases
from callpipeline.graph.extractors.embedded.tokens import Sentence, Token, is_cased, sentences
from callpipeline.graph.grounding import span
from callpipeline.graph.ontology import Ontology
from callpipeline.knowledge import (
    ChunkExtraction,
    ChunkState,
    Dropped,
    FoundEntity,
    FoundRelation,
    Span,
    TextChunk,
)

CHARACTERS_PER_TERM = 300
"""At most one term, beside names and ends of relations, for so much text."""

FEWEST_MENTIONS = 2
"""So often a term comes up in a recording, unless it takes part in a relation."""

TOGETHER = 2
"""In so many sentences two things stand together before that alone relates them."""

TOGETHER_SHARE = 0.5
"""And in this share of the sentences of the rarer one."""

_INTRODUCES = frozenset({"with", "from", "at", "for", "of"})
MOST_WORDS_APART = 10
"""Words between them at most: a sentence without punctuation is as long as a turn."""

_WHERE = frozenset({"on", "at", "in"})
_CERTAIN = 0.9
_MOST_WORDS_TO_BODY = 6


@dataclass(slots=True)
class _Read:
    """A sentence with what it names and links."""

    sentence: Sentence
    phrases: list[Phrase]
    links: list[Link]


@dataclass(frozen=True, slots=True)
class _Statistics:
    """What the whole recording says about its terms: how often, in which form, how often together."""

    mentions: Counter[str]
    anchored: Counter[str]
    shown: dict[str, str]
    sentences: Counter[str]
    together: Counter[tuple[str, str]]


def extractions(chunks: Sequence[TextChunk], ontology: Ontology, least: float) -> list[ChunkExtraction]:
    """Return what is found in the chunks of one recording, in their order.

    Args:
        chunks: the chunks of the recording in which something is looked for.
        ontology: types it does not know are taken by its fallback, or left out.
        least: confidence from which on something is kept.
    """
    texts = _read(chunks)
    seen = _statistics(texts)
    return [
        _Chunk(chunk, ontology, least).result(_chosen(chunk, text, seen), text, seen)
        for chunk, text in zip(chunks, texts, strict=True)
    ]


# --- reading ------------------------------------------------------------------------------------------


def _read(chunks: Sequence[TextChunk]) -> list[list[_Read]]:
    texts = [sentences(chunk) for chunk in chunks]
    cased = is_cased(texts)
    common = {token.plain for text in texts for one in text for token in one.tokens if not token.capital}
    speakers = speaking(line.speaker for chunk in chunks for line in chunk.lines)
    people = {name.lower() for name in speakers}
    named = [[_named(one, cased, common, people) for one in text] for text in texts]
    full = full_names((phrase for text in named for phrases in text for phrase in phrases), speakers)
    return [
        [
            _linked(one, [in_full(phrase, full) for phrase in phrases], cased)
            for one, phrases in zip(text, found, strict=True)
        ]
        for text, found in zip(texts, named, strict=True)
    ]


def _named(sentence: Sentence, cased: bool, common: set[str], people: set[str]) -> list[Phrase]:
    found = names(sentence.tokens, cased=cased, common=common, people=people)
    taken = _taken(found)
    return found + [one for one in figures(sentence.tokens) if not taken & _taken([one])]


def _linked(sentence: Sentence, named: list[Phrase], cased: bool) -> _Read:
    terms = noun_phrases(sentence.tokens, frozenset(_taken(named)), cased=cased)
    phrases = sorted(named + terms, key=lambda one: one.first)
    said = links(sentence, phrases)
    return _Read(
        sentence, phrases, [*said, *_memberships(sentence.tokens, named), *_places(sentence.tokens, phrases)]
    )


def _taken(phrases: Iterable[Phrase]) -> set[int]:
    return {at for phrase in phrases for at in range(phrase.first, phrase.last + 1)}


def _memberships(tokens: Sequence[Token], named: Sequence[Phrase]) -> list[Link]:
    """Return who belongs to which body: "this is Daniel with Maple County Homes"."""
    found = []
    for person, body in pairwise(named):
        between = {token.plain for token in tokens[person.last + 1 : body.first]}
        near = body.first - person.last <= _MOST_WORDS_TO_BODY
        if (person.type, body.type) == ("Person", "Organization") and near and between & _INTRODUCES:
            found.append(
                Link("IS_PART_OF", person, body, person.first, body.last, f"{person.name}, {body.name}", 0.7)
            )
    return found


def _places(tokens: Sequence[Token], phrases: Sequence[Phrase]) -> list[Link]:
    """Return what is where, and what a sum is for: "your house on Lake Street", "two million dollars for the bridge"."""
    found = []
    for one, other in pairwise(phrases):
        between = tokens[one.last + 1 : other.first]
        if (
            not between
            or tokens[other.first].gap
            or any(token.kind is not Kind.DETERMINER for token in between[1:])
        ):
            continue
        is_place = other.type == "Place" and not one.proper and between[0].plain in _WHERE
        if not between[0].gap and (is_place or (one.description == SUM and between[0].plain == "for")):
            found.append(
                Link(
                    "RELATES_TO",
                    one,
                    other,
                    one.first,
                    other.last,
                    f"{one.name} {between[0].plain} {other.name}",
                    0.6,
                )
            )
    return found


# --- statistics ---------------------------------------------------------------------------------------


def _statistics(texts: Sequence[Sequence[_Read]]) -> _Statistics:
    mentions: Counter[str] = Counter()
    anchored: Counter[str] = Counter()
    in_sentences: Counter[str] = Counter()
    together: Counter[tuple[str, str]] = Counter()
    forms: dict[str, Counter[str]] = defaultdict(Counter)
    for read in (one for text in texts for one in text):
        for phrase in read.phrases:
            mentions[phrase.key] += 1
            anchored[phrase.key] += phrase.anchored
            forms[phrase.key][phrase.name] += 1
        keys = sorted({phrase.key for phrase in read.phrases})
        in_sentences.update(keys)
        together.update(combinations(keys, 2))
    shown = {key: min(each, key=lambda name: (-each[name], len(name), name)) for key, each in forms.items()}
    return _Statistics(mentions, anchored, shown, in_sentences, together)


def _chosen(chunk: TextChunk, text: Sequence[_Read], seen: _Statistics) -> list[Phrase]:
    """Return the terms of a chunk that are kept for themselves: the ones that its recording comes back to."""
    best: dict[str, Phrase] = {}
    for phrase in (phrase for read in text for phrase in read.phrases if not phrase.proper):
        best.setdefault(phrase.key, phrase)
    scores = {
        key: seen.mentions[key] * (1 + 0.5 * (phrase.last - phrase.first))
        for key, phrase in best.items()
        if seen.mentions[key] >= FEWEST_MENTIONS and (seen.anchored[key] or phrase.last > phrase.first)
    }
    most = max(2, round(len(chunk.text) / CHARACTERS_PER_TERM))
    kept = sorted(scores, key=lambda key: (-scores[key], key))[:most]
    return [best[key] for key in kept]


# --- results ------------------------------------------------------------------------------------------


class _Chunk:
    """The result of one chunk as it grows."""

    def __init__(self, chunk: TextChunk, ontology: Ontology, least: float) -> None:
        self._chunk = chunk
        self._ontology = ontology
        self._least = least
        self._entities: dict[str, FoundEntity] = {}
        self._relations: dict[tuple[str, str, str], FoundRelation] = {}
        self._unknown: Counter[str] = Counter()
        self._low = 0

    def result(self, terms: Sequence[Phrase], text: Sequence[_Read], seen: _Statistics) -> ChunkExtraction:
        wanted = {phrase.key for phrase in terms}
        for read in text:
            for phrase in read.phrases:
                if phrase.proper or phrase.key in wanted:
                    self._entity(phrase, read, seen)
            for link in read.links:
                self._link(link, read, seen)
        for read in text:
            self._company(read, seen)
        return ChunkExtraction(
            chunk=self._chunk.id,
            state=ChunkState.EXTRACTED,
            entities=tuple(self._entities.values()),
            relations=tuple(self._relations.values()),
            unknown_types=dict(self._unknown),
            dropped=Dropped(low_confidence=self._low),
        )

    def _entity(
        self, phrase: Phrase, read: _Read, seen: _Statistics, *, sure: float = 0.0
    ) -> FoundEntity | None:
        known = self._entities.get(phrase.key)
        if known is not None:
            if sure > known.confidence:
                known = self._entities[phrase.key] = known.model_copy(update={"confidence": sure})
            return known
        name = phrase.name if phrase.proper else seen.shown.get(phrase.key, phrase.name)
        again = 0.05 * min(seen.mentions[phrase.key] - 1, 3)
        confidence = round(min(_CERTAIN, max(phrase.confidence + max(again, 0.0), sure)), 2)
        kind = self._type(phrase.type)
        if kind is None or confidence < self._least:
            self._low += kind is not None
            return None
        found = FoundEntity(
            id=f"{self._chunk.id}#e{len(self._entities)}",
            chunk=self._chunk.id,
            name=name,
            type=kind,
            description=phrase.description,
            confidence=confidence,
            span=self._span(read, phrase.first, phrase.last),
        )
        self._entities[phrase.key] = found
        return found

    def _type(self, name: str) -> str | None:
        node = self._ontology.node(name)
        if node is not None:
            return node.name
        self._unknown[name] += 1
        return self._ontology.fallback_node

    def _link(self, link: Link, read: _Read, seen: _Statistics) -> None:
        relation = self._ontology.relation(link.type)
        name = relation.name if relation else self._ontology.fallback_relation
        if relation is None:
            self._unknown[link.type] += 1
        if name is None or link.confidence < self._least:
            self._low += name is not None
            return
        ends = [self._entity(one, read, seen, sure=0.6) for one in (link.source, link.target)]
        source, target = ends
        if source is None or target is None:
            return
        key = (name, source.id, target.id)
        known = self._ontology.relation(name)
        if key in self._relations or known is None or not known.joins(source.type, target.type):
            return
        self._relations[key] = FoundRelation(
            id=f"{self._chunk.id}#r{len(self._relations)}",
            chunk=self._chunk.id,
            type=name,
            source=source.id,
            target=target.id,
            description=link.said,
            confidence=link.confidence,
            span=self._span(read, link.first, link.last),
        )

    def _company(self, read: _Read, seen: _Statistics) -> None:
        """Relate what the recording keeps naming in one breath and a relation does not join already."""
        here = [phrase for phrase in read.phrases if phrase.key in self._entities]
        joined = {ends for _, one, other in self._relations for ends in ((one, other), (other, one))}
        for one, other in combinations(here, 2):
            pair = (self._entities[one.key].id, self._entities[other.key].id)
            apart = other.first - one.last > MOST_WORDS_APART
            if one.key == other.key or apart or pair in joined or not _strong(one, other, seen):
                continue
            joined |= {pair, pair[::-1]}
            first, last = min(one.first, other.first), max(one.last, other.last)
            self._link(Link("RELATES_TO", one, other, first, last, "", 0.55), read, seen)

    def _span(self, read: _Read, first: int, last: int) -> Span:
        tokens = read.sentence.tokens
        return span(self._chunk, tokens[first].begin, tokens[last].finish)


def _strong(one: Phrase, other: Phrase, seen: _Statistics) -> bool:
    together = seen.together[min(one.key, other.key), max(one.key, other.key)]
    rarer = min(seen.sentences[one.key], seen.sentences[other.key])
    return together >= TOGETHER and together >= TOGETHER_SHARE * rarer
