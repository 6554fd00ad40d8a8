"""The table of transcription engines, and which of them works here.

To add an engine: one file beside this one, one line in ``TRANSCRIBERS``. What does not belong here: how any
of them works. Importing this loads no engine.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from callpipeline.failures import NotConfigured
from callpipeline.settings import Settings, TranscriberName
from callpipeline.speech.engines.base import CpuRunner, EngineStatus, Transcriber

Factory = Callable[[Settings, CpuRunner], Transcriber]


def _sphinx(settings: Settings, cpu: CpuRunner) -> Transcriber:
    from callpipeline.speech.engines.sphinx import SphinxTranscriber

    return SphinxTranscriber(settings, cpu)


def _whisper(settings: Settings, cpu: CpuRunner) -> Transcriber:
    from callpipeline.speech.engines.whisper import WhisperTranscriber

    folder = Path(settings.whisper_model).expanduser()
    if folder.is_absolute() and not folder.exists():
        status = _whisper_status(settings)
        raise NotConfigured(f"{status.detail}.", hint=status.hint)
    return WhisperTranscriber(settings, cpu)


def _next_version(name: TranscriberName) -> Factory:
    def refuse(settings: Settings, cpu: CpuRunner) -> Transcriber:
        raise NotConfigured(
            f"the transcription engine {name.value!r} comes with the next version of callpipeline.",
            hint="Until then set CALLPIPELINE_TRANSCRIBER=whisper, or auto.",
        )

    return refuse


TRANSCRIBERS: dict[TranscriberName, Factory] = {
    TranscriberName.WHISPER: _whisper,
    TranscriberName.SPHINX: _sphinx,
    TranscriberName.ASSEMBLYAI: _next_version(TranscriberName.ASSEMBLYAI),
    TranscriberName.OPENAI: _next_version(TranscriberName.OPENAI),
}


def chosen(settings: Settings) -> TranscriberName:
    """Return the engine that ``settings`` lead to: the named one, or under ``auto`` the best that works here.

    ``auto`` takes Whisper only when its weights are on this machine: it never downloads by surprise.
    """
    if settings.transcriber is not TranscriberName.AUTO:
        return settings.transcriber
    from callpipeline.speech.engines.whisper_weights import local_weights

    has_weights = local_weights(settings.whisper_model) is not None
    return TranscriberName.WHISPER if has_weights else TranscriberName.SPHINX


def transcriber(settings: Settings, cpu: CpuRunner) -> Transcriber:
    """Return the transcription engine of these settings.

    Raises:
        NotConfigured: a known engine that this version does not have.
    """
    return TRANSCRIBERS[chosen(settings)](settings, cpu)


def available(settings: Settings) -> list[EngineStatus]:
    """Say of every engine whether it works here, and what to do if not. Asks no network, loads no model."""
    from callpipeline.speech.diarizers import available as diarizers

    name = chosen(settings)
    found = (_whisper_status(settings), _sphinx_status(settings), *map(_later, _CLOUD))
    return [
        EngineStatus(s.name, s.kind, s.ready, s.detail, s.hint, chosen=s.name == name.value) for s in found
    ] + diarizers(settings)


_CLOUD = (TranscriberName.ASSEMBLYAI, TranscriberName.OPENAI)


def _later(name: TranscriberName) -> EngineStatus:
    return EngineStatus(
        name.value, "transcription", False, "comes with the next version", "Use whisper or sphinx until then."
    )


def _sphinx_status(settings: Settings) -> EngineStatus:
    ready = find_spec("pocketsphinx") is not None
    detail = (
        "offline demo engine: English only, expect wrong words" if ready else "pocketsphinx is not installed"
    )
    return EngineStatus(
        "sphinx", "transcription", ready, detail, "" if ready else "Install callpipeline again."
    )


def _whisper_status(settings: Settings) -> EngineStatus:
    from callpipeline.speech.engines.whisper_weights import local_weights

    weights = local_weights(settings.whisper_model)
    if weights is not None:
        return EngineStatus("whisper", "transcription", True, f"local, weights in {weights}")
    return EngineStatus(
        "whisper",
        "transcription",
        False,
        f"no weights of {settings.whisper_model!r} on this machine",
        "Set CALLPIPELINE_WHISPER_MODEL to a CTranslate2 model folder, or CALLPIPELINE_TRANSCRIBER=whisper "
        "to let the first run download them.",
    )
