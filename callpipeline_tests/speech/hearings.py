"""Invented hearings with the turns at which their chapters begin."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from callpipeline.intake.transcript_files import read_transcript
from callpipeline.model import Diarization, SpeakerTurns, Transcript
from callpipeline.speech.provided import diarization
from callpipeline.speech.turns import speaker_turns

FOLDER = Path(__file__).parents[1] / "data" / "hearings"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


@dataclass(frozen=True)
class Hearing:
    """A hearing as the stages before chapters and captions leave it."""

    transcript: Transcript
    diarization: Diarization
    turns: SpeakerTurns
    borders: tuple[int, ...]


def hearing(name: str) -> Hearing:
    path = FOLDER / f"{name}.json"
    transcript = read_transcript(path)
    voices = diarization(transcript)
    turns = speaker_turns(transcript, voices)
    truth = json.loads(path.read_text("utf-8"))
    begins = [truth["turns"][border["turn"]]["start"] for border in truth["borders"]]
    # A chair who ends one item and goes on to the next does so in one turn.
    borders = (next(turn.index for turn in turns.turns if turn.end > begin) for begin in begins)
    return Hearing(transcript, voices, turns, tuple(borders))
