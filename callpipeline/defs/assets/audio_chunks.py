"""``audio_chunks``: where a long recording is cut for an engine that takes it in chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from callpipeline.defs.assets.base import AssetFace, Check, View, table
from callpipeline.model import ChunkPlan
from callpipeline.pipeline.case import timestamp


def _metadata(view: View) -> Mapping[str, Any]:
    plan = view.value(ChunkPlan)
    seams = Counter(chunk.seam for chunk in plan.chunks)
    lengths = [chunk.duration for chunk in plan.chunks]
    rows: list[tuple[object, ...]] = [
        (
            chunk.index + 1,
            timestamp(chunk.start),
            timestamp(chunk.end),
            chunk.duration,
            chunk.seam,
            chunk.overlap,
        )
        for chunk in plan.chunks
    ]
    return {
        "chunks": len(plan.chunks),
        "cut_in_silence": seams["silence"],
        "cut_with_overlap": seams["overlap"],
        "mean_s": round(sum(lengths) / max(1, len(lengths)), 1),
        "longest_s": round(max(lengths, default=0.0), 1),
        "codec": plan.codec,
        "table": table(("chunk", "from", "to", "seconds", "begins", "overlap s"), rows),
    }


def _checks(view: View) -> Iterator[Check]:
    plan = view.value(ChunkPlan)
    overlapping = sum(chunk.seam == "overlap" for chunk in plan.chunks)
    cuts = max(0, len(plan.chunks) - 1)
    yield Check(
        "cut_in_silence",
        passed=overlapping == 0,
        description=f"{cuts - overlapping} of {cuts} cuts are in a silence; at the others chunks overlap",
        metadata={"cuts": cuts, "overlapping": overlapping},
    )


FACE = AssetFace(
    asset="audio_chunks",
    group="audio",
    kinds=frozenset({"file"}),
    description=(
        "Where a hearing, or any recording that is too long for one request, is cut for an engine that takes it in "
        "chunks (openai): in silences, and with an overlap only where there is none. Other engines, and short calls, "
        "need no chunks. The chunks themselves are files only while they are being sent."
    ),
    metadata=_metadata,
    check_descriptions={"cut_in_silence": "Every cut is in a silence, so that no word is heard twice."},
    checks=_checks,
)
