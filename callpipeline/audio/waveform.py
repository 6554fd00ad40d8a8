"""A small picture of a recording: how loud, who speaks when, and where the verdicts point.

What belongs here: one SVG, small enough for an event's metadata and for a report of hundreds of rows. What
does not: measuring (``probe``) and deciding (the marks come ready-made).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from statistics import fmean

from callpipeline.model import AudioInfo, ChannelSpeech, Region, Role, SpeechActivity

MAX_BYTES = 2_600
"""As base64 in markdown this stays under the 4,000 characters that an event's metadata should have."""

COLOURS = {Role.AGENT: "#2563eb", Role.CUSTOMER: "#ea580c", Role.UNKNOWN: "#7c3aed"}
INK = "#475569"

_STEPS = (2, 3, 4, 5, 6, 8, 10, 15, 20, 40)
"""Widths of one column in pixels, finest first: the first that fits is taken."""

_MAX_LANES = 8
_MAX_MARKS = 8
_MAX_LABEL = 18
_LETTER = 6
_MIN_GAP = 4
_MAX_SPANS = 80
_AXIS_HEIGHT = 16
_LABEL_HEIGHT = 14
_TICKS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)

Mark = tuple[float, str, str]
"""(second, label, CSS colour)."""


def waveform_svg(
    info: AudioInfo,
    activity: SpeechActivity | None = None,
    marks: Sequence[Mark] = (),
    width: int = 600,
) -> str:
    """Draw a recording as an SVG of at most 2,600 bytes.

    Channels stand above each other, speech is shaded in the colour of its role, marks are lines with a
    label, and below runs the time. Long or busy recordings are drawn coarser, so that the size holds.

    Args:
        info: Supplies the peaks and the duration.
        activity: Speech by channel, for the shading.
        marks: Up to eight points in time to show; labels are cut to 18 characters.
        width: Pixels.
    """
    shown = list(marks)[:_MAX_MARKS]
    coarser = [(step, shown) for step in _STEPS]
    fewer = [(_STEPS[-1], shown[:count]) for count in range(len(shown) - 1, -1, -1)]
    svg = ""
    for step, some in coarser + fewer:
        svg = _draw(info, activity, some, width, step)
        if len(svg.encode()) <= MAX_BYTES:
            break
    return svg


def _draw(info: AudioInfo, activity: SpeechActivity | None, marks: list[Mark], width: int, step: int) -> str:
    lanes = min(len(info.peaks), _MAX_LANES)
    lane = 40 if lanes <= 2 else 20
    top = _LABEL_HEIGHT if marks else 0
    bottom = top + lanes * lane
    scale = width / max(info.duration, 1e-9)
    loudest = max((max(-low, high) for channel in info.peaks for low, high in channel), default=0.0) or 1.0
    found = {c.channel: c for c in activity.channels} if activity else {}
    size = f'width="{width}" height="{bottom + _AXIS_HEIGHT}"'
    font = f'font-family="sans-serif" font-size="10" fill="{INK}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>']
    for number in range(lanes):
        ground = top + (number + 1) * lane
        outline = _outline(info.peaks[number], loudest, width, step, lane - 4)
        parts.append(_lane(found.get(number), outline, ground, lane, scale, _MAX_SPANS // lanes))
    parts.extend(_marks(marks, scale, width, bottom))
    parts.append(_axis(info.duration, scale, width, bottom))
    return "".join(parts) + "</svg>"


def _lane(
    speech: ChannelSpeech | None, outline: str, ground: int, height: int, scale: float, spans: int
) -> str:
    if speech is None:
        return f'<path d="M0 {ground}{outline}z" fill="{INK}"/>'
    colour = COLOURS[speech.role]
    shade = _shading(speech.speech, scale, spans)
    name = "" if speech.role is Role.UNKNOWN else speech.role.value
    middle = ground - height // 2
    return (
        f'<path d="M0 {middle}{shade}" stroke="{colour}" stroke-width="{height - 2}" opacity=".2"/>'
        f'<path d="M0 {ground}{outline}z" fill="{colour}"/>'
        f'<text x="3" y="{ground - height + 11}">{name}</text>'
    )


def _shading(speech: Sequence[Region], scale: float, most: int) -> str:
    """Return stretches of speech as path data from x = 0; small gaps close until few enough are left."""
    gap = _MIN_GAP
    while len(spans := _spans(speech, scale, gap)) > most:
        gap *= 2
    position = 0
    data = ""
    for start, end in spans:
        data += f"m{start - position} 0h{end - start}"
        position = end
    return data


def _spans(speech: Sequence[Region], scale: float, gap: int) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for region in speech:
        start = round(region.start * scale)
        end = max(start + 1, round(region.end * scale))
        if spans and start - spans[-1][1] < gap:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        else:
            spans.append((start, end))
    return spans


def _outline(peaks: Sequence[tuple[float, float]], loudest: float, width: int, step: int, height: int) -> str:
    """Return the loudness by column as path data that starts and ends on the ground."""
    columns = max(1, width // step)
    heights: list[int] = []
    for column in range(columns):
        first = column * len(peaks) // columns
        last = max(first + 1, (column + 1) * len(peaks) // columns)
        high = fmean(max(-low, high) for low, high in peaks[first:last])
        heights.append(max(1, round(high / loudest * height)))
    rises = [b - a for a, b in pairwise(heights)]
    path = "".join(f" {step}{-rise}" if rise > 0 else f" {step} {-rise}" for rise in rises)
    return f"v-{heights[0]}l{path.strip()} {step} 0v{heights[-1]}"


def _marks(marks: list[Mark], scale: float, width: int, bottom: int) -> list[str]:
    """Return lines with labels; a label that would run into the next one is cut."""
    placed = [(min(width - 1, max(0, round(second * scale))), label, paint) for second, label, paint in marks]
    placed.sort(key=lambda mark: mark[0])
    parts: list[str] = []
    for number, (x, label, colour) in enumerate(placed):
        following = placed[number + 1][0] if number + 1 < len(placed) else width + _MAX_LABEL * _LETTER
        room = min(_MAX_LABEL, (following - x - 6) // _LETTER)
        shown = label if len(label) <= room else label[: max(0, room - 1)] + "…"
        turned = x + 4 + len(shown) * _LETTER > width
        paint = escape(colour, quote=True)
        parts.append(f'<path d="M{x} 2V{bottom}" stroke="{paint}" stroke-width="2"/>')
        if room > 1:
            anchor = ' text-anchor="end"' if turned else ""
            place = x - 4 if turned else x + 4
            parts.append(f'<text x="{place}" y="10" fill="{paint}"{anchor}>{escape(shown)}</text>')
    return parts


def _axis(duration: float, scale: float, width: int, bottom: int) -> str:
    """Return about six labelled times, and the line that they stand under."""
    tick = next((t for t in _TICKS if duration / t <= 7), _TICKS[-1])
    parts = [f'<path d="M0 {bottom}h{width}" stroke="{INK}"/>']
    for number in range(int(duration / tick) + 1):
        x = round(number * tick * scale)
        if x > width - 24:
            break
        parts.append(f'<text x="{x}" y="{bottom + 12}">{_clock(number * tick)}</text>')
    return "".join(parts)


def _clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
