"""A conversation as text and as subtitles: plain text, SubRip (.srt) and WebVTT (.vtt), with speakers and chapters.

What belongs here: where a text is cut into cues and lines, and how the formats are written. What does not:
reading them (``intake.captions``) and files. Sizes are those that broadcasters ask for: two lines of 42
characters, 1 to 7 seconds (Netflix, "Timed Text Style Guide"; BBC, "Subtitle Guidelines").

Cues of one speaker never overlap; those of people who talk at the same time do, as they did. The start of a cue
is that of its first word, to the millisecond.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from callpipeline.model import Chapter, Diarization, Gap, Role, SpeakerTurns, Transcript, Turn
from callpipeline.speech.attribution import NOBODY
from callpipeline.speech.cue_cuts import LINE, LONGEST, SHORTEST, cue_cuts, line_break
from callpipeline.speech.turns import turn_words

DEMO_NOTE = "Text of the offline demo engine: expect wrong words."

_LABEL = re.compile(r"(speaker|spk|channel)?[ _-]?(\d{1,3}|[A-Z])", re.IGNORECASE)
"""Labels of diarizers, which name nobody: ``A``, ``2``, ``speaker_0``, ``SPEAKER_00``."""
_COUNTED = re.compile(r"(?:speaker|channel)_(\d{1,3})")
"""Labels of our own diarizers, which count from 0; people count from 1."""
_MARKUP = re.compile(r"<[/\w]|\{\\")


@dataclass(frozen=True)
class Cue:
    """One subtitle: ``lines`` of text that ``speaker`` (``None``: nobody knows) says from ``start`` to ``end``."""

    start: float
    end: float
    speaker: str | None
    lines: tuple[str, ...]


def cues(transcript: Transcript, diarization: Diarization, turns: SpeakerTurns) -> tuple[Cue, ...]:
    """Cut a conversation into cues, in order of start; what is missing (``gaps``) is a cue that says so.

    Args:
        transcript: with the times of the words; words without any share their segment's time.
        diarization: what ``turns`` were made with.
        turns: ``speaker_turns(transcript, diarization)``.

    Raises:
        ValueError: the turns were made from something else.
    """
    names = speaker_names(turns)
    found = [_gap(gap) for gap in transcript.gaps]
    for turn, words in zip(turns.turns, turn_words(transcript, diarization), strict=True):
        name = names.get(turn.speaker)
        room = min(len(name) + 2, LINE // 2) if name else 0
        for first, last in cue_cuts(words, room):
            texts = [" ".join(word.text.split()) for word in words[first:last]]
            at = line_break(texts, room if first == 0 else 0)
            lines = (" ".join(texts[:at]), " ".join(texts[at:])) if at else (" ".join(texts),)
            start = round(words[first].start, 3)
            end = min(max(start + SHORTEST, *(word.end for word in words[first:last])), start + LONGEST)
            found.append(Cue(start, round(end, 3), name, lines))
    return _making_room(sorted(found, key=lambda cue: cue.start))


def _making_room(found: Sequence[Cue]) -> tuple[Cue, ...]:
    """End each cue where the next one of its speaker begins, at the latest."""
    following: dict[str | None, float] = {}
    shown: list[Cue] = []
    for cue in reversed(found):
        shown.append(replace(cue, end=min(cue.end, following.get(cue.speaker, cue.end))))
        following[cue.speaker] = cue.start
    return tuple(reversed(shown))


def _gap(gap: Gap) -> Cue:
    return Cue(gap.start, gap.end, None, (_missing(gap),))


def _missing(gap: Gap) -> str:
    return f"[{_clock(gap.start)} to {_clock(gap.end)} is missing ({gap.error_class})]"


def speaker_names(turns: SpeakerTurns) -> dict[str, str]:
    """Return how each speaker is called: by the name that the engine gave, by role, or "Speaker 1".

    Roles are taken where they are told, or where two people talk: those of a whole committee are guesses. Empty
    when nobody was told from anybody.
    """
    roles = {turn.speaker: turn.role for turn in turns.turns}
    if roles.keys() <= {NOBODY}:
        return {}
    known = len(roles) <= 2 or turns.role_confidence >= 1.0
    with_role = list(roles.values())
    return {
        speaker: role.value.capitalize()
        if known and role is not Role.UNKNOWN and with_role.count(role) == 1 and _is_label(speaker)
        else _label(speaker)
        for speaker, role in roles.items()
    }


def _is_label(speaker: str) -> bool:
    return _LABEL.fullmatch(speaker) is not None or speaker in frozenset(Role)


def _label(speaker: str) -> str:
    if counted := _COUNTED.fullmatch(speaker):
        return f"Speaker {int(counted[1]) + 1}"
    match = _LABEL.fullmatch(speaker)
    if match is None:
        return " ".join(speaker.split())
    kind = "Channel" if (match[1] or "").lower() == "channel" else "Speaker"
    return f"{kind} {match[2].upper()}"


# --- formats ------------------------------------------------------------------------------------------------


def srt(found: Sequence[Cue]) -> str:
    """Write cues as SubRip; a speaker's name stands before a colon where the speaker changes.

    The format has no escapes of its own: text that a player would take for markup is written as HTML entities.
    """
    blocks: list[str] = []
    before: str | None = None
    for number, cue in enumerate(found, start=1):
        lines = [_escaped(line) if _like_markup(line) else line for line in cue.lines]
        if cue.speaker is not None and (cue.speaker != before or _like_a_name(lines[0])):
            lines[0] = f"{cue.speaker}: {lines[0]}"
        before = cue.speaker or before
        times = f"{_time(cue.start, ',')} --> {_time(cue.end, ',')}"
        blocks.append("\n".join([str(number), times, *lines]))
    return "\n\n".join(blocks) + "\n" if blocks else ""


def vtt(found: Sequence[Cue], *, chapters: Sequence[Chapter] = (), demo: bool = False) -> str:
    """Write cues as WebVTT; every cue names its speaker as its voice. Chapters become notes before their first cue."""
    blocks = ["WEBVTT"]
    if demo:
        blocks.append(f"NOTE {DEMO_NOTE}")
    waiting = list(chapters)
    for cue in found:
        while waiting and waiting[0].start <= cue.start:
            chapter = waiting.pop(0)
            blocks.append(f"NOTE Chapter at {_clock(chapter.start)}: {_escaped(chapter.title)}")
        lines = [_escaped(line) for line in cue.lines]
        if cue.speaker is not None:
            lines[0] = f"<v {_escaped(cue.speaker)}>{lines[0]}"
        blocks.append("\n".join([f"{_time(cue.start, '.')} --> {_time(cue.end, '.')}", *lines]))
    return "\n\n".join(blocks) + "\n"


def text(
    transcript: Transcript, turns: SpeakerTurns, *, title: str = "", chapters: Sequence[Chapter] = ()
) -> str:
    """Write what was said as paragraphs with time and speaker, under the headings of its chapters.

    Turns of one speaker that follow each other are one paragraph; a gap of the transcript is a paragraph of its own.
    """
    names = speaker_names(turns)
    headings = [(chapter.start, 0, _heading(chapter)) for chapter in chapters]
    gaps = [(gap.start, 1, _missing(gap)) for gap in transcript.gaps]
    between = sorted([*headings, *gaps])
    head = [line for line in (title, f"({DEMO_NOTE})" if transcript.demo else "") if line]
    return "\n\n".join([*head, *_paragraphs(turns.turns, names, between)]) + "\n"


def _heading(chapter: Chapter) -> str:
    return f"== {chapter.title} =="


def _paragraphs(
    turns: Sequence[Turn], names: dict[str, str], between: list[tuple[float, int, str]]
) -> Iterator[str]:
    said: list[str] = []
    speaker: str | None = None
    for turn in turns:
        due = []
        # A chapter that is announced within a turn stands before that turn, where a reader looks for it.
        while between and between[0][0] < max(turn.end, turn.start + 0.001):
            due.append(between.pop(0)[2])
        if said and (due or turn.speaker != speaker):
            yield " ".join(said)
            said = []
        yield from due
        if not said:
            name = names.get(turn.speaker)
            said.append(f"[{_clock(turn.start)}] {name}:" if name else f"[{_clock(turn.start)}]")
        said.append(turn.text)
        speaker = turn.speaker
    if said:
        yield " ".join(said)
    yield from (line for _, _, line in between)


def _escaped(line: str) -> str:
    return html.escape(line, quote=False).replace("{", "&#123;")


def _like_markup(line: str) -> bool:
    """Tell whether a player may take a part of a line for a tag, an override or an entity."""
    return _MARKUP.search(line) is not None or html.unescape(line) != line


def _like_a_name(line: str) -> bool:
    """Tell whether a reader may take the beginning of a line for the name of a speaker."""
    return re.match(r"(?:-\s*)?(?:\S+ ){0,2}\S+:\s", line) is not None


def _time(seconds: float, point: str) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{point}{thousandths:03d}"


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
