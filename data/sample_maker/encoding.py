"""From samples to the bytes of a wav, mp3, flac, m4a or ogg file, and to bytes that are broken on purpose.

Belongs here: PyAV and its settings. Does not: what is in the sound. Nothing written depends on the clock.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import av
import numpy as np
from av.codec.context import Flags

from sample_maker.script import ScriptError
from sample_maker.voices import RATE, Sound

_FORMATS = {
    ".wav": ("wav", "pcm_s16le", False),
    ".mp3": ("mp3", "libmp3lame", True),
    ".flac": ("flac", "flac", False),
    ".m4a": ("ipod", "aac", True),
    ".ogg": ("ogg", "libopus", True),
}
"""Extension -> container, codec, whether the bit rate applies."""


def encode(sound: Sound, extension: str, *, sample_rate: int, bit_rate: int) -> bytes:
    """Return ``sound`` (channels, samples at ``RATE``) as the bytes of a file; ``bit_rate`` in bit/s.

    Raises:
        ScriptError: nobody here knows the extension.
    """
    if extension not in _FORMATS:
        raise ScriptError(f"cannot write {extension} files; known are {', '.join(_FORMATS)}")
    container_name, codec, lossy = _FORMATS[extension]
    layout = "mono" if sound.shape[0] == 1 else "stereo"
    out = io.BytesIO()
    with av.open(out, "w", format=container_name, options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=sample_rate, layout=layout)
        stream.codec_context.flags |= Flags.bitexact
        if lossy:
            stream.bit_rate = bit_rate
        packed = np.round(sound.T.reshape(1, -1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
        frame.sample_rate = RATE
        resampler = av.AudioResampler(format=stream.format.name, layout=layout, rate=sample_rate)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            piece.pts = None
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return out.getvalue()


def stored_rate(data: bytes) -> int:
    """Return the sample rate in Hz that a reader of the file sees; Opus is always 48,000."""
    with av.open(io.BytesIO(data)) as container:
        return int(container.streams.audio[0].rate)


def damaged(data: bytes, damage: Mapping[str, Any], rng: np.random.Generator) -> bytes:
    """Return ``data`` broken as ``damage`` says.

    ``kind = "garbage"``: ``bytes`` random bytes instead of a recording. ``"overwritten"``: all after the
    first ``keep`` (0-1) of the file is random, as after a failed copy. ``"empty"``: nothing.

    Raises:
        ScriptError: nobody here knows the kind.
    """
    kind = damage.get("kind")
    if kind == "garbage":
        return rng.bytes(int(damage["bytes"]))
    if kind == "overwritten":
        kept = int(len(data) * float(damage["keep"]))
        return data[:kept] + rng.bytes(len(data) - kept)
    if kind == "empty":
        return b""
    raise ScriptError(f"damage kind {kind!r} is not garbage, overwritten or empty")
