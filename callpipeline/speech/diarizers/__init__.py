"""The table of diarization engines, and which of them fits a recording.

To add an engine: one file beside this one, one line in ``DIARIZERS``. Importing this loads no engine.
"""

from __future__ import annotations

from collections.abc import Callable

from callpipeline.audio.channels import channels_differ
from callpipeline.failures import NotConfigured
from callpipeline.model import AudioInfo
from callpipeline.settings import DiarizerName, Settings
from callpipeline.speech.diarizers.base import Diarizer
from callpipeline.speech.engines.base import CpuRunner, EngineStatus

Factory = Callable[[Settings, CpuRunner], Diarizer]


def _channels(settings: Settings, cpu: CpuRunner) -> Diarizer:
    from callpipeline.speech.diarizers.channels import ChannelsDiarizer

    return ChannelsDiarizer()


def _spectral(settings: Settings, cpu: CpuRunner) -> Diarizer:
    from callpipeline.speech.diarizers.spectral import SpectralDiarizer

    return SpectralDiarizer(settings.speakers, cpu)


def _sortformer(settings: Settings, cpu: CpuRunner) -> Diarizer:
    raise NotConfigured(
        "the diarization engine 'sortformer' comes with the next version of callpipeline.",
        hint="Until then set CALLPIPELINE_DIARIZER=auto.",
    )


DIARIZERS: dict[DiarizerName, Factory] = {
    DiarizerName.CHANNELS: _channels,
    DiarizerName.SPECTRAL: _spectral,
    DiarizerName.SORTFORMER: _sortformer,
}


def diarizer(settings: Settings, cpu: CpuRunner, info: AudioInfo) -> Diarizer:
    """Return the engine for a recording of this shape.

    ``auto`` goes by channel where channels can separate the parties, and by voice otherwise (mono, or the
    same sound on both channels).

    Raises:
        NotConfigured: a known engine that this version does not have.
    """
    name = settings.diarizer
    if name is DiarizerName.AUTO:
        name = DiarizerName.CHANNELS if channels_differ(info) else DiarizerName.SPECTRAL
    return DIARIZERS[name](settings, cpu)


def available(settings: Settings) -> list[EngineStatus]:
    """Say of every engine whether it works here. ``chosen`` = may be used under these settings."""
    auto = settings.diarizer is DiarizerName.AUTO
    rows = (
        (DiarizerName.CHANNELS, True, "recordings with a channel for each party", ""),
        (DiarizerName.SPECTRAL, True, f"mono, {settings.speakers} voices expected, no weights needed", ""),
        (DiarizerName.SORTFORMER, False, "comes with the next version", "Use auto until then."),
    )
    return [
        EngineStatus(
            name.value,
            "diarization",
            ready,
            detail,
            hint,
            chosen=settings.diarizer is name or (auto and ready),
        )
        for name, ready, detail, hint in rows
    ]
