"""``call_metrics``: the figures of a call and of each of its speakers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callpipeline.defs.assets.base import AssetFace, View, no_checks, table
from callpipeline.model import CallMetrics


def _metadata(view: View) -> Mapping[str, Any]:
    metrics = view.value(CallMetrics)
    rows: list[tuple[object, ...]] = [
        (
            speaker.role.value,
            speaker.talk_seconds,
            f"{speaker.talk_ratio:.0%}",
            "" if speaker.words_per_minute is None else round(speaker.words_per_minute),
            speaker.longest_monologue,
            speaker.interruptions,
            "" if speaker.sentiment is None else speaker.sentiment,
        )
        for speaker in metrics.speakers
    ]
    return {
        "duration_s": round(metrics.duration, 2),
        "talk_s": round(metrics.talk_seconds, 2),
        "silence_s": round(metrics.silence_seconds, 2),
        "overlap_s": round(metrics.overlap_seconds, 2),
        "categories": ", ".join(name for name, found in metrics.categories.items() if found) or "none",
        "speakers": table(
            ("role", "talk s", "share", "words/min", "longest s", "interruptions", "sentiment"), rows
        ),
    }


FACE = AssetFace(
    asset="call_metrics",
    group="qa",
    kinds=frozenset({"python"}),
    description=(
        "Talk time and share, silences, interruptions, longest monologue, words a minute, loudness, sentiment by quarter "
        "of the call, and phrases by category, for the call and each speaker."
    ),
    metadata=_metadata,
    check_descriptions={},
    checks=no_checks,
)
