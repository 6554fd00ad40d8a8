"""Arithmetic on stretches of time: union, gaps, intersection.

What belongs here: pure functions over ``Region``. What does not: any idea of who speaks or what it means.
Lengths are compared in whole milliseconds, so that 5.3 - 5.0 counts as the 0.30 s that it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from callpipeline.model import Region


def seconds(value: float) -> float:
    """Return ``value`` rounded to a millisecond: finer than any detector, coarser than float noise."""
    return round(value, 3)


def merged(regions: Iterable[Region], *, gap: float = 0.0) -> list[Region]:
    """Return the union of ``regions`` in order; stretches less than ``gap`` seconds apart become one.

    Touching and overlapping stretches are always joined; stretches without length vanish.
    """
    out: list[Region] = []
    for region in sorted(regions, key=lambda r: (r.start, r.end)):
        if region.end <= region.start:
            continue
        if out and (region.start <= out[-1].end or seconds(region.start - out[-1].end) < gap):
            out[-1] = Region(start=out[-1].start, end=max(out[-1].end, region.end))
        else:
            out.append(region)
    return out


def total(regions: Iterable[Region]) -> float:
    """Return the summed length in seconds."""
    return sum(region.duration for region in regions)


def intersection(left: Sequence[Region], right: Sequence[Region]) -> list[Region]:
    """Return what two merged, ordered lists have in common."""
    out: list[Region] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start, end = max(left[i].start, right[j].start), min(left[i].end, right[j].end)
        if start < end:
            out.append(Region(start=start, end=end))
        if left[i].end <= right[j].end:
            i += 1
        else:
            j += 1
    return out


def gaps(regions: Sequence[Region], duration: float, *, at_least: float) -> list[Region]:
    """Return the stretches of 0..``duration`` that a merged, ordered list leaves free, if long enough."""
    out: list[Region] = []
    position = 0.0
    for region in [*regions, Region(start=max(duration, 0.0), end=max(duration, 0.0))]:
        start = min(region.start, duration)
        if seconds(start - position) >= at_least:
            out.append(Region(start=position, end=start))
        position = max(position, region.end)
    return out
