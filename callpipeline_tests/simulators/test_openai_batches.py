"""The official OpenAI SDK against simulated files and batches."""

from __future__ import annotations

import json
import time

import openai
import pytest
from openai.types import Batch

from callpipeline_tests.simulators import OpenAISimulator
from callpipeline_tests.simulators.conftest import openai_client

ENDPOINT = "/v1/chat/completions"


def line(custom_id: str, model: str = "gpt-5.4-mini", url: str = ENDPOINT) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": f"about {custom_id}"}]}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body})


def begin(client: openai.OpenAI, *lines: str) -> Batch:
    file = client.files.create(file=("in.jsonl", "\n".join(lines).encode()), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h")


def finished(client: openai.OpenAI, batch: Batch) -> tuple[Batch, list[str]]:
    """Poll until the batch has ended; return it and the statuses that were seen."""
    seen = [batch.status]
    while batch.status in ("validating", "in_progress", "finalizing"):
        time.sleep(0.01)
        batch = client.batches.retrieve(batch.id)
        if batch.status != seen[-1]:
            seen.append(batch.status)
    return batch, seen


def test_a_batch_completes_and_parts_good_from_bad() -> None:
    with OpenAISimulator(batch_seconds=0.5) as sim:
        client = openai_client(sim)
        batch, seen = finished(client, begin(client, line("a"), line("b", model="no-such"), line("c")))
        good = [json.loads(text) for text in client.files.content(batch.output_file_id).text.splitlines()]
        bad = [json.loads(text) for text in client.files.content(batch.error_file_id).text.splitlines()]
        stats = sim.stats
    assert seen == ["validating", "in_progress", "finalizing", "completed"]
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (
        3,
        2,
        1,
    )
    assert [result["custom_id"] for result in good] == ["a", "c"]
    assert good[0]["response"]["body"]["choices"][0]["message"]["content"] == "I read: about a"
    assert bad[0]["response"]["status_code"] == 404
    assert stats.paid.calls == 2
    assert stats.windows["chat"].requests_max == 0


def test_a_file_that_is_no_batch_fails_the_batch(openai_sim: OpenAISimulator) -> None:
    client = openai_client(openai_sim)
    for lines in (["{broken"], [line("a"), line("a")], [line("a", url="/v1/embeddings")]):
        batch, _ = finished(client, begin(client, *lines))
        assert batch.status == "failed"
        assert batch.errors.data[0].message


def test_a_batch_can_be_cancelled_and_is_not_charged() -> None:
    with OpenAISimulator(batch_seconds=60) as sim:
        client = openai_client(sim)
        batch = begin(client, line("a"))
        assert client.batches.cancel(batch.id).status == "cancelled"
        assert [item.id for item in client.batches.list()] == [batch.id]
        assert sim.stats.paid.calls == 0


def test_files_are_kept_listed_and_deleted(openai_sim: OpenAISimulator) -> None:
    client = openai_client(openai_sim)
    file = client.files.create(file=("in.jsonl", b"{}"), purpose="batch")
    assert (client.files.retrieve(file.id).bytes, client.files.content(file.id).read()) == (2, b"{}")
    assert [item.id for item in client.files.list()] == [file.id]
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_a_batch_needs_a_known_endpoint_and_file(openai_sim: OpenAISimulator) -> None:
    client = openai_client(openai_sim)
    with pytest.raises(openai.BadRequestError, match="endpoint"):
        client.batches.create(input_file_id="file-x", endpoint="/v1/moderations", completion_window="24h")
    with pytest.raises(openai.NotFoundError):
        client.batches.create(input_file_id="file-x", endpoint=ENDPOINT, completion_window="24h")
