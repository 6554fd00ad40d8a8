"""Spoken lines: one text in one voice becomes a trimmed, levelled piece of 16 kHz mono sound.

Belongs here: everything about flite. Does not: where in the call a line stands.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import warnings
import wave
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from sample_maker.script import ScriptError, Voice

with warnings.catch_warnings():
    # pydub looks for an ffmpeg program when imported; nothing here reads or writes files with it.
    warnings.simplefilter("ignore")
    from pydub import AudioSegment
    from pydub.silence import detect_leading_silence

RATE = 16000
"""Samples per second of everything until it is encoded."""
SPEECH_DB = -20.0
"""RMS level of a spoken line in dBFS, that of an ordinary call recording."""
_FLOOR_DB = -45.0
"""Quieter than this at the ends of a line is flite's own silence."""

Sound = NDArray[np.float32]


class FliteMissingError(Exception):
    """The speech synthesiser is not installed."""


def _run_flite(voice: Voice, text: str) -> tuple[bytes, int]:
    """Speak ``text``; return 16-bit mono samples and their rate."""
    program = shutil.which("flite")
    if program is None:
        raise FliteMissingError(
            "flite is not on PATH; install it (Debian: apt install flite), then run this again"
        )
    options = []
    if voice.pitch is not None:
        options += ["--setf", f"int_f0_target_mean={voice.pitch}"]
    if voice.stretch is not None:
        options += ["--setf", f"duration_stretch={voice.stretch}"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "line.wav"
        command = [program, "-voice", voice.name, *options, "-t", text, "-o", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not out.is_file():
            raise ScriptError(
                f"flite could not say {text!r} with voice {voice.name!r}: {done.stderr.strip()}"
            )
        with wave.open(str(out)) as sound:
            return sound.readframes(sound.getnframes()), sound.getframerate()


def _resampled(pcm: bytes, rate: int) -> bytes:
    """Return 16-bit mono samples of ``rate`` at ``RATE``."""
    if rate == RATE:
        return pcm
    frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, np.int16)[None], format="s16", layout="mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    return b"".join(f.to_ndarray().astype(np.int16).tobytes() for f in frames)


def speak(voice: Voice, text: str, *, gain: float = 0.0) -> Sound:
    """Return ``text`` spoken by ``voice`` at ``RATE``, ends trimmed, RMS ``SPEECH_DB`` + ``gain`` dBFS.

    Raises:
        FliteMissingError: flite is not installed.
        ScriptError: flite does not know the voice or cannot say the text.
    """
    pcm, rate = _run_flite(voice, text)
    line = AudioSegment(data=_resampled(pcm, rate), sample_width=2, frame_rate=RATE, channels=1)
    # Voices differ by 12 dB: level first, so that the floor of the trimming means the same for all.
    line = line.apply_gain(SPEECH_DB - line.dBFS)
    head = detect_leading_silence(line, silence_threshold=_FLOOR_DB, chunk_size=5)
    tail = detect_leading_silence(line.reverse(), silence_threshold=_FLOOR_DB, chunk_size=5)
    line = line[max(0, head - 10) : len(line) - max(0, tail - 20)]
    line = line.apply_gain(SPEECH_DB + gain - line.dBFS).fade_in(5).fade_out(15)
    return np.asarray(line.get_array_of_samples(), np.float32) / 32768
