"""``diarization``: who spoke when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from callpipeline.defs.assets.base import AssetFace, View, no_checks, table
from callpipeline.model import Diarization


def _metadata(view: View) -> Mapping[str, Any]:
    diarization = view.value(Diarization)
    seconds: dict[str, float] = defaultdict(float)
    for span in diarization.spans:
        seconds[span.speaker] += span.end - span.start
    rows: list[tuple[object, ...]] = [
        (speaker, diarization.roles.get(speaker, "unknown"), total) for speaker, total in seconds.items()
    ]
    return {
        "engine": diarization.engine,
        "speakers": len(seconds),
        "role_confidence": round(diarization.role_confidence, 2),
        "talk": table(("speaker", "role", "talk s"), rows),
        "notes": "; ".join(diarization.notes) or "none",
    }


FACE = AssetFace(
    asset="diarization",
    group="speech",
    kinds=frozenset({"python"}),
    description=(
        "Who spoke when. Stereo calls: by channel. Mono: by clustering voices; which of them is the agent is "
        "inferred from what they say, with a confidence. Runs beside transcription, not after it."
    ),
    metadata=_metadata,
    check_descriptions={},
    checks=no_checks,
)
