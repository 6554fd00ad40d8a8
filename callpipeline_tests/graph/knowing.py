"""A chat model that knows the facts of the written conversations, and finds them in the text that it is sent.

It reads the numbered blocks and reports a fact where its quotation stands, whatever recording the block is of. Like a
model it also makes mistakes: it invents a thing in every block, and quotes words of the block before in the next.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from callpipeline_tests.graph.responding import blocks_of
from callpipeline_tests.simulators.openai_api.responder import ChatRequest

Json = dict[str, Any]

INVENTED = "the lost library of Atlantis"
FACTS = [
    json.loads(path.read_text("utf-8"))["facts"]
    for path in sorted((Path(__file__).parents[1] / "data" / "graph").glob("*.json"))
]


def answer(request: ChatRequest) -> Json:
    """Answer a request of the extractor."""
    blocks = blocks_of(request.messages[-1]["content"])
    answers = [_block(number, text) for number, text in blocks.items()]
    for before, after in pairwise(answers):
        after["entities"] += [{**one, "key": f"x{one['key']}"} for one in before["entities"][:1]]
    return {"chunks": answers}


def _block(number: int, text: str) -> Json:
    entities = [_entity("lost", "Atlantis", "Place", INVENTED)]
    relations: list[Json] = []
    for facts in FACTS:
        keys: dict[str, str] = {}
        for fact in facts["entities"]:
            if fact["quote"] in text:
                keys[fact["name"]] = f"e{len(entities)}"
                entities.append(_entity(keys[fact["name"]], fact["name"], fact["type"], fact["quote"]))
        relations += [
            _relation(fact, keys)
            for fact in facts["relations"]
            if fact["quote"] in text and {fact["source"], fact["target"]} <= keys.keys()
        ]
    return {"n": number, "entities": entities, "relations": relations}


def _entity(key: str, name: str, kind: str, quote: str) -> Json:
    return {"key": key, "name": name, "type": kind, "description": "", "confidence": 0.9, "quote": quote}


def _relation(fact: Json, keys: dict[str, str]) -> Json:
    ends = {side: keys[fact[side]] for side in ("source", "target")}
    return {"type": fact["type"], **ends, "description": "", "confidence": 0.9, "quote": fact["quote"]}
