"""How many tokens a text or a recording has, without a vocabulary and without the network.

The rule: a token is 4 bytes of UTF-8, rounded up; each chat message costs 4 more and each chat prompt 3; a
second of audio is 10 input tokens; an integer in an ``input`` list is one token already. The
usual rule of thumb for English text, and always the same for the same text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

BYTES_PER_TOKEN = 4
PER_MESSAGE = 4
PER_PROMPT = 3
PER_AUDIO_SECOND = 10


def text_tokens(text: str) -> int:
    """Return the tokens of a text."""
    return math.ceil(len(text.encode()) / BYTES_PER_TOKEN)


def audio_tokens(seconds: float) -> int:
    """Return the input tokens of so much audio."""
    return math.ceil(seconds * PER_AUDIO_SECOND)


def content_text(content: object) -> str:
    """Return the text of a message's content: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return ""


def prompt_tokens(messages: Iterable[Mapping[str, Any]], schema: object = None) -> int:
    """Return the tokens of a chat prompt; a JSON schema that must be kept counts too."""
    messages_cost = sum(
        PER_MESSAGE + text_tokens(content_text(message.get("content"))) for message in messages
    )
    return PER_PROMPT + messages_cost + (text_tokens(json.dumps(schema)) if schema else 0)
