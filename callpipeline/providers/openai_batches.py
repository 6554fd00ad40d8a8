"""OpenAI's Batch API: many chats in one file, answered within a day at half the price.

What belongs here: sending such a file, how far it is, reading what came back. What does not: which chats go into one,
what becomes of their answers (``graph.extractors.openai.economy``), limits and money.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from callpipeline.failures import CallPipelineError, ProviderFailed
from callpipeline.limits.answers import failure_of, unreadable
from callpipeline.providers.openai import NAME, OpenAI, failure, read_object
from callpipeline.providers.openai_language import ChatReply, read_chat

ENDPOINT = "/v1/chat/completions"
MOST_REQUESTS = 50_000
MOST_BYTES = 100_000_000
"""Of a file; OpenAI takes 200 MB and 50,000 requests."""

_REFERENCE = "callpipeline"
_RUNNING = frozenset({"validating", "in_progress", "finalizing", "cancelling"})
_LISTED = 100


@dataclass(frozen=True, slots=True)
class Job:
    """A file of chats at the provider. ``files``: those with what came back, answers and failures."""

    id: str
    status: str
    input_file: str
    files: tuple[str, ...] = ()
    message: str = ""

    @property
    def running(self) -> bool:
        """Whether there is more to come."""
        return self.status in _RUNNING


class OpenAIBatches:
    """The Batch API of one account; connections are those of ``provider``."""

    def __init__(self, provider: OpenAI) -> None:
        self._provider = provider

    async def upload(self, bodies: Mapping[str, Mapping[str, Any]]) -> str:
        """Upload chats by their names, and return the file's id. Costs nothing.

        Raises:
            CallPipelineError: see ``openai.failure``.
        """
        lines = (
            json.dumps(
                {"custom_id": name, "method": "POST", "url": ENDPOINT, "body": body}, ensure_ascii=False
            )
            for name, body in bodies.items()
        )
        data = "\n".join(lines).encode()
        answer = await self._asked(
            lambda client: client.files.with_raw_response.create(file=("chats.jsonl", data), purpose="batch")
        )
        return _named(answer)

    async def create(self, file: str, reference: str) -> Job:
        """Order the chats of a file. ``reference`` finds the job again when its id is lost.

        Raises:
            CallPipelineError: see ``openai.failure``.
        """
        answer = await self._asked(
            lambda client: client.batches.with_raw_response.create(
                input_file_id=file,
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata={_REFERENCE: reference},
            )
        )
        return _job(answer)

    async def job(self, of: str) -> Job | None:
        """Return how far a job is; ``None``: the provider does not know it (any more).

        Raises:
            CallPipelineError: see ``openai.failure``.
        """
        from openai import NotFoundError

        try:
            return _job(await self._asked(lambda client: client.batches.with_raw_response.retrieve(of)))
        except CallPipelineError as error:
            if isinstance(error.__cause__, NotFoundError):
                return None
            raise

    async def find(self, reference: str) -> Job | None:
        """Look for a job by its reference, among all that the provider lists.

        Raises:
            CallPipelineError: see ``openai.failure``.
        """
        after: dict[str, str] = {}
        while True:
            page = await self._asked(
                lambda client, after=after: client.batches.with_raw_response.list(limit=_LISTED, **after)
            )
            jobs = page.get("data") or []
            for one in jobs:
                if (one.get("metadata") or {}).get(_REFERENCE) == reference:
                    return _job(one)
            if not jobs or not page.get("has_more"):
                return None
            after = {"after": _named(jobs[-1])}

    async def results(self, job: Job) -> dict[str, ChatReply | CallPipelineError]:
        """Return what came back, by the names of the chats. What is not in it was not done.

        Raises:
            CallPipelineError: see ``openai.failure``; ``ProviderFailed``: a file cannot be read.
        """
        from openai import OpenAIError

        found: dict[str, ChatReply | CallPipelineError] = {}
        for file in job.files:
            try:
                content = await self._provider._client().files.content(file)
            except OpenAIError as error:
                raise failure(error) from error
            found.update(_results(content.content))
        return found

    async def forget(self, job: Job) -> None:
        """Delete a job's files at the provider: texts, and what was found in them.

        Raises:
            CallPipelineError: see ``openai.failure``.
        """
        for file in (job.input_file, *job.files):
            await self._asked(lambda client, file=file: client.files.with_raw_response.delete(file))

    async def _asked(self, ask: Any) -> dict[str, Any]:
        from openai import OpenAIError

        try:
            response = await ask(self._provider._client())
        except OpenAIError as error:
            raise failure(error) from error
        return read_object(response.content, response.headers)


def _named(answer: Mapping[str, Any]) -> str:
    name = answer.get("id")
    if not isinstance(name, str) or not name:
        raise unreadable(NAME, 200, len(answer), why="without an id")
    return name


def _job(answer: Mapping[str, Any]) -> Job:
    files = (answer.get("output_file_id"), answer.get("error_file_id"))
    problems = ((answer.get("errors") or {}).get("data")) or []
    said = [str(one.get("message") or one.get("code") or "") for one in problems if isinstance(one, Mapping)]
    return Job(
        _named(answer),
        str(answer.get("status") or ""),
        str(answer.get("input_file_id") or ""),
        tuple(file for file in files if isinstance(file, str) and file),
        "; ".join(filter(None, said[:3])),
    )


def _results(data: bytes) -> Iterator[tuple[str, ChatReply | CallPipelineError]]:
    for line in data.splitlines():
        if not line.strip():
            continue
        try:
            one = json.loads(line)
            name, answer, problem = str(one["custom_id"]), one.get("response"), one.get("error")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise unreadable(NAME, 200, len(data), why="no whole line of JSON") from None
        yield name, _reply(answer, problem)


def _reply(answer: Any, problem: Any) -> ChatReply | CallPipelineError:
    if not isinstance(answer, Mapping):
        code = problem.get("code") if isinstance(problem, Mapping) else None
        return ProviderFailed(f"{NAME}: the Batch API did not do it ({code or 'no reason told'}).")
    status, body = answer.get("status_code"), answer.get("body")
    if status != 200 or not isinstance(body, Mapping):
        return failure_of(NAME, status if isinstance(status, int) else None, body if body else "")
    try:
        return read_chat(body, request=str(answer.get("request_id") or ""))
    except CallPipelineError as error:
        return error
