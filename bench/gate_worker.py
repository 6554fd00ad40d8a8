"""One process of the gate's bench: fifty tasks that send chats, through the gate or in one of two other ways.

Belongs here: what happens inside such a process. Does not: which phases there are and what they show
(``gate``).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import openai

from callpipeline.failures import RateLimited
from callpipeline.limits.answers import failure_of
from callpipeline.limits.gate import Answer, CallRequest, Gate
from callpipeline.limits.rates import RateLimit, open_rates
from callpipeline.limits.retry import RetryPolicy
from callpipeline.limits.supplies import Supplies, open_supplies
from callpipeline.settings import Settings

POOL = "openai_chat"
MODEL = "gpt-5.4-mini"
_TASKS = 50
_BYTES_PER_TOKEN, _AROUND = 4, 7
"""The simulator's rule for prompts of one message; nobody's real tokenizer."""


@dataclass(frozen=True)
class Place:
    """Where a process works: its store, the account's limits, and how long a minute is."""

    number: int
    of: int
    store: Path
    postgres_url: str | None
    slots: int
    requests: int
    tokens: int
    window: float


@dataclass(frozen=True)
class Phase:
    """What to do from ``start`` to ``end``; figures are for ``measured`` to ``end`` (``time.monotonic``).

    ``way``: ``gate``; ``usual`` = a semaphore, and a pause after each 429; ``bare`` = the SDK alone, at
    ``rate`` calls a second of all processes together. ``prompts``: least and most tokens of a prompt;
    ``answer``: most tokens of an answer, of which the simulator gives about 100.
    """

    way: str
    url: str
    key: str
    prompts: tuple[int, int]
    answer: int
    start: float
    measured: float
    end: float
    rate: float = 0.0
    pause: float = 0.0


@dataclass
class Report:
    """What one process did: requests sent and CPU seconds while it was measured, failures all the time."""

    sent: int = 0
    cpu: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)


class _Way(Protocol):
    async def __call__(self, tokens: int, send: Callable[[], Awaitable[Answer[str]]]) -> object: ...


def work(connection: Connection, place: Place) -> None:
    """Say ``ready``; then answer each phase with a report, until ``None`` comes."""
    supplies = _supplies(place)
    with supplies, asyncio.Runner() as runner:
        connection.send("ready")
        while (phase := connection.recv()) is not None:
            connection.send(runner.run(_Work(place, phase, supplies.gate).done()))


def _supplies(place: Place) -> Supplies:
    """Open the limits as a run would; where a minute is shorter, with rates for such minutes."""
    settings = Settings(
        store_dir=place.store,
        postgres_url=place.postgres_url,
        openai_chat_slots=place.slots,
        openai_chat_requests_per_minute=place.requests,
        openai_chat_tokens_per_minute=place.tokens,
    )
    policy = RetryPolicy().scaled(place.window / 60)
    supplies = open_supplies(settings, run="bench", policy=policy)
    if place.window == 60:
        return supplies
    limit = RateLimit(place.requests, place.tokens, place.window, settings.rate_share)
    rates = open_rates(settings.store, settings.postgres_url, lambda _: limit)
    gate = Gate(supplies.slots, rates, costs=supplies.costs, policy=policy)
    return replace(supplies, rates=rates, gate=gate)


class _Work:
    """One phase of one process."""

    def __init__(self, place: Place, phase: Phase, gate: Gate) -> None:
        self._place, self._phase, self._gate = place, phase, gate
        self._report = Report()
        self._random = random.Random(place.number)
        self._numbers = count()
        self._allowed = asyncio.Semaphore(place.slots // place.of)

    async def done(self) -> Report:
        """Work until the end of the phase; what is not done by then is cancelled."""
        phase = self._phase
        client = openai.AsyncOpenAI(api_key=phase.key, base_url=phase.url, max_retries=0, timeout=120)
        async with client:
            await client.models.retrieve(MODEL)  # connects; a run has done so before its first chat
            client.chat.completions.with_raw_response  # noqa: B018 - imports what the SDK leaves for later
            tasks = self._tasks(client)
            await _until(phase.measured)
            cpu = time.process_time()
            await _until(phase.end)
            self._report.cpu = time.process_time() - cpu
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if not isinstance(ended, asyncio.CancelledError | None):
                    raise ended
        return self._report

    def _tasks(self, client: openai.AsyncOpenAI) -> list[asyncio.Task[None]]:
        if self._phase.way == "bare":
            return [asyncio.create_task(self._paced(client))]
        way: _Way = self._through_the_gate if self._phase.way == "gate" else self._the_usual_way
        return [asyncio.create_task(self._again_and_again(client, way)) for _ in range(_TASKS)]

    async def _again_and_again(self, client: openai.AsyncOpenAI, way: _Way) -> None:
        await _until(self._phase.start)
        while True:
            await self._one(client, way)

    async def _paced(self, client: openai.AsyncOpenAI) -> None:
        """Start a call whenever it is this process's turn."""

        async def at_once(tokens: int, send: Callable[[], Awaitable[Answer[str]]]) -> object:
            return await send()

        async with asyncio.TaskGroup() as group:
            for number in count():
                turn = number + self._place.number / self._place.of
                await _until(self._phase.start + turn * self._place.of / self._phase.rate)
                group.create_task(self._one(client, at_once))

    async def _one(self, client: openai.AsyncOpenAI, way: _Way) -> None:
        tokens = self._random.randint(*self._phase.prompts)
        size = (tokens - _AROUND) * _BYTES_PER_TOKEN
        about = f"{self._phase.way} {self._place.number} {next(self._numbers)} "
        prompt = (about + "words " * (size // 6 + 1))[:size]
        with suppress(RateLimited):  # it had all its tries
            await way(tokens + self._phase.answer, lambda: self._send(client, prompt))

    async def _through_the_gate(self, tokens: int, send: Callable[[], Awaitable[Answer[str]]]) -> object:
        request = CallRequest(purpose="bench", model=MODEL, tokens_estimate=tokens)
        return await self._gate.call("openai", POOL, request, send)

    async def _the_usual_way(self, tokens: int, send: Callable[[], Awaitable[Answer[str]]]) -> object:
        async with self._allowed:
            while True:
                try:
                    return await send()
                except RateLimited:
                    await asyncio.sleep(self._phase.pause)

    async def _send(self, client: openai.AsyncOpenAI, prompt: str) -> Answer[str]:
        if time.monotonic() >= self._phase.measured:
            self._report.sent += 1
        try:
            raw = await client.chat.completions.with_raw_response.create(
                model=MODEL,
                messages=[{"role": "user", "content": prompt}],
                max_completion_tokens=self._phase.answer,
            )
        except openai.APIStatusError as error:
            self._report.failures[str(error.status_code)] += 1
            raise failure_of(
                "openai", error.status_code, error.response.text, error.response.headers
            ) from error
        except openai.APIConnectionError as error:
            self._report.failures[type(error).__name__] += 1
            raise failure_of("openai", None, str(error)) from error
        done: Any = raw.parse()
        return Answer(done.choices[0].message.content, done.usage.total_tokens, raw.headers)


async def _until(moment: float) -> None:
    await asyncio.sleep(moment - time.monotonic())
