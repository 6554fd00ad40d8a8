"""What AssemblyAI's answer says: its words and utterances as a transcript of ours. All pure.

Times come in milliseconds of the sent audio, channels as the strings "1", "2" ..., voices as letters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from callpipeline.failures import ProviderFailed, problems
from callpipeline.model import Segment, Transcript, Word
from callpipeline.providers.assemblyai import NAME

Json = Mapping[str, Any]

_FACTS = ("id", "speech_model_used", "language_code", "language_confidence", "audio_duration", "metadata")


def transcript_of(
    answer: Json, *, engine_version: str, multichannel: bool, duration: float, preferred: str
) -> Transcript:
    """Read a completed job.

    ``duration`` of the sent audio in seconds. ``preferred``: the model that was asked for first.

    Raises:
        ProviderFailed: the answer has no text, or words that cannot be read.
    """
    if not isinstance(answer.get("text"), str):
        raise ProviderFailed(f"{NAME} answered a completed transcript without a text.")
    try:
        segments = sorted(_segments(answer, multichannel, duration), key=lambda s: (s.start, s.channel or 0))
        return Transcript(
            engine="assemblyai",
            engine_version=engine_version,
            language=str(answer.get("language_code") or "").split("_")[0] or None,
            duration=duration,
            segments=tuple(segments),
            confidence=_share(answer.get("confidence")),
            notes=tuple(_notes(answer, segments, preferred)),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"{NAME} answered a transcript that cannot be read: {problems(error)}."
        raise ProviderFailed(said) from None  # the exception quotes what was said in the recording


def facts_of(answer: Json) -> dict[str, Any]:
    """Return what an answer says about itself, to be kept beside its transcript."""
    return {name: answer[name] for name in _FACTS if answer.get(name) is not None}


def _segments(answer: Json, multichannel: bool, duration: float) -> Iterator[Segment]:
    utterances = answer.get("utterances") or list(_runs(answer.get("words") or ()))
    if not utterances and answer["text"].strip():
        yield Segment(start=0.0, end=duration, text=answer["text"].strip())
    for one in utterances:
        words = tuple(_word(word) for word in one.get("words") or ())
        start, end = _times(one)
        yield Segment(
            start=start,
            end=end,
            text=str(one["text"]).strip(),
            channel=_channel(one) if multichannel else None,
            speaker=None if multichannel else one.get("speaker"),
            words=words,
            confidence=_share(one.get("confidence")),
        )


def _runs(words: Sequence[Json]) -> Iterator[Json]:
    """Join words to utterances where the answer has none: as long as one voice or channel goes on."""
    for (channel, speaker), run in groupby(words, key=lambda w: (w.get("channel"), w.get("speaker"))):
        said = list(run)
        yield {
            "text": " ".join(str(word["text"]) for word in said),
            "start": said[0].get("start"),
            "end": said[-1]["end"],
            "channel": channel,
            "speaker": speaker,
            "words": said,
        }


def _word(word: Json) -> Word:
    start, end = _times(word)
    return Word(text=str(word["text"]), start=start, end=end, confidence=_share(word.get("confidence")))


def _times(one: Json) -> tuple[float, float]:
    start = float(one.get("start") or 0) / 1000
    return start, max(start, float(one["end"]) / 1000)


def _channel(one: Json) -> int:
    """Return the 0-based channel. Older answers have it only in the speaker: "1", or "1A" with a voice."""
    name = str(one.get("channel") or one.get("speaker") or "")
    return int("".join(letter for letter in name if letter.isdigit())) - 1


def _share(value: Any) -> float | None:
    return None if value is None else round(min(1.0, max(0.0, float(value))), 4)


def _notes(answer: Json, segments: Sequence[Segment], preferred: str) -> Iterator[str]:
    used = answer.get("speech_model_used")
    if used and used != preferred:
        yield f"{NAME} used {used}."
    if not segments:
        yield f"{NAME} heard no words."
    metadata = answer.get("metadata")
    if isinstance(metadata, Mapping):
        if metadata.get("warning"):
            yield f"{NAME} warns: {metadata['warning']}"
        yield from (f"{NAME} warns: {w['message']}" for w in metadata.get("warnings") or ())
