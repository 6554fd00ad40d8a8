"""``transcripts``: what was said, from the configured engine or a ready-made file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from callpipeline.defs.assets.base import AssetFace, Check, View
from callpipeline.model import SpeechActivity, Transcript

DEMO = " (offline demo engine: wrong words are normal)"
LEAST_SPEECH = 1.0
LEAST_CONFIDENCE = 0.40
"""Below this, on average over the words, a person should not trust the text."""


def _metadata(view: View) -> Mapping[str, Any]:
    transcript = view.value(Transcript)
    shown: dict[str, Any] = {
        "engine": transcript.engine + (DEMO if transcript.demo else ""),
        "engine_version": transcript.engine_version,
        "language": transcript.language or "unknown",
        "segments": len(transcript.segments),
        "words": len(transcript.text.split()),
        "file": str(view.stored.path),
    }
    if transcript.confidence is not None:
        shown["confidence"] = round(transcript.confidence, 3)
    if transcript.skipped_reason:
        shown["not_transcribed"] = transcript.skipped_reason
    if transcript.notes:
        shown["notes"] = "; ".join(transcript.notes)
    return shown


def _checks(view: View) -> Iterator[Check]:
    transcript = view.value(Transcript)
    activity = view.other("speech_activity", SpeechActivity)
    speech = sum(channel.seconds for channel in activity.channels) if activity else 0.0
    words = len(transcript.text.split())
    skipped = transcript.skipped_reason
    yield Check(
        "text_where_speech",
        passed=bool(words or skipped or speech < LEAST_SPEECH),
        description=skipped or f"{words} words for {speech:.1f} s of speech",
        metadata={"words": words, "speech_s": round(speech, 2)},
    )
    if transcript.confidence is not None:
        yield Check(
            "confidence",
            passed=transcript.confidence >= LEAST_CONFIDENCE,
            description=f"mean word confidence {transcript.confidence:.2f} (at least {LEAST_CONFIDENCE})",
            metadata={"confidence": round(transcript.confidence, 3)},
        )


FACE = AssetFace(
    asset="transcripts",
    group="speech",
    kinds=frozenset({"text"}),
    description=(
        "What was said, with times. Made by the engine that CALLPIPELINE_TRANSCRIBER names; a ready-made SRT, VTT or "
        "JSON transcript beside the audio is taken instead. A call whose agent never speaks is not transcribed."
    ),
    metadata=_metadata,
    check_descriptions={
        "text_where_speech": "Where somebody speaks there is text.",
        "confidence": "The engine is sure enough of its words.",
    },
    checks=_checks,
)
