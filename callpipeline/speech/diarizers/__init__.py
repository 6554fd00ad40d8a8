"""The table of diarization engines, and which of them fits a recording.

To add an engine: one file beside this one, one line in ``DIARIZERS``. Importing this loads no engine.
"""

from __future__ import annotations

from collections.abc import Callable

from callpipeline.settings import DiarizerName, Settings
from callpipeline.speech.diarizers.base import Diarizer
from callpipeline.speech.engines.base import CpuRunner, EngineStatus, SpeechJob

Factory = Callable[[Settings, CpuRunner], Diarizer]


def _channels(settings: Settings, cpu: CpuRunner) -> Diarizer:
    from callpipeline.speech.diarizers.channels import ChannelsDiarizer

    return ChannelsDiarizer()


def _spectral(settings: Settings, cpu: CpuRunner) -> Diarizer:
    from callpipeline.speech.diarizers.spectral import SpectralDiarizer

    return SpectralDiarizer(settings.speakers, cpu)


def _titanet(settings: Settings, cpu: CpuRunner) -> Diarizer:
    from callpipeline.speech.diarizers.titanet import TitanetDiarizer

    return TitanetDiarizer(settings)


def _sortformer(settings: Settings, cpu: CpuRunner) -> Diarizer:
    from callpipeline.speech.diarizers.sortformer import SortformerDiarizer

    return SortformerDiarizer(settings)


DIARIZERS: dict[DiarizerName, Factory] = {
    DiarizerName.CHANNELS: _channels,
    DiarizerName.SPECTRAL: _spectral,
    DiarizerName.TITANET: _titanet,
    DiarizerName.SORTFORMER: _sortformer,
}


def diarizer(settings: Settings, cpu: CpuRunner, job: SpeechJob) -> Diarizer:
    """Return the engine for a recording.

    ``auto`` goes by channel where channels can separate the parties, and by voice otherwise (mono, the same sound on
    both channels, or a hearing whose channels are microphones in one room).
    """
    name = settings.diarizer
    if name is DiarizerName.AUTO:
        name = DiarizerName.CHANNELS if job.by_channel else by_voice(settings)
    return DIARIZERS[name](settings, cpu)


def by_voice(settings: Settings) -> DiarizerName:
    """Return what ``auto`` takes for one channel: NeMo's model of voices where its weights are here, else none."""
    from callpipeline.speech.diarizers import nemo_weights

    return DiarizerName.TITANET if nemo_weights.ready(settings.titanet_model) else DiarizerName.SPECTRAL


def uses_nemo(settings: Settings) -> bool:
    """Tell whether a NeMo model tells voices apart under these settings."""
    name = by_voice(settings) if settings.diarizer is DiarizerName.AUTO else settings.diarizer
    return name in (DiarizerName.TITANET, DiarizerName.SORTFORMER)


def versions(settings: Settings) -> list[str]:
    """Return what decides the results of the engines that these settings may use."""
    from callpipeline.speech.diarizers import channels, spectral
    from callpipeline.speech.diarizers.sortformer import SortformerDiarizer
    from callpipeline.speech.diarizers.titanet import TitanetDiarizer

    name = settings.diarizer if settings.diarizer is not DiarizerName.AUTO else by_voice(settings)
    if name is DiarizerName.SORTFORMER:
        return [SortformerDiarizer(settings).version]
    if name is DiarizerName.TITANET:
        return [channels.VERSION, TitanetDiarizer(settings).version]
    return [channels.VERSION, spectral.VERSION]


def available(settings: Settings) -> list[EngineStatus]:
    """Say of every engine whether it works here. ``chosen`` = may be used under these settings."""
    auto = settings.diarizer is DiarizerName.AUTO
    chosen = (DiarizerName.CHANNELS, by_voice(settings))
    rows = (
        (DiarizerName.CHANNELS, True, "recordings with a channel for each party", ""),
        (
            DiarizerName.SPECTRAL,
            True,
            f"mono, {settings.speakers} voices expected in a call, no weights needed",
            "",
        ),
        _nemo(DiarizerName.TITANET, settings.titanet_model, "mono, any number of voices"),
        _nemo(DiarizerName.SORTFORMER, settings.sortformer_model, "mono, up to 4 voices, overlaps too"),
    )
    return [
        EngineStatus(
            name.value,
            "diarization",
            ready,
            detail,
            hint,
            chosen=settings.diarizer is name or (auto and name in chosen),
        )
        for name, ready, detail, hint in rows
    ]


def _nemo(name: DiarizerName, model: str, what: str) -> tuple[DiarizerName, bool, str, str]:
    from callpipeline.speech.diarizers import nemo_weights

    if not nemo_weights.installed():
        return name, False, "NeMo is not installed", nemo_weights.INSTALL
    if nemo_weights.local_weights(model) is None:
        hint = f"Set CALLPIPELINE_{name.upper()}_MODEL to a .nemo file, or use it once with a network."
        return name, False, f"the weights of {model} are not on this machine", hint
    return name, True, f"{what}, {model}", ""
