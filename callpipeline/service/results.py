"""From the results of a recording's stages to what a client gets.

The document of a task is written down when it ends, so that it stays what it was when engines or settings change.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from callpipeline.failures import UpstreamMissing
from callpipeline.model import AudioInfo, Diarization, Record, SpeakerTurns, Transcript
from callpipeline.pipeline.outcomes import RecordingOutcome
from callpipeline.service.documents import Missing, Result, Speaker, SpokenSegment, SpokenWord, Used
from callpipeline.service.options import Options
from callpipeline.service.tasks import Task
from callpipeline.settings import Settings, TranscriberName
from callpipeline.speech.captions import Cue, cues, speaker_names
from callpipeline.speech.turns import turn_words
from callpipeline.store import files
from callpipeline.store.results import ResultStore

T = TypeVar("T", bound=Record)

ASSETS = ("raw_audio", "speech_activity", "audio_chunks", "transcripts", "diarization", "speaker_turns")
"""The stages that the service walks. Verdicts and the graph are made by ``callpipeline run``."""
NEEDED = ("raw_audio", "transcripts", "diarization", "speaker_turns")
"""The stages that an answer is made of."""
FOLDER = "service"
"""Of the store: the documents of tasks."""


def usable(outcome: RecordingOutcome) -> bool:
    """Whether all that an answer is made of is there, though a stage may lack a part that failed."""
    return all(asset in outcome.stages and outcome.stages[asset].stored is not None for asset in NEEDED)


class Said:
    """What was said in a recording, as its stages have it."""

    def __init__(self, store: ResultStore, key: str) -> None:
        self._store, self._key = store, key
        self.info = self._value("raw_audio", AudioInfo)
        self.transcript = self._value("transcripts", Transcript)
        self.diarization = self._value("diarization", Diarization)
        self.turns = self._value("speaker_turns", SpeakerTurns)

    def cues(self) -> tuple[Cue, ...]:
        """Return it as subtitles."""
        return cues(self.transcript, self.diarization, self.turns)

    def _value(self, asset: str, kind: type[T]) -> T:
        stored = self._store.get(asset, self._key, kind)
        if stored is None:
            raise UpstreamMissing(
                f"the result {asset} of recording {self._key} is gone.", hint="Send it again."
            )
        return stored.value


def document(said: Said, task: Task, *, reused: bool, seconds: float) -> Result:
    """Return the answer to a task."""
    transcript, diarization, turns = said.transcript, said.diarization, said.turns
    return Result(
        task_id=task.id,
        recording=task.recording,
        file_name=task.file_name,
        duration=round(said.info.duration, 3),
        language=transcript.language,
        text=transcript.text,
        speakers=_speakers(turns),
        segments=_segments(transcript, diarization, turns),
        role_confidence=turns.role_confidence,
        skipped_reason=transcript.skipped_reason,
        missing=[Missing(start=gap.start, end=gap.end, reason=gap.error_class) for gap in transcript.gaps],
        options=Options.model_validate_json(task.options),
        used=Used(
            transcription=transcript.engine,
            transcription_version=transcript.engine_version,
            diarization=diarization.engine,
            diarization_version=diarization.engine_version,
            demo=transcript.demo,
            notes=[*turns.notes, *_unheeded(task, transcript)],
        ),
        reused=reused,
        seconds=round(seconds, 3),
    )


def _unheeded(task: Task, transcript: Transcript) -> list[str]:
    """Say what was asked for that the engine cannot do."""
    asked = Options.model_validate_json(task.options)
    if asked.suppress_numerals and transcript.engine != TranscriberName.WHISPER:
        return [f"numbers were not written as words: {transcript.engine} cannot do that, Whisper can"]
    return []


def keep(settings: Settings, result: Result, said: Said) -> None:
    """Write the answer to a task down, with its subtitles."""
    from callpipeline.speech.captions import srt, vtt

    files.write_text(path(settings, result.task_id, "json"), result.model_dump_json())
    subtitles = said.cues()
    files.write_text(path(settings, result.task_id, "srt"), srt(subtitles))
    files.write_text(path(settings, result.task_id, "vtt"), vtt(subtitles, demo=result.used.demo))


def path(settings: Settings, task_id: str, ending: str) -> Path:
    """Return where a part of the answer to a task lies."""
    return settings.store / FOLDER / f"{task_id}.{ending}"


def remove(settings: Settings, task_id: str) -> None:
    """Remove the answer to a task."""
    for ending in ("json", "srt", "vtt"):
        path(settings, task_id, ending).unlink(missing_ok=True)


def _speakers(turns: SpeakerTurns) -> list[Speaker]:
    names = speaker_names(turns)
    roles = {turn.speaker: turn.role for turn in turns.turns}
    talk = {who: sum(t.end - t.start for t in turns.turns if t.speaker == who) for who in roles}
    return [
        Speaker(id=who, name=names.get(who, who), role=role, seconds=round(talk[who], 3))
        for who, role in roles.items()
    ]


def _segments(transcript: Transcript, diarization: Diarization, turns: SpeakerTurns) -> list[SpokenSegment]:
    untimed = {
        number
        for number, segment in enumerate(transcript.segments)
        if not segment.words or any(word.start is None for word in segment.words)
    }
    return [
        SpokenSegment(
            speaker=turn.speaker,
            role=turn.role,
            start=turn.start,
            end=turn.end,
            text=turn.text,
            words=[
                SpokenWord(
                    text=word.text,
                    start=round(word.start, 3),
                    end=round(word.end, 3),
                    speaker=word.speaker,
                    confidence=word.confidence,
                    timed=word.segment not in untimed,
                )
                for word in words
            ],
        )
        for turn, words in zip(turns.turns, turn_words(transcript, diarization), strict=True)
    ]
