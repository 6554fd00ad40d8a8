"""Recordings for benches: as many different tiny calls as asked for, from a spoken clip."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from callpipeline.audio.decode import read
from callpipeline.model import Segment, Transcript
from callpipeline.speech.engines.base import SpeechJob

SAMPLES = Path(__file__).resolve().parent.parent / "data" / "samples"
RATE = 8000
SECONDS = 2.0


def tiny_calls(folder: Path, count: int, *, seed: int = 0) -> None:
    """Write ``count`` stereo calls of two seconds of real speech each; each has its own bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    source = next(path for path in sorted(SAMPLES.rglob("*")) if path.suffix in {".mp3", ".flac", ".wav"})
    speech = read(source, rate=RATE, start=1.0, end=1.0 + SECONDS)[:2]
    random = np.random.default_rng(seed)
    for number in range(count):
        noisy = speech + random.normal(0, 0.001, speech.shape).astype(np.float32)
        samples = (np.clip(noisy, -1, 1) * 32767).astype("<i2")
        path = folder / f"Agent {number % 20} _ 555-01{number % 100:02d} ({number}).wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(samples.shape[0])
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(samples.T.tobytes())


class InstantTranscriber:
    """Answers at once with the same two sentences: what is left is everything around the engine."""

    name = "instant"
    version = "1"
    remote = False
    demo = False

    async def transcribe(self, job: SpeechJob) -> Transcript:
        return Transcript(
            engine=self.name,
            engine_version=self.version,
            language="en",
            duration=job.info.duration,
            segments=(
                Segment(start=0.1, end=0.9, text="hello this is sam about your house", channel=0),
                Segment(start=1.0, end=1.8, text="no thank you", channel=1),
            ),
            confidence=0.9,
        )
