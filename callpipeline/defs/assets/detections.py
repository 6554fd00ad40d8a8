"""``detections``: the verdicts that an analyst works through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callpipeline.audio.waveform import waveform_svg
from callpipeline.defs.assets.base import AssetFace, View, no_checks, picture, table
from callpipeline.model import AudioInfo, Detection, Detections, SpeechActivity
from callpipeline.qa.marks import verdict_marks


def _verdict(detection: Detection) -> str:
    if detection.score is not None:
        return f"{detection.score:.0f} ({detection.band})"
    return detection.verdict.value


def _metadata(view: View) -> Mapping[str, Any]:
    detections = view.value(Detections)
    shown: dict[str, Any] = {
        "flag": detections.flag,
        "flag_reasons": ", ".join(detections.flag_reasons) or "none",
        "verdicts": table(
            ("detection", "verdict", "confidence", "why", "rule"),
            [
                (d.name, _verdict(d), d.confidence, d.reason, d.rule_version)
                for d in detections.detections.values()
            ],
        ),
        "agent": view.call.agent or "unknown",
    }
    info = view.other("raw_audio", AudioInfo)
    if info is not None and info.peaks:
        activity = view.other("speech_activity", SpeechActivity)
        shown["waveform"] = picture(waveform_svg(info, activity, verdict_marks(detections)), "waveform")
    return shown


FACE = AssetFace(
    asset="detections",
    group="qa",
    kinds=frozenset({"python"}),
    description=(
        "Verdicts with confidence, evidence and rule version: releasing (the agent never speaks), late_hello (first "
        "speech after 5 s), rebuttal (was an objection answered), intro_score (0-100). A flag means: listen to it. An "
        "analysis that failed is an error, never a no."
    ),
    metadata=_metadata,
    check_descriptions={},
    checks=no_checks,
)
