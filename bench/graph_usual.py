"""The usual way to send many requests: the idea of the script for parallel requests in OpenAI's public cookbook.

Written anew, plainly: capacity for requests and tokens that fills up evenly, taken from before a request is sent by
what it may cost at most; whatever fails is put back into the queue, five times at most; after a 429 everything pauses
for 15 seconds. Nothing is corrected by the usage that comes back, and nothing is kept of what was paid.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

_ATTEMPTS = 5
_PAUSE = 15.0
_BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Account:
    """Where to send, and what may be sent in ``window`` seconds."""

    url: str
    key: str
    requests: int
    tokens: int
    window: float


@dataclass
class Outcome:
    """What came of it. ``chunks``: those that were answered; ``lost``: those whose tries were used up."""

    chunks: int = 0
    lost: int = 0
    refused: int = 0
    seconds: float = 0.0
    sent: int = 0


@dataclass
class _Waiting:
    body: Json
    chunks: int
    tokens: int
    attempts: int = _ATTEMPTS


@dataclass
class _State:
    queue: deque[_Waiting]
    outcome: Outcome = field(default_factory=Outcome)
    in_flight: int = 0
    refused_at: float = float("-inf")


def bodies(common: Json, texts: Sequence[str], each: int, most: int) -> list[tuple[Json, int]]:
    """Return requests about ``each`` texts, with how many: the common body's first message, then the blocks."""
    found = []
    for first in range(0, len(texts), each):
        some = texts[first : first + each]
        blocks = "\n\n".join(f"### {number}\n{text}" for number, text in enumerate(some, 1))
        messages = [common["messages"][0], {"role": "user", "content": blocks}]
        body = {**common, "messages": messages, "max_completion_tokens": most * len(some)}
        found.append((body, len(some)))
    return found


async def work_off(account: Account, requests: Sequence[tuple[Json, int]]) -> Outcome:
    """Send all of them, and return what came of it."""
    import openai

    state = _State(deque(_Waiting(body, chunks, _cost(body)) for body, chunks in requests))
    client = openai.AsyncOpenAI(api_key=account.key, base_url=account.url, max_retries=0, timeout=600)
    async with client, asyncio.TaskGroup() as group:
        await client.models.retrieve("gpt-5.4")  # connects, and imports what the SDK leaves for later
        begun = updated = time.monotonic()
        free_requests, free_tokens = float(account.requests), float(account.tokens)
        while state.queue or state.in_flight:
            now = time.monotonic()
            passed, updated = (now - updated) / account.window, now
            free_requests = min(account.requests, free_requests + account.requests * passed)
            free_tokens = min(account.tokens, free_tokens + account.tokens * passed)
            if state.queue and free_requests >= 1 and free_tokens >= state.queue[0].tokens:
                one = state.queue.popleft()
                free_requests -= 1
                free_tokens -= one.tokens
                state.in_flight += 1
                group.create_task(_send(client, one, state))
            pause = state.refused_at + _PAUSE * account.window / 60 - now
            await asyncio.sleep(pause if pause > 0 else 0.001)
        state.outcome.seconds = time.monotonic() - begun
    return state.outcome


async def _send(client: Any, one: _Waiting, state: _State) -> None:
    import openai

    state.outcome.sent += 1
    try:
        answer = await client.chat.completions.create(**one.body)
        json.loads(answer.choices[0].message.content)
    except (openai.OpenAIError, ValueError) as error:
        if isinstance(error, openai.RateLimitError):
            state.refused_at = time.monotonic()
            state.outcome.refused += 1
        one.attempts -= 1
        if one.attempts:
            state.queue.append(one)
        else:
            state.outcome.lost += one.chunks
    else:
        state.outcome.chunks += one.chunks
    finally:
        state.in_flight -= 1


def _cost(body: Json) -> int:
    """Return the tokens of the prompt, and the most of the answer, as the script counts them."""
    texts = [message["content"] for message in body["messages"]]
    prompt = sum(len(text.encode()) for text in texts) + len(json.dumps(body["response_format"]))
    return prompt // _BYTES_PER_TOKEN + int(body["max_completion_tokens"])
