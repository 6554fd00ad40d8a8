"""Names of people, places, organisations and events, by capital letters, frames and short lists.

What belongs here: finding names in one sentence. What does not: that "Dr. Ashdown" is the Helen Ashdown of another
sentence (``people``). A transcript without capital letters is read by frames ("my name is ...", "calling from ...",
"... street") alone, because any word could be a name there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from callpipeline.graph.extractors.embedded.lexicon import Kind, kind_of, lexicon
from callpipeline.graph.extractors.embedded.phrases import Phrase
from callpipeline.graph.extractors.embedded.tokens import Token

MOST_WORDS = 6

_PERSON_FRAMES = (
    ("my", "name", "is"),
    ("this", "is"),
    ("is", "this"),
    ("speak", "with"),
    ("speak", "to"),
    ("speaking", "with"),
    ("speaking", "to"),
    ("hello",),
    ("hi",),
    ("i'm",),
    ("i", "am"),
    ("that",),
)
_ORGANIZATION_FRAMES = (("calling", "from"), ("with",), ("from",))
_LOWER_PLACE = frozenset({"in", "from", "to", "near"})
_AT = frozenset({"in", "near", "at"})
_INSIDE = frozenset({"of", "for", "on", "and", "the"})
_SPEAKS = frozenset(
    {"says", "said", "asked", "argues", "argued", "writes", "wrote", "told", "thinks", "found", "showed"}
)


def names(tokens: Sequence[Token], *, cased: bool, common: Set[str], people: Set[str]) -> list[Phrase]:
    """Return the names of a sentence, in order, none overlapping another.

    Args:
        tokens: the words of the sentence.
        cased: whether capital letters mean something.
        common: words that the recording has in small letters too: a capital at the start of a sentence is no sign.
        people: full names of those who speak, in small letters.
    """
    found = list(_cased(tokens, common, people)) if cased else list(_uncased(tokens))
    kept: list[Phrase] = []
    for phrase in sorted(found, key=lambda one: (one.first, -one.last)):
        if not kept or phrase.first > kept[-1].last:
            kept.append(phrase)
    return kept


# --- with capital letters -----------------------------------------------------------------------------


def _cased(tokens: Sequence[Token], common: Set[str], people: Set[str]) -> Iterator[Phrase]:
    at = 0
    while at < len(tokens):
        if not _may_begin(tokens, at, common):
            at += 1
            continue
        last = _last_capital(tokens, at)
        phrase = _classified(tokens, at, last, people)
        if phrase is not None:
            yield phrase
        at = last + 1


def _may_begin(tokens: Sequence[Token], at: int, common: Set[str]) -> bool:
    token = tokens[at]
    if not token.capital:
        return False
    if token.plain in lexicon().not_names and not (_is_law(tokens, at) or _goes_on(tokens, at)):
        return False
    if at > 0:
        return kind_of(token.plain) is not Kind.PRONOUN
    if token.plain in lexicon().titles | lexicon().given_names:
        return True
    unusual = token.plain not in common and kind_of(token.plain) is Kind.CONTENT
    return kind_of(token.plain) in {Kind.CONTENT, Kind.BOTH} if _goes_on(tokens, at) else unusual


def _goes_on(tokens: Sequence[Token], at: int) -> bool:
    """Tell whether the next word has a capital too: "European" alone names nothing."""
    after = tokens[at + 1] if at + 1 < len(tokens) else None
    return after is not None and after.capital and not after.gap and after.plain not in lexicon().not_names


def _is_law(tokens: Sequence[Token], at: int) -> bool:
    return tokens[at].plain == "bill" and at + 1 < len(tokens) and tokens[at + 1].kind is Kind.NUMBER


def _last_capital(tokens: Sequence[Token], first: int) -> int:
    """Return the last word of a name; "of", "on", "and" may stand within that of a body."""
    last = first
    is_body = False
    while last + 1 < len(tokens) and last - first < MOST_WORDS:
        is_body = is_body or tokens[last].plain in lexicon().org_begins | lexicon().org_ends
        after = tokens[last + 1]
        if after.gap and not (after.gap == "." and tokens[last].plain in lexicon().titles):
            break
        if after.capital and after.plain != "i":
            last += 1
            continue
        bridge = _bridge(tokens, last + 1) if is_body else None
        if bridge is None:
            break
        last = bridge
    return last


def _bridge(tokens: Sequence[Token], at: int) -> int | None:
    """Return the capital word that a body's name goes on with: "Department of the Interior"."""
    for skip in (1, 2):
        if at + skip >= len(tokens) or tokens[at + skip - 1].plain not in _INSIDE or tokens[at + skip].gap:
            return None
        if tokens[at + skip].capital:
            return at + skip if tokens[at].plain in {"of", "on", "for"} or _continues(tokens, at) else None
    return None


def _continues(tokens: Sequence[Token], at: int) -> bool:
    """Tell whether "and" is a part of "Committee on Water and Land", and not of "the House and Mr. Reed"."""
    return tokens[at].plain == "and" and at > 1 and tokens[at - 2].plain in {"of", "on", "for"}


def _classified(tokens: Sequence[Token], first: int, last: int, people: Set[str]) -> Phrase | None:
    words = [token.plain for token in tokens[first : last + 1]]
    known = lexicon()
    if words[0] in known.titles:
        begin = next((at for at, word in enumerate(words) if word not in known.titles), None)
        if begin is None or words[begin] in known.org_begins:
            return None
        name = tokens[first + begin : last + 1]
        return _named(name, first, last, "Person", 0.9 if len(name) > 1 else 0.75)
    if " ".join(words) in people:
        return _named(tokens[first : last + 1], first, last, "Person", 0.9)
    kind, confidence = _type_of(tokens, first, last, words)
    if kind == "Concept" and words[-1] in known.law_ends:
        while last + 1 < len(tokens) and tokens[last + 1].kind is Kind.NUMBER and not tokens[last + 1].gap:
            last += 1
    return _named(tokens[first : last + 1], first, last, kind, confidence) if kind else None


def _type_of(tokens: Sequence[Token], first: int, last: int, words: Sequence[str]) -> tuple[str, float]:
    known = lexicon()
    joined = " ".join(words)
    before = tokens[first - 1].plain if first else ""
    if joined in known.places:
        return "Place", 0.85
    if len(words) > 1:
        for ends, kind, confidence in (
            (known.law_ends, "Concept", 0.75),
            (known.event_ends, "Event", 0.75),
            (known.place_ends, "Place", 0.85),
            (known.org_ends, "Organization", 0.85),
        ):
            if words[-1] in ends:
                return kind, confidence
        if any(word in known.org_begins for word in words):
            return "Organization", 0.75
    if words[0] in known.given_names and len(words) <= 3:
        return "Person", 0.85 if len(words) > 1 else 0.65
    return _unlisted(tokens, first, last, before)


def _unlisted(tokens: Sequence[Token], first: int, last: int, before: str) -> tuple[str, float]:
    """Return the type of a name that no list knows: by what stands around it."""
    text = tokens[first].text
    count = last - first + 1
    after = tokens[last + 1].plain if last + 1 < len(tokens) else ""
    if count == 1 and text.isupper():
        return ("Organization", 0.6) if 2 < len(text) <= 5 and before == "the" else ("", 0.0)
    if after in _SPEAKS:
        return "Person", 0.65
    usual = all(
        kind_of(token.plain) in {Kind.CONTENT, Kind.BOTH, Kind.PAST} for token in tokens[first : last + 1]
    )
    if before in _AT or (before == "from" and count == 1):
        return ("Place", 0.6) if usual or count > 1 else ("", 0.0)
    if count == 2 and all(kind_of(token.plain) is Kind.CONTENT for token in tokens[first : last + 1]):
        return "Person", 0.55
    return ("Concept", 0.6) if count > 1 and usual else ("", 0.0)


def _named(name: Sequence[Token], first: int, last: int, kind: str, confidence: float) -> Phrase:
    shown = " ".join(token.text for token in name)
    return Phrase(first, last, f"{kind}:{shown.lower()}", shown, kind, confidence, proper=True)


# --- without --------------------------------------------------------------------------------------------


def _uncased(tokens: Sequence[Token]) -> Iterator[Phrase]:
    for at, token in enumerate(tokens):
        if token.plain in lexicon().street_ends:
            yield from _street(tokens, at)
        if token.plain in lexicon().given_names or (at and tokens[at - 1].plain in lexicon().titles):
            yield from _person(tokens, at)
        if at and tokens[at - 1].plain in _LOWER_PLACE:
            yield from _listed_place(tokens, at)
        yield from _organization(tokens, at)


def _street(tokens: Sequence[Token], at: int) -> Iterator[Phrase]:
    if at == 0 or tokens[at - 1].kind not in {Kind.CONTENT, Kind.BOTH}:
        return
    sure = at > 1 and tokens[at - 2].kind is Kind.PREPOSITION
    yield _titled(tokens, at - 1, at, "Place", 0.7 if sure else 0.55)


def _person(tokens: Sequence[Token], at: int) -> Iterator[Phrase]:
    before = tuple(token.plain for token in tokens[max(at - 3, 0) : at])
    titled = (
        bool(before)
        and before[-1] in lexicon().titles
        and before[-1] not in {"miss", "judge", "chair", "general"}
    )
    framed = any(before[-len(frame) :] == frame for frame in _PERSON_FRAMES)
    speaking = at + 1 < len(tokens) and tokens[at + 1].plain == "speaking"
    if titled:
        if tokens[at].kind is Kind.CONTENT:
            yield _titled(tokens, at, at, "Person", 0.65)
        return
    if not (framed or speaking):
        return
    last = at + 1 if not speaking and _is_surname(tokens, at + 1) else at
    yield _titled(tokens, at, last, "Person", 0.75 if last > at else 0.65)


def _is_surname(tokens: Sequence[Token], at: int) -> bool:
    if at >= len(tokens) or tokens[at].kind not in {Kind.CONTENT, Kind.BOTH}:
        return False
    if at + 1 == len(tokens):
        return True
    is_given = tokens[at].plain in lexicon().given_names
    return not is_given and tokens[at + 1].kind not in {Kind.CONTENT, Kind.BOTH, Kind.NUMBER}


def _listed_place(tokens: Sequence[Token], at: int) -> Iterator[Phrase]:
    for length in (3, 2, 1):
        words = [token.plain for token in tokens[at : at + length]]
        if len(words) == length and " ".join(words) in lexicon().places:
            yield _titled(tokens, at, at + length - 1, "Place", 0.65)
            return


def _organization(tokens: Sequence[Token], at: int) -> Iterator[Phrase]:
    """Yield the company that a caller introduces: "this is daniel with maple county homes"."""
    before = tuple(token.plain for token in tokens[max(at - 2, 0) : at])
    if not any(before[-len(frame) :] == frame for frame in _ORGANIZATION_FRAMES):
        return
    if before[0] != "calling" and not _introduced(tokens, at - 2):
        return
    last = at - 1
    while last + 1 < len(tokens) and last - at < 2 and _in_company(tokens[last + 1], inside=last >= at):
        last += 1
    while (
        last > at
        and tokens[last].plain not in lexicon().org_ends
        and tokens[last - 1].plain in lexicon().org_ends
    ):
        last -= 1
    if last <= at:
        return
    words = {token.plain for token in tokens[at : last + 1]}
    if words & lexicon().street_ends:
        return
    yield _titled(tokens, at, last, "Organization", 0.7 if words & lexicon().org_ends else 0.5)


def _introduced(tokens: Sequence[Token], at: int) -> bool:
    """Tell whether the word at ``at`` is the name of somebody who introduces themselves."""
    said = {token.plain for token in tokens[max(at - 3, 0) : at]}
    return at > 0 and tokens[at].plain in lexicon().given_names and bool(said & {"is", "i'm", "am"})


def _in_company(token: Token, *, inside: bool) -> bool:
    if token.gap or token.plain in {"i", "i'm", "i've", "and"}:
        return False
    return token.kind in {Kind.CONTENT, Kind.BOTH} or (
        not inside and token.plain in {"right", "new", "first", "best"}
    )


def _titled(tokens: Sequence[Token], first: int, last: int, kind: str, confidence: float) -> Phrase:
    name = " ".join(token.plain.capitalize() for token in tokens[first : last + 1])
    return Phrase(first, last, f"{kind}:{name.lower()}", name, kind, confidence, proper=True)
