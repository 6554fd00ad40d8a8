"""What a client may ask for with a recording, and which settings that means.

A request whose options are those of the settings is the recording's own result, the same that ``callpipeline run``
makes. Any other is a variant: the same stages under other settings, in a folder of its own below the store. To add
an option: a field here of the name of its setting, and the form fields of the endpoints.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from callpipeline.failures import UsageError
from callpipeline.model import Record
from callpipeline.settings import Settings, TranscriberName

VARIANTS = "variants"
"""Folder of the store."""
SWITCHES = ("suppress_numerals", "source_separation", "enhanced_alignment")
"""Options that are on or off."""
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})?")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")


class NoSuchModel(UsageError):
    """A client asked for a model that is not here."""

    error_class = "model_not_found"


class Options(Record):
    """What was asked for; ``None`` = as the settings say."""

    language: str | None = None
    whisper_model: str | None = None
    suppress_numerals: bool | None = None
    source_separation: bool | None = None
    enhanced_alignment: bool | None = None

    def checked(self, settings: Settings) -> Options:
        """Return the options that differ from the settings.

        Raises:
            UsageError: a value that cannot be one.
            NoSuchModel: its weights are not on this machine; a service never fetches any.
        """
        kept: dict[str, Any] = {
            name: asked
            for name in SWITCHES
            if (asked := getattr(self, name)) is not None and asked != getattr(settings, name)
        }
        if self.language is not None:
            if not _LANGUAGE.fullmatch(self.language):
                raise UsageError("language is no language code.", hint="Give it as in en or pt-BR.")
            if self.language.lower() != settings.language.lower():
                kept["language"] = self.language.lower()
        if self.whisper_model is not None and not _is_used(self.whisper_model, settings):
            _check_weights(self.whisper_model)
            kept["whisper_model"] = self.whisper_model
        return Options(**kept)

    def applied(self, settings: Settings) -> Settings:
        """Return the settings under which the recording is worked on."""
        update: dict[str, Any] = self.model_dump(exclude_none=True)
        if self.whisper_model is not None:
            update["transcriber"] = TranscriberName.WHISPER
        return settings.model_copy(update=update)

    @property
    def variant(self) -> str:
        """Name of the folder of these options, empty for those of the settings."""
        text = self.model_dump_json(exclude_none=True)
        return "" if text == "{}" else hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_used(model: str, settings: Settings) -> bool:
    from callpipeline.speech.engines import chosen

    return model == settings.whisper_model and chosen(settings) is TranscriberName.WHISPER


def _check_weights(model: str) -> None:
    """Refuse what is no name of a model: a path would let a client choose a folder of this machine."""
    from callpipeline.speech.engines.whisper_weights import local_weights

    if not _MODEL.fullmatch(model):
        raise UsageError("whisper_model is no name of a model.", hint="Give it as in medium.en.")
    if local_weights(model) is None:
        raise NoSuchModel(
            f"the weights of the Whisper model {model!r} are not on this machine.",
            hint="The service fetches none by itself: whoever runs it can.",
        )
