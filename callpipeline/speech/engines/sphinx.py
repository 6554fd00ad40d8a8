"""PocketSphinx: the offline demo engine. It needs no key and no download, and understands little.

What belongs here: feeding PocketSphinx well and reading its words. Word error rates of the English model that
comes with it are 0.05-0.2 on clear synthetic speech and near 1 on a real telephone call: it makes a first run
possible, and everything that shows its text must say that it is a demo.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from callpipeline.failures import EngineFailed, NotConfigured
from callpipeline.model import Segment, Transcript, Word
from callpipeline.speech.engines.base import CpuRunner, SpeechJob
from callpipeline.speech.utterances import Samples, Track, Utterance, tracks, utterances

if TYPE_CHECKING:
    from callpipeline.settings import Settings

REVISION = "1"
"""Goes up when the same recording would give another text."""

LONGEST = 15.0
"""Longest utterance (s): the search slows down and loses its way in longer ones."""

PIECE_SECONDS = 1800.0
"""A recording is shared out to worker processes in pieces of this length (s)."""

DECODER_OPTIONS: dict[str, Any] = {"loglevel": "FATAL", "fwdflat": False, "maxhmmpf": 4000}
"""Measured on every second shipped sample (one core): word error rate .147 at 8 times real time. With
``maxhmmpf`` 2000 it is .174 at 9 times, with 10000 .146 at 6 times; the flat second pass costs a quarter of
the speed for .007."""

LEVEL = 0.1
NOISE_DB = -45.0
"""Every utterance is brought to this RMS, and noise this far below it is added: the holes that lossy codecs
leave in the spectrum, and the empty upper half of telephone sound, are silence of a kind that the model has
never heard. Without the noise the word error rate of the same samples is .182."""

_VARIANT = re.compile(r"\(\d+\)$")


class SphinxTranscriber:
    """The offline demo engine, English only, in workers."""

    name = "sphinx"
    remote = False
    demo = True

    def __init__(self, settings: Settings, cpu: CpuRunner) -> None:
        self._cpu = cpu

    @property
    def version(self) -> str:
        """Package version and our revision."""
        return f"pocketsphinx-{version('pocketsphinx')}+{REVISION}"

    async def transcribe(self, job: SpeechJob) -> Transcript:
        """Return what the demo engine made of the recording.

        Raises:
            NotConfigured: the recording is not in English.
            EngineFailed: PocketSphinx broke.
        """
        if job.language.replace("_", "-").split("-")[0].lower() not in ("en", "english"):
            raise NotConfigured(
                f"the offline demo engine (sphinx) knows only English, not {job.language!r}.",
                hint="Set CALLPIPELINE_TRANSCRIBER=whisper and CALLPIPELINE_WHISPER_MODEL to a multilingual "
                "model such as small, or correct the recording's language.",
            )
        pieces = list(_pieces(tracks(job.info, job.activity, by_channel=job.by_channel)))
        found = await asyncio.gather(*(self._cpu(recognise, str(job.path), piece) for piece in pieces))
        segments = sorted((s for piece in found for s in piece), key=lambda s: (s.start, s.channel or 0))
        words = [w.confidence for s in segments for w in s.words if w.confidence is not None]
        return Transcript(
            engine=self.name,
            engine_version=self.version,
            language="en",
            duration=job.info.duration,
            segments=tuple(segments),
            confidence=round(sum(words) / len(words), 3) if words else None,
            demo=True,
            notes=("text of the offline demo engine: expect wrong words, above all on real telephone calls",),
        )


def _pieces(sources: Sequence[Track]) -> Iterator[tuple[Track, ...]]:
    """Share out the regions by time; one that begins in a piece belongs to it."""
    last = max((t.regions[-1].start for t in sources), default=-1.0)
    for number in range(int(last // PIECE_SECONDS) + 1):
        piece = (
            Track(t.row, t.channel, tuple(r for r in t.regions if r.start // PIECE_SECONDS == number))
            for t in sources
        )
        if filled := tuple(track for track in piece if track.regions):
            yield filled


def recognise(path: str, sources: tuple[Track, ...]) -> list[Segment]:
    """Return the segments of some tracks of a recording, in no particular order. Runs in a worker.

    Raises:
        EngineFailed: PocketSphinx broke.
    """
    found = (_segment(utterance) for utterance in utterances(Path(path), sources, longest=LONGEST))
    return [segment for segment in found if segment is not None]


_own = threading.local()
"""The decoder of each thread: it keeps the state of an utterance, so no two may use one."""


def _decoder() -> Any:
    if getattr(_own, "decoder", None) is None:
        from pocketsphinx import Decoder

        _own.decoder = Decoder(**DECODER_OPTIONS)
    return _own.decoder


def prepared(samples: Samples) -> npt.NDArray[np.int16]:
    """Bring an utterance to the level, and with the noise floor, that the model knows."""
    level = float(np.sqrt(np.mean(samples**2)))
    peak = float(np.abs(samples).max())
    gain = min(LEVEL / max(level, 1e-6), 0.95 / max(peak, 1e-6))
    noise = np.random.default_rng(0).standard_normal(samples.size) * level * gain * 10 ** (NOISE_DB / 20)
    return np.asarray(np.clip(samples * gain + noise, -1.0, 1.0) * 32767, dtype=np.int16)


def _segment(utterance: Utterance) -> Segment | None:
    decoder = _decoder()
    try:
        # Its front end keeps a little of the last utterance, but the same sound must give the same words.
        decoder.reinit_feat()
        decoder.start_utt()
        # The whole utterance at once, so that its cepstral mean is known from the first frame on.
        decoder.process_raw(prepared(utterance.samples).tobytes(), full_utt=True)
        decoder.end_utt()
        words = tuple(_words(decoder, utterance))
    except RuntimeError as error:
        _own.decoder = None
        raise EngineFailed(f"PocketSphinx broke at {utterance.start:.1f} s: {error}.") from error
    if not words:
        return None
    confidences = [w.confidence for w in words if w.confidence is not None]
    return Segment(
        start=words[0].start if words[0].start is not None else utterance.start,
        end=words[-1].end if words[-1].end is not None else utterance.end,
        text=" ".join(w.text for w in words),
        channel=utterance.channel,
        words=words,
        confidence=round(sum(confidences) / len(confidences), 3),
    )


def _words(decoder: Any, utterance: Utterance) -> Iterator[Word]:
    for found in decoder.seg() or ():
        if found.word.startswith(("<", "[")):
            continue
        end = min(utterance.end, utterance.start + (found.end_frame + 1) / 100)
        yield Word(
            text=_VARIANT.sub("", found.word),
            start=round(min(end, utterance.start + found.start_frame / 100), 3),
            end=round(end, 3),
            confidence=round(min(1.0, max(0.0, decoder.logmath.exp(found.prob))), 3),
        )
