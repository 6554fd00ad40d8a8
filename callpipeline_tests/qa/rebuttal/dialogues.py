"""Labelled dialogues for the rebuttal tests, and the damage that weak transcripts do to them."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

Dialogue = dict[str, Any]

FILE = Path(__file__).parents[2] / "data" / "rebuttal_dialogues.jsonl"
_OTHER = {"agent": "customer", "customer": "agent"}
_NOISE = (
    "the",
    "a",
    "of",
    "to",
    "and",
    "it",
    "in",
    "well",
    "some",
    "oh",
    "been",
    "time",
    "say",
    "know",
    "one",
    "is",
)


def load() -> list[Dialogue]:
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


def damaged(damage: Callable[[Dialogue, random.Random], None]) -> list[str]:
    """Return all dialogues as JSON lines after ``damage`` changed each in its own, repeatable way."""
    lines = []
    for dialogue in load():
        changed = copy.deepcopy(dialogue)
        damage(changed, random.Random(dialogue["id"]))
        lines.append(json.dumps(changed))
    return lines


def none(dialogue: Dialogue, rng: random.Random) -> None:
    """Leave everything as it is."""


def no_punctuation(dialogue: Dialogue, rng: random.Random) -> None:
    for turn in dialogue["turns"]:
        turn["text"] = "".join(c for c in turn["text"].lower() if c.isalnum() or c.isspace())


def wrong_words(dialogue: Dialogue, rng: random.Random) -> None:
    """Lose 5 % of the words and replace or misspell another 7 %."""
    for turn in dialogue["turns"]:
        kept = []
        for word in turn["text"].split():
            luck = rng.random()
            if luck < 0.05:
                continue
            if luck < 0.12:
                word = rng.choice(_NOISE) if rng.random() < 0.5 else word[: max(1, len(word) // 2)] + "er"
            kept.append(word)
        turn["text"] = " ".join(kept)


def split_turns(dialogue: Dialogue, rng: random.Random) -> None:
    halves = []
    for turn in dialogue["turns"]:
        words, middle = turn["text"].split(), (turn["start"] + turn["end"]) / 2
        half = len(words) // 2 if len(words) > 6 else len(words)
        halves.append(
            {**turn, "text": " ".join(words[:half]), "end": middle if half < len(words) else turn["end"]}
        )
        if half < len(words):
            halves.append({**turn, "text": " ".join(words[half:]), "start": middle})
    dialogue["turns"] = halves


def swapped(dialogue: Dialogue, rng: random.Random) -> None:
    for turn in dialogue["turns"]:
        turn["speaker"] = _OTHER[turn["speaker"]]


def unnamed(dialogue: Dialogue, rng: random.Random) -> None:
    for turn in dialogue["turns"]:
        turn["speaker"] = "S1" if turn["speaker"] == "agent" else "S2"


def bleeding(dialogue: Dialogue, rng: random.Random) -> None:
    """Let a part of every third longer turn also appear on the other side a moment later."""
    heard = []
    for turn in dialogue["turns"]:
        heard.append(turn)
        words = turn["text"].split()
        if len(words) > 6 and rng.random() < 0.33:
            at = rng.randrange(len(words) - 5)
            copied = " ".join(words[at : at + rng.randrange(5, 9)])
            late = {"start": turn["start"] + 0.3, "end": turn["end"] + 0.3}
            heard.append({**turn, **late, "speaker": _OTHER[turn["speaker"]], "text": copied})
    dialogue["turns"] = heard
