"""A chat model for the simulator: reads numbered blocks of speech and answers from their words.

It understands sentences such as "Sleep deprivation causes poor memory." and nothing else; the sentence is the quote.
Imports nothing of the product, so that the simulator can use it in a process of its own:
``responder="callpipeline_tests.graph.responding:answer"``. ``spoilt`` does as words in the text tell it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from callpipeline_tests.simulators.openai_api.responder import ChatAnswer, ChatRequest
from callpipeline_tests.simulators.server import Refusal

VERBS = {
    "causes": "CAUSES",
    "cause": "CAUSES",
    "leads to": "LEADS_TO",
    "lead to": "LEADS_TO",
    "reduces": "REDUCES",
    "reduce": "REDUCES",
    "enables": "ENABLES",
    "enable": "ENABLES",
    "requires": "REQUIRES",
    "require": "REQUIRES",
    "influences": "INFLUENCES",
    "influence": "INFLUENCES",
    "improves": "OPTIMIZES",
    "improve": "OPTIMIZES",
    "is part of": "IS_PART_OF",
}
_BLOCK = re.compile(r"^### (\d+)$", re.MULTILINE)
_CLAIM = re.compile(
    rf"(?P<source>[^\W\d_][\w' -]{{1,60}}?) (?P<verb>{'|'.join(VERBS)}) (?P<target>[\w' -]{{2,60}})"
)

Json = dict[str, Any]


def blocks_of(text: str) -> dict[int, str]:
    """Return the words of each block by its number, without the speakers' labels."""
    parts = _BLOCK.split(text)
    return {
        int(number): "\n".join(line.partition(": ")[2] for line in body.strip().splitlines())
        for number, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def chunk_answer(number: int, text: str) -> Json:
    """Return what there is to be said of one block."""
    entities: dict[str, Json] = {}
    relations = []
    for claim in _CLAIM.finditer(text):
        ends = []
        for side in ("source", "target"):
            name = claim[side].strip()
            key = f"e{len(entities) + 1}"
            known = entities.setdefault(name.lower(), _entity(key, name, claim[0].strip()))
            ends.append(known["key"])
        relations.append(
            {
                "type": VERBS[claim["verb"]],
                "source": ends[0],
                "target": ends[1],
                "description": f"{claim['source'].strip()} {claim['verb']} {claim['target'].strip()}",
                "confidence": 0.9,
                "quote": claim[0].strip(),
            }
        )
    return {"n": number, "entities": list(entities.values()), "relations": relations}


def _entity(key: str, name: str, quote: str) -> Json:
    return {"key": key, "name": name, "type": "Concept", "description": "", "confidence": 0.9, "quote": quote}


def answer(request: ChatRequest) -> Json:
    """Answer a request of the extractor."""
    found = blocks_of(request.messages[-1]["content"])
    return {"chunks": [chunk_answer(number, text) for number, text in found.items()]}


def spoilt(request: ChatRequest) -> Mapping[str, Any] | ChatAnswer | str:
    """Answer, unless the text says how to fail: any block of a request spoils all of it."""
    text = request.messages[-1]["content"]
    if "poison-request" in text:
        raise Refusal(400, "This request is not accepted.")
    if "poison-server" in text:
        raise Refusal(500, "The server had an error.")
    if "poison-refusal" in text:
        return ChatAnswer(refusal="I will not talk about that.")
    if "poison-garbage" in text:
        return "I am sorry, here is what I think:"
    if "poison-long" in text:
        return '{"chunks":[' + " " * 200_000
    return answer(request)
