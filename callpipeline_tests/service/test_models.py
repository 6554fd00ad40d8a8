"""Models in the service's memory: told while they are there, gone when nobody needs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callpipeline.settings import Settings
from callpipeline_tests.service.conftest import PARALLEL, Running, serving, until
from callpipeline_tests.tiny_whisper import tiny_whisper

Make = Callable[[int], list[Path]]
SAID = " hello this is sam about your house no thank you"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_whisper(tmp_path_factory.mktemp("whisper") / "model", SAID))


def loaded(running: Running, where: str = "stats") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = running.client.get(f"{PARALLEL}/{where}").json()["models"]
    return found


def test_a_model_stays_for_the_next_request_and_is_told(recordings: Make, model: str) -> None:
    settings = Settings.model_validate({"transcriber": "whisper", "whisper_model": model})
    first, second = recordings(2)
    with serving(settings) as running:
        answer = running.send("transcribe", first)
        assert answer.status_code == 200, answer.text
        for where in ("stats", "features"):
            (told,) = loaded(running, where)
            assert (told["engine"], told["name"], told["device"]) == ("whisper", model, "cpu")
        assert running.send("transcribe", second).status_code == 200
        assert len(loaded(running)) == 1


def test_a_model_that_nobody_uses_is_unloaded_and_loaded_again_when_it_is_needed(
    recordings: Make, model: str
) -> None:
    settings = Settings.model_validate(
        {"transcriber": "whisper", "whisper_model": model, "service_unload_after": 0.2}
    )
    with serving(settings) as running:
        for file in recordings(2):
            answer = running.send("transcribe", file)
            assert answer.json()["text"], answer.text
            until(lambda: not loaded(running))


@pytest.mark.parametrize("how", ["transcribe", "transcribe/async"])
def test_where_memory_is_short_models_are_unloaded_after_each_task(
    how: str, recordings: Make, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPU_MEMORY_OPTIMIZATION", "true")
    settings = Settings.model_validate({"transcriber": "whisper", "whisper_model": model})
    (file,) = recordings(1)
    with serving(settings) as running:
        task = running.send(how, file).json()["task_id"]
        assert running.ended(task)["status"] == "done"
        assert loaded(running) == []


def test_the_documentation_page_needs_nothing_from_elsewhere(running: Running) -> None:
    page = running.client.get("/docs")
    assert page.status_code == 200
    assert "://" not in page.text
    for name, kind in (("swagger-ui-bundle.js", "text/javascript"), ("swagger-ui.css", "text/css")):
        assert f"/docs/{name}" in page.text
        part = running.client.get(f"/docs/{name}")
        assert part.headers["content-type"].startswith(kind)
        assert len(part.content) > 100_000
    assert running.client.get("/openapi.json").json()["info"]["title"] == "callpipeline"
