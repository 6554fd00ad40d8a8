"""``speech_activity``: when somebody speaks, on each channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callpipeline.defs.assets.base import AssetFace, View, no_checks, table
from callpipeline.model import SpeechActivity


def _metadata(view: View) -> Mapping[str, Any]:
    activity = view.value(SpeechActivity)
    rows: list[tuple[object, ...]] = [
        (
            channel.channel,
            channel.role.value,
            channel.seconds,
            channel.speech[0].start if channel.speech else "never",
            len(channel.speech),
            len(channel.dropped),
        )
        for channel in activity.channels
    ]
    return {
        "speech_s": round(sum(channel.seconds for channel in activity.channels), 2),
        "detector": activity.detector,
        "channels": table(
            ("channel", "role", "speech s", "first speech s", "regions", "cross-talk dropped"), rows
        ),
    }


FACE = AssetFace(
    asset="speech_activity",
    group="audio",
    kinds=frozenset({"onnx"}),
    description=(
        "Stretches of speech on each channel (Silero VAD), with the other party's cross-talk taken out. Releasing and "
        "late hello are decided on it, and only speech goes to the transcription engine."
    ),
    metadata=_metadata,
    check_descriptions={},
    checks=no_checks,
)
