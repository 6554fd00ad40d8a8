"""OpenAI's own client against the service: only its base URL is another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest

from callpipeline_tests.service.conftest import Running

Make = Callable[[int], list[Path]]
TEXT = "hello this is sam about your house no thank you"


@pytest.fixture
def client(running: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0) as made:
        yield made


def test_every_format_is_what_the_client_expects(client: openai.OpenAI, recordings: Make) -> None:
    (file,) = recordings(1)
    create = client.audio.transcriptions.create
    assert create(file=file, model="whisper-1").text == TEXT
    assert create(file=file, model="whisper-1", response_format="text").strip() == TEXT
    assert "00:00:00,100 --> " in create(file=file, model="whisper-1", response_format="srt")
    vtt = create(file=file, model="whisper-1", response_format="vtt")
    assert vtt.startswith("WEBVTT")
    assert "<v Agent>" in vtt
    verbose = create(
        file=file,
        model="whisper-1",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert verbose.duration == 2.0
    assert [word.word for word in verbose.words] == TEXT.split()
    assert {word.speaker for word in verbose.words} == {"agent", "customer"}
    assert [segment.speaker for segment in verbose.segments] == ["agent", "customer"]
    told = create(file=file, model="gpt-4o-transcribe-diarize", response_format="diarized_json")
    assert [segment.speaker for segment in told.segments] == ["agent", "customer"]
    assert "whisper-1" in [model.id for model in client.models.list()]


def test_refusals_come_as_the_exceptions_of_the_client(client: openai.OpenAI, recordings: Make) -> None:
    (file,) = recordings(1)
    create = client.audio.transcriptions.create
    with pytest.raises(openai.NotFoundError, match="not on this machine"):
        create(file=file, model="large-v3")
    with pytest.raises(openai.BadRequestError, match="response_format"):
        create(file=file, model="whisper-1", response_format="poem")
    with pytest.raises(openai.BadRequestError, match="no name of a model"):
        create(file=file, model="../../etc")
    with pytest.raises(openai.APIStatusError) as refused:
        create(file=("x.mp3", b"no sound" * 99), model="whisper-1")
    assert refused.value.status_code == 415
