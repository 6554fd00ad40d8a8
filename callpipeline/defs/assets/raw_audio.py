"""``raw_audio``: the original bytes by their hash, and what one full decode says about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from callpipeline.audio.probe import findings
from callpipeline.audio.waveform import waveform_svg
from callpipeline.defs.assets.base import AssetFace, Check, View, picture
from callpipeline.intake.formats import display
from callpipeline.model import AudioInfo
from callpipeline.pipeline import fitness


def _metadata(view: View) -> Mapping[str, Any]:
    info = view.value(AudioInfo)
    sources = view.bench.catalog.sources(view.key)
    shown: dict[str, Any] = {
        "file": display(sources[0].path) if sources else "no longer in any folder",
        "sources": len(sources),
        "duration_s": round(info.duration, 2),
        "format": f"{info.format} / {info.codec}",
        "sample_rate_hz": info.sample_rate,
        "channels": info.channels,
        "size_bytes": info.bytes,
        "silence_s": round(sum(r.duration for r in info.silences), 2),
    }
    if info.loudness_lufs is not None:
        shown["loudness_lufs"] = round(info.loudness_lufs, 1)
    if info.peaks:
        shown["waveform"] = picture(waveform_svg(info), "waveform")
    return shown


def _checks(view: View) -> Iterator[Check]:
    info = view.value(AudioInfo)
    if info.channels == 0:
        return
    for finding in findings(info):
        yield Check(finding.name, finding.passed, finding.message, {"value": finding.value})
    yield _fit_to_send(info, view)


def _fit_to_send(info: AudioInfo, view: View) -> Check:
    looks = fitness.recording(info, view.call, view.bench.settings)
    against = fitness.failed(looks)
    text = " ".join(against) or "nothing about the recording itself keeps it from being sent to a provider"
    return Check("fit_to_send", not against, text, {look.name: look.message for look in looks})


FACE = AssetFace(
    asset="raw_audio",
    group="audio",
    kinds=frozenset({"file"}),
    description=(
        "The recording as it came, kept by the hash of its bytes, and the truth about it from one full streaming "
        "decode: duration, channels, loudness, silences, waveform. Headers lie; this does not."
    ),
    metadata=_metadata,
    check_descriptions={
        "duration_matches_claim": "The decoded duration equals the one that the file's header claims.",
        "not_clipped": "The signal is not cut off at full scale.",
        "not_silent": "There is something to hear.",
        "fit_to_send": (
            "Whole, of a length and size that is taken, and with the metadata that its profile asks for: what fails "
            "here is not sent to a provider. Engines of this machine take it all the same."
        ),
    },
    checks=_checks,
)
