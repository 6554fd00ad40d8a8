"""Real recordings made on the spot: any container and codec, spoken clips placed at known times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from callpipeline.audio.decode import Samples, read
from callpipeline.audio.probe import probe
from callpipeline.model import AudioInfo

SPEECH = Path(__file__).parents[1] / "data" / "speech"
CLIP_LEAD = 0.02
"""Seconds before the first sound of a clip."""

TEN_HOURS = 36_000.0
Write = Callable[..., Path]


def write_audio(
    path: Path,
    samples: Samples,
    rate: int = 8000,
    codec: str = "pcm_s16le",
    layout: str | None = None,
    video: bool = False,
    **options: Any,
) -> Path:
    """Encode (channels, n) samples; the container follows from the file's ending."""
    layout = layout or {1: "mono", 2: "stereo", 7: "6.1"}[samples.shape[0]]
    with av.open(str(path), "w") as container:
        pictures = _picture_stream(container) if video else None
        stream = container.add_stream(codec, rate=rate, layout=layout)
        for name, value in options.items():
            setattr(stream, name, value)
        if pictures is not None:
            _black_pictures(container, pictures, seconds=samples.shape[1] / rate)
        for start in range(0, samples.shape[1], rate):
            piece = np.ascontiguousarray(samples[:, start : start + rate], dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
            frame.sample_rate = rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _picture_stream(container: Any) -> Any:
    stream = container.add_stream("mpeg4", rate=5)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    return stream


def _black_pictures(container: Any, stream: Any, seconds: float) -> None:
    for _ in range(max(1, int(seconds * 5))):
        picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(picture))
    container.mux(stream.encode(None))


def clip(name: str, rate: int = 8000) -> Samples:
    """Return one spoken clip as (n,) samples."""
    return read(SPEECH / f"{name}.flac", rate=rate)[0]


def place(
    clips: Sequence[tuple[int, str, float]],
    seconds: float,
    channels: int = 2,
    rate: int = 8000,
    noise: float = 0.001,
) -> Samples:
    """Return a call: the first sound of each (channel, clip, second) is at that second, over line noise."""
    call = np.random.default_rng(7).normal(0.0, noise, (channels, round(seconds * rate))).astype(np.float32)
    for channel, name, second in clips:
        sound = clip(name, rate)
        start = round((second - CLIP_LEAD) * rate)
        call[channel, start : start + sound.size] += sound
    return call


def tone(seconds: float, rate: int = 8000, channels: int = 1, level: float = 0.3) -> Samples:
    """Return a hum of a different pitch on each channel."""
    time = np.arange(round(seconds * rate)) / rate
    pitches = 200.0 + 60.0 * np.arange(channels)[:, None]
    return (level * np.sin(2 * np.pi * pitches * time)).astype(np.float32)


def examine(path: Path) -> AudioInfo:
    """Probe with the usual limits."""
    return probe(path, max_duration=TEN_HOURS, max_bytes=5 * 1024**3)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Encode samples into a file of this name in a folder of the test's own."""

    def encode(name: str, samples: Samples, *args: Any, **options: Any) -> Path:
        return write_audio(tmp_path / name, samples, *args, **options)

    return encode
