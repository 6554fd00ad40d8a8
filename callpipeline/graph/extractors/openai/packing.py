"""Which chunks go into one request, how many tokens it takes, and how long its answer may be.

What belongs here: estimates, corrected by the usage that comes back, and filling requests by tokens and by count. What
does not: composing them (``batches``), when they go (``desk``).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from callpipeline.graph.extractors.openai.batches import Block
from callpipeline.providers.openai_language import ChatReply

BYTES_PER_TOKEN = 4.0
"""Of English; other languages, and other models, are found out by the first answer."""

MOST_PROMPT_TOKENS = 12_000
"""Of the blocks in one request. Longer ones are answered no better, and one failure costs more."""

_SHARE_OF_A_MINUTE = 0.125
"""Of a small account's tokens a minute, that the blocks of one request may take: its answer is about as long."""

MOST_OUTPUT_TOKENS = 16_000
"""The longest answer that is ever allowed; the models allow more."""

_FIRST_OUTPUT = 500.0
"""Tokens of an answer for each chunk, as long as nothing is known; and of its spread."""
_FIRST_SPREAD = 200.0
_LEAST_OUTPUT = 400
_PER_BLOCK = 6
_FIRST_MARGIN, _MARGIN = 1.15, 1.02
_LEARN = 0.1
_SPREAD = 0.3
"""Of one chunk's answer, as a share of it, after the first."""
_CUT_OFF = 1.3
"""How much longer an answer that was cut off would have been, at a guess."""
_SPREADS = 2.5
"""An answer may be so many spreads longer than the mean. One that is cut off still counts as far as it goes, and what is
reserved from the limits in vain is lost to others: 2.5 cuts off about one in a hundred."""


@dataclass
class Meter:
    """What requests to one model take, learnt from the usage that it reports."""

    fixed_bytes: int
    """Of the parts that are the same in all requests."""
    _ratio: float = 1.0
    _output: float = _FIRST_OUTPUT
    _variance: float = _FIRST_SPREAD**2
    _seen: int = 0

    def prompt(self, blocks: Sequence[Block]) -> int:
        """Estimate the tokens that a request with these blocks counts, rather too high."""
        margin = _MARGIN if self._seen else _FIRST_MARGIN
        return math.ceil(self._plain(sum(map(size_of, blocks))) * self._ratio * margin)

    def most_output(self, chunks: int, *, scale: float = 1.0) -> int:
        """Return how long an answer about so many chunks may be."""
        expected = self._output * chunks + _SPREADS * math.sqrt(self._variance * chunks)
        return min(MOST_OUTPUT_TOKENS, max(_LEAST_OUTPUT, math.ceil(expected * scale)))

    def expected_output(self, chunks: int) -> int:
        """Return how long an answer about so many chunks is, most likely."""
        return math.ceil(self._output * chunks)

    def learn(self, size: int, chunks: int, reply: ChatReply) -> None:
        """Correct the estimates by an answer. ``size``: bytes of the blocks, as of ``size_of``."""
        if reply.tokens_in <= 0:
            return
        weight = 1.0 if self._seen == 0 else max(_LEARN, 1.0 / (self._seen + 1))
        self._ratio += weight * (reply.tokens_in / self._plain(size) - self._ratio)
        if reply.tokens_out > 0 and not reply.refusal:
            each = reply.tokens_out / chunks * (_CUT_OFF if reply.truncated else 1.0)
            # Of a sum over chunks the spread is that of one chunk times the root of their number.
            spread = (each - self._output) ** 2 * chunks if self._seen else (each * _SPREAD) ** 2
            self._variance += weight * (spread - self._variance)
            self._output += weight * (each - self._output)
        self._seen += 1

    def _plain(self, size: int) -> float:
        return (self.fixed_bytes + size) / BYTES_PER_TOKEN


def most_prompt_tokens(per_minute: float | None) -> int:
    """Return how many tokens of blocks go into one request, where a pool has so many a minute."""
    return (
        MOST_PROMPT_TOKENS
        if per_minute is None
        else min(MOST_PROMPT_TOKENS, int(per_minute * _SHARE_OF_A_MINUTE))
    )


def size_of(block: Block) -> int:
    """Return the bytes that a block adds to a request."""
    return len(block.spoken.encode()) + _PER_BLOCK


@dataclass
class Heap:
    """Blocks that wait to be sent: recordings in the order of their coming, of each those with most to find first.

    Were the richest of all recordings first, those that are walked at once would all end together, and nothing would
    wait to be sent while the next ones are made ready.
    """

    most_blocks: int
    most_tokens: int = MOST_PROMPT_TOKENS
    _heap: list[tuple[int, float, int, Block]] = field(default_factory=list)
    _order: count[int] = field(default_factory=count)
    _turns: dict[str, int] = field(default_factory=dict)
    _tokens: float = 0.0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def full(self) -> bool:
        """Whether there is enough for a full request."""
        return len(self._heap) >= self.most_blocks or self._tokens >= self.most_tokens

    def add(self, block: Block, priority: float) -> None:
        """Let a block wait."""
        number = next(self._order)
        turn = self._turns.setdefault(block.recording, number)
        heapq.heappush(self._heap, (turn, -priority, number, block))
        self._tokens += size_of(block) / BYTES_PER_TOKEN

    def take(self) -> list[Block]:
        """Take the blocks of the next request: never none, as long as some wait."""
        taken: list[Block] = []
        tokens = 0.0
        while self._heap and len(taken) < self.most_blocks:
            size = size_of(self._heap[0][3]) / BYTES_PER_TOKEN
            if taken and tokens + size > self.most_tokens:
                break
            taken.append(heapq.heappop(self._heap)[3])
            tokens += size
        self._tokens = max(0.0, self._tokens - tokens) if self._heap else 0.0
        return taken
