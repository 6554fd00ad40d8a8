"""Recordings of hours whose every word is known, spoken by the voices of the shipped samples.

What belongs here: one mp3 of any length, written as a stream, and who says what in it. What does not: telling
where a piece of it lies (``callpipeline_tests.simulators.timeline``).

A recording is one turn of the samples' dialogues after another, in an order and at speeds that are drawn anew
for each, so that no two passages of it are equal. Between turns are pauses of 0.3-2.5 s, sometimes a long silence;
within a turn no pause is long enough to be one, so that the times of its words, which the dialogues do not tell, matter
nowhere but in an overlap.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from bench.recordings import SAMPLES
from callpipeline.audio.decode import read
from callpipeline_tests.simulators import SpokenTurn

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

TRUTHS = SAMPLES.parent / "samples_src" / "expected"

RATE = 16_000
"""Samples per second of the voices."""

WRITTEN_RATE = 44_100
"""Samples per second of the file."""

PAUSES = (0.3, 2.5)
LONG_SILENCES = (6.0, 25.0)
_LONG_SHARE = 0.02
"""Two pauses in a hundred are long silences."""

_FASTEST = 0.06
"""Speeds differ by at most this, pitch with them."""

_LONGEST_INSIDE = 0.12
"""Longer pauses within a turn are cut to this (s)."""

_QUIET = 0.004
_FRAME = 160
_NOISE = 0.0004
"""Hiss under everything: -68 dBFS."""

_BLOCK_SECONDS = 20.0

Voice = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Spoken:
    """One turn of a sample, as sound of ``RATE`` and as text."""

    speaker: str
    text: str
    sound: Voice


def make(
    path: Path,
    seconds: float,
    *,
    bit_rate: int = 128_000,
    layout: Literal["mono", "stereo"] = "stereo",
    seed: int = 0,
    pauses: tuple[float, float] = PAUSES,
) -> list[SpokenTurn]:
    """Write an mp3 of so many seconds and return what is said in it.

    Its size is ``seconds`` x ``bit_rate`` / 8: 2 h 06 at 128 kbit/s are 121 MB. Memory does not depend on the
    length. The same arguments give the same recording.

    Args:
        path: The mp3; ``NAME.words.json`` with the same turns appears beside it.
        seconds: Its length.
        bit_rate: In bits a second.
        layout: ``stereo`` has the same sound on both sides, as broadcasts do.
        seed: Of the order, speeds and pauses.
        pauses: The least and the most seconds between turns.
    """
    turns: list[SpokenTurn] = []
    _write_mp3(path, _sound(seconds, random.Random(seed), pauses, turns), bit_rate, layout)
    words = [turn.model_dump() for turn in turns]
    path.with_suffix(".words.json").write_text(json.dumps(words), encoding="utf-8")
    return turns


def divided(path: Path, folder: Path, count: int, seconds: float) -> None:
    """Write the first ``count`` stretches of an mp3 as files of their own, without coding them anew."""
    import av

    folder.mkdir(parents=True)
    with av.open(str(path)) as whole:
        source = whole.streams.audio[0]
        packets = (packet for packet in whole.demux(source) if packet.pts is not None)
        unit = float(source.time_base or 1)
        for number, group in groupby(packets, key=lambda packet: int(unit * packet.pts // seconds)):
            if number == count:
                return
            with av.open(str(folder / f"{number:02d}.mp3"), "w", format="mp3") as part:
                stream = part.add_stream_from_template(source)
                first = None
                for packet in group:
                    first = packet.pts if first is None else first
                    packet.pts, packet.dts, packet.stream = packet.pts - first, packet.pts - first, stream
                    part.mux(packet)


# --- what is said ------------------------------------------------------------------------------------------


def _sound(
    seconds: float, rng: random.Random, pauses: tuple[float, float], turns: list[SpokenTurn]
) -> Iterator[Voice]:
    """Yield exactly so many seconds of sound, and put each turn that is in it into ``turns``."""
    noise = np.random.default_rng(rng.getrandbits(32))
    total, made = round(seconds * RATE), 0
    for speaker, text, sound in _endless(voices(), rng):
        pause = round(_pause(rng, pauses) * RATE)
        if made + pause + sound.size + RATE > total:
            break
        start = made + pause
        made = start + sound.size
        turns.append(SpokenTurn(speaker=speaker, start=start / RATE, end=made / RATE, text=text))
        yield _hiss(noise, pause)
        yield sound + _hiss(noise, sound.size)
    while made < total:
        rest = min(total - made, round(_BLOCK_SECONDS * RATE))
        made += rest
        yield _hiss(noise, rest)


def _pause(rng: random.Random, pauses: tuple[float, float]) -> float:
    return rng.uniform(*(LONG_SILENCES if rng.random() < _LONG_SHARE else pauses))


def _hiss(noise: np.random.Generator, samples: int) -> Voice:
    return noise.standard_normal(samples, dtype=np.float32) * np.float32(_NOISE)


def _endless(known: Sequence[Spoken], rng: random.Random) -> Iterator[tuple[str, str, Voice]]:
    """Yield turns for ever: each once in every round, each time at another speed."""
    while True:
        for spoken in rng.sample(known, len(known)):
            speed = 1 + rng.uniform(-_FASTEST, _FASTEST)
            places = np.arange(0, spoken.sound.size - 1, speed)
            sound = np.interp(places, np.arange(spoken.sound.size), spoken.sound)
            yield spoken.speaker, spoken.text, sound.astype(np.float32)


def voices() -> list[Spoken]:
    """Return all turns of the samples that nobody interrupts."""
    found: list[Spoken] = []
    for path in sorted(TRUTHS.glob("*.json")):
        truth = json.loads(path.read_text(encoding="utf-8"))
        if truth["kind"] == "call":
            found += _turns_of(truth)
    return found


def _turns_of(truth: Mapping[str, Any]) -> Iterator[Spoken]:
    lines = truth["dialogue"]
    sound = read(SAMPLES / truth["file"], rate=RATE)
    roles = truth["metadata"].get("channel_roles") or {"0": "agent", "1": "customer"}
    channels = {role: int(number) for number, role in roles.items()} if truth["channels"] > 1 else {}
    for line in lines:
        alone = all(other is line or _apart(line, other) for other in lines)
        first, last = round(line["start"] * RATE), round(line["end"] * RATE)
        heard = sound[channels.get(line["speaker"], 0), first:last]
        if alone and line["text"].split():
            yield Spoken(f"{truth['name']} {line['speaker']}", line["text"], _brisk(heard))


def _apart(line: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return other["end"] <= line["start"] or other["start"] >= line["end"]


def _brisk(sound: Voice) -> Voice:
    """Return a turn with its pauses cut short."""
    frames = sound[: sound.size // _FRAME * _FRAME].reshape(-1, _FRAME)
    loud = np.sqrt((frames**2).mean(axis=1)) > _QUIET
    since, kept = 0, np.ones(loud.size, dtype=bool)
    for index, one in enumerate(loud):
        since = 0 if one else since + 1
        kept[index] = since * _FRAME <= _LONGEST_INSIDE * RATE
    return np.ascontiguousarray(frames[kept].reshape(-1))


# --- writing it --------------------------------------------------------------------------------------------


def _write_mp3(path: Path, sound: Iterator[Voice], bit_rate: int, layout: str) -> None:
    import av
    from av.audio.resampler import AudioResampler

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp3") as container:
        options = {"compression_level": "9"}  # the fastest: hours are to be written
        stream = container.add_stream("libmp3lame", rate=WRITTEN_RATE, layout=layout, options=options)
        stream.bit_rate = bit_rate
        resampler = AudioResampler(format="s16p", layout=layout, rate=WRITTEN_RATE)
        for frame in _frames(sound):
            for resampled in resampler.resample(frame):
                container.mux(stream.encode(resampled))
        for resampled in resampler.resample(None):
            container.mux(stream.encode(resampled))
        container.mux(stream.encode(None))


def _frames(sound: Iterator[Voice]) -> Iterator[AudioFrame]:
    from av.audio.frame import AudioFrame

    for samples in sound:
        whole = (np.clip(samples, -1, 1) * 32767).astype(np.int16)
        frame = AudioFrame.from_ndarray(whole[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        yield frame
