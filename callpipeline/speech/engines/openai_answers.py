"""What OpenAI's transcription models can give, and their answers as segments of the audio that was sent.

What belongs here: the table of models, and pure functions from an answer to segments. What does not: sending
anything (``openai``), times of the recording (``speech.trimming``).

The models, as the SDK (openai 3.52) documents them:

- ``whisper-1``: ``verbose_json`` with segments and word times. Words come without punctuation and are matched
  with the text of the segments, which has it.
- ``gpt-transcribe``, ``gpt-4o-transcribe``, ``gpt-4o-mini-transcribe``: ``json``, the text alone.
- ``gpt-4o-transcribe-diarize``: ``diarized_json``, segments with speakers ``A``, ``B`` ..., no words.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any

from callpipeline.model import Region, Segment, Word
from callpipeline.providers.openai import ResponseFormat

PAUSE = 1.2
"""Stretches of speech that are less than this apart (s) are one when a text without times is placed on them."""

_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True, slots=True)
class Model:
    """What one model gives and takes.

    ``longest``: seconds of audio in one request. ``tokens_per_second``: what the rate limit will count, rather too
    high; 0 for models that are charged by the second. ``logprobs``: tells how sure it is of its text.
    """

    format: ResponseFormat
    longest: float | None = None
    tokens_per_second: float = 0.0
    logprobs: bool = False


_BY_TOKENS = 20.0
"""10 tokens of sound (OpenAI's figure), and room for 400 words a minute of text."""

_WHISPER = Model("verbose_json")
_TEXT = Model("json", longest=1400.0, tokens_per_second=_BY_TOKENS, logprobs=True)

MODELS: Mapping[str, Model] = {
    "whisper-1": _WHISPER,
    "gpt-transcribe": Model("json"),
    "gpt-4o-transcribe": _TEXT,
    "gpt-4o-mini-transcribe": _TEXT,
    "gpt-4o-transcribe-diarize": Model("diarized_json", longest=1400.0, tokens_per_second=_BY_TOKENS),
}


def model_of(name: str) -> Model:
    """Return what a model gives; dated snapshots are as their model.

    Of others, those called ``gpt-...`` are asked for text alone. The rest are Whisper models under the names that
    servers of one's own give them.
    """
    known = MODELS.get(_SNAPSHOT.sub("", name))
    return known or (Model("json") if name.startswith("gpt-") else _WHISPER)


# --- an answer to segments --------------------------------------------------------------------------------


def segments_of(
    answer: Mapping[str, Any], asked: ResponseFormat, seconds: float, channel: int | None
) -> tuple[Segment, ...]:
    """Return the segments of an answer, with the times of the audio that was sent.

    No text is lost when a part of the answer is missing or broken: without segments, the text is one.

    Args:
        answer: What the provider wrote; it has a ``text``.
        asked: The format that was asked for.
        seconds: Length of the audio that was sent.
        channel: The channel that it was, which says more than a label of a speaker.
    """
    found = [_segment(part, seconds, channel) for part in _objects(answer.get("segments"))]
    segments = [s for s in found if s is not None and s.text]
    text = str(answer.get("text", "")).strip()
    if not segments and text:
        confidence = _sureness(part.get("logprob") for part in _objects(answer.get("logprobs")))
        segments = [Segment(start=0.0, end=seconds, text=text, channel=channel, confidence=confidence)]
    if asked == "verbose_json":
        words = [word for part in _objects(answer.get("words")) if (word := _word(part))]
        segments = _with_words(segments, words)
    return tuple(segments)


def _segment(part: Mapping[str, Any], seconds: float, channel: int | None) -> Segment | None:
    start, end = _number(part.get("start")), _number(part.get("end"))
    if start is None or end is None:
        return None
    start = min(max(0.0, start), seconds)
    speaker = str(part.get("speaker") or "") or None
    return Segment(
        start=start,
        end=min(max(start, end), seconds),
        text=str(part.get("text") or "").strip(),
        channel=channel,
        speaker=speaker if channel is None else None,
        confidence=_sureness([part.get("avg_logprob")]),
    )


def _word(part: Mapping[str, Any]) -> Word | None:
    text, start, end = (
        str(part.get("word") or "").strip(),
        _number(part.get("start")),
        _number(part.get("end")),
    )
    if not text or start is None or end is None:
        return None
    start = max(0.0, start)
    return Word(text=text, start=start, end=max(start, end))


def _with_words(segments: Sequence[Segment], words: Sequence[Word]) -> list[Segment]:
    """Give each segment its timed words, spelled as in its text; both lists are in the order of speech.

    Where a text is not made of the next words, letter by letter, times decide which words are the segment's, and
    they stay as they were heard.
    """
    found: list[Segment] = []
    position = 0
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        text, heard, end = _plain(segment.text), "", position
        while end < len(words) and len(heard) < len(text):
            heard += _plain(words[end].text)
            end += 1
        if heard == text:
            taken = list(_spelled(segment.text, words[position:end]))
        else:
            end = len(words) if last else _after(segment.end, words, position)
            taken = list(words[position:end])
        position = end
        found.append(segment.model_copy(update={"words": tuple(taken)}))
    return found


def _spelled(text: str, words: Sequence[Word]) -> Iterator[Word]:
    """Yield the words of a text with the times of those heard, which have the same letters."""
    heard = [word for word in words for _ in _plain(word.text)]
    first = 0
    for token in text.split():
        last = first + len(_plain(token)) - 1
        if first <= last:
            yield Word(text=token, start=heard[first].start, end=heard[last].end)
            first = last + 1


def _after(time: float, words: Sequence[Word], position: int) -> int:
    """Return the number of the first word from ``position`` on that lies after a time."""
    later = (
        n for n in range(position, len(words)) if (words[n].start or 0.0) + (words[n].end or 0.0) > 2 * time
    )
    return next(later, len(words))


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [part for part in value if isinstance(part, Mapping)] if isinstance(value, list) else []


def _number(value: object) -> float | None:
    known = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if known and isinstance(value, int | float) else None


def _sureness(logprobs: Any) -> float | None:
    """Return 0-1 for the mean of log probabilities, ``None`` without any."""
    known = [n for n in map(_number, logprobs) if n is not None]
    return round(math.exp(min(0.0, sum(known) / len(known))), 3) if known else None


# --- texts without times ----------------------------------------------------------------------------------


def placed(segment: Segment, speech: Sequence[Region]) -> list[Segment]:
    """Divide a text without times over the stretches in which speech was heard, by their lengths.

    An estimate, but turns stay in order; over the whole length of the recording they would not.
    """
    regions = list(_joined(speech))
    words = segment.text.split()
    if not regions or not words:
        return [segment]
    ends = list(accumulate(region.duration for region in regions))
    lengths = list(accumulate(len(word) + 1 for word in words))
    where = [
        min(bisect_left(ends, (end - (len(word) + 1) / 2) / lengths[-1] * ends[-1]), len(ends) - 1)
        for word, end in zip(words, lengths, strict=True)
    ]
    return [
        segment.model_copy(
            update={
                "start": regions[number].start,
                "end": regions[number].end,
                "text": " ".join(word for _, word in group),
            }
        )
        for number, group in groupby(zip(where, words, strict=True), key=lambda item: item[0])
    ]


def _joined(speech: Sequence[Region]) -> Iterator[Region]:
    current: Region | None = None
    for region in sorted(speech, key=lambda r: r.start):
        if current is not None and region.start - current.end <= PAUSE:
            current = Region(start=current.start, end=max(current.end, region.end))
            continue
        if current is not None:
            yield current
        current = region
    if current is not None:
        yield current
