"""Phrase categories: is there a greeting, price talk, a recording notice, a do-not-call demand in the call?

What belongs here: finding phrases by presence, from a table that is data (``data/categories.json``). What
does not: verdicts. A category never flags a call; telling a demand from the mention of one needs a rule.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from callpipeline.failures import NotConfigured
from callpipeline.model import Evidence, Record, Role, Turn

MAX_EVIDENCE = 5
"""Places kept of one category: presence is the point, and a two-hour hearing says "thank you" often."""


class Category(Record):
    """The phrases of one category and whose words are searched. A speaker of unknown role may be either."""

    speaker: Literal["agent", "customer", "any"] = "any"
    phrases: tuple[str, ...]


class CategoryTable(Record):
    """All categories by name; ``version`` belongs into the code version of what is made with it."""

    version: str
    categories: dict[str, Category]


@cache
def default_table() -> CategoryTable:
    """Return the table that comes with the package."""
    return _parse(resources.files("callpipeline.qa").joinpath("data/categories.json").read_text("utf-8"))


def load_table(path: Path) -> CategoryTable:
    """Return the table in a JSON file of one's own, in the shape of ``data/categories.json``.

    Raises:
        NotConfigured: the file cannot be read, or is not such a table.
    """
    try:
        return _parse(path.read_text("utf-8"))
    except (OSError, ValueError, ValidationError) as error:
        raise NotConfigured(
            f"The category table {path} cannot be used: {error}.",
            hint='As: {"version": "1", "categories": {"name": {"speaker": "any", "phrases": ["..."]}}}.',
        ) from error


def find_categories(
    turns: Sequence[Turn], table: CategoryTable | None = None
) -> dict[str, tuple[Evidence, ...]]:
    """Return for every category where it occurs; an empty tuple says that it does not.

    Phrases match whole words, whatever the case and the punctuation between them.
    """
    found: dict[str, list[Evidence]] = {}
    texts = [(turn, plain(turn.text)) for turn in turns]
    for name, category in (table or default_table()).categories.items():
        pattern = _pattern(category.phrases)
        places = found.setdefault(name, [])
        for turn, text in texts:
            if len(places) == MAX_EVIDENCE:
                break
            match = pattern.search(text) if _speaks(turn.role, category.speaker) else None
            if match:
                places.append(Evidence(start=turn.start, end=turn.end, note=match.group(), turn=turn.index))
    return {name: tuple(places) for name, places in found.items()}


def plain(text: str) -> str:
    """Return ``text`` in lower case, words and apostrophes only, single spaces."""
    return " ".join(re.findall(r"[\w']+", text.lower().replace("’", "'")))


def _parse(text: str) -> CategoryTable:
    return CategoryTable.model_validate(json.loads(text))


@cache
def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    words = "|".join(re.escape(plain(phrase)) for phrase in sorted(phrases, key=len, reverse=True))
    return re.compile(rf"(?<![\w'])(?:{words})(?![\w'])") if words else re.compile(r"(?!)")


def _speaks(role: Role, wanted: str) -> bool:
    return wanted == "any" or role is Role.UNKNOWN or role == wanted
