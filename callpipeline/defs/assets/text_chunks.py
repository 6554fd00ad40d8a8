"""``text_chunks``: what was said, cut into slices that a language model can look into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callpipeline.defs.assets.base import AssetFace, View, no_checks, table
from callpipeline.knowledge import TextChunk, TextChunks
from callpipeline.pipeline.case import timestamp

BEGINNING = 60
"""Characters that show which chunk it is; the whole text is in the file."""


def _metadata(view: View) -> Mapping[str, Any]:
    found = view.value(TextChunks)
    lengths = [len(chunk.text) for chunk in found.chunks]
    left_out = [chunk.low_value for chunk in found.chunks if chunk.low_value]
    return {
        "chunks": len(found.chunks),
        "worth_it": len(found.worth_it),
        "left_out": _counts(left_out),
        "characters": sum(lengths),
        "mean_characters": round(sum(lengths) / max(1, len(lengths))),
        "table": table(
            ("chunk", "from", "to", "speakers", "characters", "priority", "begins"),
            [_row(c) for c in found.chunks],
        ),
        "file": str(view.stored.path),
    }


def _row(chunk: TextChunk) -> tuple[object, ...]:
    return (
        chunk.index + 1,
        timestamp(chunk.start),
        timestamp(chunk.end),
        ", ".join(dict.fromkeys(line.speaker for line in chunk.lines)),
        len(chunk.text),
        chunk.low_value or chunk.priority,
        chunk.text[:BEGINNING],
    )


def _counts(reasons: list[str]) -> str:
    return ", ".join(f"{reasons.count(reason)} x {reason}" for reason in dict.fromkeys(reasons)) or "none"


FACE = AssetFace(
    asset="text_chunks",
    group="graph",
    kinds=frozenset({"text"}),
    description=(
        "What was said in slices of about 2,000 characters, cut between turns, else between sentences, with speakers and "
        "the second of each word. Slices in which nothing can be found (greetings, announcements) are kept but marked; "
        "those with most to find go first. A recording without text has none."
    ),
    metadata=_metadata,
    check_descriptions={},
    checks=no_checks,
)
