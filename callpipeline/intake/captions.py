"""SubRip (.srt) and WebVTT (.vtt) as segments with speakers.

Speakers come from WebVTT voices (``<v Anna>``) or from a name before a colon (``Anna: good morning``), which
holds until the next name: captions name a speaker only when it changes. https://www.w3.org/TR/webvtt1/.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from callpipeline.failures import BadTranscript
from callpipeline.model import Segment

_CLOCK = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_TIMING = re.compile(rf"^\s*{_CLOCK}\s*-->\s*{_CLOCK}(?:\s.*)?$")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
_TAG = re.compile(r"</?[a-zA-Z0-9][^>]*>|\{\\[^}]*\}")
_NAMED = re.compile(
    r"^(?:-\s*)?(?P<name>[A-Z][\w.'-]*(?: [A-Z0-9][\w.'-]*){0,2}|agent|customer|speaker[ _]?\w{1,3})"
    r":\s+(?=\S)"
)
_NO_CUES = re.compile(r"^(?:NOTE|STYLE|REGION)(?:\s|$)")

Line = tuple[int, str]
"""A line with its number, counted from 1."""


def read_captions(text: str, name: str, *, webvtt: bool) -> list[Segment]:
    """Read captions. ``name`` is only for messages.

    Raises:
        BadTranscript: a block that is no cue, with its line number, or no cue at all.
    """
    lines = list(enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1))
    if webvtt:
        if not re.match(r"^WEBVTT(?:\s|$)", lines[0][1]):
            raise BadTranscript(f"{name}, line 1: a WebVTT file must begin with WEBVTT.")
        lines = _after_header(lines)
    segments: list[Segment] = []
    speaker: str | None = None
    for block in _blocks(lines):
        if webvtt and _NO_CUES.match(block[0][1]):
            continue
        start, end, payload = _cue(block, name)
        parts = list(_parts(start, end, payload, speaker))
        segments += [Segment(start=a, end=b, text=said, speaker=who) for a, b, who, said in parts]
        if parts and not _VOICE.search("".join(payload)):
            speaker = parts[-1][2]
    if not segments:
        raise BadTranscript(f"{name} holds no captions.")
    return segments


def _after_header(lines: list[Line]) -> list[Line]:
    blank = next((i for i, (_, line) in enumerate(lines) if not line.strip()), len(lines))
    return lines[blank:]


def _blocks(lines: list[Line]) -> Iterator[list[Line]]:
    block: list[Line] = []
    for number, line in [*lines, (0, "")]:
        if line.strip():
            block.append((number, line))
        elif block:
            yield block
            block = []


def _cue(block: list[Line], name: str) -> tuple[float, float, list[str]]:
    """Return start, end and payload of a block: an optional identifier, the timing, the text."""
    position = next((i for i, (_, line) in enumerate(block[:2]) if "-->" in line), None)
    if position is None:
        raise BadTranscript(f"{name}, line {block[0][0]}: a caption without a time.")
    number, line = block[position]
    match = _TIMING.match(line)
    if match is None:
        raise BadTranscript(
            f"{name}, line {number}: {line.strip()!r} is not a time like 00:01:02.500 --> 00:01:04.000."
        )
    start, end = _seconds(match.groups()[:4]), _seconds(match.groups()[4:])
    if end < start:
        raise BadTranscript(f"{name}, line {number}: the caption ends before it starts.")
    return start, end, [text for _, text in block[position + 1 :]]


def _seconds(groups: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = (g or "0" for g in groups)
    return round(int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000, 3)


def _parts(
    start: float, end: float, payload: list[str], speaker: str | None
) -> Iterator[tuple[float, float, str | None, str]]:
    """Yield (start, end, speaker, text) by speaker; the time of a cue is shared out by length of text."""
    said = [(who, text) for who, text in _said(payload, speaker) if text]
    total = sum(len(text) for _, text in said)
    at = start
    for number, (who, text) in enumerate(said, start=1):
        until = end if number == len(said) else round(at + (end - start) * len(text) / total, 3)
        yield at, until, who, text
        at = until


def _said(payload: list[str], speaker: str | None) -> Iterator[tuple[str | None, str]]:
    joined = "\n".join(payload)
    if _VOICE.search(joined):
        before, *pieces = _VOICE.split(joined)
        yield speaker, _plain(before)
        for who, text in zip(pieces[::2], pieces[1::2], strict=True):
            yield html.unescape(who).strip(), _plain(text)
        return
    texts: list[str] = []
    for line in payload:
        plain = _plain(line)
        if named := _NAMED.match(plain):
            yield speaker, " ".join(texts)
            speaker, texts, plain = named["name"], [], plain[named.end() :]
        texts.append(plain)
    yield speaker, " ".join(t for t in texts if t)


def _plain(text: str) -> str:
    return " ".join(html.unescape(_TAG.sub("", text)).split())
