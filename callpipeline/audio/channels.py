"""Which channel is whose: the default roles of a call, what overrides them, and when channels say nothing."""

from __future__ import annotations

from collections.abc import Sequence

from callpipeline.model import AudioInfo, Region, Role, SpeechActivity

STEREO_CALL = (Role.AGENT, Role.CUSTOMER)
"""Dialers record the agent left and the customer right."""

TOGETHER = 0.5
"""Share of the speech of the quieter channel during which another speaks too. Above it, channels are microphones in
one room, not a party each."""


def channels_differ(info: AudioInfo) -> bool:
    """Tell whether channels can separate speakers: there are several, and not all the same."""
    return info.channels >= 2 and not info.dual_mono


def voice_channels(info: AudioInfo) -> range:
    """Return the channels to listen to: all, or the first alone where the others only repeat it."""
    return range(info.channels if channels_differ(info) else 1)


def role_of_channel(channel: int, info: AudioInfo, overrides: dict[int, Role] | None = None) -> Role:
    """Return who speaks on a 0-based channel.

    What the recording's metadata says comes first. Otherwise the first two channels are agent and customer,
    and nobody knows for further channels, for mono, and for a stereo file with the same sound on both sides.
    """
    if overrides and channel in overrides:
        return overrides[channel]
    if not channels_differ(info) or channel >= len(STEREO_CALL):
        return Role.UNKNOWN
    return STEREO_CALL[channel]


def apart(activity: SpeechActivity) -> bool:
    """Tell whether each channel has a party of its own: they mostly take turns."""
    spoken = [channel for channel in activity.channels if channel.speech]
    if len(spoken) < 2:
        return True
    at_once, total = _seconds_at_once([channel.speech for channel in spoken])
    return at_once <= TOGETHER * min(channel.seconds for channel in spoken) and total > 0


def _seconds_at_once(channels: Sequence[Sequence[Region]]) -> tuple[float, float]:
    """Return how long two or more channels have speech, and how long any has."""
    edges = sorted(
        (t, step) for speech in channels for r in speech for t, step in ((r.start, 1), (r.end, -1))
    )
    at_once = total = before = 0.0
    speaking = 0
    for time, step in edges:
        at_once += (time - before) * (speaking > 1)
        total += (time - before) * (speaking > 0)
        before, speaking = time, speaking + step
    return at_once, total
