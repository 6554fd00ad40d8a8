"""``/files`` and ``/batches``: bytes that are kept, and requests that are answered in the background.

Belongs here: files, and the life of a batch: validating, in_progress, finalizing, completed. Requests of a
batch do not count against the limits per minute, but they are charged.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from callpipeline_tests.simulators.counting import Ledger
from callpipeline_tests.simulators.openai_api.pricing import Computed
from callpipeline_tests.simulators.server import Refusal

Json = dict[str, Any]
Compute = Callable[[Json], Computed]
_RUNNING = ("validating", "in_progress", "finalizing")


@dataclass(frozen=True)
class StoredFile:
    """A file of the account."""

    data: bytes
    filename: str
    purpose: str
    id: str = field(default_factory=lambda: f"file-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def view(self) -> Json:
        """Return the file object."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.data),
            "created_at": self.created,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        }


class Files:
    """All files of the account."""

    def __init__(self) -> None:
        self.by_id: dict[str, StoredFile] = {}

    def add(self, file: StoredFile) -> StoredFile:
        """Keep a file."""
        self.by_id[file.id] = file
        return file

    def get(self, file_id: str) -> StoredFile:
        """Return a file.

        Raises:
            Refusal: 404.
        """
        if file_id not in self.by_id:
            raise Refusal(404, f"No such File object: {file_id}", param="id")
        return self.by_id[file_id]


class Batches:
    """All batches of the account. ``endpoints`` maps a URL to what computes its answers."""

    def __init__(self, files: Files, endpoints: dict[str, Compute], ledger: Ledger, seconds: float) -> None:
        self._files = files
        self._endpoints = endpoints
        self._ledger = ledger
        self._seconds = seconds
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.by_id: dict[str, Json] = {}

    def stop(self) -> None:
        """Drop all work."""
        for task in self._tasks.values():
            task.get_loop().call_soon_threadsafe(task.cancel)

    def get(self, batch_id: str) -> Json:
        """Return a batch.

        Raises:
            Refusal: 404.
        """
        if batch_id not in self.by_id:
            raise Refusal(404, f"No batch found with id '{batch_id}'.")
        return self.by_id[batch_id]

    def create(self, body: Json) -> Json:
        """Take a batch and begin it.

        Raises:
            Refusal: the endpoint or the file cannot be used.
        """
        endpoint = body.get("endpoint")
        if endpoint not in self._endpoints:
            raise Refusal(
                400, f"Invalid endpoint {endpoint!r}: {', '.join(self._endpoints)}", param="endpoint"
            )
        source = self._files.get(str(body.get("input_file_id")))
        if source.purpose != "batch":
            raise Refusal(400, "The input file must have the purpose 'batch'", param="input_file_id")
        batch: Json = {
            "id": f"batch_{uuid.uuid4().hex}",
            "object": "batch",
            "endpoint": endpoint,
            "input_file_id": source.id,
            "completion_window": body.get("completion_window", "24h"),
            "status": "validating",
            "created_at": int(time.time()),
            "metadata": body.get("metadata"),
            "output_file_id": None,
            "error_file_id": None,
            "errors": None,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
        }
        self.by_id[batch["id"]] = batch
        self._tasks[batch["id"]] = asyncio.create_task(self._run(batch, source.data))
        return batch

    def cancel(self, batch_id: str) -> Json:
        """Cancel a batch that is still running."""
        batch = self.get(batch_id)
        if batch["status"] in _RUNNING:
            self._tasks[batch_id].cancel()
            batch |= {"status": "cancelled", "cancelled_at": int(time.time())}
        return batch

    async def _run(self, batch: Json, data: bytes) -> None:
        await asyncio.sleep(self._seconds / 3)
        try:
            lines = _lines(data, batch["endpoint"])
        except (ValueError, KeyError, TypeError) as error:
            problem = {"code": "invalid_json_line", "message": str(error), "line": None, "param": None}
            errors = {"object": "list", "data": [problem]}
            batch |= {"status": "failed", "failed_at": int(time.time()), "errors": errors}
            return
        counts = {"total": len(lines), "completed": 0, "failed": 0}
        batch |= {"status": "in_progress", "in_progress_at": int(time.time()), "request_counts": counts}
        await asyncio.sleep(self._seconds / 3)
        results = [self._result(line, self._endpoints[batch["endpoint"]]) for line in lines]
        batch |= {"status": "finalizing", "finalizing_at": int(time.time())}
        await asyncio.sleep(self._seconds / 3)
        good = [result for result in results if result["response"]["status_code"] == 200]
        bad = [result for result in results if result["response"]["status_code"] != 200]
        counts |= {"completed": len(good), "failed": len(bad)}
        batch |= {
            "status": "completed",
            "completed_at": int(time.time()),
            "output_file_id": self._written(good, batch),
            "error_file_id": self._written(bad, batch),
        }

    def _result(self, line: Json, compute: Compute) -> Json:
        try:
            done = compute(line["body"])
            self._ledger.charge(done.key, tokens=done.tokens)
            status, body = 200, done.payload
        except Refusal as refusal:
            status, body = refusal.status, {"error": {"message": refusal.message, **refusal.details}}
        response = {"status_code": status, "request_id": f"req_{uuid.uuid4().hex}", "body": body}
        return {
            "id": f"batch_req_{uuid.uuid4().hex}",
            "custom_id": line["custom_id"],
            "response": response,
            "error": None,
        }

    def _written(self, results: list[Json], batch: Json) -> str | None:
        if not results:
            return None
        data = "".join(json.dumps(result) + "\n" for result in results).encode()
        return self._files.add(StoredFile(data, f"{batch['id']}_output.jsonl", "batch_output")).id


def _lines(data: bytes, endpoint: str) -> list[Json]:
    """Read the requests of a batch.

    Raises:
        ValueError: a line is no JSON, an id is used twice, or a url is not the batch's endpoint.
        KeyError, TypeError: a field is missing.
    """
    lines = [json.loads(line) for line in data.splitlines() if line.strip()]
    ids = [line["custom_id"] for line in lines]
    if len(set(ids)) < len(ids) or any(line["url"] != endpoint for line in lines):
        raise ValueError("a custom_id that is not unique, or a url that is not the batch's endpoint")
    return lines
