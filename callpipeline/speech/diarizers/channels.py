"""Diarization of recordings with a channel for each party: who is on the channel is who speaks.

What belongs here: turning voice activity into spans. What does not: finding the activity and its roles
(``audio``).
"""

from __future__ import annotations

from collections import Counter

from callpipeline.model import ChannelSpeech, Diarization, Role, SpeakerSpan
from callpipeline.speech.engines.base import SpeechJob

VERSION = "1"


class ChannelsDiarizer:
    """One speaker a channel. Nothing is guessed, so the roles are as sure as the channels' roles."""

    name = "channels"
    version = VERSION

    async def diarize(self, job: SpeechJob) -> Diarization:
        """Return the voice activity of each channel as spans of its speaker."""
        channels = job.activity.channels
        names = speaker_names(channels)
        spans = (
            SpeakerSpan(speaker=names[c.channel], start=r.start, end=r.end, channel=c.channel)
            for c in channels
            for r in c.speech
        )
        roles = {names[c.channel]: c.role for c in channels}
        known = any(role is not Role.UNKNOWN for role in roles.values())
        return Diarization(
            engine=self.name,
            engine_version=self.version,
            spans=tuple(sorted(spans, key=lambda s: (s.start, s.channel or 0))),
            roles=roles,
            role_confidence=1.0 if known else 0.0,
        )


def speaker_names(channels: tuple[ChannelSpeech, ...]) -> dict[int, str]:
    """Name the speaker of each channel by role, or ``channel_N`` where the role is unknown or not the only
    one."""
    count = Counter(c.role for c in channels)
    return {
        c.channel: c.role.value
        if c.role is not Role.UNKNOWN and count[c.role] == 1
        else f"channel_{c.channel}"
        for c in channels
    }
