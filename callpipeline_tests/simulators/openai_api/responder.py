"""Who answers a chat: a function from ``ChatRequest`` to text, a JSON value, or a ``ChatAnswer``.

Belongs here: that contract, and the default, which keeps any JSON schema and otherwise repeats the question.
A test gives its own function, or ``module:function`` when the simulator runs in another process.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class ChatRequest:
    """What is asked by ``/chat/completions`` or ``/responses``. ``schema`` = the JSON schema to keep."""

    model: str
    messages: tuple[Json, ...]
    """``role`` and ``content`` as text."""
    schema: Json | None
    schema_name: str | None
    body: Json
    """The whole request."""

    @property
    def text(self) -> str:
        """All messages of the user."""
        return "\n".join(message["content"] for message in self.messages if message["role"] == "user")


@dataclass(frozen=True)
class ChatAnswer:
    """An answer. ``refusal`` is what the model says instead; ``finish_reason`` may be ``content_filter``."""

    text: str = ""
    refusal: str | None = None
    finish_reason: str = "stop"


Responder = Callable[[ChatRequest], "str | ChatAnswer | Mapping[str, Any] | list[Any]"]


def load_responder(name: str) -> Responder:
    """Import ``module:function``.

    Raises:
        ValueError: it is not of that form.
    """
    module, _, function = name.partition(":")
    if not function:
        raise ValueError(f"{name!r} is no responder: module:function")
    responder: Responder = getattr(importlib.import_module(module), function)
    return responder


def ask(responder: Responder, request: ChatRequest) -> ChatAnswer:
    """Return what the responder says, as text."""
    answer = responder(request)
    if isinstance(answer, ChatAnswer):
        return answer
    return ChatAnswer(answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False))


def plausible(request: ChatRequest) -> str | Json:
    """Answer with the smallest value that keeps the schema, or repeat the question; always the same."""
    if request.schema is None:
        return f"I read: {request.text[:400]}"
    seed = hashlib.sha256(json.dumps(request.messages, sort_keys=True).encode()).hexdigest()
    value = _Instance(request.schema, random.Random(seed), request.text.split() or ["nothing"]).of(
        request.schema
    )
    return value if isinstance(value, dict) else json.dumps(value)


class _Instance:
    """Builds a value that keeps a JSON schema, with words taken from the prompt."""

    def __init__(self, root: Json, rng: random.Random, words: list[str]) -> None:
        self._root = root
        self._rng = rng
        self._words = words

    def of(self, schema: Json) -> Any:
        """Return a value for this part of the schema."""
        if "$ref" in schema:
            return self.of(self._resolve(schema["$ref"]))
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._rng.choice(schema["enum"])
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                return self.of(schema[key][0])
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = kind[0]
        return self._typed(kind, schema)

    def _typed(self, kind: str | None, schema: Json) -> Any:
        if kind == "object":
            return {name: self.of(part) for name, part in schema.get("properties", {}).items()}
        if kind == "array":
            return [self.of(schema["items"]) for _ in range(schema.get("minItems", 0))]
        if kind in ("number", "integer"):
            return self._number(kind, schema)
        if kind == "boolean":
            return self._rng.random() < 0.5
        if kind == "null":
            return None
        first = self._rng.randrange(len(self._words))
        return " ".join(self._words[first : first + 5])

    def _number(self, kind: str, schema: Json) -> float:
        low = next((schema[key] for key in ("minimum", "exclusiveMinimum") if key in schema), 0)
        high = next((schema[key] for key in ("maximum", "exclusiveMaximum") if key in schema), low + 1)
        middle: float = (low + high) / 2
        return round(middle) if kind == "integer" else middle

    def _resolve(self, ref: str) -> Json:
        part: Any = self._root
        for name in ref.removeprefix("#/").split("/"):
            part = part[name] if name else part
        return dict(part)
