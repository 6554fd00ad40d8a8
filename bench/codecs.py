"""Which codec chunks of speech are sent in: what it costs in words, in bytes, in CPU and in exactness of times.

Each codec gets the 16 kHz samples as mono and comes back through FFmpeg's decoder, as it would at a provider's.
Words: the offline engine listens to the file that would be sent, with the utterances of the FLAC file, so that
only the sound differs. Times: pulses at known samples go in, and where they come out is looked up; also by a
decoder that does not know that encoders put silence in front.

``Value``: size of the smallest codec, as a share of FLAC, that is exact and costs 0.5 points of word error rate
at most. The small scale has too few words to tell half a point, so there a codec may also cost two words.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.result import Result, Scale
from callpipeline.audio.decode import read
from callpipeline.audio.probe import probe
from callpipeline.audio.vad import speech_activity
from callpipeline.speech.engines.sphinx import recognise
from callpipeline.speech.utterances import Track, tracks

DATA = Path(__file__).parents[1] / "data"
RATE = 16_000
FEW_CLIPS = frozenset({"homes-not-interested-price-probe", "mono-solar-no-attempt"})
FEW_CODECS = frozenset({"flac", "opus 16", "opus 24", "mp3 32"})
"""What the small scale has time to listen to; sizes and times are those of all codecs."""
MOST_POINTS = 0.5
MOST_WORDS = 2
GOAL = 0.25
SIZE = "kilobytes_per_minute"
EXACT = 1.0
"""Samples by which a pulse may come out beside its place."""

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Codec:
    """One way to send sound. ``kbits`` is the bit rate in kbit/s, 0 where it follows from the sound."""

    encoder: str
    container: str
    kbits: int = 0
    options: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.encoder.removeprefix('lib').removesuffix('lame')} {self.kbits or ''}".strip()


VOICE = {"application": "voip", "vbr": "constrained", "compression_level": "3"}
CODECS = (
    Codec("flac", "flac"),
    *(Codec("libopus", "ogg", kbits, VOICE) for kbits in (16, 24, 32)),
    *(Codec("libmp3lame", "mp3", kbits) for kbits in (32, 48, 64)),
    *(Codec("aac", "mp4", kbits) for kbits in (32, 48)),
)


@dataclass(frozen=True)
class Clip:
    """Speech with the words that were said."""

    name: str
    samples: Samples
    words: str


def run(scale: Scale) -> Result:
    """Try every codec on all samples, or the likeliest on two of them."""
    clips = [clip for clip in _clips() if scale is Scale.FULL or clip.name in FEW_CLIPS]
    tried = [codec for codec in CODECS if scale is Scale.FULL or codec.name in FEW_CODECS]
    with tempfile.TemporaryDirectory() as folder:
        heard = _heard(clips, tried, Path(folder))
    spoken = [clip.words for clip in clips]
    words = sum(len(text.split()) for text in spoken)
    lossless = _errors(spoken, heard[CODECS[0].name])
    allowed = MOST_POINTS / 100 * words
    if scale is Scale.SMALL:
        allowed = max(allowed, MOST_WORDS)
    joined = np.concatenate([clip.samples for clip in clips])
    rows = {codec.name: {**_size(codec, joined), **_times(codec)} for codec in CODECS}
    fit = []
    for codec in tried:
        more = _errors(spoken, heard[codec.name]) - lossless
        rows[codec.name] = {"more_wer_points": round(100 * more / words, 2), **rows[codec.name]}
        if more <= allowed and rows[codec.name]["exact"]:
            fit.append(codec.name)
    chosen = min(fit, key=lambda name: float(rows[name][SIZE]))
    share = round(rows[chosen][SIZE] / rows[CODECS[0].name][SIZE], 3)
    details = {
        "chosen": chosen,
        "words": words,
        "minutes": round(joined.size / RATE / 60, 1),
        "word error rate of FLAC": round(lossless / words, 4),
        **rows,
    }
    return Result("codecs", share, f"<= {GOAL}", share <= GOAL, details)


# --- words --------------------------------------------------------------------------------------------------


def _clips() -> Iterator[Clip]:
    """Yield the English conversations at 16 kHz, both sides in one channel."""
    for path in sorted((DATA / "samples_src" / "expected").glob("*.json")):
        truth = json.loads(path.read_text("utf-8"))
        said = " ".join(line["text"] for line in truth["dialogue"])
        english = truth["metadata"].get("disposition") != "Spanish Speaker"
        if truth["sample_rate"] == RATE and len(said.split()) >= 30 and english and not truth["duplicate_of"]:
            sound = read(DATA / "samples" / truth["file"], rate=RATE)
            yield Clip(truth["name"], sound.mean(axis=0, dtype=np.float32), _plain(said))


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^a-z' ]", " ", text.lower()).split())


def _heard(clips: Sequence[Clip], codecs: Sequence[Codec], folder: Path) -> dict[str, list[str]]:
    """Return what the engine hears of each clip, by codec."""
    jobs: list[tuple[str, tuple[Track, ...]]] = []
    for clip in clips:
        for codec in codecs:
            path = folder / f"{clip.name} {codec.name}.{codec.container}"
            path.write_bytes(_encoded(codec, clip.samples))
            if codec is codecs[0]:
                info = probe(path, max_duration=3600, max_bytes=2**30)
                regions = tracks(info, speech_activity(path, info))
            jobs.append((str(path), tuple(regions)))
    # One at a time takes too long for the small scale; "spawn", as threads of others may be running.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        texts = list(pool.map(_words_of, jobs))
    return {codec.name: texts[number :: len(codecs)] for number, codec in enumerate(codecs)}


def _words_of(job: tuple[str, tuple[Track, ...]]) -> str:
    segments = sorted(recognise(*job), key=lambda s: s.start)
    return _plain(" ".join(s.text for s in segments))


def _errors(spoken: list[str], heard: list[str]) -> int:
    import jiwer

    found = jiwer.process_words(spoken, heard)
    return int(found.substitutions + found.deletions + found.insertions)


# --- bytes and CPU ------------------------------------------------------------------------------------------


def _size(codec: Codec, samples: Samples) -> dict[str, float]:
    began = time.process_time()
    size = len(_encoded(codec, samples))
    seconds = time.process_time() - began
    minutes = samples.size / RATE / 60
    return {
        SIZE: round(size / 1000 / minutes, 1),
        "encode_cpu_seconds_per_minute": round(seconds / minutes, 3),
    }


def _encoded(codec: Codec, samples: Samples) -> bytes:
    import av
    from av.audio.frame import AudioFrame

    file = io.BytesIO()
    with av.open(file, "w", format=codec.container, container_options={"fflags": "+bitexact"}) as container:
        options = {"flags": "+bitexact", **codec.options}
        stream: Any = container.add_stream(codec.encoder, rate=RATE, options=options, layout="mono")
        if codec.kbits:
            stream.bit_rate = codec.kbits * 1000
        pcm = np.rint(samples * 32768).clip(-32768, 32767).astype(np.int16)
        for first in range(0, pcm.size, RATE):
            frame = AudioFrame.from_ndarray(pcm[None, first : first + RATE], format="s16", layout="mono")
            frame.sample_rate = RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


# --- times --------------------------------------------------------------------------------------------------

PULSES = 40
WIDTH = 8
"""Samples of a pulse; narrower ones are above what speech codecs keep."""


def _times(codec: Codec) -> dict[str, Any]:
    """Return how many samples late a pulse comes out, the most that one differs from that, and the length's error.

    ``lag_if_padding_is_kept`` is that of a decoder that plays the silence that encoders put in front.
    """
    sent, places = _pulse_train()
    data = _encoded(codec, sent)
    with tempfile.NamedTemporaryFile(suffix=f".{codec.container}") as file:
        file.write(data)
        file.flush()
        found = read(file.name, rate=RATE)[0]
    lags = [_lag(sent, found, place) for place in places]
    lag = float(np.median(lags))
    spread = float(np.abs(np.array(lags) - lag).max())
    whole = _unskipped(data)
    return {
        "lag_samples": round(lag, 2),
        "spread_samples": round(spread, 2),
        "length_samples": int(found.size - sent.size),
        "lag_if_padding_is_kept": round(float(np.median([_lag(sent, whole, p) for p in places[:5]])), 1),
        "exact": abs(lag) <= EXACT and spread <= EXACT,
    }


def _pulse_train() -> tuple[Samples, list[int]]:
    """Return pulses at uneven distances, over noise as quiet as a good room's."""
    random = np.random.default_rng(0)
    sent = (random.standard_normal(RATE * (PULSES // 2 + 2)) * 1e-3).astype(np.float32)
    places = [RATE // 2 * (n + 1) + int(random.integers(0, RATE // 8)) for n in range(PULSES)]
    shape = np.hanning(WIDTH + 2)[1:-1].astype(np.float32) * 0.7
    for place in places:
        sent[place : place + WIDTH] += shape
        sent[place + WIDTH : place + 2 * WIDTH] -= shape
    return sent, places


def _lag(sent: Samples, found: Samples, place: int) -> float:
    """Return how late the pulse at ``place`` is, in samples, by the peak of the correlation between its sides."""
    reach = RATE // 5
    piece = sent[place - WIDTH : place + 3 * WIDTH]
    first = max(0, place - WIDTH - reach)
    window = found[first : place + 3 * WIDTH + reach]
    likeness = np.correlate(window, piece, "valid")
    top = int(likeness.argmax())
    if not 0 < top < likeness.size - 1:
        return float(reach)
    left, middle, right = (float(x) for x in likeness[top - 1 : top + 2])
    between = (left - right) / (2 * (left - 2 * middle + right)) if left + right < 2 * middle else 0.0
    return first + top + between - (place - WIDTH)


def _unskipped(data: bytes) -> Samples:
    """Decode without leaving out the samples that the file says are padding."""
    import av
    from av.audio.resampler import AudioResampler
    from av.codec.context import Flags2

    with av.open(io.BytesIO(data), options={"ignore_editlist": "1"}) as container:
        stream = container.streams.audio[0]
        stream.codec_context.flags2 |= Flags2.skip_manual
        resampler = AudioResampler(format="fltp", layout="mono", rate=RATE)
        pieces = []
        for frame in container.decode(stream):
            frame.pts = None
            pieces += [made.to_ndarray()[0] for made in resampler.resample(frame)]
        pieces += [made.to_ndarray()[0] for made in resampler.resample(None)]
    return np.concatenate(pieces)
