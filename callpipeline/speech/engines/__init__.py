"""The table of transcription engines, and which of them works here.

To add an engine: one file beside this one, one line in ``TRANSCRIBERS``. What does not belong here: how any
of them works. Importing this loads no engine.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from pydantic import SecretStr

from callpipeline.failures import NotConfigured
from callpipeline.settings import Settings, TranscriberName, without_login
from callpipeline.speech.engines.base import EngineStatus, EngineTools, Transcriber

Factory = Callable[[Settings, EngineTools], Transcriber]


def _sphinx(settings: Settings, tools: EngineTools) -> Transcriber:
    from callpipeline.speech.engines.sphinx import SphinxTranscriber

    return SphinxTranscriber(settings, tools.cpu)


def _whisper(settings: Settings, tools: EngineTools) -> Transcriber:
    from callpipeline.speech.engines.whisper import WhisperTranscriber

    folder = Path(settings.whisper_model).expanduser()
    if folder.is_absolute() and not folder.exists():
        status = _whisper_status(settings)
        raise NotConfigured(f"{status.detail}.", hint=status.hint)
    return WhisperTranscriber(settings, tools.cpu)


def _assemblyai(settings: Settings, tools: EngineTools) -> Transcriber:
    from callpipeline.speech.engines.assemblyai import AssemblyAITranscriber

    return AssemblyAITranscriber(settings, tools)


def _openai(settings: Settings, tools: EngineTools) -> Transcriber:
    from callpipeline.speech.engines.openai import OpenAITranscriber

    return OpenAITranscriber(settings, tools)


TRANSCRIBERS: dict[TranscriberName, Factory] = {
    TranscriberName.WHISPER: _whisper,
    TranscriberName.SPHINX: _sphinx,
    TranscriberName.ASSEMBLYAI: _assemblyai,
    TranscriberName.OPENAI: _openai,
}

REMOTE = frozenset({TranscriberName.ASSEMBLYAI, TranscriberName.OPENAI})
"""Engines that send audio away."""


def chosen(settings: Settings) -> TranscriberName:
    """Return the engine that ``settings`` lead to: the named one, or under ``auto`` the best that works here.

    ``auto`` takes AssemblyAI when its key is set, Whisper when its weights are on this machine (it never
    downloads by surprise), else the demo engine. It never takes OpenAI: that key is set for other ends too,
    and calls are not sent away by surprise either.
    """
    if settings.transcriber is not TranscriberName.AUTO:
        return settings.transcriber
    if settings.assemblyai_api_key is not None:
        return TranscriberName.ASSEMBLYAI
    from callpipeline.speech.engines.whisper_weights import local_weights

    has_weights = local_weights(settings.whisper_model) is not None
    return TranscriberName.WHISPER if has_weights else TranscriberName.SPHINX


def transcriber(settings: Settings, tools: EngineTools) -> Transcriber:
    """Return the transcription engine of these settings.

    Raises:
        NotConfigured: the engine cannot work here: its key, package or weights are missing.
    """
    return TRANSCRIBERS[chosen(settings)](settings, tools)


def available(settings: Settings) -> list[EngineStatus]:
    """Say of every engine whether it works here, and what to do if not. Asks no network, loads no model."""
    from callpipeline.speech.diarizers import available as diarizers

    name = chosen(settings)
    found = (
        _cloud_status(
            TranscriberName.ASSEMBLYAI,
            settings.assemblyai_api_key,
            settings.assemblyai_base_url,
            "ASSEMBLYAI_API_KEY",
        ),
        _cloud_status(
            TranscriberName.OPENAI, settings.openai_api_key, settings.openai_base_url, "OPENAI_API_KEY"
        ),
        _whisper_status(settings),
        _sphinx_status(settings),
    )
    return [
        EngineStatus(s.name, s.kind, s.ready, s.detail, s.hint, chosen=s.name == name.value) for s in found
    ] + diarizers(settings)


def _cloud_status(name: TranscriberName, key: SecretStr | None, address: str, variable: str) -> EngineStatus:
    if find_spec(name.value) is None:
        hint = "Install it: pip install 'callpipeline[cloud]'."
        return EngineStatus(name.value, "transcription", False, f"the package {name.value} is missing", hint)
    if key is None:
        return EngineStatus(name.value, "transcription", False, "no API key", f"Set {variable}.")
    where = without_login(address)
    return EngineStatus(name.value, "transcription", True, f"cloud, {where}: audio leaves this machine")


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
