"""What uploaded bytes really are: decoded once, for the duration and a hash of the samples.

Belongs here: PyAV. It is imported only when audio is met that nobody registered.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


class NotAudioError(Exception):
    """The bytes hold no audio that can be decoded."""


@dataclass(frozen=True)
class Sound:
    """Duration in seconds, and the SHA-256 of the samples as interleaved 16-bit PCM at the native rate."""

    duration: float
    channels: int
    sample_rate: int
    pcm_sha256: str


def inspect(path: Path) -> Sound:
    """Decode a file by streaming.

    Raises:
        NotAudioError: nothing in it can be decoded.
    """
    import av

    digest, samples, resampler = hashlib.sha256(), 0, None
    rate = channels = 0
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(audio=0):
                if resampler is None:
                    rate, channels = frame.sample_rate, frame.layout.nb_channels
                    resampler = av.AudioResampler(format="s16", layout=frame.layout, rate=rate)
                for converted in resampler.resample(frame):
                    digest.update(bytes(converted.planes[0])[: converted.samples * channels * 2])
                    samples += converted.samples
    except (av.error.FFmpegError, IndexError, ValueError) as error:
        if not samples:
            raise NotAudioError(str(error)) from error
    if not samples or not rate:
        raise NotAudioError("no audio samples")
    return Sound(samples / rate, channels, rate, digest.hexdigest())
