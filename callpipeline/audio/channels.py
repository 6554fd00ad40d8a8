"""Which channel is whose: the default roles of a call, what overrides them, and when channels say nothing."""

from __future__ import annotations

from callpipeline.model import AudioInfo, Role

STEREO_CALL = (Role.AGENT, Role.CUSTOMER)
"""Dialers record the agent left and the customer right."""


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
