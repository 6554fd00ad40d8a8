"""OpenAI, or any server that speaks its API: transcriptions, chats and embeddings through the official SDK.

What belongs here: sending one request, reading its answer, naming its failure. What does not: limits, what a
call costs, what becomes of the answer, and the shapes of chats (``openai_language``).

The SDK's own retries are off. Answers are read from the raw body: the SDK hands out an HTML page that came with
status 200 as if it were the text, and half an object as if the missing half were ``None``.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from callpipeline.failures import (
    BadRequest,
    CallPipelineError,
    NetworkFailed,
    NotConfigured,
    NotReached,
    ProviderFailed,
)
from callpipeline.limits.answers import failure_of, unreadable
from callpipeline.limits.gate import Answer
from callpipeline.providers.openai_language import (
    LESS_STRICT,
    ChatReply,
    ChatRequest,
    StructuredOutput,
    read_chat,
    read_vectors,
    refuses_format,
    with_output,
)

if TYPE_CHECKING:
    from openai import APIConnectionError, APIStatusError, AsyncOpenAI, OpenAIError

log = logging.getLogger(__name__)

PROVIDER = "openai"
NAME = "OpenAI"
OPENAI = "api.openai.com"
LARGEST_FILE = 24_000_000
"""Bytes of audio in one request. OpenAI takes 25 MiB; a server in between may count in thousands and count the
form in."""

ResponseFormat = Literal["json", "verbose_json", "diarized_json"]

_CONNECT_SECONDS = 15.0
_CHECK_SECONDS = 30.0
_TRANSCRIBE_MODEL = "CALLPIPELINE_OPENAI_TRANSCRIBE_MODEL"


@dataclass(frozen=True, slots=True)
class AudioRequest:
    """What is asked about a piece of audio.

    ``file_name`` tells the container by its extension; it need not be the name on this machine. ``word_times``
    needs ``verbose_json``, ``logprobs`` needs ``json``, ``chunked`` lets the provider cut at silences.
    ``prompt``: what was said before; models read its last 224 tokens, diarizing ones take none. ``idempotency_key``
    is sent along; OpenAI does not heed it, servers in between may.
    """

    model: str
    format: ResponseFormat
    file_name: str
    language: str = ""
    word_times: bool = False
    logprobs: bool = False
    chunked: bool = False
    prompt: str = ""
    idempotency_key: str = ""


class OpenAI:
    """One account. Use it from any event loop; each has its own connections, closed by ``disconnect``."""

    def __init__(self, key: str, base_url: str, *, timeout: float) -> None:
        """Set it up, without asking anything.

        Args:
            key: The account's key. A server of one's own takes any word, as a rule.
            base_url: Where it answers, with the version: ``https://api.openai.com/v1``.
            timeout: Seconds without a byte after which a request is given up.

        Raises:
            NotConfigured: The package ``openai`` is missing, or the key cannot be one.
        """
        if find_spec("openai") is None:
            raise NotConfigured(
                "The package openai is missing.", hint="Install it: pip install 'callpipeline[cloud]'."
            )
        self._key = key.strip()
        if not self._key or not self._key.isascii() or not self._key.isprintable():
            raise NotConfigured(
                "OPENAI_API_KEY is empty or holds characters that no key has.", hint="Copy the key again."
            )
        self._base_url = base_url.strip()
        self._timeout = timeout
        self._output: StructuredOutput = "json_schema"
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncOpenAI] = WeakKeyDictionary()

    async def transcribe(self, path: Path, request: AudioRequest) -> Answer[dict[str, Any]]:
        """Return what the model heard in a file, as the provider writes it, with its headers and its tokens.

        The answer has a ``text``; what else depends on the format. One request, which is paid when it succeeds.

        Raises:
            CallPipelineError: see ``failure``; ``CorruptChunk`` when the audio cannot be read.
        """
        from openai import OpenAIError, omit

        try:
            with path.open("rb") as file:
                response = await self._client().audio.transcriptions.with_raw_response.create(
                    file=(request.file_name, file),
                    model=request.model,
                    response_format=request.format,
                    language=request.language or omit,
                    prompt=request.prompt or omit,
                    timestamp_granularities=["word", "segment"] if request.word_times else omit,
                    include=["logprobs"] if request.logprobs else omit,
                    chunking_strategy="auto" if request.chunked else omit,
                    extra_headers=_idempotent(request.idempotency_key),
                )
        except OpenAIError as error:
            raise failure(error) from error
        body = read_object(response.content, response.headers)
        if not isinstance(body.get("text"), str):
            size = len(response.content)
            raise unreadable(NAME, response.status_code, size, response.headers, why="without a text")
        return Answer(body, tokens_of(body), dict(response.headers))

    async def chat(self, request: ChatRequest) -> Answer[ChatReply]:
        """Return what a model says, also when that was cut off or refused: it is paid then too.

        A server that cannot keep an answer to a JSON schema is asked for a JSON object, or for text; that is found out
        and said once.

        Raises:
            CallPipelineError: see ``failure``.
        """
        while True:
            output = self._output
            try:
                return await self._chat(request, output)
            except BadRequest as error:
                if output not in LESS_STRICT or not refuses_format(str(error)):
                    raise
                if self._output == output:
                    self._output = LESS_STRICT[output]
                    log.warning("%s knows no answers of the form %s: %s is used", NAME, output, self._output)

    async def _chat(self, request: ChatRequest, output: StructuredOutput) -> Answer[ChatReply]:
        from openai import OpenAIError

        try:
            response = await self._client().chat.completions.with_raw_response.create(
                **with_output(request.body, output), extra_headers=_idempotent(request.idempotency_key)
            )
        except OpenAIError as error:
            raise failure(error, setting=request.setting) from error
        body = read_object(response.content, response.headers)
        named = response.headers.get("x-request-id") or ""
        reply = read_chat(body, size=len(response.content), request=named)
        return Answer(reply, tokens_of(body), dict(response.headers))

    async def embed(
        self, model: str, texts: Sequence[str], *, dimensions: int | None = None, idempotency_key: str = ""
    ) -> Answer[list[list[float]]]:
        """Return a vector for each text, in their order; of ``dimensions`` numbers where the model can be told.

        Raises:
            CallPipelineError: see ``failure``.
        """
        from openai import OpenAIError, omit

        try:
            response = await self._client().embeddings.with_raw_response.create(
                model=model,
                input=list(texts),
                encoding_format="float",
                dimensions=dimensions or omit,
                extra_headers=_idempotent(idempotency_key),
            )
        except OpenAIError as error:
            raise failure(error, setting="CALLPIPELINE_GRAPH_EMBEDDING_MODEL") from error
        body = read_object(response.content, response.headers)
        vectors = read_vectors(body, len(texts), size=len(response.content))
        return Answer(vectors, tokens_of(body), dict(response.headers))

    async def check(self, model: str, *, setting: str = _TRANSCRIBE_MODEL) -> bool:
        """Ask, for nothing, whether the key is accepted and ``model``, which ``setting`` names, is served.

        Returns:
            False where the server does not say: it has no list of models (some servers of one's own), or the key
            may not read it.

        Raises:
            AuthenticationFailed: the key is refused.
            NotConfigured: the model is not served, or the address is none.
            CallFailed: no answer, or none that can be read.
        """
        from openai import OpenAIError

        try:
            response = await self._client().models.with_raw_response.retrieve(model, timeout=_CHECK_SECONDS)
        except OpenAIError as error:
            if _no_list(error):
                return False
            raise failure(error, setting=setting) from error
        read_object(response.content, response.headers)
        return True

    async def disconnect(self) -> None:
        """Close the connections of the running event loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    def _client(self) -> AsyncOpenAI:
        import httpx2
        from openai import AsyncOpenAI, Timeout

        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            try:
                self._clients[loop] = AsyncOpenAI(
                    api_key=self._key,
                    base_url=self._base_url,
                    timeout=Timeout(self._timeout, connect=min(_CONNECT_SECONDS, self._timeout)),
                    max_retries=0,
                )
            except httpx2.InvalidURL:
                raise _no_address() from None
        return self._clients[loop]


def server_of(base_url: str) -> str:
    """Say whose models an address has: a server of one's own may call anything ``whisper-1``. Empty for OpenAI."""
    server = urlsplit(base_url).netloc.rpartition("@")[2]
    return "" if server == OPENAI or server.endswith(f".{OPENAI}") else server


# --- answers ----------------------------------------------------------------------------------------------


def read_object(body: bytes, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the JSON object of an answer with status 200.

    Raises:
        ProviderFailed: it is none: an HTML page, or cut off. The message has not a word of it.
    """
    try:
        value = json.loads(body)
    except ValueError:
        raise unreadable(NAME, 200, len(body), headers, why="no whole JSON") from None
    if not isinstance(value, dict):
        raise unreadable(NAME, 200, len(body), headers, why="no JSON object")
    return value


def tokens_of(body: Mapping[str, Any]) -> float | None:
    """Return the tokens that count against the rate limit, where the answer tells them."""
    usage = body.get("usage")
    total = usage.get("total_tokens") if isinstance(usage, Mapping) else None
    return float(total) if isinstance(total, int | float) else None


# --- failures ---------------------------------------------------------------------------------------------

_NO_MODEL = "model_not_found"


def failure(error: Exception, *, setting: str = _TRANSCRIBE_MODEL) -> CallPipelineError:
    """Say in our failures what an exception of the SDK means. ``setting`` is the variable that names the model."""
    from openai import APIConnectionError, APIResponseValidationError, APIStatusError

    if isinstance(error, CallPipelineError):
        return error
    if isinstance(error, APIStatusError):
        return _refusal(error, setting)
    if isinstance(error, APIConnectionError):
        return _connection_failure(error)
    if isinstance(error, APIResponseValidationError):
        answer = error.response
        return failure_of(NAME, answer.status_code, answer.content, answer.headers)
    return ProviderFailed(f"{NAME}: {error}.")


def _no_list(error: OpenAIError) -> bool:
    """Tell a server without a list of models, or a key that may not read it, from a refusal.

    OpenAI names the permission that a restricted key lacks: "Missing scopes: api.model.read".
    """
    from openai import NotFoundError, PermissionDeniedError

    if isinstance(error, PermissionDeniedError):
        return "scope" in str(error)
    return isinstance(error, NotFoundError) and error.code != _NO_MODEL


def _refusal(error: APIStatusError, setting: str) -> CallPipelineError:
    body = error.body if isinstance(error.body, str | Mapping) else error.response.content
    if error.code == _NO_MODEL:
        return NotConfigured(
            str(failure_of(NAME, error.status_code, body)),
            hint=f"Name a model that the account has in {setting}.",
        )
    return failure_of(NAME, error.status_code, body, error.response.headers)


def _connection_failure(error: APIConnectionError) -> CallPipelineError:
    import httpx2

    cause = error.__cause__
    where = f"{error.request.url.scheme}://{error.request.url.netloc.decode()}"
    said = f"{NAME} at {where}: {str(cause or error) or type(cause).__name__}."
    if isinstance(cause, httpx2.UnsupportedProtocol):
        return _no_address()
    if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return NotReached(said)
    return NetworkFailed(said)


def _no_address() -> NotConfigured:
    """Say so without the address, which may have a password in it where it cannot be told from the rest."""
    return NotConfigured(
        "OPENAI_BASE_URL is no address.", hint="Set it to one such as https://api.openai.com/v1."
    )


def _idempotent(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key} if key else {}
