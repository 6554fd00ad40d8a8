"""Word error rate of the offline demo engine on the shipped samples, by synthetic voice and sample rate.

The whole way of a recording is measured: decode, voice detection, utterances, recognition, a channel for each
party. The reference is the dialogue that the samples were spoken from. Run as ``python -m bench.wer``.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.result import Result, Scale
from callpipeline.audio.probe import probe
from callpipeline.audio.vad import speech_activity
from callpipeline.model import SpeechActivity
from callpipeline.speech.engines.sphinx import recognise
from callpipeline.speech.utterances import tracks

GOAL = 0.20
DATA = Path(__file__).parents[1] / "data"
SIDES = {"agent": 0, "customer": 1}

Pair = tuple[str, str]


def run(scale: Scale) -> Result:
    """Measure every sample with a dialogue of two parties, or each fourth of them."""
    import jiwer

    pairs: dict[str, list[Pair]] = defaultdict(list)
    for truth in list(_truths())[:: 4 if scale is Scale.SMALL else 1]:
        for group, pair in _pairs(truth):
            pairs[group].append(pair)
            pairs["all"].append(pair)

    def rate(group: str) -> float:
        spoken, heard = zip(*pairs[group], strict=True)
        return round(float(jiwer.wer(list(spoken), list(heard))), 3)

    total = rate("all")
    details = {group: f"{rate(group)} ({_words(pairs[group])} words)" for group in sorted(pairs)}
    return Result("wer", total, f"<= {GOAL}", total <= GOAL, details)


def _truths() -> Iterator[dict[str, Any]]:
    for path in sorted((DATA / "samples_src" / "expected").glob("*.json")):
        truth = json.loads(path.read_text("utf-8"))
        english = truth["metadata"].get("disposition") != "Spanish Speaker"
        if truth["kind"] == "call" and truth["channels"] == 2 and english:
            script = tomllib.loads(
                (DATA / "samples_src" / "calls" / f"{truth['name']}.toml").read_text("utf-8")
            )
            yield {**truth, "voices": script["voices"], "swapped": script.get("swap_channels", False)}


def _pairs(truth: dict[str, Any]) -> Iterator[tuple[str, Pair]]:
    path = DATA / "samples" / truth["file"]
    info = probe(path, max_duration=36_000, max_bytes=2**30)
    activity: SpeechActivity = speech_activity(path, info)
    segments = sorted(recognise(str(path), tracks(info, activity)), key=lambda s: s.start)
    for speaker, side in SIDES.items():
        channel = 1 - side if truth["swapped"] else side
        spoken = _plain(" ".join(line["text"] for line in truth["dialogue"] if line["speaker"] == speaker))
        heard = _plain(" ".join(s.text for s in segments if s.channel == channel))
        voice = truth["voices"].get(speaker)
        name = voice["name"] if isinstance(voice, dict) else voice
        if spoken:
            yield f"{name}, {info.sample_rate / 1000:g} kHz", (spoken, heard)


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^a-z' ]", " ", text.lower()).split())


def _words(pairs: list[Pair]) -> int:
    return sum(len(spoken.split()) for spoken, _ in pairs)


if __name__ == "__main__":
    sys.stdout.write(run(Scale.FULL).as_text() + "\n")
