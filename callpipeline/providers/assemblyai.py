"""AssemblyAI's pre-recorded API through its official SDK: upload, submit, fetch, find, cancel.

One request a method, no waiting and no retries: that is the gate's. What comes back is read from the answer's
JSON, not from the SDK's types: these are narrower than the API (they know four speech models), and what was
paid for must not be lost to that. What does not belong here: what an answer means for a recording.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from callpipeline.failures import (
    CallFailed,
    NetworkFailed,
    NotConfigured,
    NotFit,
    NotReached,
    ProviderFailed,
    SourceUnavailable,
)
from callpipeline.limits.answers import failure_of

if TYPE_CHECKING:
    import httpx
    from assemblyai import AsyncClient
    from assemblyai.types import ListTranscriptParameters, TranscriptRequest

NAME = "AssemblyAI"

_QUEUED, _COMPLETED, _ERROR = "queued", "completed", "error"
_STATUSES = (_QUEUED, "processing", _COMPLETED, _ERROR)
_DELETED = "http://deleted_by_user"
"""The audio URL of a transcript whose data was deleted; its status stays ``completed``."""

_PAGE, _PAGES = 100, 50
_CLOCKS_APART = 3600.0

_answered: ContextVar[httpx.Response | None] = ContextVar("answered", default=None)
"""The last answer that this task got: the SDK's exceptions keep only its status and one field of its body."""


class JobGone(CallFailed):
    """The provider does not know the job any more: it expired or was deleted. It must be sent again."""

    error_class = "job_gone"


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of a transcript.

    ``language`` as AssemblyAI writes it, ``None`` = detected. ``models`` in order of preference: the first that
    knows the language is used. ``multichannel``: each channel by itself, else ``speakers`` voices are told apart
    (``None``: as many as it hears). ``webhook``: whom to tell when the job has ended, as address, header and what
    the header holds.
    """

    language: str | None
    models: tuple[str, ...]
    multichannel: bool
    speakers: int | None
    webhook: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A transcript as it stands. ``answer`` is all that was answered, of a job that was fetched."""

    id: str
    status: str
    audio_url: str
    error: str | None = None
    answer: dict[str, Any] | None = None

    @property
    def waiting(self) -> bool:
        """Whether it stands in the provider's queue: nobody works on it yet."""
        return self.status == _QUEUED

    @property
    def completed(self) -> bool:
        """Whether there is a transcript."""
        return self.status == _COMPLETED

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in (_COMPLETED, _ERROR)


class AssemblyAI:
    """One account. All methods raise the classes of ``failures``.

    ``timeout``: seconds that a connection may stand still; the gate limits whole calls.
    """

    def __init__(self, key: str, base_url: str, *, timeout: float) -> None:
        """Keep what is needed to connect; nothing is sent.

        Raises:
            NotConfigured: the package is missing, or the key cannot be one.
        """
        if find_spec("assemblyai") is None:
            raise NotConfigured(
                "the package assemblyai is missing.", hint="Install it: pip install 'callpipeline[cloud]'."
            )
        if not key.strip() or not key.isascii():
            raise NotConfigured("ASSEMBLYAI_API_KEY holds no key.", hint="Copy the key from the dashboard.")
        self._key = key.strip()
        self._base_url = base_url
        self._timeout = timeout
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncClient] = WeakKeyDictionary()

    async def upload(self, path: Path) -> str:
        """Send a file, a piece at a time; return the URL under which the account may use it for two days.

        Raises:
            SourceUnavailable: the file cannot be read.
        """
        from assemblyai import AsyncTranscriber

        transcriber = AsyncTranscriber(client=self._client())
        try:
            answer = await self._answer(lambda: transcriber.upload_file(path))
        except OSError as error:
            raise SourceUnavailable(f"{path.name} cannot be read: {error.strerror or error}.") from error
        return _text(answer, "upload_url")

    async def submit(self, url: str, options: Options) -> Job:
        """Order the transcript of an uploaded file. This is what costs money."""
        from assemblyai.prerecorded.v2 import async_api

        request = _request(url, options)
        http = self._client().http_client
        return _job(await self._answer(lambda: async_api.create_transcript(http, request)))

    async def fetch(self, job_id: str) -> Job:
        """Return a job as it stands now.

        Raises:
            JobGone: the provider does not know it any more.
        """
        from assemblyai.prerecorded.v2 import async_api

        http = self._client().http_client
        job = _job(await self._answer(lambda: async_api.get_transcript(http, job_id), job_id))
        if job.audio_url == _DELETED:
            raise JobGone(f"{NAME}: the data of transcript {job_id} was deleted.")
        return job

    async def find(self, url: str, *, since: float | None = None) -> Job | None:
        """Look for the job of an uploaded file among the account's transcripts, newest first.

        ``since`` (seconds since 1970): when it was sent at the earliest; older ones are not looked through.
        """
        from assemblyai.types import ListTranscriptParameters

        page = ListTranscriptParameters(limit=_PAGE)
        for _ in range(_PAGES):
            listed = await self._list(page)
            items = listed.get("transcripts") or []
            for item in items:
                if item.get("audio_url") == url:
                    return _job(item)
            if not items or not _older(listed) or _before(items[-1], since):
                return None
            page.before_id = _text(items[-1], "id")
        return None

    async def cancel(self, job_id: str) -> None:
        """Delete a job; one that has not ended stops and is not charged.

        Raises:
            JobGone: the provider does not know it any more.
        """
        from assemblyai.prerecorded.v2 import async_api

        http = self._client().http_client
        await self._answer(lambda: async_api.delete_transcript(http, job_id), job_id)

    async def check(self) -> None:
        """Ask for one line of the list of transcripts, which is free: the key is accepted if this returns."""
        from assemblyai.types import ListTranscriptParameters

        await self._list(ListTranscriptParameters(limit=1))

    async def disconnect(self) -> None:
        """Close the connections of the running event loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    async def _list(self, page: ListTranscriptParameters) -> dict[str, Any]:
        from assemblyai.prerecorded.v2 import async_api

        http = self._client().http_client
        return await self._answer(lambda: async_api.list_transcripts(http, page))

    def _client(self) -> AsyncClient:
        """Return the client of the running event loop, to which its connections belong."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            import httpx
            from assemblyai import AsyncClient, Settings

            settings = Settings(api_key=self._key, base_url=self._base_url, http_timeout=self._timeout)
            try:
                client = AsyncClient(settings=settings)
            except httpx.InvalidURL:
                raise _no_address() from None
            client.http_client.event_hooks["response"].append(_note)
            self._clients[loop] = client
        return client

    async def _answer(self, call: Callable[[], Awaitable[object]], job_id: str = "") -> dict[str, Any]:
        """Make a request through the SDK and return the JSON object that was answered."""
        import httpx
        from assemblyai import AssemblyAIError

        _answered.set(None)
        try:
            await call()
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise _no_address() from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotReached(f"{NAME} cannot be reached: {str(error) or type(error).__name__}.") from error
        except httpx.HTTPError as error:
            raise NetworkFailed(f"{NAME}: {str(error) or type(error).__name__}.") from error
        except AssemblyAIError as error:
            raise _failure(_answered.get(), error, job_id) from None  # its text may have more of the answer
        except (ValueError, KeyError):
            pass  # the answer came, and does not look as the SDK expects: read it below
        response = _answered.get()
        try:
            answer = response.json() if response else None
        except ValueError:
            answer = None
        if response is None or not isinstance(answer, dict):
            raise _failure(response, None, job_id)
        return answer


def language_code(language: str) -> str | None:
    """Return a language as AssemblyAI writes it (``en``, ``en_us``), ``None`` = it shall be detected.

    Raises:
        NotFit: it is no language code. Each recording may have its own, so it is no matter of the set-up.
    """
    code = language.strip().lower().replace("-", "_")
    if code in ("", "auto", "und"):
        return None
    base = code.split("_")[0]
    if not (base.isalpha() and base.isascii() and 2 <= len(base) <= 3):
        raise NotFit(
            f"{language!r} is no language code.", hint="Give a two-letter code, such as en, or auto."
        )
    if code in _REGIONAL:
        return code
    return _OTHER_NAMES.get(code) or _OTHER_NAMES.get(base, base)


_REGIONAL = ("en_au", "en_uk", "en_us", "de_ch")
_OTHER_NAMES = {"en_gb": "en_uk", "jv": "jw", "nb": "no", "fil": "tl"}


async def _note(response: httpx.Response) -> None:
    _answered.set(response)


def _request(url: str, options: Options) -> TranscriptRequest:
    from assemblyai.types import TranscriptRequest

    address, header, secret = options.webhook or (None, None, None)
    return TranscriptRequest(
        audio_url=url,
        speech_models=list(options.models),
        language_code=options.language,
        language_detection=True if options.language is None else None,
        multichannel=True if options.multichannel else None,
        speaker_labels=None if options.multichannel else True,
        speakers_expected=None if options.multichannel else options.speakers,
        webhook_url=address,
        webhook_auth_header_name=header,
        webhook_auth_header_value=secret,
    )


def _failure(response: httpx.Response | None, error: Exception | None, job_id: str) -> CallFailed:
    if response is None:
        return failure_of(NAME, None, str(error or ""))
    unknown = response.status_code == 404 or (response.status_code == 400 and "id not found" in response.text)
    if job_id and unknown:
        return JobGone(f"{NAME} does not know transcript {job_id} any more.")
    return failure_of(NAME, response.status_code, response.content, response.headers)


def _no_address() -> NotConfigured:
    """Say so without the address, which may have a password in it where it cannot be told from the rest."""
    return NotConfigured(
        "ASSEMBLYAI_BASE_URL is no address.", hint="Set it to one such as https://api.assemblyai.com."
    )


def _job(answer: dict[str, Any]) -> Job:
    status = _text(answer, "status")
    if status not in _STATUSES:
        raise ProviderFailed(f"{NAME} answered a transcript with a status that nobody knows.")
    return Job(
        id=_text(answer, "id"),
        status=status,
        audio_url=str(answer.get("audio_url") or ""),
        error=answer.get("error"),
        answer=answer,
    )


def _text(answer: dict[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise ProviderFailed(f"{NAME} answered something that cannot be read: there is no {name} in it.")
    return value


def _older(listed: dict[str, Any]) -> bool:
    """Whether there are transcripts before those of this page. Their "previous" page is the older one."""
    return bool((listed.get("page_details") or {}).get("prev_url"))


def _before(item: dict[str, Any], since: float | None) -> bool:
    if since is None:
        return False
    try:
        created = datetime.fromisoformat(str(item.get("created")))
    except ValueError:
        return False
    return created.replace(tzinfo=created.tzinfo or UTC).timestamp() < since - _CLOCKS_APART
