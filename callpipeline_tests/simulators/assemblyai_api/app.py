"""AssemblyAI's endpoints: upload, submit, poll, list, delete, exports.

Belongs here: requests and answers. The job's life is in ``jobs``, the shape of a transcript in ``exports``.
Known but not simulated: audio intelligence (summaries, chapters, sentiment, entities ...) and redaction;
their options are echoed and their results stay ``null``.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from callpipeline_tests.simulators.assemblyai_api import exports
from callpipeline_tests.simulators.assemblyai_api.jobs import COMPLETED, Job, Jobs, Upload
from callpipeline_tests.simulators.counting import JobRecord, JobStats
from callpipeline_tests.simulators.options import AssemblyAIOptions
from callpipeline_tests.simulators.server import (
    ApiRoute,
    Refusal,
    Simulation,
    json_body,
    json_response,
    retry_after_headers,
)
from callpipeline_tests.simulators.words import srt, vtt

_PAGE = 10
_NOT_OPTIONS = ("audio_url", "webhook_url", "webhook_auth_header_name", "webhook_auth_header_value")
_GONE = "Transcript lookup error, transcript id not found"


class AssemblyAI(Simulation):
    """The simulated account."""

    groups: ClassVar[tuple[str, ...]] = ("requests", "jobs")
    options: AssemblyAIOptions

    def __init__(self, options: AssemblyAIOptions) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="simulated-assemblyai-")
        self.jobs: Jobs | None = None
        super().__init__(options)

    def begin(self) -> None:
        """Forget jobs and uploads too."""
        if self.jobs:
            self.jobs.stop()
        super().begin()
        self.uploads: dict[str, Upload] = {}
        self.jobs = Jobs(
            concurrency=self.options.concurrency,
            answers=self.answers,
            work=self.work,
            ledger=self.ledger,
            faults=self.faults,
            webhook_tries=self.options.webhook_tries,
        )

    def close(self) -> None:
        """Remove the uploads."""
        self._folder.cleanup()

    def routes(self) -> list[ApiRoute]:
        """Return the endpoints."""
        one = "/v2/transcript/{id}"
        return [
            ApiRoute("upload", "POST", "/v2/upload", self._upload),
            ApiRoute("submit", "POST", "/v2/transcript", self._submit),
            ApiRoute("list", "GET", "/v2/transcript", self._list),
            ApiRoute("poll", "GET", one, self._poll),
            ApiRoute("delete", "DELETE", one, self._delete),
            ApiRoute("sentences", "GET", f"{one}/sentences", self._sentences),
            ApiRoute("paragraphs", "GET", f"{one}/paragraphs", self._paragraphs),
            ApiRoute("srt", "GET", f"{one}/srt", self._srt),
            ApiRoute("vtt", "GET", f"{one}/vtt", self._vtt),
        ]

    def authorized(self, headers: Mapping[str, str]) -> bool:
        """The key stands alone in the header."""
        return headers.get("authorization") == self.options.api_key

    def error_body(self, refusal: Refusal) -> object:
        """``{"error": text}``."""
        return {"error": refusal.message}

    def decorate(self, response: Response, route: str) -> None:
        """AssemblyAI tells nothing about its limits."""

    def over_limit(self, group: str, wait: float) -> Refusal:
        """Too many requests."""
        headers = retry_after_headers(wait) if self.options.retry_after else {}
        return Refusal(429, f"Too many {group} in {self.options.window_seconds:g} s", headers=headers)

    def job_stats(self) -> JobStats:
        """Figures of the jobs."""
        return self._jobs.stats()

    def job_records(self) -> list[JobRecord]:
        """All jobs."""
        return [job.record() for job in self._jobs.by_id.values()]

    @property
    def _jobs(self) -> Jobs:
        assert self.jobs is not None
        return self.jobs

    async def _upload(self, request: Request) -> Response:
        digest, name = hashlib.sha256(), uuid.uuid4().hex
        path = Path(self._folder.name) / name
        with path.open("wb") as out:
            async for block in request.stream():
                digest.update(block)
                out.write(block)
        self.admit("requests")
        if not path.stat().st_size:
            raise Refusal(
                422, "Upload failed, please try again. If you continue to have issues please reach out"
            )
        kept = Path(self._folder.name) / digest.hexdigest()
        path.replace(kept)
        self.uploads[name] = Upload(kept, digest.hexdigest())
        self.remember(request, {"bytes": kept.stat().st_size, "sha256": digest.hexdigest()})
        return json_response({"upload_url": f"{str(request.base_url).rstrip('/')}/upload/{name}"})

    async def _submit(self, request: Request) -> Response:
        body = await json_body(request)
        self.remember(request, body)
        url = body.get("audio_url")
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise Refusal(400, "audio_url must be a string that starts with http:// or https://")
        if body.get("multichannel") and body.get("dual_channel"):
            raise Refusal(400, "multichannel and dual_channel cannot be enabled at the same time")
        self.admit("requests")
        self.admit("jobs")
        upload = self.uploads.get(url.rpartition("/upload/")[2])
        fault = request.state.fault
        options = {name: value for name, value in body.items() if name not in _NOT_OPTIONS}
        audio = upload.sha256 if upload else url
        job = Job(
            request=body,
            upload=upload,
            key=audio + json.dumps(options, sort_keys=True),
            fails=fault is not None and fault.kind == "job_error",
        )
        self._jobs.submit(job)
        return json_response(_view(job))

    async def _poll(self, request: Request) -> Response:
        self.admit("requests")
        job = self._job(request)
        if request.state.fault and request.state.fault.kind == "expired":
            job.expired = True
            raise Refusal(404, _GONE)
        return json_response(_view(job))

    async def _delete(self, request: Request) -> Response:
        self.admit("requests")
        job = self._job(request)
        self._jobs.delete(job)
        return json_response(_view(job))

    async def _list(self, request: Request) -> Response:
        self.admit("requests")
        query = request.query_params
        ids = list(self._jobs.by_id)
        first = ids.index(query["after_id"]) + 1 if query.get("after_id") in ids else 0
        last = ids.index(query["before_id"]) if query.get("before_id") in ids else len(ids)
        jobs = [self._jobs.by_id[one] for one in ids[first:last]]
        jobs = [job for job in jobs if query.get("status") in (None, job.status)]
        page = jobs[::-1][: int(query.get("limit", _PAGE))]
        older = len(page) < len(jobs)
        here = str(request.url)
        root = str(request.url.replace(query=""))
        return json_response(
            {
                "page_details": {
                    "limit": int(query.get("limit", _PAGE)),
                    "result_count": len(page),
                    "current_url": here,
                    "prev_url": f"{root}?before_id={page[-1].id}" if older else None,
                    "next_url": f"{root}?after_id={page[0].id}" if page else None,
                },
                "transcripts": [_item(job, root) for job in page],
            }
        )

    async def _sentences(self, request: Request) -> Response:
        job = self._finished(request)
        return json_response({"sentences": exports.sentences(_spoken(job)), **_totals(job)})

    async def _paragraphs(self, request: Request) -> Response:
        job = self._finished(request)
        return json_response({"paragraphs": exports.paragraphs(_spoken(job)), **_totals(job)})

    async def _srt(self, request: Request) -> Response:
        return PlainTextResponse(srt(self._captions(request)))

    async def _vtt(self, request: Request) -> Response:
        return PlainTextResponse(vtt(self._captions(request)))

    def _captions(self, request: Request) -> list[tuple[float, float, str]]:
        job = self._finished(request)
        chars = request.query_params.get("chars_per_caption")
        return exports.captions(_spoken(job), int(chars) if chars else None)

    def _job(self, request: Request) -> Job:
        job = self._jobs.by_id.get(request.path_params["id"])
        if job is None or job.expired:
            raise Refusal(404, _GONE)
        return job

    def _finished(self, request: Request) -> Job:
        self.admit("requests")
        job = self._job(request)
        if job.status != COMPLETED or job.deleted:
            raise Refusal(
                400,
                f"This transcript has a status of '{job.status}'. "
                f"Transcripts must have a status of '{COMPLETED}' for this.",
            )
        return job


def _spoken(job: Job) -> list[dict[str, Any]]:
    assert job.answer is not None
    request = job.request
    return exports.utterances(
        job.answer,
        multichannel=bool(request.get("multichannel") or request.get("dual_channel")),
        speaker_labels=bool(request.get("speaker_labels")),
    )


def _totals(job: Job) -> dict[str, Any]:
    assert job.answer is not None
    words = exports.words_in_order(_spoken(job))
    return {
        "id": job.id,
        "confidence": exports.mean_confidence(words),
        "audio_duration": round(job.answer.duration),
    }


def _item(job: Job, root: str) -> dict[str, Any]:
    return {
        "id": job.id,
        "resource_url": f"{root}/{job.id}",
        "status": job.status,
        "created": _iso(job.submitted),
        "completed": _iso(job.finished) if job.finished else None,
        "audio_url": job.request["audio_url"],
        "error": job.error,
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None).isoformat()


def _view(job: Job) -> dict[str, Any]:
    """Return a transcript as it stands: what was asked, the status, and the result when there is one."""
    request = {name: value for name, value in job.request.items() if name != "webhook_auth_header_value"}
    view = request | {
        "id": job.id,
        "status": job.status,
        "error": job.error,
        "text": None,
        "words": None,
        "utterances": None,
        "confidence": None,
        "audio_duration": None,
        "webhook_status_code": job.webhook_status,
        "webhook_auth": bool(job.request.get("webhook_auth_header_name")),
    }
    if job.deleted:
        return view | {"audio_url": "http://deleted_by_user", "text": "Deleted by user."}
    if job.answer is not None:
        view |= _result(job, job.answer, multichannel=bool(request.get("multichannel")))
    return view


def _result(job: Job, answer: Any, *, multichannel: bool) -> dict[str, Any]:
    spoken = _spoken(job)
    words = exports.words_in_order(spoken)
    models = job.request.get("speech_models") or [job.request.get("speech_model") or "universal"]
    result = {
        "text": answer.text,
        "words": words,
        "utterances": spoken if spoken and spoken[0]["speaker"] else None,
        "confidence": exports.mean_confidence(words),
        "audio_duration": round(answer.duration),
        "language_code": job.request.get("language_code") or "en_us",
        "speech_model_used": models[0],
    }
    if multichannel:
        result["audio_channels"] = answer.channels
    if job.request.get("language_detection"):
        result |= {"language_code": answer.language, "language_confidence": 0.98}
    return result
