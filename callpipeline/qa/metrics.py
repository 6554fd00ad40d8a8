"""Figures of one call: who talks how much, how fast, over whom, and where nobody does.

What belongs here: measuring a conversation from its turns and its voice activity. What does not: verdicts.

Talk time comes from the voice detector where a channel belongs to one speaker, because it hears what no
transcript has; otherwise from the turns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from callpipeline.model import (
    AudioInfo,
    CallMetrics,
    ChannelSpeech,
    Region,
    Role,
    SpeakerMetrics,
    SpeakerTurns,
    SpeechActivity,
    Turn,
)
from callpipeline.qa.activity import all_speech
from callpipeline.qa.categories import CategoryTable, find_categories
from callpipeline.qa.intervals import gaps, intersection, merged, seconds, total
from callpipeline.qa.sentiment import Mood

RULE_VERSION = "call_metrics-2"

NON_TALK_SECONDS = 2.0
"""Silence of everybody from this length on is a non-talk stretch (s): shorter ones are turn-taking."""
BREATH = 0.5
"""Voice of one speaker with shorter pauses is one run (s)."""
BACKCHANNEL = 1.0
"""A shorter run is a "mm hmm" (s): it neither interrupts nor ends a monologue."""
FOOTHOLD = 0.25
"""Speakers who overlap by less at a change of turn do not interrupt (s)."""
MONOLOGUE_PAUSE = 2.0
"""A longer silence ends a monologue (s)."""
_LEAST_TALK = 1.0
"""Words per minute of less talk (s) would be noise."""


class _Voice(NamedTuple):
    """One speaker: the turns, the stretches of voice, and the channel if one is theirs alone."""

    speaker: str
    role: Role
    turns: list[Turn]
    regions: list[Region]
    channel: int | None


class _Run(NamedTuple):
    speaker: str
    start: float
    end: float


def call_metrics(
    turns: SpeakerTurns | None,
    activity: SpeechActivity,
    info: AudioInfo,
    *,
    categories: CategoryTable | None = None,
) -> CallMetrics:
    """Measure one call.

    Args:
        turns: The conversation; ``None`` or empty when nothing was transcribed (a releasing call): then
            sentiment and categories are unknown, which is not the same as absent.
        activity: Voice by channel.
        info: Duration and channel levels.
        categories: Phrase table; default: the one of the package.

    Returns:
        The figures. Loudness is the RMS level of the speaker's channel over the whole call, pauses included.
    """
    said = list(turns.turns) if turns else []
    voices = _voices(said, activity)
    runs = {v.speaker: _runs(v) for v in voices}
    talk = merged([*all_speech(activity), *(r for v in voices for r in v.regions)])
    talked = sum(total(v.regions) for v in voices)
    return CallMetrics(
        duration=info.duration,
        talk_seconds=seconds(total(talk)),
        silence_seconds=seconds(max(info.duration - total(talk), 0.0)),
        overlap_seconds=seconds(_overlap(voices)),
        non_talk=tuple(
            Region(start=seconds(gap.start), end=seconds(gap.end))
            for gap in gaps(talk, info.duration, at_least=NON_TALK_SECONDS)
        ),
        speakers=tuple(_speaker(voice, voices, runs, talked, info) for voice in voices),
        categories=find_categories(said, categories) if said else {},
        sentiment_by_quarter=Mood(said).by_quarter(info.duration) if said else (),
    )


def _voices(turns: Sequence[Turn], activity: SpeechActivity) -> list[_Voice]:
    """Return the speakers in the order in which they are first heard or listed."""
    labels = {turn.speaker: turn.role for turn in turns}
    roles = Counter(labels.values())
    owned: dict[Role, ChannelSpeech] = {
        channel.role: channel
        for channel in activity.channels
        if channel.role is not Role.UNKNOWN and _only(activity, channel)
    }
    voices = []
    for label, role in labels.items():
        own = [turn for turn in turns if turn.speaker == label]
        channel = owned.pop(role, None) if roles[role] == 1 else None
        regions = channel.speech if channel else [Region(start=t.start, end=t.end) for t in own]
        index = channel.channel if channel and _one_each(activity) else None
        voices.append(_Voice(label, role, own, merged(regions), index))
    for role, channel in owned.items():
        if roles[role] == 0:
            index = channel.channel if _one_each(activity) else None
            voices.append(_Voice(role.value, role, [], merged(channel.speech), index))
    return voices


def _only(activity: SpeechActivity, channel: ChannelSpeech) -> bool:
    return sum(c.role is channel.role for c in activity.channels) == 1


def _one_each(activity: SpeechActivity) -> bool:
    """Whether every channel of the audio has a voice of its own, so that its level is the speaker's."""
    return len({c.channel for c in activity.channels}) == len(activity.channels)


def _speaker(
    voice: _Voice, voices: Sequence[_Voice], runs: dict[str, list[_Run]], talked: float, info: AudioInfo
) -> SpeakerMetrics:
    talk = total(voice.regions)
    words = sum(len(turn.text.split()) for turn in voice.turns)
    mood = Mood(voice.turns)
    others = [run for v in voices if v.speaker != voice.speaker for run in runs[v.speaker]]
    levels = dict(enumerate(info.levels))
    level = levels.get(voice.channel) if voice.channel is not None else None
    return SpeakerMetrics(
        speaker=voice.speaker,
        role=voice.role,
        talk_seconds=seconds(talk),
        talk_ratio=round(talk / talked, 4) if talked else 0.0,
        turns=len(voice.turns),
        words=words,
        words_per_minute=round(60 * words / talk, 1) if words and talk >= _LEAST_TALK else None,
        longest_monologue=seconds(_longest_monologue(runs[voice.speaker], others)),
        interruptions=_interruptions(runs[voice.speaker], others),
        loudness_db=level.rms_db if level else None,
        sentiment=mood.overall(),
        sentiment_by_quarter=mood.by_quarter(info.duration) if voice.turns else (),
    )


def _runs(voice: _Voice) -> list[_Run]:
    return [_Run(voice.speaker, r.start, r.end) for r in merged(voice.regions, gap=BREATH)]


def _overlap(voices: Sequence[_Voice]) -> float:
    """Return how long two or more speak at once."""
    shared: list[Region] = []
    for index, voice in enumerate(voices):
        for other in voices[index + 1 :]:
            shared.extend(intersection(voice.regions, other.regions))
    return total(merged(shared))


def _interruptions(own: Sequence[_Run], others: Sequence[_Run]) -> int:
    """Count the runs that begin well inside another speaker's run and hold for longer than a backchannel."""
    return sum(
        any(o.start + FOOTHOLD <= run.start <= o.end - FOOTHOLD for o in others)
        for run in own
        if seconds(run.end - run.start) >= BACKCHANNEL
    )


def _longest_monologue(own: Sequence[_Run], others: Sequence[_Run]) -> float:
    """Return the longest time from a first to a last word with no other speaker's run in between."""
    cuts = sorted(o.start for o in others if seconds(o.end - o.start) >= BACKCHANNEL)
    longest = 0.0
    begin = end = None
    for run in own:
        if begin is None or end is None or run.start - end >= MONOLOGUE_PAUSE or _cut(cuts, end, run.start):
            begin = run.start
        end = run.end
        longest = max(longest, end - begin)
    return longest


def _cut(cuts: Sequence[float], after: float, before: float) -> bool:
    return any(after <= cut < before for cut in cuts)
