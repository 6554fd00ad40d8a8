"""From a script to the two channels of a call, and the truth about who spoke when.

Belongs here: the clock, levels between channels, cross-talk. Does not: files.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from sample_maker.effects import EFFECTS, line_noise
from sample_maker.script import SPEAKERS, Event, Script, ScriptError
from sample_maker.voices import RATE, Sound, speak

_LEAD = 0.4
"""Seconds before the first event that does not say ``at`` or ``gap``."""
_TAIL = 0.7
"""Seconds of line after the last event."""
_GAPS = (0.3, 0.8)
"""Seconds between two turns that do not say ``gap``."""


@dataclass(frozen=True)
class SpokenLine:
    """One line as it stands in the recording; ``start`` and ``end`` in seconds."""

    speaker: str
    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Mix:
    """A call before encoding: ``sound`` is float32 (channels, samples) at ``RATE``."""

    sound: Sound
    lines: tuple[SpokenLine, ...]

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.sound.shape[1] / RATE


def seeded(name: str) -> np.random.Generator:
    """Return a generator that depends on nothing but ``name``."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def _sound_of(event: Event, script: Script, rng: np.random.Generator) -> Sound:
    """Return what ``event`` sounds like."""
    if event.kind == "silence":
        return np.zeros(round(event.seconds * RATE), np.float32)
    if event.kind != "speech":
        return EFFECTS[event.kind](event.seconds, rng) * np.float32(10 ** (event.gain / 20))
    voice = script.voices.get(event.who or "")
    if voice is None:
        raise ScriptError(f"{script.name}: [voices] has no {event.who}")
    return speak(voice, event.text, gain=event.gain)


def _start(event: Event, cursor: float, first: bool, rng: np.random.Generator) -> float:
    """Return when ``event`` starts, in seconds."""
    usual = _LEAD if first else float(rng.uniform(*_GAPS))
    if event.kind == "silence":
        return cursor
    if event.at is not None:
        return event.at
    return max(0.0, cursor + (usual if event.gap is None else event.gap))


def mix(script: Script) -> Mix:
    """Speak and mix a whole script.

    Stereo is agent left, customer right, unless ``swap_channels``; mono is the sum of both.

    Raises:
        FliteMissingError: flite is not installed.
        ScriptError: a line cannot be spoken.
    """
    rng = seeded(script.name)
    placed: list[tuple[str | None, int, Sound]] = []
    lines = []
    cursor = 0.0
    for event in script.events:
        start = _start(event, cursor, not placed, rng)
        sound = _sound_of(event, script, rng)
        end = start + len(sound) / RATE
        placed.append((event.who, round(start * RATE), sound))
        if event.kind == "speech":
            lines.append(SpokenLine(str(event.who), round(start, 3), round(end, 3), event.text))
        cursor = cursor if event.behind else max(cursor, end)
    total = max([cursor, *(first / RATE + len(sound) / RATE for _, first, sound in placed)]) + _TAIL
    channels = {who: line_noise(total, script.noise_db[who], rng) for who in SPEAKERS}
    for who, first, sound in placed:
        if who is not None:
            channels[who][first : first + len(sound)] += sound
    lines.sort(key=lambda line: line.start)
    return Mix(_arranged(channels, script), tuple(lines))


def _arranged(channels: dict[str, Sound], script: Script) -> Sound:
    """Return the channels in the order and number that the script asks for, cross-talk included."""
    agent, customer = (channels[who] for who in SPEAKERS)
    if script.crosstalk_db is not None:
        leak = np.float32(10 ** (script.crosstalk_db / 20))
        agent, customer = agent + leak * customer, customer + leak * agent
    if script.layout == "mono":
        return np.clip(agent + customer, -1, 1)[None]
    return np.clip(np.stack([customer, agent] if script.swap_channels else [agent, customer]), -1, 1)
