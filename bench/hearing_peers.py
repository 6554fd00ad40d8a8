"""Other ways to cut a long recording into pieces of ten minutes, each in a process of its own.

``pydub``: the whole file into one ``AudioSegment``, slices of it exported as mp3. Without ffmpeg and ffprobe on the
PATH pydub reads and writes no mp3; then PyAV decodes the whole file for it and writes the slices.
``ffmpeg``: its segmenter, copying the packets, or making 16 kHz mono Opus as we do. ``av``: the same packets copied
by PyAV, whose wheels have FFmpeg's libraries in them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from bench.long_recordings import divided

BIT_RATE = 64_000


def with_pydub(connection: Connection, recording: Path, folder: Path, seconds: float) -> None:
    """Say ``warm``, wait, do it, say how long it took and how."""
    import av  # noqa: F401 - to be warm

    with warnings.catch_warnings(action="ignore"):  # that there is no ffmpeg is told below
        from pydub import AudioSegment

    native = bool(shutil.which("ffmpeg") and shutil.which("ffprobe"))
    connection.send("warm")
    connection.recv()
    begun = time.perf_counter()
    whole = AudioSegment.from_file(recording) if native else _decoded(recording, AudioSegment)
    step = round(1000 * seconds)
    for number, start in enumerate(range(0, len(whole), step)):
        piece, target = whole[start : start + step], folder / f"{number}.mp3"
        if native:
            piece.export(target, format="mp3", bitrate=f"{BIT_RATE // 1000}k").close()
        else:
            _encode(piece, target)
    connection.send((time.perf_counter() - begun, "ffmpeg" if native else "PyAV, as there is no ffmpeg here"))


def _decoded(recording: Path, segment: Any) -> Any:
    """Return a whole file as pydub holds it: 16 bits, its own rate and channels."""
    import av

    parts: list[bytes] = []
    with av.open(str(recording)) as container:
        stream = container.streams.audio[0]
        rate, channels = stream.rate, stream.channels
        resampler = av.AudioResampler(format="s16")
        for frame in container.decode(stream):
            parts += [part.to_ndarray().tobytes() for part in resampler.resample(frame)]
    return segment(data=b"".join(parts), sample_width=2, frame_rate=rate, channels=channels)


def _encode(piece: Any, target: Path) -> None:
    import av

    layout = "mono" if piece.channels == 1 else "stereo"
    samples = np.frombuffer(piece.raw_data, "<i2").reshape(1, -1)
    with av.open(str(target), "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=piece.frame_rate, layout=layout)
        stream.bit_rate = BIT_RATE
        step = 10 * piece.frame_rate * piece.channels
        for start in range(0, samples.shape[1], step):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[:, start : start + step]), format="s16", layout=layout
            )
            frame.sample_rate = piece.frame_rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def with_ffmpeg(connection: Connection, recording: Path, folder: Path, seconds: float) -> None:
    """Do the same with ffmpeg's segmenter."""
    _segmented(connection, recording, folder / "%d.mp3", seconds, ["-c", "copy"], "packets copied")


def encoded_by_ffmpeg(connection: Connection, recording: Path, folder: Path, seconds: float) -> None:
    """Do the same with ffmpeg's segmenter, coded as we send it."""
    codec = ["-ac", "1", "-ar", "16000", "-c:a", "libopus", "-b:a", "24k", "-compression_level", "3"]
    _segmented(connection, recording, folder / "%d.ogg", seconds, codec, "16 kHz mono Opus, cut anywhere")


def _segmented(
    connection: Connection, recording: Path, target: Path, seconds: float, codec: list[str], how: str
) -> None:
    connection.send("warm")
    connection.recv()
    begun = time.perf_counter()
    options = ["-f", "segment", "-segment_time", f"{seconds:g}", *codec, str(target)]
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(recording), "-map", "0:a", *options], check=True)
    connection.send((time.perf_counter() - begun, how))


def with_av(connection: Connection, recording: Path, folder: Path, seconds: float) -> None:
    """Do the same by copying packets with PyAV."""
    import av  # noqa: F401 - to be warm

    connection.send("warm")
    connection.recv()
    begun = time.perf_counter()
    divided(recording, folder / "parts", sys.maxsize, seconds)
    connection.send((time.perf_counter() - begun, "packets copied"))
