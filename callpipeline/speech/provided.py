"""A recording of which only a ready-made transcript is there: the other stages' values, made from its turns.

What belongs here: turning the times and labels of a ``provided`` transcript into an ``AudioInfo``, a
``SpeechActivity`` and a ``Diarization``, each saying where it comes from. Reading the files is ``intake``'s.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from callpipeline.model import (
    AudioInfo,
    ChannelSpeech,
    Diarization,
    Region,
    Role,
    SpeakerSpan,
    SpeechActivity,
    Transcript,
)

SOURCE = "transcript"
LABELS = {
    Role.AGENT: frozenset({"agent", "rep", "representative", "advisor", "operator", "seller"}),
    Role.CUSTOMER: frozenset({"customer", "client", "caller", "owner", "lead", "prospect", "homeowner"}),
}


def role_of(label: str | None) -> Role:
    """Role that a speaker label names by itself, ``unknown`` for labels such as ``A`` or ``SPEAKER_00``."""
    name = (label or "").strip().lower()
    return next((role for role, labels in LABELS.items() if name in labels), Role.UNKNOWN)


def audio_info(transcript: Transcript, path: Path) -> AudioInfo:
    """Stand in for a decode: no channels, the transcript's own duration."""
    return AudioInfo(
        format=SOURCE,
        codec="none",
        sample_rate=0,
        channels=0,
        duration=transcript.duration,
        claimed_duration=None,
        bytes=path.stat().st_size,
        bit_rate=None,
        levels=(),
        loudness_lufs=None,
        silences=(),
        decode_errors=0,
    )


def activity(transcript: Transcript) -> SpeechActivity:
    """Take each speaker for a channel of its own, in order of appearance, with the segments as its speech."""
    regions: dict[str, list[Region]] = defaultdict(list)
    for segment in transcript.segments:
        if segment.text.strip():
            regions[segment.speaker or "unknown"].append(Region(start=segment.start, end=segment.end))
    return SpeechActivity(
        duration=transcript.duration,
        channels=tuple(
            ChannelSpeech(channel=number, role=role_of(speaker), speech=tuple(speech))
            for number, (speaker, speech) in enumerate(regions.items())
        ),
        source=SOURCE,
        detector=transcript.engine,
    )


def diarization(transcript: Transcript) -> Diarization:
    """Take the speaker labels as they are. Roles are sure only where the labels name them."""
    spans = tuple(
        SpeakerSpan(speaker=segment.speaker or "unknown", start=segment.start, end=segment.end)
        for segment in transcript.segments
    )
    roles = {span.speaker: role_of(span.speaker) for span in spans}
    named = bool(roles) and Role.UNKNOWN not in roles.values()
    return Diarization(
        engine=SOURCE,
        engine_version="1",
        spans=spans,
        roles=roles,
        role_confidence=1.0 if named else 0.0,
        notes=("speakers as labelled in the ready-made transcript",),
    )
