"""Embeddings of names and texts, each bought once: for search by meaning, and for telling equal names apart.

What belongs here: the cache, packing texts into requests, and buying what is missing. What does not: the SDK
(``providers.openai``), limits and money (``limits``), and what vectors are compared for (``resolution``, ``search``).

The cache is ``store/embeddings.sqlite`` (or Postgres), by the hash of model and text. Vectors are kept in half
precision, which moves a cosine by less than a thousandth, and come back so rounded the first time too: the same texts
give the same graph whether they were paid now or before.
"""

# ruff: noqa: S608 - statements are put together from constants; every value is bound

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from callpipeline.failures import NotConfigured
from callpipeline.limits.database import open_database
from callpipeline.limits.gate import Answer, CallRequest
from callpipeline.limits.ledger import Claim, Reuse
from callpipeline.limits.ledger_rows import Order, Usage, idempotency_key, request_hash
from callpipeline.limits.refusals import Refusals
from callpipeline.limits.worker import Worker
from callpipeline.providers.openai import PROVIDER, OpenAI, server_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from callpipeline.limits.supplies import Supplies
    from callpipeline.settings import Settings

POOL = "openai_embeddings"
PURPOSE = "embeddings"
FILE = "embeddings.sqlite"

DIMENSIONS = 512
"""Of OpenAI's third generation, whose vectors may be cut: names and chunks need no more, and a third fits in memory."""

MOST_INPUTS = 1000
"""Texts in a request. OpenAI takes 2,048; answers half as long are read before anything else has to wait."""

MOST_TOKENS = 270_000
"""Tokens in a request. OpenAI takes 300,000; ours are estimates."""

LONGEST_TEXT = 24_000
"""Bytes of a text that are sent: OpenAI takes 8,192 tokens, and a token has three bytes or more."""

_BYTES_PER_TOKEN = 3.0
_SHARE_OF_MINUTE = 0.25
"""A request takes no more than this share of the tokens of a minute: one that takes all would wait for an empty one."""

_AT_ONCE = 300
"""Rows in one statement: old SQLite takes 999 values."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS embeddings (
    key TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    vector TEXT NOT NULL
)
"""


class Embedder:
    """Vectors of texts by the configured embedding model. Use one object a process, and close it.

    Texts leave this machine; they come from stored transcripts, in which what is to be masked is masked.
    """

    def __init__(
        self, settings: Settings, supplies: Callable[[], Supplies], *, deadline: float | None = None
    ) -> None:
        """Set it up, without asking anything. ``deadline``: when to stop making calls, by ``time.monotonic()``.

        Raises:
            NotConfigured: there is no key, or the package is missing.
        """
        if settings.openai_api_key is None:
            raise NotConfigured(
                "There is no API key of OpenAI.",
                hint="Set OPENAI_API_KEY (to any word for a server of your own that wants none).",
            )
        key = settings.openai_api_key.get_secret_value()
        self.model = settings.graph_embedding_model
        self.dimensions = DIMENSIONS if self.model.startswith("text-embedding-3") else None
        self._settings = settings
        self._supplies = supplies
        self._deadline = deadline
        self._provider = OpenAI(key, settings.openai_base_url, timeout=settings.call_timeout)
        self._server = server_of(settings.openai_base_url)
        self._refusals = Refusals()
        self._worker = Worker("embeddings")
        self._database = open_database(settings.postgres_url, settings.store / FILE, _SCHEMA)

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a vector of length 1 for each text, as rows in their order; only new texts are sent.

        A text without a word gets zeros, which are like nothing.

        Raises:
            NotConfigured: the model has no price, or is not served.
            BudgetExceeded, DeadlineExceeded: see ``Gate.call``.
            CallFailed: the provider's last failure; what else was bought is kept.
        """
        keys = [self._key(text) if text.strip() else None for text in texts]
        wanted = {key: text for key, text in zip(keys, texts, strict=True) if key is not None}
        known = await self._worker.do(self._read, list(wanted))
        missing = {key: text for key, text in wanted.items() if key not in known}
        packs = asyncio.gather(*(self._bought(pack) for pack in self._packs(missing)), return_exceptions=True)
        for found in await packs:
            if isinstance(found, BaseException):
                raise found
            known |= found
        return _matrix([None if key is None else known[key] for key in keys])

    def missing(self, texts: Sequence[str]) -> tuple[int, float]:
        """Return how many of these texts would be sent, and for how many dollars at most. Blocks for a moment.

        Raises:
            NotConfigured: the model has no price.
        """
        wanted = {self._key(text): text for text in texts if text.strip()}
        known = self._read(list(wanted))
        tokens = sum(_tokens(text) for key, text in wanted.items() if key not in known)
        return len(wanted) - len(known), self._cost(tokens)

    async def disconnect(self) -> None:
        """Close connections of the running event loop."""
        await self._provider.disconnect()

    def close(self) -> None:
        """End the cache's thread and close its database."""
        self._worker.close()
        self._database.close()

    # --- buying -------------------------------------------------------------------------------------------

    def _packs(self, missing: Mapping[str, str]) -> Iterator[dict[str, str]]:
        """Split texts into requests, which are the same for the same texts."""
        per_minute = self._settings.openai_embeddings_tokens_per_minute
        most = MOST_TOKENS if per_minute is None else min(MOST_TOKENS, per_minute * _SHARE_OF_MINUTE)
        pack: dict[str, str] = {}
        tokens = 0
        for key, text in sorted(missing.items()):
            count = _tokens(text)
            if pack and (len(pack) >= MOST_INPUTS or tokens + count > most):
                yield pack
                pack, tokens = {}, 0
            pack[key] = text
            tokens += count
        if pack:
            yield pack

    async def _bought(self, pack: Mapping[str, str]) -> dict[str, str]:
        """Return the vectors of a pack; whoever asked for the same one meanwhile has bought it for us."""
        of = request_hash(purpose=PURPOSE, provider=PROVIDER, server=self._server, texts=list(pack))
        order = Order(of, PROVIDER, POOL, self.model, purpose=PURPOSE)
        for again in (False, True):
            async with self._supplies().ledger.claim(order, force_paid=again) as claim:
                known = await self._worker.do(self._read, list(pack))
                if len(known) == len(pack):
                    return known
                if not isinstance(claim.decision, Reuse):
                    return await self._buy(claim, pack)
        raise AssertionError("what is bought anew is never reused")

    async def _buy(self, claim: Claim, pack: Mapping[str, str]) -> dict[str, str]:
        tokens = sum(map(_tokens, pack.values()))
        of = claim.order.request_hash
        request = CallRequest(
            request_hash=of,
            name=f"{len(pack)} texts",
            purpose=PURPOSE,
            model=self.model,
            tokens_estimate=tokens,
            cost_estimate=self._cost(tokens),
            one_shot=True,
            timeout=self._settings.call_timeout,
            deadline=self._deadline,
        )
        texts = [_cut(text) for text in pack.values()]

        async def send() -> Answer[list[list[float]]]:
            self._refusals.check()
            await claim.sending()
            try:
                with self._refusals.noted():
                    return await self._provider.embed(
                        self.model, texts, dimensions=self.dimensions, idempotency_key=idempotency_key(of)
                    )
            except BaseException as error:  # the gate's time-out is a cancellation
                await claim.not_answered(error)
                raise

        answer = await self._supplies().gate.call(PROVIDER, POOL, request, send)
        # It is paid: the cache first, for it is where the vectors are looked for.
        found = await self._worker.surely(self._keep, list(pack), answer.value)
        used = round(tokens if answer.tokens is None else answer.tokens)
        await claim.finish({"texts": len(pack)}, Usage(tokens_in=used, cost=self._cost(used)))
        return found

    def _cost(self, tokens: int) -> float:
        return self._supplies().prices.cost(PROVIDER, self.model, tokens_in=tokens)

    # --- the cache ----------------------------------------------------------------------------------------

    def _key(self, text: str) -> str:
        whose = f"{self._server} {self.model} {self.dimensions or ''}"
        return hashlib.sha256(f"{whose}\n{_cut(text)}".encode("utf-8", "replace")).hexdigest()

    def _read(self, keys: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for first in range(0, len(keys), _AT_ONCE):
            some = keys[first : first + _AT_ONCE]
            with self._database.reading() as session:
                rows = session.execute(
                    f"SELECT key, vector FROM embeddings WHERE key IN ({', '.join('?' * len(some))})", some
                )
            found.update(rows)
        return found

    def _keep(self, keys: Sequence[str], vectors: Sequence[Sequence[float]]) -> dict[str, str]:
        found = dict(zip(keys, map(_written, vectors), strict=True))
        rows = list(found.items())
        with self._database.changing("embeddings") as session:
            for first in range(0, len(rows), _AT_ONCE):
                some = rows[first : first + _AT_ONCE]
                session.execute(
                    f"INSERT INTO embeddings VALUES {', '.join(['(?, ?, ?)'] * len(some))}"
                    " ON CONFLICT (key) DO NOTHING",
                    [value for key, vector in some for value in (key, self.model, vector)],
                )
        return found


def _cut(text: str) -> str:
    """Return what is sent of a text: the longest that is taken, whole characters."""
    return text.encode("utf-8", "replace")[:LONGEST_TEXT].decode("utf-8", "ignore")


def _tokens(text: str) -> int:
    """Estimate the tokens of a text, rather too high."""
    return 1 + math.ceil(min(len(text.encode("utf-8", "replace")), LONGEST_TEXT) / _BYTES_PER_TOKEN)


def _written(vector: Sequence[float]) -> str:
    import numpy as np

    numbers = np.asarray(vector, dtype=np.float64)
    length = float(np.linalg.norm(numbers)) or 1.0
    return base64.b64encode((numbers / length).astype("<f2").tobytes()).decode()


def _matrix(vectors: Sequence[str | None]) -> NDArray[np.float32]:
    import numpy as np

    rows: list[Any] = [
        None if vector is None else np.frombuffer(base64.b64decode(vector), dtype="<f2").astype(np.float32)
        for vector in vectors
    ]
    width = max((len(row) for row in rows if row is not None), default=0)
    matrix = np.stack([np.zeros(width, np.float32) if row is None else row for row in rows] or [np.zeros(0)])
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (matrix / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
    return unit[: len(vectors)]
