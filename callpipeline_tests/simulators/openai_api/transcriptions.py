"""``/audio/transcriptions``: what each model allows, and the five ways in which words are written.

Belongs here: the rules of the models and the response formats. Streaming is not simulated and is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from callpipeline_tests.simulators.answers import Answer
from callpipeline_tests.simulators.openai_api.pricing import Computed, request_key
from callpipeline_tests.simulators.openai_api.tokens import audio_tokens, text_tokens
from callpipeline_tests.simulators.server import Refusal
from callpipeline_tests.simulators.words import letters, srt, vtt, words_of

Json = dict[str, Any]
EXTENSIONS = ("flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm")
_SHORTEST = 0.1
_DIARIZE_UNCHUNKED = 30.0
_LANGUAGES = {"en": "english", "es": "spanish", "de": "german", "fr": "french"}


@dataclass(frozen=True)
class Model:
    """What a model allows. ``by_duration`` = charged by seconds, not by tokens."""

    formats: tuple[str, ...]
    longest: float | None = None
    by_duration: bool = False


_ALL = ("json", "text", "srt", "verbose_json", "vtt")
MODELS = {
    "whisper-1": Model(_ALL, by_duration=True),
    "gpt-transcribe": Model(("json", "text"), by_duration=True),
    "gpt-4o-transcribe": Model(("json", "text"), longest=1400.0),
    "gpt-4o-mini-transcribe": Model(("json", "text"), longest=1400.0),
    "gpt-4o-mini-transcribe-2025-12-15": Model(("json", "text"), longest=1400.0),
    "gpt-4o-transcribe-diarize": Model(("json", "text", "diarized_json"), longest=1400.0),
}


@dataclass(frozen=True)
class Order:
    """One request: the form without the file, and what the file is."""

    fields: Mapping[str, str]
    granularities: tuple[str, ...]
    names: tuple[str, ...]
    sha256: str

    @property
    def model(self) -> str:
        """The model's name."""
        return self.fields.get("model", "")

    @property
    def format(self) -> str:
        """The response format."""
        return self.fields.get("response_format", "json")


def check(order: Order, filename: str) -> Model:
    """Check what can be checked without the audio.

    Raises:
        Refusal: as the API would.
    """
    model = MODELS.get(order.model)
    if model is None:
        raise Refusal(
            404,
            f"The model `{order.model}` does not exist or you do not have access to it.",
            code="model_not_found",
        )
    if order.format not in model.formats:
        raise Refusal(
            400,
            f"response_format '{order.format}' is not compatible with model '{order.model}'. "
            f"Use {' or '.join(repr(name) for name in model.formats)} instead.",
            param="response_format",
            code="unsupported_value",
        )
    if order.granularities and order.format != "verbose_json":
        raise Refusal(
            400,
            "timestamp_granularities need response_format 'verbose_json'",
            param="timestamp_granularities",
        )
    if order.fields.get("stream") == "true":
        raise Refusal(400, "The simulator does not stream", param="stream")
    if filename.rpartition(".")[2].lower() not in EXTENSIONS:
        raise Refusal(400, f"Unrecognized file format. Supported formats: {list(EXTENSIONS)}", param="file")
    return model


def transcription(order: Order, model: Model, answer: Answer) -> Computed:
    """Compute the answer.

    Raises:
        Refusal: the audio is too short or too long for the model.
    """
    _check_duration(order, model, answer.duration)
    asked = audio_tokens(answer.duration) + text_tokens(order.fields.get("prompt", ""))
    said = text_tokens(answer.text)
    usage = _usage(model, answer.duration, asked, said)
    plain = order.format in ("text", "srt", "vtt")
    writers: dict[str, Callable[[Order, Answer, Json], Json | str]] = {
        "json": _json,
        "text": lambda *_: answer.text + "\n",
        "srt": lambda *_: srt(_cues(answer)),
        "vtt": lambda *_: vtt(_cues(answer)),
        "verbose_json": _verbose,
        "diarized_json": _diarized,
    }
    return Computed(
        payload=writers[order.format](order, answer, usage),
        key=request_key("transcriptions", order.sha256, dict(order.fields), order.granularities, order.names),
        input_tokens=asked,
        output_tokens=said,
        reserve=asked + said,
        audio_seconds=answer.duration,
        media_type="text/plain" if plain else "application/json",
    )


def _check_duration(order: Order, model: Model, duration: float) -> None:
    if duration < _SHORTEST:
        raise Refusal(
            400,
            f"Audio file is too short. Minimum audio length is {_SHORTEST} seconds.",
            param="file",
            code="audio_too_short",
        )
    if model.longest is not None and duration > model.longest:
        raise Refusal(
            400,
            f"audio duration {duration:.1f} seconds is longer than {model.longest:.0f} seconds which is the "
            "maximum for this model",
            param="file",
            code="invalid_value",
        )
    unchunked = "chunking_strategy" not in order.fields
    if order.model.endswith("-diarize") and duration > _DIARIZE_UNCHUNKED and unchunked:
        raise Refusal(400, "chunking_strategy is required for diarization models", param="chunking_strategy")


def _usage(model: Model, duration: float, asked: int, said: int) -> Json:
    if model.by_duration:
        return {"type": "duration", "seconds": math.ceil(duration)}
    return {
        "type": "tokens",
        "input_tokens": asked,
        "output_tokens": said,
        "total_tokens": asked + said,
        "input_token_details": {"audio_tokens": audio_tokens(duration), "text_tokens": 0},
    }


def _cues(answer: Answer) -> list[tuple[float, float, str]]:
    return [(turn.start, turn.end, turn.text) for turn in answer.turns]


def _json(order: Order, answer: Answer, usage: Json) -> Json:
    result: Json = {"text": answer.text, "usage": usage}
    if order.fields.get("include[]") == "logprobs":
        result["logprobs"] = [
            {
                "token": word.text,
                "bytes": list(word.text.encode()),
                "logprob": round(math.log(word.confidence), 6),
            }
            for turn in answer.turns
            for word in words_of(turn)
        ]
    return result


def _verbose(order: Order, answer: Answer, usage: Json) -> Json:
    result: Json = {
        "task": "transcribe",
        "language": _LANGUAGES.get(order.fields.get("language", answer.language), "english"),
        "duration": answer.duration,
        "text": answer.text,
        "usage": usage,
    }
    if "segment" in order.granularities or not order.granularities:
        result["segments"] = [
            {
                "id": index,
                "seek": 0,
                "start": turn.start,
                "end": turn.end,
                "text": f" {turn.text}",
                "tokens": list(range(text_tokens(turn.text))),
                "temperature": 0.0,
                "avg_logprob": -0.12,
                "compression_ratio": 1.2,
                "no_speech_prob": 0.02,
            }
            for index, turn in enumerate(answer.turns)
        ]
    if "word" in order.granularities:
        result["words"] = [
            {"word": word.text.strip(".,?!"), "start": word.start / 1000, "end": word.end / 1000}
            for turn in answer.turns
            for word in words_of(turn)
        ]
    return result


def _diarized(order: Order, answer: Answer, usage: Json) -> Json:
    names = letters(answer.turns)
    known = dict(zip(names, order.names, strict=False))
    return {
        "task": "transcribe",
        "duration": answer.duration,
        "text": answer.text,
        "segments": [
            {
                "type": "transcript.text.segment",
                "id": f"seg_{index}",
                "start": turn.start,
                "end": turn.end,
                "speaker": known.get(turn.speaker, names[turn.speaker]),
                "text": turn.text,
            }
            for index, turn in enumerate(answer.turns)
        ],
        "usage": usage,
    }
