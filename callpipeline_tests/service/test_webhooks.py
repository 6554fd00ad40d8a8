"""AssemblyAI's webhooks end jobs without anybody asking for them again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from callpipeline.settings import Settings
from callpipeline.store import bells
from callpipeline_tests.service.conftest import PARALLEL, free_port, serving
from callpipeline_tests.simulators import AssemblyAISimulator

Make = Callable[[int], list[Path]]
SECRET = "a secret of the test"
HOOK = "/webhooks/assemblyai"


@pytest.fixture
def provider() -> Iterator[AssemblyAISimulator]:
    with AssemblyAISimulator(latency="fixed:0.5") as sim:
        yield sim


def test_a_job_ends_when_its_webhook_comes(
    provider: AssemblyAISimulator, recordings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    for name, value in {
        **provider.environment(),
        "CALLPIPELINE_TRANSCRIBER": "assemblyai",
        "CALLPIPELINE_WEBHOOK_URL": f"http://127.0.0.1:{port}{HOOK}",
        "CALLPIPELINE_WEBHOOK_SECRET": SECRET,
    }.items():
        monkeypatch.setenv(name, value)
    one, other = recordings(2)
    with serving(Settings(), port=port) as running:
        result = running.send("transcribe", one)
        assert result.status_code == 200, result.text
        assert result.json()["used"]["transcription"] == "assemblyai"
        task = running.send("transcribe/async", other).json()["task_id"]
        assert running.ended(task)["status"] == "done"
        assert running.client.get(f"{PARALLEL}/result/{task}").json()["text"]
    assert (
        provider.stats.routes["poll"].requests == 4
    )  # for each: one when it was ordered, one when it was told


def test_only_who_knows_the_secret_can_say_that_a_job_has_ended(settings: Settings) -> None:
    message = {"transcript_id": "no-such-job", "status": "completed"}
    with serving(settings) as running:
        assert running.client.post(HOOK, json=message).status_code == 401
        assert (
            running.client.post(HOOK, json=message, headers={"X-Callpipeline-Webhook": ""}).status_code == 401
        )
    told = Settings.model_validate({**settings.model_dump(), "webhook_secret": SECRET})
    with serving(told) as running:
        headers = {"X-Callpipeline-Webhook": SECRET, "Host": "calls.example"}
        assert running.client.post(HOOK, json=message, headers=headers).status_code == 404
        path = {**message, "transcript_id": "../../x"}
        assert running.client.post(HOOK, json=path, headers=headers).status_code == 404
        assert (
            running.client.post(
                HOOK, json=message, headers={**headers, "X-Callpipeline-Webhook": "x"}
            ).status_code
            == 401
        )
    assert not (settings.store / bells.FOLDER).exists()
