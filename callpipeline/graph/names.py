"""Names in plain form: when two ways of writing a name are the same name.

What belongs here: pure functions over one name. ``plain`` is what is written, without case and punctuation; ``normal``
also leaves out what does not name (titles, articles, plurals, "Inc."); ``spelling`` folds what only spelling decides.
What does not: deciding that two things are one (``resolution``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

PERSON, PLACE, ORGANIZATION, EVENT, IDEA = "Person", "Place", "Organization", "Event", "idea"
"""Families of types. Names of one family may mean one thing; all types that are no proper names are ideas, because
whether "sleep hygiene" is a concept or a practice is seldom agreed on."""

_PROPER = frozenset({PERSON, PLACE, ORGANIZATION, EVENT})

_WORD = re.compile(r"[^\W_]+[+#]*")
_POSSESSIVE = re.compile(r"['’]s\b|(?<=s)['’](?=\s|$)", re.IGNORECASE)
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")
_DOTTED = re.compile(r"\b(?:[^\W\d_]\.){2,}")


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text as a set: how lists of words are written here."""
    return frozenset(text.split())


_ARTICLES = frozenset({"the", "a", "an"})
_TITLES = word_set(
    "mr mrs ms miss mx dr doctor prof professor sir dame lord lady senator sen representative rep congressman "
    "congresswoman chairman chairwoman chairperson president secretary governor mayor judge justice officer captain "
    "colonel general sergeant lieutenant detective reverend father sister brother pastor commissioner councilman "
    "councilwoman councilor councillor delegate attorney"
)
_DEGREES = frozenset({"phd", "md", "esq", "mba", "msc", "dds", "rn", "cpa"})
_LEGAL_FORMS = word_set(
    "inc incorporated ltd limited llc llp corp corporation co company plc gmbh ag sa bv nv oy ab"
)

_NO_PLURAL = word_set(
    "series species news diabetes rabies measles means always perhaps this thus gas bus lens bias class stress "
    "process success access focus virus basis crisis analysis thesis canvas atlas christmas texas"
)
_VERSUS_PLURAL = ("ss", "us", "is", "ics", "ness", "as", "os")

_NICKNAMES = {
    short: full
    for full, shorts in {
        "robert": "bob rob bobby robbie",
        "william": "bill will billy",
        "richard": "dick rick",
        "michael": "mike mikey",
        "james": "jim jimmy",
        "thomas": "tom tommy",
        "joseph": "joe joey",
        "david": "dave",
        "daniel": "dan danny",
        "matthew": "matt",
        "anthony": "tony",
        "andrew": "andy",
        "edward": "ed eddie",
        "kenneth": "ken kenny",
        "steven": "steve",
        "timothy": "tim",
        "gregory": "greg",
        "benjamin": "ben",
        "nicholas": "nick",
        "jonathan": "jon",
        "samuel": "sam",
        "elizabeth": "liz beth betty",
        "katherine": "kathy kate katie",
        "margaret": "maggie peggy",
        "jennifer": "jen jenny",
        "rebecca": "becky",
        "susan": "sue",
        "deborah": "deb debbie",
        "patricia": "patty",
        "victoria": "vicky",
    }.items()
    for short in shorts.split()
}
"""Short forms that nearly always stand for one name. Those of several ("Chris", "Alex", "Pat") are left out."""

_SPELLINGS = (
    *(("ae", "e"), ("oe", "e"), ("our", "or"), ("ph", "f"), ("isation", "ization"), ("ise", "ize")),
    *(("yse", "yze"), ("tre", "ter"), ("ck", "k")),
)
_DOUBLED = re.compile(r"(\w)\1+")


def family(kind: str) -> str:
    """Return the family of a node type."""
    return kind if kind in _PROPER else IDEA


@lru_cache(maxsize=100_000)
def plain(name: str) -> str:
    """Return a name without case, punctuation and possessive: what it says, however it is written."""
    text = unicodedata.normalize("NFKC", name).casefold().replace("&", " and ")
    text = _DOTTED.sub(lambda match: match.group().replace(".", ""), text)
    text = _APOSTROPHE.sub("", _POSSESSIVE.sub("", text))
    return " ".join(_WORD.findall(text)) or " ".join(text.split())


@lru_cache(maxsize=100_000)
def normal(name: str, kind: str) -> str:
    """Return the plain name without what does not name, as the family of the type ``kind`` asks.

    Articles in front go always; of people titles and degrees, of bodies legal forms, of ideas the plural of the last word.
    """
    words = plain(name).split(" ")
    while len(words) > 1 and words[0] in _ARTICLES:
        words = words[1:]
    of = family(kind)
    if of == PERSON:
        words = _person(words)
    elif of == ORGANIZATION:
        while len(words) > 1 and words[-1] in _LEGAL_FORMS:
            words = words[:-1]
    elif of == IDEA:
        words = [*words[:-1], singular(words[-1])]
    return " ".join(words)


def full_first_name(name: str) -> str:
    """Return a normal name of a person with the full form of a nickname; as it is when there is no family name."""
    first, _, rest = name.partition(" ")
    return f"{_NICKNAMES.get(first, first)} {rest}" if rest else name


def is_lone(name: str) -> bool:
    """Tell whether a plain name is a single word: of a person, it may be anybody's."""
    return " " not in name


def spelling(name: str, *, proper: bool) -> str:
    """Return a plain name with regional spellings and spaces folded: equal for the same words only.

    "Colour" and "color", "micro biome" and "microbiome" become one; of ``proper`` names also "Hubberman" and "Huberman"
    (among other words "dessert" and "desert" differ by no more).
    """
    words = []
    for word in name.split(" "):
        folded = word
        for long, short in _SPELLINGS if len(word) > 4 else ():
            folded = folded.replace(long, short)
        words.append(_DOUBLED.sub(r"\1", folded) if proper and folded.isalpha() else folded)
    return "".join(words)


def initials(name: str) -> str:
    """Return the first letters of the words that an abbreviation is made of: ``fbi``."""
    return "".join(word[0] for word in name.split(" ") if word not in ("of", "the", "and", "for", "in", "on"))


def numbers(name: str) -> frozenset[str]:
    """Return the words of a plain name that hold a digit: where these differ, the things differ."""
    return frozenset(word for word in name.split(" ") if any(character.isdigit() for character in word))


def singular(word: str) -> str:
    """Return the singular of a regular English plural, other words as they are."""
    if len(word) < 4 or word in _NO_PLURAL or not word.endswith("s") or word.endswith(_VERSUS_PLURAL):
        return word
    if word.endswith("ies"):
        return f"{word[:-3]}y" if len(word) > 4 else word[:-1]
    if word.endswith(("sses", "shes", "ches", "xes", "zzes")):
        return word[:-2]
    return word[:-1]


def _person(words: Sequence[str]) -> list[str]:
    kept = list(words)
    while len(kept) > 1 and kept[0] in _TITLES:
        kept = kept[1:]
    while len(kept) > 1 and kept[-1] in _DEGREES:
        kept = kept[:-1]
    return kept
