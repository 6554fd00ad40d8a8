"""Values of the kinds that the rules of call quality judge, built from as little as a test needs to say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from callpipeline.model import (
    AudioInfo,
    CallMetadata,
    ChannelLevel,
    ChannelSpeech,
    Detection,
    Region,
    Role,
    SpeakerTurns,
    SpeechActivity,
    StageFailure,
    Turn,
    Verdict,
)
from callpipeline.qa.detections import combine
from callpipeline.qa.rows import CallRow, call_row

Span = tuple[float, float]


def regions(spans: Sequence[Span]) -> tuple[Region, ...]:
    return tuple(Region(start=start, end=end) for start, end in spans)


def activity(
    agent: Sequence[Span] = (), customer: Sequence[Span] = ((0.5, 1.2), (6.0, 9.0)), duration: float = 60.0
) -> SpeechActivity:
    """A stereo call: agent left, customer right."""
    return SpeechActivity(
        duration=duration,
        channels=(
            ChannelSpeech(channel=0, role=Role.AGENT, speech=regions(agent)),
            ChannelSpeech(channel=1, role=Role.CUSTOMER, speech=regions(customer)),
        ),
        source="vad",
        detector="test",
    )


def mono(spans: Sequence[Span], duration: float = 60.0) -> SpeechActivity:
    """A mono call: nobody knows whose voice it is."""
    channel = ChannelSpeech(channel=0, role=Role.UNKNOWN, speech=regions(spans))
    return SpeechActivity(duration=duration, channels=(channel,), source="vad", detector="test")


def turns(*lines: tuple[Role, str] | tuple[Role, str, float, float], **more: object) -> SpeakerTurns:
    """A conversation; lines without times follow each other every 5 seconds."""
    built = []
    for index, line in enumerate(lines):
        start, end = (line[2], line[3]) if len(line) == 4 else (index * 5.0, index * 5.0 + 4.0)
        built.append(
            Turn(index=index, speaker=line[0].value, role=line[0], start=start, end=end, text=line[1])
        )
    values: dict[str, object] = {
        "turns": tuple(built),
        "role_confidence": 1.0,
        "transcript_engine": "whisper",
        "diarization_engine": "channels",
    }
    return SpeakerTurns.model_validate(values | more)


def said(*texts: str) -> SpeakerTurns:
    """What only the agent says."""
    return turns(*((Role.AGENT, text) for text in texts))


def info(duration: float = 60.0) -> AudioInfo:
    return AudioInfo(
        format="mp3",
        codec="mp3",
        sample_rate=8000,
        channels=2,
        duration=duration,
        claimed_duration=duration,
        bytes=1000,
        bit_rate=64000,
        levels=(
            ChannelLevel(rms_db=-21.5, peak_db=-3.0, clipped_ratio=0.0),
            ChannelLevel(rms_db=-27.0, peak_db=-5.0, clipped_ratio=0.0),
        ),
        loudness_lufs=-23.0,
        silences=(),
        decode_errors=0,
    )


def detection(name: str, verdict: Verdict, **more: object) -> Detection:
    values = {"name": name, "verdict": verdict, "confidence": 0.9, "rule_version": "test"}
    return Detection.model_validate(values | more)


def failure(asset: str = "raw_audio", error_class: str = "corrupt_audio", **more: object) -> StageFailure:
    values = {
        "asset": asset,
        "partition": "k",
        "error_class": error_class,
        "message": "most packets do not decode",
        "permanent": True,
        "attempts": 1,
        "at": datetime(2026, 11, 20, tzinfo=UTC),
    }
    return StageFailure.model_validate(values | more)


def row(
    key: str = "k",
    *,
    releasing: Verdict = Verdict.NO,
    late_hello: Verdict = Verdict.NO,
    rebuttal: Verdict = Verdict.NO_OBJECTION,
    score: float | None = None,
    conversation: SpeakerTurns | None = None,
    file_name: str = "call.mp3",
    **metadata: object,
) -> CallRow:
    """A judged call."""
    scored = [detection("intro_score", Verdict.SCORED, score=score, band="good")] if score is not None else []
    return call_row(
        key,
        metadata=CallMetadata.model_validate(metadata),
        file_name=file_name,
        file_path=f"Recordings/{file_name}",
        info=info(),
        detections=combine(
            detection("releasing", releasing),
            detection("late_hello", late_hello),
            detection("rebuttal", rebuttal),
            *scored,
        ),
        turns=conversation,
    )
