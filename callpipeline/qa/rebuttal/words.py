"""Words of imperfect transcripts: from raw text to plain tokens and meaning classes.

What belongs here: lower-casing, punctuation, spelling of contractions, and the lookup of a word's meaning class
(``corpus/concepts.tsv``), with approximate matching for misheard words. What does not: scores and decisions.
"""

from __future__ import annotations

import csv
import re
from functools import lru_cache
from importlib import resources

_NOT_WORD = re.compile(r"[^\w\s]+|_", re.UNICODE)
_APOSTROPHES = re.compile(r"(?<=\w)['’`](?=\w)")
_COMMON = 6_000
_FUZZY_MIN_LENGTH = 5
_FUZZY_SCORE = 84.0
"""Normalised similarity (0-100) from which an unknown word counts as a known one."""


def tokens(text: str) -> list[str]:
    """Split a transcript text into lower-case words without punctuation; ``don't`` becomes ``dont``."""
    return _NOT_WORD.sub(" ", _APOSTROPHES.sub("", text.lower())).split()


def corpus_rows(name: str) -> list[dict[str, str]]:
    """Read one TSV file of the corpus folder."""
    path = resources.files("callpipeline.qa.rebuttal") / "corpus" / name
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


@lru_cache(maxsize=1)
def _concepts() -> dict[str, str]:
    table: dict[str, str] = {}
    for row in corpus_rows("concepts.tsv"):
        for word in row["words"].split():
            table.setdefault(word, row["concept"])
    return table


@lru_cache(maxsize=20_000)
def concept(word: str) -> str | None:
    """Return the meaning class of ``word``, or ``None`` when it has none.

    A longer word that is not in the table takes the class of one that sounds nearly the same in writing
    (``proberty`` -> ``property``), because weak recognisers misspell exactly the words that matter.
    """
    table = _concepts()
    found = table.get(word)
    if found is not None or len(word) < _FUZZY_MIN_LENGTH:
        return found
    if word.isdigit():
        return "number"
    from rapidfuzz import fuzz, process

    best = process.extractOne(word, _long_words(), scorer=fuzz.ratio, score_cutoff=_FUZZY_SCORE)
    return table[best[0]] if best else None


@lru_cache(maxsize=1)
def _topics() -> dict[str, str]:
    return {row["concept"]: row["topic"] for row in corpus_rows("concepts.tsv")}


def topic(name: str) -> str:
    """Return what talk a meaning class belongs to: ``sale``, ``everyday`` or neither (empty)."""
    return _topics()[name]


@lru_cache(maxsize=1)
def _long_words() -> tuple[str, ...]:
    return tuple(word for word in _concepts() if len(word) >= _FUZZY_MIN_LENGTH)


@lru_cache(maxsize=1)
def _word_classes() -> dict[str, tuple[str, str]]:
    return {row["word"]: (row["broad"], row["fine"]) for row in corpus_rows("word_classes.tsv")}


def word_class(word: str) -> tuple[str, str] | None:
    """Return the broad and the fine class of words that are used alike, or ``None`` for a rare word.

    The classes (``corpus/word_classes.tsv``) were clustered from the two-word statistics of the general English
    language model that comes with pocketsphinx; they carry what was learnt about one word over to its relatives.
    """
    return _word_classes().get(word)


@lru_cache(maxsize=1)
def _common_words() -> frozenset[str]:
    """The most frequent words of the class table, which is ordered by frequency; rarer ones are often foreign."""
    return frozenset(word for word in list(_word_classes())[:_COMMON] if len(word) > 1 or word in "ai")


@lru_cache(maxsize=1)
def _corpus_words() -> frozenset[str]:
    texts = (row["text"] for name in ("agent.tsv", "customer.tsv", "dialogues.tsv") for row in corpus_rows(name)
             if row["act"] != "foreign")  # fmt: skip
    return frozenset(word for text in texts for word in tokens(text))


def known_share(words: list[str]) -> float:
    """Return the share of words that are English as far as the word lists go; names count as unknown."""
    if not words:
        return 1.0
    return sum(w in _common_words() or w in _corpus_words() or w.isdigit() for w in words) / len(words)
