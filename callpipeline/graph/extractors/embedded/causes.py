"""Relations that a sentence says in so many words: "X reduces Y", "X is caused by Y", "the effect of X on Y".

What belongs here: the cues, and which phrases stand at their two ends. What does not: finding the phrases. The ends must
stand next to the cue but for words that change nothing; what is denied, asked or only supposed with "if" is no relation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from callpipeline.graph.extractors.embedded.lexicon import Kind, cue_words, joined_cues, lexicon
from callpipeline.graph.extractors.embedded.phrases import Phrase, with_gerund, with_lack
from callpipeline.graph.extractors.embedded.tokens import CLAUSE_BEGINS, Sentence, Token

HEDGED = 0.1
"""So much less sure is what "may" or "perhaps" stands with."""

_PREDICATE_JOINED = frozenset({"and", "or", "but", "then", "also"})
_BE = frozenset({"is", "are", "was", "were", "be", "been", "being", "get", "gets", "got"})
_ASKING = frozenset(
    {"do", "does", "did", "if", "whether", "unless", "suppose", "could", "would", "can", "is", "are"}
)
_MOST_BETWEEN = 4


@dataclass(frozen=True, slots=True)
class Link:
    """A relation between two phrases of a sentence, with the words ``first`` to ``last`` that say it.

    ``said`` is that in short, in the order of speech.
    """

    type: str
    source: Phrase
    target: Phrase
    first: int
    last: int
    said: str
    confidence: float


@dataclass(frozen=True, slots=True)
class _Cue:
    first: int
    last: int
    type: str
    reverse: bool
    confidence: float


def links(sentence: Sentence, phrases: Sequence[Phrase]) -> list[Link]:
    """Return what a sentence says about how its phrases hang together."""
    tokens = sentence.tokens
    if sentence.question or len(phrases) < 2 or (tokens[0].plain in _ASKING):
        return []
    ends = _Ends(tokens, phrases)
    found: list[Link] = []
    subject: Phrase | None = None
    for cue in _cues(tokens):
        if _is_denied(tokens, cue):
            continue
        left = ends.left(cue.first, subject)
        subject = left or subject
        for right in ends.right(cue.last) if left else ():
            found += _links(tokens, cue, left, right)
    return found + _between(tokens, ends)


class _Ends:
    """The phrases next to a cue."""

    def __init__(self, tokens: Sequence[Token], phrases: Sequence[Phrase]) -> None:
        self._tokens = tokens
        self._ending = {phrase.last: phrase for phrase in phrases}
        self._beginning = {phrase.first: phrase for phrase in phrases}

    def left(self, cue: int, subject: Phrase | None) -> Phrase | None:
        """Return what does it: the phrase before the cue, or the subject of the predicate before "and"."""
        at = cue - 1
        while at >= 0 and cue - at <= _MOST_BETWEEN and at not in self._ending and self._passes(at):
            at -= 1
        if at < 0:
            return None
        if self._tokens[at].plain in _PREDICATE_JOINED:
            return subject
        phrase = self._ending.get(at)
        return self._head(phrase) if phrase else None

    def right(self, cue: int) -> list[Phrase]:
        """Return what it is done to: the phrase after the cue, and those that "and" joins to it."""
        found = self.after(cue)
        if found is None:
            return []
        joined = [found]
        while len(joined) < 3:
            at = joined[-1].last + 1
            if at >= len(self._tokens) or not (
                self._tokens[at].gap == "," or self._tokens[at].plain in {"and", "or"}
            ):
                break
            at -= 0 if self._tokens[at].plain in {"and", "or"} else 1
            after = self.after(at)
            if after is None or not self._ends_list(after):
                break
            joined.append(after)
        return joined

    def after(self, at: int) -> Phrase | None:
        """Return the phrase that begins after ``at``, but for articles and plain adjectives."""
        for begin in range(at + 1, min(at + 1 + _MOST_BETWEEN, len(self._tokens))):
            if begin in self._beginning:
                return self._beginning[begin]
            token = self._tokens[begin]
            passes = token.kind in {Kind.DETERMINER, Kind.NUMBER} or token.plain in lexicon().weak_ends
            if not passes and token.plain not in lexicon().before_object:
                return None
            if token.gap and begin > at + 1:
                return None
        return None

    def _ends_list(self, phrase: Phrase) -> bool:
        """Tell whether a joined phrase is an object and not the subject of a clause of its own."""
        at = phrase.last + 1
        if at >= len(self._tokens) or self._tokens[at].gap:
            return True
        return self._tokens[at].plain in {
            "and",
            "or",
            "in",
            "for",
            "because",
            "over",
            "during",
            "at",
            "so",
            "by",
        }

    def _passes(self, at: int) -> bool:
        token = self._tokens[at]
        return token.plain in lexicon().before_cue or (token.plain.endswith("ly") and token.kind is Kind.STOP)

    def _head(self, phrase: Phrase) -> Phrase | None:
        """Return the phrase that a prepositional one belongs to: of "light in the morning", the light."""
        tokens = self._tokens
        at = phrase.first - 1
        if phrase.first and tokens[phrase.first].gap:
            return phrase
        while at >= 0 and (
            tokens[at].kind in {Kind.DETERMINER, Kind.NUMBER} or tokens[at].plain in lexicon().weak_ends
        ):
            if tokens[at].gap:
                return phrase
            at -= 1
        if at < 0:
            return phrase
        if tokens[at].plain in lexicon().reporting:
            return phrase
        before = self._ending.get(at - 1)
        if tokens[at].kind is Kind.PREPOSITION and before is not None:
            return self._head(before) if not tokens[at].gap else None
        if tokens[at].kind in {Kind.VERB, Kind.PREPOSITION}:
            longer = with_gerund(tokens, phrase)
            return longer if longer is not phrase else None
        return phrase


def _links(tokens: Sequence[Token], cue: _Cue, left: Phrase | None, right: Phrase) -> list[Link]:
    if left is None or left.key == right.key:
        return []
    left, right = with_lack(tokens, left), with_lack(tokens, right)
    source, target = (right, left) if cue.reverse else (left, right)
    first, last = min(left.first, right.first), max(left.last, right.last)
    hedged = any(token.plain in lexicon().hedges for token in tokens[max(cue.first - 4, 0) : cue.first])
    words = " ".join(token.plain for token in tokens[cue.first : cue.last + 1])
    confidence = cue.confidence - HEDGED * hedged
    said = f"{left.name} {words} {right.name}"
    return [Link(cue.type, source, target, first, last, said, round(confidence, 2))]


def _between(tokens: Sequence[Token], ends: _Ends) -> list[Link]:
    """Return links of the form "the effect of X on Y"."""
    found: list[Link] = []
    text, begins = _joined(tokens)
    for cue in joined_cues():
        for match in cue.pattern.finditer(text):
            source = ends.after(_last_word(match, begins))
            if source is None or source.last + 1 >= len(tokens) or tokens[source.last + 1].plain != cue.joint:
                continue
            target = ends.after(source.last + 1)
            if target is not None and target.key != source.key:
                first = begins[match.start()]
                said = f"{match.group()} {source.name} {cue.joint} {target.name}"
                found.append(Link(cue.relation, source, target, first, target.last, said, cue.confidence))
    return found


def _cues(tokens: Sequence[Token]) -> list[_Cue]:
    """Return the cues of a sentence in order, the first of two that share a word."""
    text, begins = _joined(tokens)
    found: dict[int, _Cue] = {}
    for words in cue_words():
        for match in words.pattern.finditer(text):
            first, last = begins[match.start()], _last_word(match, begins)
            is_noun = first == last and tokens[last].noun and tokens[last].kind is Kind.BOTH
            is_passive = not words.reverse and first > 0 and tokens[first - 1].plain in _BE
            if not is_noun and not is_passive and not any(at in found for at in range(first, last + 1)):
                found[first] = _Cue(first, last, words.relation, words.reverse, words.confidence)
    return [found[at] for at in sorted(found)]


def _last_word(match: re.Match[str], begins: Mapping[int, int]) -> int:
    return begins[match.start() + match.group().rfind(" ") + 1]


def _joined(tokens: Sequence[Token]) -> tuple[str, dict[int, int]]:
    """Return the words with a space between them, and which word begins at which character."""
    begins: dict[int, int] = {}
    at = 0
    for number, token in enumerate(tokens):
        begins[at] = number
        at += len(token.plain) + 1
    return " ".join(token.plain for token in tokens), begins


def _is_denied(tokens: Sequence[Token], cue: _Cue) -> bool:
    """Tell whether the clause of a cue denies it, asks, or only supposes it."""
    for at in range(cue.first - 1, max(cue.first - 9, -1), -1):
        if tokens[at].plain in lexicon().negations or tokens[at].plain in {
            "if",
            "whether",
            "unless",
            "does",
            "did",
        }:
            return True
        if tokens[at + 1].gap or tokens[at].plain in CLAUSE_BEGINS:
            return False
    return False
