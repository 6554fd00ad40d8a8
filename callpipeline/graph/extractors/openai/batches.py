"""A request for several text chunks: what it is made of, its name, and what its answer says of each chunk. All pure.

The same whether it goes out by itself or as a line of a file for the Batch API. What does not belong here: which chunks
go together (``packing``), sending (``desk``), keeping (``cache``).

A batch is named by the hash of its whole body. What was composed is written down before it is sent, so that whoever
sends it again after a kill sends the same bytes under the same name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from callpipeline.graph.extractors.openai.answers import read_answer
from callpipeline.graph.extractors.openai.prompt import PROMPT_VERSION, blocks, spoken, task
from callpipeline.graph.extractors.openai.schema import (
    SCHEMA_NAME,
    SCHEMA_VERSION,
    SaidChunk,
    answer_schema,
)
from callpipeline.limits.ledger_rows import Order, request_hash
from callpipeline.providers.openai import PROVIDER
from callpipeline.providers.openai_language import ChatReply, chat_body

if TYPE_CHECKING:
    from callpipeline.graph.extractors.openai.routing import Route
    from callpipeline.graph.ontology import Ontology
    from callpipeline.knowledge import TextChunk

PURPOSE = "graph"
_NUMBER = re.compile(r"(?:^|\n\n)### \d+\n")


@dataclass(frozen=True, slots=True)
class Block:
    """A text chunk as it is sent: ``spoken`` has not a word of its recording, which is here to be charged.

    ``key`` names its answer in the chunk cache: the words and the ``family``: model, prompt, schema, ontology.
    ``sha256``/``text`` are the chunk's own, by which nearly equal ones are found.
    """

    key: str
    family: str
    recording: str
    text: str
    sha256: str
    spoken: str
    route: Route


@dataclass(frozen=True, slots=True)
class Batch:
    """A composed request. ``id`` is its request hash, also ``custom_id`` in the Batch API.

    ``keys`` and ``recordings`` (who is charged) are its blocks', in order. ``body`` is the JSON of
    ``/v1/chat/completions``. ``tokens`` (without those of the answer) is an estimate, ``most`` the longest answer that
    is allowed.
    """

    id: str
    model: str
    pool: str
    keys: tuple[str, ...]
    recordings: tuple[str, ...]
    body: Mapping[str, Any]
    tokens: int

    @property
    def most(self) -> int:
        """Tokens of the answer at most."""
        return int(self.body["max_completion_tokens"])

    @property
    def spoken(self) -> tuple[str, ...]:
        """The words of each block."""
        return tuple(_NUMBER.split(self.body["messages"][-1]["content"])[1:])

    @property
    def weights(self) -> dict[str, float]:
        """The share of each key in what the batch costs: by the length of its words. They add up to 1."""
        lengths = [len(text) + 1 for text in self.spoken]
        return {key: length / sum(lengths) for key, length in zip(self.keys, lengths, strict=True)}

    @property
    def shares(self) -> dict[str, float]:
        """The share of each recording."""
        shares: dict[str, float] = {}
        for recording, weight in zip(self.recordings, self.weights.values(), strict=True):
            shares[recording] = shares.get(recording, 0.0) + weight
        return shares

    @property
    def order(self) -> Order:
        """What it is called in the ledger; a batch of several recordings is none's there, its charge is shared out."""
        one = self.recordings[0] if len(set(self.recordings)) == 1 else None
        return Order(self.id, PROVIDER, self.pool, self.model, recording=one, purpose=PURPOSE)


@dataclass(frozen=True, slots=True)
class Digest:
    """What an answer says: by key, and the keys of which it says nothing that can be used."""

    found: Mapping[str, SaidChunk]
    missing: tuple[str, ...]


class Wording:
    """How requests are put for one ontology: the parts that are the same in all of them are made once."""

    def __init__(self, ontology: Ontology) -> None:
        self.ontology = ontology
        self._task = task(ontology)
        self._schema = answer_schema(ontology)
        self._families: dict[str, str] = {}
        self.fixed_bytes = len(self._task.encode()) + len(json.dumps(self._schema))
        """Bytes of a request beside its blocks."""

    def family(self, model: str) -> str:
        """Name all that decides an answer beside the words."""
        if model not in self._families:
            self._families[model] = request_hash(
                prompt=PROMPT_VERSION, schema=SCHEMA_VERSION, model=model, ontology=self.ontology.sha256
            )[:32]
        return self._families[model]

    def block(self, chunk: TextChunk, route: Route, clean: Callable[[str], str]) -> Block:
        """Return a chunk as it is sent."""
        words = spoken(chunk, clean)
        family = self.family(route.model)
        key = hashlib.sha256(f"{family}\n{words}".encode()).hexdigest()
        return Block(key, family, chunk.recording, chunk.text, chunk.sha256, words, route)

    def compose(self, wanted: Sequence[Block], *, tokens: int, most: int) -> Batch:
        """Return the request for some blocks of one route.

        Args:
            wanted: The blocks, in their order.
            tokens: Estimate of what the provider counts of the request.
            most: Tokens of the answer at most.
        """
        route = wanted[0].route
        body = chat_body(
            route.model,
            [
                {"role": "system", "content": self._task},
                {"role": "user", "content": blocks([block.spoken for block in wanted])},
            ],
            schema_name=SCHEMA_NAME,
            schema=self._schema,
            most_tokens=most,
        )
        of = request_hash(purpose=PURPOSE, body=body)
        return Batch(
            id=of,
            model=route.model,
            pool=route.pool,
            keys=tuple(block.key for block in wanted),
            recordings=tuple(block.recording for block in wanted),
            body=body,
            tokens=tokens,
        )


def digest(batch: Batch, reply: ChatReply) -> Digest:
    """Return what an answer says of each chunk of its batch; an answer that was cut off counts as far as it goes."""
    said = {} if reply.refusal else read_answer(reply.text, batch.spoken)
    found = {batch.keys[place]: one for place, one in said.items()}
    return Digest(found, tuple(key for key in batch.keys if key not in found))
