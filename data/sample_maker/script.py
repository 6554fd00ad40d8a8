"""What a dialogue file says: parsed and checked, not yet spoken.

Belongs here: the TOML keys and the small language of the ``dialogue`` text. Does not: sound of any kind.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SPEAKERS = ("agent", "customer")
EFFECTS = ("hold music", "ring", "beep", "blip", "babble")
_LINE = re.compile(r"^(?P<who>agent|customer)(?: \[(?P<options>[^\]]*)\])?: (?P<text>.+)$")
_SILENCE = re.compile(r"^\(silence (?P<seconds>[\d.]+)\)$")
_EFFECT = re.compile(
    rf"^\((?P<kind>{'|'.join(EFFECTS)}) (?P<seconds>[\d.]+) on (?P<who>agent|customer)"
    r"(?:, (?P<options>[^)]*))?\)$"
)
_OPTION = re.compile(r"^(?P<key>at|gap|gain) (?P<value>-?[\d.]+)$")


class ScriptError(Exception):
    """A dialogue file that cannot be understood; the message names the file and the line."""


@dataclass(frozen=True)
class Voice:
    """A flite voice. ``pitch`` is its mean in Hz, ``stretch`` > 1 slows it down; ``None`` = as it is."""

    name: str
    pitch: float | None = None
    stretch: float | None = None


@dataclass(frozen=True)
class Event:
    """One thing that is heard.

    ``kind`` is ``speech``, ``silence`` or one of ``EFFECTS``. ``at`` is seconds from the start; without it
    the event starts ``gap`` seconds after the end of what came before (negative = overlap). ``gain`` is dB.
    An event that is ``behind`` does not hold up what comes after it.
    """

    kind: str
    who: str | None = None
    text: str = ""
    seconds: float = 0.0
    at: float | None = None
    gap: float | None = None
    gain: float = 0.0
    behind: bool = False


@dataclass(frozen=True)
class Script:
    """One dialogue file. ``file`` is the path of the recording below the samples folder."""

    name: str
    about: str
    file: str
    events: tuple[Event, ...]
    voices: Mapping[str, Voice]
    metadata: Mapping[str, Any]
    expected: Mapping[str, Any]
    in_manifest: tuple[str, ...]
    in_sidecar: tuple[str, ...]
    sample_rate: int = 16000
    layout: str = "stereo"
    swap_channels: bool = False
    bit_rate: int = 48000
    noise_db: Mapping[str, float] = field(default_factory=dict)
    crosstalk_db: float | None = None
    damage: Mapping[str, Any] | None = None
    duplicate_of: str | None = None
    srt: bool = False

    @property
    def kind(self) -> str:
        """``call``, ``broken`` (must fail), ``duplicate`` (of another) or ``transcript`` (no audio)."""
        if self.duplicate_of:
            return "duplicate"
        if self.damage:
            return "broken"
        return "transcript" if self.file.endswith(".json") else "call"


def _options(text: str | None, where: str) -> dict[str, Any]:
    """Return ``at``, ``gap``, ``gain`` and ``behind`` of a comma-separated option text."""
    found: dict[str, Any] = {}
    for option in (o.strip() for o in (text or "").split(",") if o.strip()):
        match = _OPTION.match(option)
        if option == "behind":
            found["behind"] = True
        elif match:
            found[match["key"]] = float(match["value"])
        else:
            raise ScriptError(f"{where}: option {option!r} is not 'at S', 'gap S', 'gain DB' or 'behind'")
    return found


def parse_dialogue(text: str, where: str) -> tuple[Event, ...]:
    """Parse the ``dialogue`` text; ``where`` names the file in error messages.

    Raises:
        ScriptError: a line is neither a spoken line, a silence nor an effect.
    """
    events = []
    for number, raw in enumerate(text.splitlines(), 1):
        line, place = raw.strip(), f"{where}, dialogue line {number}"
        if not line or line.startswith("#"):
            continue
        if match := _LINE.match(line):
            event = Event("speech", match["who"], match["text"], **_options(match["options"], place))
        elif match := _SILENCE.match(line):
            event = Event("silence", seconds=float(match["seconds"]))
        elif match := _EFFECT.match(line):
            seconds = float(match["seconds"])
            event = Event(match["kind"], match["who"], seconds=seconds, **_options(match["options"], place))
        else:
            raise ScriptError(f"{place}: cannot read {line!r}")
        events.append(event)
    return tuple(events)


def _noise(value: Any) -> dict[str, float]:
    """Return the noise level in dBFS per speaker's channel; -120 means digital silence."""
    levels = dict.fromkeys(SPEAKERS, -55.0)
    if isinstance(value, dict):
        return levels | value
    return levels if value is None else dict.fromkeys(SPEAKERS, float(value))


def load_script(path: Path) -> Script:
    """Read one dialogue file.

    Raises:
        ScriptError: no TOML, a key that is missing or that nobody knows, or an unreadable dialogue line.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ScriptError(f"{path.name}: {error}") from error
    try:
        voices = given.pop("voices", {})
        return Script(
            name=path.stem,
            about=given.pop("about"),
            file=given.pop("file"),
            events=parse_dialogue(given.pop("dialogue", ""), path.name),
            voices={who: Voice(v) if isinstance(v, str) else Voice(**v) for who, v in voices.items()},
            metadata=given.pop("metadata", {}),
            expected=given.pop("expected", {}),
            in_manifest=tuple(given.pop("in_manifest", ("campaign", "dialer"))),
            in_sidecar=tuple(given.pop("in_sidecar", ())),
            noise_db=_noise(given.pop("noise_db", None)),
            **given,
        )
    except KeyError as error:
        raise ScriptError(f"{path.name}: {error} is missing") from error
    except TypeError as error:
        raise ScriptError(f"{path.name}: {error}") from error


def load_scripts(folder: Path) -> dict[str, Script]:
    """Read all dialogue files of ``folder``, by name.

    Raises:
        ScriptError: one of them is wrong, two of them make the same file, or a duplicate names nobody.
    """
    scripts = {path.stem: load_script(path) for path in sorted(folder.glob("*.toml"))}
    makers: dict[str, str] = {}
    for script in scripts.values():
        other = makers.setdefault(script.file, script.name)
        if other != script.name:
            raise ScriptError(f"{script.name} and {other} both make {script.file!r}")
        if script.duplicate_of and script.duplicate_of not in scripts:
            raise ScriptError(
                f"{script.name}: duplicate_of names {script.duplicate_of!r}, which is not there"
            )
    return scripts
