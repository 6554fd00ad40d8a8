"""``/chat/completions`` and ``/responses``: prompts in, answers of the responder out.

Belongs here: the two shapes. Streaming and tools are not simulated and are refused.
"""

from __future__ import annotations

import re
import time
import uuid
from typing import Any

from callpipeline_tests.simulators.openai_api.pricing import Computed, request_key
from callpipeline_tests.simulators.openai_api.responder import ChatAnswer, ChatRequest, Responder, ask
from callpipeline_tests.simulators.openai_api.tokens import (
    BYTES_PER_TOKEN,
    content_text,
    prompt_tokens,
    text_tokens,
)
from callpipeline_tests.simulators.server import Refusal

Json = dict[str, Any]
_MODEL = re.compile(r"^(gpt-|chatgpt-|o\d)")


def check_model(body: Json, pattern: re.Pattern[str]) -> str:
    """Return the model's name.

    Raises:
        Refusal: it is missing, or the API has no such model.
    """
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Refusal(400, "you must provide a model parameter", param="model")
    if not pattern.match(model):
        raise Refusal(
            404,
            f"The model `{model}` does not exist or you do not have access to it.",
            code="model_not_found",
        )
    return model


def _refuse_unsimulated(body: Json) -> None:
    for name in ("stream", "tools", "background"):
        if body.get(name):
            raise Refusal(
                400, f"The simulator does not do {name!r}", param=name, code="unsupported_parameter"
            )


def chat_completion(body: Json, responder: Responder) -> Computed:
    """Compute ``/chat/completions``.

    Raises:
        Refusal: the request is wrong.
    """
    _refuse_unsimulated(body)
    model = check_model(body, _MODEL)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refusal(400, "'messages' must be a list with at least one message", param="messages")
    wanted = (body.get("response_format") or {}).get("json_schema") or {}
    request = _request(model, messages, wanted, body)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    answer, used = _within(ask(responder, request), limit)
    asked = prompt_tokens(messages, request.schema)
    payload = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": answer.finish_reason,
                "logprobs": None,
                "message": {
                    "role": "assistant",
                    "content": None if answer.refusal else answer.text,
                    "refusal": answer.refusal,
                },
            }
        ],
        "usage": {
            "prompt_tokens": asked,
            "completion_tokens": used,
            "total_tokens": asked + used,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }
    return Computed(payload, request_key("chat", body), asked, used, asked + (limit or used))


def response(body: Json, responder: Responder) -> Computed:
    """Compute ``/responses``.

    Raises:
        Refusal: the request is wrong.
    """
    _refuse_unsimulated(body)
    model = check_model(body, _MODEL)
    given = body.get("input")
    messages: list[Json] = (
        [{"role": "user", "content": given}] if isinstance(given, str) else list(given or [])
    )
    if body.get("instructions"):
        messages.insert(0, {"role": "system", "content": body["instructions"]})
    if not messages:
        raise Refusal(400, "Missing required parameter: 'input'.", param="input")
    wanted = (body.get("text") or {}).get("format") or {}
    request = _request(model, messages, wanted, body)
    limit = body.get("max_output_tokens")
    answer, used = _within(ask(responder, request), limit)
    asked = prompt_tokens(messages, request.schema)
    cut = answer.finish_reason == "length"
    content = (
        {"type": "refusal", "refusal": answer.refusal}
        if answer.refusal
        else {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
    )
    payload = {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "error": None,
        "model": model,
        "output": [
            {
                "type": "message",
                "id": f"msg_{uuid.uuid4().hex}",
                "status": "incomplete" if cut else "completed",
                "role": "assistant",
                "content": [content],
            }
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": asked,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": used,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": asked + used,
        },
    }
    return Computed(payload, request_key("responses", body), asked, used, asked + (limit or used))


def _request(model: str, messages: list[Json], wanted: Json, body: Json) -> ChatRequest:
    if wanted and "schema" not in wanted and wanted.get("type") == "json_schema":
        raise Refusal(400, "Missing required parameter: 'schema'.", param="response_format")
    return ChatRequest(
        model=model,
        messages=tuple(
            {"role": message.get("role", "user"), "content": content_text(message.get("content"))}
            for message in messages
        ),
        schema=wanted.get("schema"),
        schema_name=wanted.get("name"),
        body=body,
    )


def _within(answer: ChatAnswer, limit: int | None) -> tuple[ChatAnswer, int]:
    """Return the answer, cut if it is longer than ``limit`` tokens, and the tokens it has."""
    used = text_tokens(answer.refusal or answer.text)
    if limit is None or used <= limit:
        return answer, used
    return ChatAnswer(answer.text[: limit * BYTES_PER_TOKEN], finish_reason="length"), limit
