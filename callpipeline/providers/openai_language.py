"""Chats and embeddings in OpenAI's API: what is sent, and what an answer's raw body says. All pure.

What belongs here: shapes of requests and answers, the same whether a request goes out by itself or in a file of the
Batch API. What does not: sending (``openai``), prompts, limits and money.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from callpipeline.failures import OutputTruncated, Refused, UnusableAnswer
from callpipeline.limits.answers import unreadable

NAME = "OpenAI"

StructuredOutput = Literal["json_schema", "json_object", "text"]
"""How an answer is kept to a shape: by a JSON schema, as any JSON object, or by the prompt alone."""

LESS_STRICT: Mapping[StructuredOutput, StructuredOutput] = {
    "json_schema": "json_object",
    "json_object": "text",
}
"""What is tried next with a server that does not know the one before."""

_NO_FORMAT = re.compile(r"response_format|json_schema|json_object|structured output|guided", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat. ``body`` is the JSON of the request, see ``chat_body``; ``setting`` names the model's variable.

    ``idempotency_key`` is sent along; OpenAI does not heed it, servers in between may.
    """

    body: Mapping[str, Any]
    idempotency_key: str = ""
    setting: str = "CALLPIPELINE_GRAPH_MODEL"


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What a model said. ``text`` may be cut off (``finish`` ``length``), ``refusal`` is what it says instead.

    ``tokens_in``/``tokens_out`` are 0 for a server that does not count them.
    """

    text: str
    finish: str = "stop"
    refusal: str = ""
    model: str = ""
    request: str = ""
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def truncated(self) -> bool:
        """Whether it was cut off at the length that was allowed."""
        return self.finish == "length"

    @property
    def problem(self) -> OutputTruncated | Refused | UnusableAnswer | None:
        """What keeps this from being a whole answer; ``None`` for one that is. Not a word of it is told."""
        if self.refusal or self.finish == "content_filter":
            return Refused(f"{NAME}: the model refused to answer.", hint="Nothing can be got from this text.")
        if self.truncated:
            return OutputTruncated(f"{NAME}: the answer was cut off after {self.tokens_out} tokens.")
        if not self.text.strip():
            return UnusableAnswer(f"{NAME}: the answer is empty.")
        return None


def chat_body(
    model: str,
    messages: Sequence[Mapping[str, str]],
    *,
    schema_name: str,
    schema: Mapping[str, Any],
    most_tokens: int,
) -> dict[str, Any]:
    """Return the JSON of a chat request whose answer keeps a JSON schema and has ``most_tokens`` at most."""
    return {
        "model": model,
        "messages": [dict(message) for message in messages],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": schema_name, "strict": True, "schema": dict(schema)},
        },
        "max_completion_tokens": most_tokens,
    }


def with_output(body: Mapping[str, Any], output: StructuredOutput) -> dict[str, Any]:
    """Return a request's body for a server that keeps answers to a shape in this way only."""
    if output == "json_schema":
        return dict(body)
    rest = {name: value for name, value in body.items() if name != "response_format"}
    return rest if output == "text" else {**rest, "response_format": {"type": "json_object"}}


def refuses_format(message: str) -> bool:
    """Tell whether a refused request was refused for how its answer was to be kept to a shape."""
    return bool(_NO_FORMAT.search(message))


def read_chat(body: Mapping[str, Any], *, size: int = 0, request: str = "") -> ChatReply:
    """Return what a chat's answer says.

    Args:
        body: The JSON of the answer.
        size: Bytes of it, for messages.
        request: The provider's name of the request.

    Raises:
        ProviderFailed: there is no message in it. The failure has not a word of what is.
    """
    try:
        choice = body["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content") or "", message.get("refusal") or ""
    except (KeyError, IndexError, TypeError, AttributeError):
        raise unreadable(NAME, 200, size, why="without a message") from None
    if not isinstance(text, str):
        raise unreadable(NAME, 200, size, why="without a text")
    usage = body.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    return ChatReply(
        text=text,
        finish=str(choice.get("finish_reason") or "stop"),
        refusal=str(refusal),
        model=str(body.get("model") or ""),
        request=request,
        tokens_in=_count(usage.get("prompt_tokens")),
        tokens_out=_count(usage.get("completion_tokens")),
    )


def read_vectors(body: Mapping[str, Any], count: int, *, size: int = 0) -> list[list[float]]:
    """Return the vectors of an embeddings answer, in the order of the ``count`` texts that were sent.

    Raises:
        ProviderFailed: they are not all there, or are no numbers.
    """
    try:
        found = {int(one["index"]): [float(value) for value in one["embedding"]] for one in body["data"]}
        return [found[index] for index in range(count)]
    except (KeyError, TypeError, ValueError):
        raise unreadable(NAME, 200, size, why=f"without {count} vectors") from None


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) and value > 0 else 0
