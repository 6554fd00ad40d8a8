"""Words in their sentences, with what kind each is where it stands.

What belongs here: cutting a text chunk into sentences and words. What does not: what the words name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from callpipeline.graph.extractors.embedded.lexicon import Kind, kind_of, lexicon
from callpipeline.knowledge import TextChunk

_TOKEN = re.compile(
    r"(?:[A-Za-z]\.){2,}|[$€£]?\d+(?:[.,]\d+)*%?|['’]s\b|[^\W\d_]+(?:(?:['’](?!s\b)|-)[^\W\d_]+)*",
)
_ENDS = re.compile(r"[.?!…]")
_ABBREVIATIONS = frozenset(
    {"mr", "mrs", "ms", "dr", "prof", "sen", "rep", "gov", "gen", "st", "vs", "inc", "ltd", "jr", "no"}
)

CLAUSE_BEGINS = frozenset({"that", "because", "so", "but", "and", "when", "which", "while", "although", "if"})
"""Words after which a clause has a subject of its own."""

_LEAST_CAPITALS = 0.02
"""Share of words with a capital from which on capitals mean something: an engine without them writes none."""


_OBJECTS = frozenset({Kind.CONTENT, Kind.DETERMINER, Kind.NUMBER, Kind.PRONOUN, Kind.BOTH, Kind.PAST})
_OBJECT_PRONOUNS = frozenset({"to", "them", "us", "me", "you", "him", "against"})
"""Words of other kinds before which a verb stands."""


@dataclass(slots=True)
class Token:
    """One word. ``gap`` is what stands between it and the word before in its sentence, without spaces."""

    plain: str
    text: str
    begin: int
    finish: int
    gap: str
    kind: Kind
    capital: bool
    noun: bool = False


@dataclass(slots=True)
class Sentence:
    """The words of one sentence of one speaker; of an unpunctuated text, of one line."""

    tokens: list[Token]
    question: bool


def sentences(chunk: TextChunk) -> list[Sentence]:
    """Return the sentences of a text chunk, every word marked as a noun (or its adjective) or not."""
    found: list[Sentence] = []
    for line in chunk.lines:
        found += _line(chunk.text[line.begin : line.finish], line.begin)
    for sentence in found:
        _mark(sentence.tokens)
    return found


def is_cased(texts: Sequence[Sequence[Sentence]]) -> bool:
    """Tell whether the capital letters of a recording mean something."""
    words = capitals = 0
    for text in texts:
        for sentence in text:
            words += len(sentence.tokens)
            capitals += sum(1 for token in sentence.tokens if token.capital and token.plain != "i")
    return capitals > _LEAST_CAPITALS * words


def _line(text: str, offset: int) -> list[Sentence]:
    found: list[Sentence] = []
    tokens: list[Token] = []
    end = 0
    for match in _TOKEN.finditer(text):
        gap = text[end : match.start()].strip()
        if tokens and _ENDS.search(gap) and not (gap == "." and tokens[-1].plain in _ABBREVIATIONS):
            found.append(Sentence(tokens, "?" in gap))
            tokens, gap = [], ""
        word = match.group()
        plain = word.lower().replace("’", "'").rstrip(".")
        tokens.append(
            Token(
                plain,
                word,
                offset + match.start(),
                offset + match.end(),
                gap,
                kind_of(plain),
                word[0].isupper(),
            )
        )
        end = match.end()
    if tokens:
        found.append(Sentence(tokens, "?" in text[end:]))
    return found


def _mark(tokens: Sequence[Token]) -> None:
    """Decide which words may be a part of a noun phrase."""
    for at, token in enumerate(tokens):
        before = tokens[at - 1] if at and not token.gap else None
        after = tokens[at + 1] if at + 1 < len(tokens) and not tokens[at + 1].gap else None
        if token.kind is Kind.CONTENT:
            token.noun = not _follows_subject(tokens, at)
        elif token.kind is Kind.BOTH:
            token.noun = not _follows_subject(tokens, at) and _may_be_noun(token, before, after)
        elif token.kind is Kind.PAST:
            token.noun = _is_adjective(before, after)
        elif token.kind is Kind.VERB and token.plain.endswith("ing"):
            token.noun = _is_gerund(before, after)


def _follows_subject(tokens: Sequence[Token], at: int) -> bool:
    """Tell whether a word stands where a verb is due: after a pronoun, a modal, "not", or "to" of an infinitive."""
    if at == 0 or tokens[at].gap:
        return False
    before = tokens[at - 1]
    if before.plain == "to":
        return at < 2 or tokens[at - 2].plain not in lexicon().to_nouns
    return before.kind in {Kind.PRONOUN, Kind.MODAL} or before.plain in {"not", "n't", "let", "who"}


def _may_be_noun(token: Token, before: Token | None, after: Token | None) -> bool:
    """Tell whether a word that may be a verb is a noun: no verb is due, or it would not agree with the noun before."""
    if before is None or after is None:
        return True
    takes_object = after.kind in _OBJECTS or after.plain in _OBJECT_PRONOUNS
    if not before.noun:
        joins_predicate = before.plain in {"and", "or", "then"} and _is_plural(token.plain)
        return not (joins_predicate and takes_object)
    if not token.plain.endswith("s") and not _is_plural(before.plain):
        return True
    return not takes_object


def _is_adjective(before: Token | None, after: Token | None) -> bool:
    if after is None or after.kind not in {Kind.CONTENT, Kind.BOTH}:
        return False
    return (
        before is None
        or before.plain == "to"
        or before.kind in {Kind.DETERMINER, Kind.PREPOSITION, Kind.NUMBER}
    )


def _is_plural(word: str) -> bool:
    return (word.endswith("s") and not word.endswith("ss")) or word in {
        "children",
        "mice",
        "feet",
        "police",
        "data",
    }


def _is_gerund(before: Token | None, after: Token | None) -> bool:
    """Tell whether "warning" is a noun: in "the warning system", or as the subject in "planting requires"."""
    if before is None or before.plain in CLAUSE_BEGINS:
        return after is not None and after.kind in {Kind.VERB, Kind.BOTH, Kind.MODAL}
    return before.kind is Kind.DETERMINER and after is not None and after.kind is Kind.CONTENT
