"""The official OpenAI SDK against the simulated transcriptions."""

from __future__ import annotations

import asyncio
import hashlib

import openai
import pytest

from callpipeline_tests.simulators import OpenAISimulator
from callpipeline_tests.simulators.conftest import TURNS, MakeWav, openai_client

TEXT = "Hello, this is Maria. Is it a good time? Not now, thank you."


@pytest.fixture
def audio(openai_sim: OpenAISimulator, make_wav: MakeWav) -> tuple[str, bytes]:
    data = make_wav(3.0)
    openai_sim.answers.register(hashlib.sha256(data).hexdigest(), TURNS, duration=3.0)
    return "call.wav", data


def test_verbose_json_has_the_segments_and_words_that_were_asked_for(
    openai_sim: OpenAISimulator, audio: tuple[str, bytes]
) -> None:
    create = openai_client(openai_sim).audio.transcriptions.create
    both = create(
        file=audio,
        model="whisper-1",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    words = create(
        file=audio, model="whisper-1", response_format="verbose_json", timestamp_granularities=["word"]
    )
    plain = create(file=audio, model="whisper-1", response_format="verbose_json")
    assert (both.text, both.duration, both.language) == (TEXT, 3.0, "english")
    assert [(segment.start, segment.text) for segment in both.segments] == [
        (0.2, " Hello, this is Maria. Is it a good time?"),
        (1.6, " Not now, thank you."),
    ]
    assert [word.word for word in both.words][-2:] == ["thank", "you"]
    assert (words.segments, plain.words) == (None, None)
    assert (both.usage.type, both.usage.seconds) == ("duration", 3)


def test_plain_formats_and_token_usage(openai_sim: OpenAISimulator, audio: tuple[str, bytes]) -> None:
    create = openai_client(openai_sim).audio.transcriptions.create
    assert create(file=audio, model="whisper-1", response_format="text").strip() == TEXT
    assert create(file=audio, model="whisper-1", response_format="srt").startswith("1\n00:00:00,200 --> ")
    assert create(file=audio, model="whisper-1", response_format="vtt").startswith("WEBVTT")
    result = create(file=audio, model="gpt-4o-transcribe", include=["logprobs"])
    assert (result.text, result.usage.type) == (TEXT, "tokens")
    assert result.usage.input_token_details.audio_tokens == 30
    assert len(result.logprobs) == len(TEXT.split())
    assert create(file=audio, model="gpt-transcribe").usage.type == "duration"


def test_diarized_json_names_speakers_by_letters_or_by_the_names_given(
    openai_sim: OpenAISimulator, audio: tuple[str, bytes]
) -> None:
    create = openai_client(openai_sim).audio.transcriptions.create
    diarized = create(file=audio, model="gpt-4o-transcribe-diarize", response_format="diarized_json")
    assert [segment.speaker for segment in diarized.segments] == ["A", "B"]
    named = create(
        file=audio,
        model="gpt-4o-transcribe-diarize",
        response_format="diarized_json",
        known_speaker_names=["agent"],
        known_speaker_references=["data:audio/wav;base64,AAAA"],
    )
    assert [segment.speaker for segment in named.segments] == ["agent", "B"]


@pytest.mark.parametrize(
    ("request_fields", "status", "message"),
    [
        ({"model": "gpt-4o-transcribe", "response_format": "verbose_json"}, 400, "not compatible"),
        ({"model": "no-such-model"}, 404, "does not exist"),
        ({"model": "whisper-1", "timestamp_granularities": ["word"]}, 400, "verbose_json"),
        ({"model": "whisper-1", "file": ("notes.docx", b"PK")}, 400, "Unrecognized file format"),
        ({"model": "whisper-1", "file": ("call.mp3", b"random bytes" * 99)}, 400, "could not be decoded"),
    ],
)
def test_wrong_requests_are_refused_as_the_api_does(
    openai_sim: OpenAISimulator,
    audio: tuple[str, bytes],
    request_fields: dict[str, object],
    status: int,
    message: str,
) -> None:
    with pytest.raises(openai.APIStatusError, match=message) as caught:
        openai_client(openai_sim).audio.transcriptions.create(**{"file": audio, **request_fields})
    assert caught.value.status_code == status
    assert openai_sim.stats.paid.calls == 0


def test_models_have_their_longest_audio(openai_sim: OpenAISimulator, make_wav: MakeWav) -> None:
    data = make_wav(0.2)
    openai_sim.answers.register(hashlib.sha256(data).hexdigest(), TURNS, duration=1500.0)
    create = openai_client(openai_sim).audio.transcriptions.create
    with pytest.raises(openai.BadRequestError, match="longer than 1400 seconds"):
        create(file=("a.wav", data), model="gpt-4o-transcribe")
    assert create(file=("a.wav", data), model="whisper-1").text == TEXT


def test_diarization_of_more_than_30_s_needs_a_chunking_strategy(
    openai_sim: OpenAISimulator, make_wav: MakeWav
) -> None:
    data = make_wav(0.2)
    openai_sim.answers.register(hashlib.sha256(data).hexdigest(), TURNS, duration=31.0)
    create = openai_client(openai_sim).audio.transcriptions.create
    with pytest.raises(openai.BadRequestError, match="chunking_strategy"):
        create(file=("a.wav", data), model="gpt-4o-transcribe-diarize")
    assert (
        create(file=("a.wav", data), model="gpt-4o-transcribe-diarize", chunking_strategy="auto").text == TEXT
    )


def test_audio_shorter_than_a_tenth_of_a_second_is_refused(
    openai_sim: OpenAISimulator, make_wav: MakeWav
) -> None:
    with pytest.raises(openai.BadRequestError, match="too short"):
        openai_client(openai_sim).audio.transcriptions.create(
            file=("a.wav", make_wav(0.05)), model="whisper-1"
        )


@pytest.mark.parametrize("extra", [1, 3 * 1024 * 1024])
def test_a_file_over_the_size_limit_is_413(extra: int) -> None:
    with OpenAISimulator(max_audio_bytes=100_000) as sim:
        with pytest.raises(openai.APIStatusError) as caught:
            openai_client(sim).audio.transcriptions.create(
                file=("a.wav", b"\0" * (100_000 + extra)), model="whisper-1"
            )
        assert caught.value.status_code == 413
        assert sim.stats.paid.calls == 0


def test_the_limit_is_25_mib_by_default(openai_sim: OpenAISimulator) -> None:
    data = b"\0" * (25 * 1024 * 1024 + 1)
    with pytest.raises(openai.APIStatusError, match="26214400") as caught:
        openai_client(openai_sim).audio.transcriptions.create(file=("a.wav", data), model="whisper-1")
    assert caught.value.status_code == 413


def test_what_was_sent_can_be_read_back(openai_sim: OpenAISimulator, audio: tuple[str, bytes]) -> None:
    openai_client(openai_sim).audio.transcriptions.create(file=audio, model="whisper-1", prompt="Maria")
    (call,) = openai_sim.calls("transcriptions")
    assert call.outcome == "200"
    assert call.body["prompt"] == "Maria"
    assert call.body["file"]["sha256"] == hashlib.sha256(audio[1]).hexdigest()


def test_async_client_and_requests_in_flight_are_counted(make_wav: MakeWav) -> None:
    async def many(sim: OpenAISimulator) -> list[str]:
        async with openai.AsyncOpenAI(api_key=sim.api_key, base_url=sim.base_url, max_retries=0) as client:
            calls = [
                client.audio.transcriptions.create(
                    file=("a.wav", make_wav(3.0, seed=seed)), model="whisper-1"
                )
                for seed in range(8)
            ]
            return [result.text for result in await asyncio.gather(*calls)]

    with OpenAISimulator(latency="fixed:0.3") as sim:
        texts = asyncio.run(many(sim))
        route = sim.stats.routes["transcriptions"]
    assert len(set(texts)) == 8
    assert route.in_flight_max == 8
    assert route.in_flight == 0
