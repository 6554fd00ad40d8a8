"""faster-whisper: transcription on this machine, with real weights.

What belongs here: packing utterances into the 30 s windows that Whisper hears, and placing its words back in
the recording. What does not: finding and loading weights (``whisper_weights``), finding speech (the job
brings it).
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from callpipeline.cancellation import checkpoint, in_thread
from callpipeline.failures import EngineFailed, NotConfigured, ResourceExhausted
from callpipeline.model import Segment, Transcript, Word
from callpipeline.speech.diarizers import uses_nemo
from callpipeline.speech.engines import whisper_weights
from callpipeline.speech.engines.base import CpuRunner, SpeechJob
from callpipeline.speech.engines.whisper_weights import LoadedModel
from callpipeline.speech.utterances import RATE, Utterance, tracks, utterances

if TYPE_CHECKING:
    from callpipeline.settings import Settings

REVISION = "1"
"""Goes up when the same recording and weights would give another text."""

WINDOW_SECONDS = 30.0
LONGEST = 28.0
"""Longest utterance (s); a window holds one, or several short ones of the same channel."""

BATCH = 8
"""Windows decoded at once: 15 MB of samples and 8 MB of features, however long the recording."""

AT_ONCE = 2
"""Recordings in work at once: one is decoded and cut while the model, which uses all cores, hears the
other."""


class WhisperTranscriber:
    """Local Whisper through CTranslate2, which releases the GIL: threads of this process share one model."""

    name = "whisper"
    remote = False
    demo = False

    def __init__(self, settings: Settings, cpu: CpuRunner) -> None:
        self._model = settings.whisper_model
        self._device = settings.whisper_device
        self._compute_type = settings.whisper_compute_type
        self._suppress_numerals = settings.suppress_numerals
        # NeMo runs beside it: with all cores for both, their threads wait for each other and both take longer.
        self._threads = max(1, (os.cpu_count() or 1) // 2) if uses_nemo(settings) else 0
        self._turnstile = asyncio.Semaphore(AT_ONCE)
        self._refusal: NotConfigured | None = None

    @property
    def version(self) -> str:
        """Package version, model and our revision."""
        words = " numbers as words" if self._suppress_numerals else ""
        return (
            f"faster-whisper-{version('faster-whisper')}+{REVISION} {self._model} {self._compute_type}{words}"
        )

    async def transcribe(self, job: SpeechJob) -> Transcript:
        """Return what Whisper heard, channel by channel.

        Raises:
            NotConfigured: weights are missing and cannot be fetched, or do not know the language.
            EngineFailed: the model broke.
            ResourceExhausted: memory gave out.
        """
        async with self._turnstile:
            return await in_thread(self._transcribe, job)

    def _transcribe(self, job: SpeechJob) -> Transcript:
        loaded = self._loaded()
        language = _language(job.language, loaded)
        suppressed = numerals(loaded.model) if self._suppress_numerals else ()
        try:
            with whisper_weights.at_work(loaded):
                segments = _transcribe_on(loaded, job, language, suppressed)
        except RuntimeError as error:
            if loaded.device != "cuda" or self._device != "auto":
                raise _broken(error) from error
            because = f"CUDA broke ({error})"
            loaded = whisper_weights.fall_back_to_cpu(self._model, self._compute_type, because, self._threads)
            with whisper_weights.at_work(loaded):
                segments = _transcribe_on(loaded, job, language, suppressed)
        return Transcript(
            engine=self.name,
            engine_version=self.version,
            language=language,
            duration=job.info.duration,
            segments=tuple(segments),
            confidence=_mean([s.confidence for s in segments]),
            notes=(loaded.note,) if loaded.note else (),
        )

    def _loaded(self) -> LoadedModel:
        """Load the model; what is missing is not looked for (and waited for) again for each recording."""
        if self._refusal is not None:
            raise self._refusal
        try:
            return whisper_weights.load(self._model, self._device, self._compute_type, self._threads)
        except NotConfigured as error:
            self._refusal = error
            raise


def _language(wanted: str, loaded: LoadedModel) -> str:
    language = wanted.replace("_", "-").split("-")[0].lower()
    known = loaded.model.supported_languages
    if language not in known:
        raise NotConfigured(
            f"the Whisper model does not know the recording's language, {wanted!r}.",
            hint="Choose a multilingual model (small, not small.en) in CALLPIPELINE_WHISPER_MODEL."
            if known == ["en"]
            else "Give the language as a two-letter code, such as en.",
        )
    return language


def _broken(error: RuntimeError) -> EngineFailed | ResourceExhausted:
    if "out of memory" in str(error).lower():
        return ResourceExhausted(
            f"memory gave out in Whisper: {error}.", hint="Choose a smaller CALLPIPELINE_WHISPER_MODEL."
        )
    return EngineFailed(f"Whisper broke: {error}.")


# --- windows ------------------------------------------------------------------------------------------


@dataclass
class _Window:
    """Utterances of one channel, end to end, at most ``WINDOW_SECONDS`` of them."""

    channel: int | None
    parts: list[Utterance] = field(default_factory=list)
    seconds: float = 0.0

    def fits(self, utterance: Utterance) -> bool:
        return self.seconds + (utterance.end - utterance.start) <= WINDOW_SECONDS

    def add(self, utterance: Utterance) -> None:
        self.parts.append(utterance)
        self.seconds += utterance.end - utterance.start

    def place(self, time: float) -> tuple[Utterance, float]:
        """Return the utterance heard at a time of the window, and where in the window it begins."""
        begin = 0.0
        for part in self.parts[:-1]:
            length = part.end - part.start
            if time < begin + length:
                return part, begin
            begin += length
        return self.parts[-1], begin


def _windows(heard: Iterator[Utterance]) -> Iterator[_Window]:
    """Pack utterances: each window costs a full 30 s pass of the encoder, however little is in it."""
    filling: dict[int | None, _Window] = {}
    for utterance in heard:
        window = filling.get(utterance.channel)
        if window is not None and not window.fits(utterance):
            yield filling.pop(utterance.channel)
        filling.setdefault(utterance.channel, _Window(utterance.channel)).add(utterance)
    yield from filling.values()


def _transcribe_on(
    loaded: LoadedModel, job: SpeechJob, language: str, suppressed: tuple[int, ...]
) -> list[Segment]:
    sources = tracks(job.info, job.activity, by_channel=job.by_channel)
    heard = utterances(job.path, sources, longest=LONGEST)
    found: list[Segment] = []
    windows = _windows(heard)
    while batch := list(itertools.islice(windows, BATCH)):
        checkpoint()
        found.extend(_batch_segments(loaded.model, batch, language, suppressed))
    return sorted(found, key=lambda s: (s.start, s.channel or 0))


def _batch_segments(
    model: Any, batch: Sequence[_Window], language: str, suppressed: tuple[int, ...]
) -> Iterator[Segment]:
    from faster_whisper import BatchedInferencePipeline

    grid = round(WINDOW_SECONDS * RATE)
    samples = np.zeros(grid * len(batch), np.float32)
    for number, window in enumerate(batch):
        joined = np.concatenate([part.samples for part in window.parts])[:grid]
        samples[number * grid : number * grid + joined.size] = joined
    # A pipeline keeps state between calls, so each call of each thread has its own.
    found, _ = BatchedInferencePipeline(model).transcribe(
        samples,
        language=language,
        word_timestamps=True,
        batch_size=BATCH,
        suppress_tokens=[-1, *suppressed],
        clip_timestamps=[
            {"start": n * WINDOW_SECONDS, "end": n * WINDOW_SECONDS + w.seconds} for n, w in enumerate(batch)
        ],
    )
    for segment in found:
        number = segment.seek // round(model.frames_per_second * WINDOW_SECONDS)
        yield from _placed(segment, batch[number], number * WINDOW_SECONDS)


def numerals(model: Any) -> tuple[int, ...]:
    """Return the tokens with a digit or a sign such as % in them: without these Whisper writes numbers as words.

    Words can be aligned with their sound; "1,250" cannot.
    """
    vocabulary = model.hf_tokenizer.get_vocab()
    return tuple(sorted(token for text, token in vocabulary.items() if _is_numeral(text)))


def _is_numeral(text: str) -> bool:
    return not text.startswith("<|") and any(sign in "0123456789%$£€" for sign in text)


def _placed(segment: Any, window: _Window, begin: float) -> Iterator[Segment]:
    """Place what Whisper heard in a window back into the recording, one segment for each utterance."""
    timed = [w for w in segment.words or () if w.word.strip()]
    if not timed:
        yield from _untimed(segment, window, begin)
        return
    located = [(*window.place((float(w.start) + float(w.end)) / 2 - begin), w) for w in timed]
    for (part, offset), group in itertools.groupby(located, key=lambda item: item[:2]):
        found = [word for _, _, word in group]
        words = tuple(
            Word(
                text=w.word.strip(),
                start=_time(w.start - begin - offset, part),
                end=_time(w.end - begin - offset, part),
                confidence=_share(w.probability),
            )
            for w in found
        )
        yield Segment(
            start=words[0].start or 0.0,
            end=words[-1].end or 0.0,
            text="".join(w.word for w in found).strip(),
            channel=window.channel,
            words=words,
            confidence=_mean([w.confidence for w in words]),
        )


def _untimed(segment: Any, window: _Window, begin: float) -> Iterator[Segment]:
    text = segment.text.strip()
    if not text:
        return
    first, offset = window.place(float(segment.start) - begin)
    last, last_offset = window.place(float(segment.end) - begin)
    yield Segment(
        start=_time(segment.start - begin - offset, first),
        end=_time(segment.end - begin - last_offset, last),
        text=text,
        channel=window.channel,
        confidence=_share(math.exp(min(0.0, float(segment.avg_logprob)))),
    )


def _time(seconds: float, part: Utterance) -> float:
    """Turn a time of an utterance into one of the recording, inside that utterance."""
    return round(min(part.end, max(part.start, part.start + float(seconds))), 3)


def _share(value: float) -> float:
    return round(min(1.0, max(0.0, float(value))), 3)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return round(sum(known) / len(known), 3) if known else None
