"""Transcription and diarization of one recording: each alone, and side by side as a walk does it.

Models have the sizes of published ones and random weights: they cost what those would, and nothing is downloaded. The
diarizer is NeMo's Sortformer where NeMo is installed, else the spectral one, which needs so little that hardly
anything is there to overlap.

Ideal: side by side takes as long as the longer one alone; efficiency = max(a, b) / both. That can only be where there is a
core for each thread. Where both want all cores, no schedule is faster than all of their CPU seconds over all cores: that
bound is reported too. Each round measures all three in turn (in another order each time) and is one sample, so that
other work on the machine shows as spread, and as efficiencies over 1. Whatever the load, both must be at work at the
same time: of the shorter one's seconds the share in which the other was at work too is measured by itself. ``Value`` is
the efficiency by the fastest pass of each kind.

The full scale also measures both on all cores with threads that sleep while they wait for each other
(OMP_WAIT_POLICY=PASSIVE); as delivered they spin, which costs what other threads could use.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import wave
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.recordings import SAMPLES
from bench.result import Result, Scale
from bench.speech_worker import Order

RATE = 16_000
SECONDS = {Scale.SMALL: 30.0, Scale.FULL: 60.0}
ROUNDS = {Scale.SMALL: (3, 1), Scale.FULL: (3, 2)}
"""With half of the cores for each engine, and with all of them."""
GOAL = 0.9

VOCABULARY = 51_865
WHISPER = {
    Scale.SMALL: ("tiny", [384, 6, 4, 1536, VOCABULARY]),
    Scale.FULL: ("small", [768, 12, 12, 3072, VOCABULARY]),
}
SORTFORMER = {
    Scale.SMALL: ("10 + 10 layers of 384 and 144", [384, 6, 10, 192, 4, 144, 6, 10]),
    Scale.FULL: ("17 + 18 layers of 512 and 192, as published", [512, 8, 17, 256, 4, 192, 8, 18]),
}
WORDS = 72
"""In each 30 s that Whisper hears: 144 words a minute."""


def run(scale: Scale) -> Result:
    cores = len(os.sched_getaffinity(0))
    nemo = _nemo()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording = folder / "calls" / "recording.wav"
        _write(recording, SECONDS[scale])
        order = Order(
            recording=str(recording),
            models=str(folder / "models"),
            rounds=ROUNDS[scale][0],
            whisper=WHISPER[scale][1],
            sortformer=SORTFORMER[scale][1] if nemo else [],
            words=WORDS,
        )
        half = _measured(folder, order, threads=max(1, cores // 2))
        crowded = replace(order, rounds=ROUNDS[scale][1])
        every = _measured(folder, crowded, threads=cores)
        asleep = _measured(folder, crowded, threads=cores, asleep=True) if scale is Scale.FULL else None
    value = _least_disturbed(half)
    return Result(
        "speech",
        round(value, 2),
        f"side by side takes what the longer one takes: >= {GOAL}, with half of the cores for each",
        value >= GOAL,
        {
            "recording": f"{SECONDS[scale]:.0f} s, one channel, {half['words']} words",
            "transcription": f"faster-whisper {WHISPER[scale][0]}, int8, random weights",
            "diarization": f"{half['engines'][1]}" + (f", {SORTFORMER[scale][0]}" if nemo else ""),
            "figures are": "median, least and most of {} and {} rounds".format(*ROUNDS[scale]),
            f"{max(1, cores // 2)} of {cores} cores for each": _figures(half, cores),
            f"{cores} of {cores} cores for each": _figures(every, cores),
            **({f"{cores} of {cores}, waiting asleep": _figures(asleep, cores)} if asleep else {}),
            "memory MB": every["memory_mb"],
            "load of the machine, last minute": round(os.getloadavg()[0], 1),
        },
    )


def _nemo() -> bool:
    from callpipeline.speech.diarizers.nemo_weights import installed

    return installed()


def _write(path: Path, seconds: float) -> None:
    """Write so many seconds of calls, end to end, all voices in one channel."""
    from callpipeline.audio.decode import read

    path.parent.mkdir()
    kept: list[np.ndarray[Any, np.dtype[np.float32]]] = []
    wanted = int(seconds * RATE)
    for source in sorted(SAMPLES.glob("*Decision Maker*.mp3")) * 9:
        samples = read(source, rate=RATE).mean(axis=0)
        kept.append(samples[: wanted - sum(map(len, kept))])
        if sum(map(len, kept)) == wanted:
            break
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(np.concatenate(kept), -1, 1) * 32767).astype("<i2").tobytes())


def _measured(folder: Path, order: Order, *, threads: int, asleep: bool = False) -> dict[str, Any]:
    """Have a process measure whose engines take so many threads each. ``asleep``: those that wait leave the core."""
    with tempfile.TemporaryDirectory(dir=folder) as data:
        done = subprocess.run(
            [sys.executable, "-m", "bench.speech_worker"],
            input=json.dumps(asdict(order)),
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                **({"OMP_WAIT_POLICY": "PASSIVE"} if asleep else {}),
                "OMP_NUM_THREADS": str(threads),
                "CALLPIPELINE_DATA_DIR": data,
                "CALLPIPELINE_STABLE_SECONDS": "0",
            },
        )
    if done.returncode != 0:
        raise RuntimeError(f"the measuring process ended with {done.returncode}: {done.stderr[-2000:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _least_disturbed(report: dict[str, Any]) -> float:
    """Return the efficiency by the fastest pass of each kind: other work on the machine can only add to them."""
    a, b, both = (min(float(one["wall"]) for one in each) for each in zip(*report["rounds"], strict=True))
    return max(a, b) / both


def _figures(report: dict[str, Any], cores: int) -> dict[str, tuple[float, float, float]]:
    """Return what the rounds say, each figure as (median, least, most)."""
    found: dict[str, list[float]] = {}
    for a, b, both in report["rounds"]:
        longer, cpu = max(a["wall"], b["wall"]), a["cpu"] + b["cpu"]
        bound = max(longer, cpu / cores)
        figures = {
            "transcription alone s (a)": a["wall"],
            "diarization alone s (b)": b["wall"],
            "both side by side s": both["wall"],
            "efficiency, max(a, b) / both": longer / both["wall"],
            f"of the bound, max(a, b, CPU s / {cores}) / both": bound / both["wall"],
            "times as fast as one after the other": (a["wall"] + b["wall"]) / both["wall"],
            "of the shorter, with the other at work too": _overlap(both["stages"]),
            "CPU s of both, side by side / alone": both["cpu"] / cpu,
            "cores used, side by side": both["cpu"] / both["wall"],
            "cores used, transcription alone": a["cpu"] / a["wall"],
            "cores used, diarization alone": b["cpu"] / b["wall"],
        }
        for name, figure in figures.items():
            found.setdefault(name, []).append(figure)
    return {
        name: (round(statistics.median(each), 2), round(min(each), 2), round(max(each), 2))
        for name, each in found.items()
    }


def _overlap(stages: dict[str, tuple[float, float]]) -> float:
    """Return the share of the shorter stage's time in which both were at work."""
    common = min(end for _, end in stages.values()) - max(begin for begin, _ in stages.values())
    return max(0.0, common) / min(end - begin for begin, end in stages.values())
