"""What counts as speech of the agent: the ground that releasing and late hello stand on.

What belongs here: telling speech from noise blips, and giving the voices of a mono recording their roles.
What does not: verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from callpipeline.model import ChannelSpeech, Diarization, Region, Role, SpeakerTurns, SpeechActivity
from callpipeline.qa.intervals import intersection, merged, seconds

BLIP_SECONDS = 0.30
"""A stretch with less voice than this is a click, a breath or line noise. Blips of 0.1-0.3 s cleared the
releasing verdict in 22 % of the real releasing calls of an earlier system, which simply summed them up."""

JOIN_GAP = 0.20
"""Voice with shorter pauses than this is one stretch (s): the closure of a stop consonant is no pause."""

_KNOWN = (Role.AGENT, Role.CUSTOMER)


class Stretch(NamedTuple):
    """Voice with no pause of ``JOIN_GAP`` in it; ``voiced`` leaves the small pauses out (s)."""

    start: float
    end: float
    voiced: float

    @property
    def is_speech(self) -> bool:
        """Whether it is long enough to be a word."""
        return self.voiced >= BLIP_SECONDS


def stretches(regions: Iterable[Region]) -> list[Stretch]:
    """Join voice regions over the pauses inside a word, and measure what is voiced."""
    out: list[Stretch] = []
    for region in merged(regions):
        length = seconds(region.duration)
        if out and seconds(region.start - out[-1].end) < JOIN_GAP:
            last = out[-1]
            out[-1] = Stretch(last.start, region.end, seconds(last.voiced + length))
        else:
            out.append(Stretch(region.start, region.end, length))
    return out


def speech_of(activity: SpeechActivity, role: Role) -> list[Region] | None:
    """Return the voice regions of ``role``, or ``None`` when no channel is known to be theirs."""
    channels = [c for c in activity.channels if c.role is role]
    if not channels:
        return None
    return merged(region for channel in channels for region in channel.speech)


def all_speech(activity: SpeechActivity) -> list[Region]:
    """Return the voice regions of everybody."""
    return merged(region for channel in activity.channels for region in channel.speech)


def roles_known(activity: SpeechActivity) -> bool:
    """Whether the activity itself says which voice is the agent's or the customer's."""
    return any(channel.role in _KNOWN for channel in activity.channels)


def activity_by_role(
    activity: SpeechActivity, diarization: Diarization, turns: SpeakerTurns | None
) -> SpeechActivity:
    """Split the voice of a mono recording by inferred role, so that the same rules can judge it.

    Spans of the diarizer count only where the voice detector heard a voice. Roles come from the turns (where
    they are inferred from the words), else from the diarizer. An activity whose channels already have roles
    is returned as it is, and so is one for which nobody inferred a role: there is nothing to split by.
    Verdicts drawn from the result are only as sure as the roles: hand ``turns.role_confidence`` to the
    detections.
    """
    roles = dict(diarization.roles)
    if turns is not None:
        roles.update({turn.speaker: turn.role for turn in turns.turns if turn.role in _KNOWN})
    if roles_known(activity) or not any(role in _KNOWN for role in roles.values()):
        return activity
    voice = all_speech(activity)
    spans: dict[Role, list[Region]] = {role: [] for role in _KNOWN}
    for span in diarization.spans:
        role = roles.get(span.speaker, Role.UNKNOWN)
        spans.setdefault(role, []).append(Region(start=span.start, end=span.end))
    channels = tuple(
        ChannelSpeech(channel=0, role=role, speech=tuple(intersection(merged(regions), voice)))
        for role, regions in spans.items()
    )
    return SpeechActivity(
        duration=activity.duration,
        channels=channels,
        source="diarization",
        detector=f"{activity.detector}+{diarization.engine}-{diarization.engine_version}",
    )
