"""A transcript as AssemblyAI writes it: words, utterances, sentences, paragraphs, subtitles.

Belongs here: shapes and units of version 2 (times are integer milliseconds, channels are strings "1", "2").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from callpipeline_tests.simulators.answers import Answer
from callpipeline_tests.simulators.words import SpokenTurn, letters, words_of

_SENTENCES_IN_PARAGRAPH = 4
_CHARS_PER_CAPTION = 128

Json = dict[str, Any]


def utterances(answer: Answer, *, multichannel: bool, speaker_labels: bool) -> list[Json]:
    """Return the turns with their words; channel and speaker are ``None`` unless asked for.

    With ``multichannel`` the speaker is the channel; with labels too, the channel and a letter (``1A``).
    """
    names = letters(answer.turns)
    per_channel = {
        channel: letters([turn for turn in answer.turns if turn.channel == channel])
        for channel in {turn.channel for turn in answer.turns}
    }
    result = []
    for turn in answer.turns:
        channel = str(turn.channel + 1) if multichannel else None
        label = names[turn.speaker] if speaker_labels else None
        if channel:
            label = channel + (per_channel[turn.channel][turn.speaker] if speaker_labels else "")
        result.append(_utterance(turn, channel, label))
    return result


def _utterance(turn: SpokenTurn, channel: str | None, speaker: str | None) -> Json:
    words = [
        {
            "text": word.text,
            "start": word.start,
            "end": word.end,
            "confidence": word.confidence,
            "speaker": speaker,
            "channel": channel,
        }
        for word in words_of(turn)
    ]
    return _span(words) | {"speaker": speaker, "channel": channel}


def _span(words: list[Json]) -> Json:
    return {
        "text": " ".join(word["text"] for word in words),
        "start": words[0]["start"] if words else 0,
        "end": words[-1]["end"] if words else 0,
        "confidence": mean_confidence(words),
        "words": words,
    }


def mean_confidence(words: Iterable[Json]) -> float:
    """Return the mean confidence; 0 without words."""
    values = [word["confidence"] for word in words]
    return round(sum(values) / len(values), 6) if values else 0.0


def words_in_order(spoken: Iterable[Json]) -> list[Json]:
    """Return all words by start."""
    return sorted(
        (word for one in spoken for word in one["words"]), key=lambda word: (word["start"], word["end"])
    )


def sentences(spoken: Iterable[Json]) -> list[Json]:
    """Cut the utterances after each full stop, question or exclamation mark."""
    return [
        _span(words) | {"speaker": one["speaker"], "channel": one["channel"]}
        for one in spoken
        for words in _sentence_words(one["words"])
    ]


def _sentence_words(words: list[Json]) -> Iterator[list[Json]]:
    sentence: list[Json] = []
    for word in words:
        sentence.append(word)
        if word["text"].endswith((".", "?", "!")):
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def paragraphs(spoken: Iterable[Json]) -> list[Json]:
    """Join a few sentences of the same utterance."""
    result = []
    for one in spoken:
        cut = list(_sentence_words(one["words"]))
        result += [
            _span([word for part in cut[first : first + _SENTENCES_IN_PARAGRAPH] for word in part])
            for first in range(0, len(cut), _SENTENCES_IN_PARAGRAPH)
        ]
    return result


def captions(spoken: Iterable[Json], chars: int | None) -> list[tuple[float, float, str]]:
    """Return (start, end, text) in seconds; no caption longer than ``chars`` unless one word is."""
    limit = chars or _CHARS_PER_CAPTION
    cues: list[list[Json]] = []
    for one in spoken:
        cue: list[Json] = []
        for word in one["words"]:
            if cue and len(" ".join(w["text"] for w in [*cue, word])) > limit:
                cues.append(cue)
                cue = []
            cue.append(word)
        if cue:
            cues.append(cue)
    return [
        (cue[0]["start"] / 1000, cue[-1]["end"] / 1000, " ".join(word["text"] for word in cue))
        for cue in cues
    ]
