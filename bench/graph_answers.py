"""What the simulated provider finds in text chunks: the words of ``graph_corpus``, and claims made of them.

A responder of the OpenAI simulator, ``bench.graph_answers:found``. It reads what any model would be sent - blocks that
begin with a line ``### <n>`` - and answers in JSON of the size that a model's answers have. Imports nothing of the
product.
"""

from __future__ import annotations

import re
from typing import Any

from bench.graph_corpus import BODIES, CONCEPTS, PEOPLE, PLACES, VERBS
from callpipeline_tests.simulators.openai_api.responder import ChatRequest

Json = dict[str, Any]

_TYPES = {
    **dict.fromkeys(CONCEPTS, "Concept"),
    **dict.fromkeys(PEOPLE, "Person"),
    **dict.fromkeys(PLACES, "Place"),
    **{body.removeprefix("the "): "Organization" for body in BODIES},
}
_NAMES = "|".join(re.escape(name) for name in sorted(_TYPES, key=len, reverse=True))
_NAMED = re.compile(rf"\b(?:{_NAMES})\b", re.IGNORECASE)
_CLAIM = re.compile(rf"\b({_NAMES}) ({'|'.join(map(re.escape, VERBS))}) ({_NAMES})\b", re.IGNORECASE)
_BLOCK = re.compile(r"^### (\d+)\s*$", re.MULTILINE)
_CANONICAL = {name.lower(): name for name in _TYPES}
_MOST_ENTITIES = 6


def found(request: ChatRequest) -> Json:
    """Answer one request."""
    return {"chunks": [{"n": n, **_found(text)} for n, text in blocks(request.messages[-1]["content"])]}


def blocks(prompt: str) -> list[tuple[int, str]]:
    """Return the numbered text chunks of a prompt; one without numbers is all one."""
    parts = _BLOCK.split(prompt)
    if len(parts) < 3:
        return [(1, prompt)]
    return [(int(number), text) for number, text in zip(parts[1::2], parts[2::2], strict=True)]


def _found(text: str) -> Json:
    claims = list(_CLAIM.finditer(text))
    named = {_CANONICAL[end.lower()]: claim for claim in claims for end in (claim[1], claim[3])}
    for match in _NAMED.finditer(text):
        named.setdefault(_CANONICAL[match[0].lower()], match)
    keys = {name: f"e{number}" for number, name in enumerate(list(named)[:_MOST_ENTITIES], 1)}
    return {
        "entities": [_entity(keys[name], name, named[name], text) for name in keys],
        "relations": [_relation(keys, claim, text) for claim in claims if _known(keys, claim)],
    }


def _entity(key: str, name: str, match: re.Match[str], text: str) -> Json:
    return {
        "key": key,
        "name": name,
        "type": _TYPES[name],
        "description": f"{name.capitalize()}, as the speakers describe it from their own work and experience.",
        "confidence": 0.9,
        "quote": _words(match, text, before=30, after=50),
    }


def _relation(keys: dict[str, str], claim: re.Match[str], text: str) -> Json:
    source, target = (_CANONICAL[claim[group].lower()] for group in (1, 3))
    return {
        "type": VERBS[claim[2].lower()],
        "source": keys[source],
        "target": keys[target],
        "description": f"The speaker says that {source} {claim[2]} {target}.",
        "confidence": 0.85,
        "quote": _words(claim, text, before=20, after=20),
    }


def _known(keys: dict[str, str], claim: re.Match[str]) -> bool:
    return all(_CANONICAL[claim[group].lower()] in keys for group in (1, 3))


def _words(match: re.Match[str], text: str, *, before: int, after: int) -> str:
    """Return the match with whole words around it, all of one line."""
    begin = text.rfind("\n", 0, match.start()) + 1
    first = text.find(" ", max(begin, match.start() - before), match.start()) + 1
    end = text.find("\n", match.end())
    line_end = len(text) if end < 0 else end
    last = text.rfind(" ", match.end(), min(line_end, match.end() + after))
    return text[first or match.start() : last if last > 0 else match.end()].strip()
