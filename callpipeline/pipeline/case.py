"""One recording on the workbench, and what the stages above a stage have found out about it.

What belongs here: what every stage may ask about a recording. What does not: what stages make (``stages``).
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from callpipeline.failures import SourceUnavailable
from callpipeline.intake.formats import display
from callpipeline.intake.records import CatalogRow, Kind
from callpipeline.model import AudioInfo, CallMetadata, ChunkPlan, Record, SpeechActivity, StageFailure
from callpipeline.pipeline.workbench import Workbench
from callpipeline.settings import Settings
from callpipeline.speech.engines.base import SpeechJob
from callpipeline.store.results import Stored

T = TypeVar("T", bound=Record)

Profile = Literal["hearing", "call"]
HEARING: Profile = "hearing"
CALL: Profile = "call"
PROFILES = (HEARING, CALL)


def profile_of(metadata: CallMetadata, seconds: float, settings: Settings) -> Profile:
    """Tell a hearing from a call: as the metadata says, else by its length."""
    told = (metadata.profile or "").strip().lower()
    if told in PROFILES:
        return HEARING if told == HEARING else CALL
    return HEARING if seconds >= settings.hearing_from else CALL


@dataclass
class Inputs:
    """Results of the stages above, and the failures of those that a stage can do without."""

    stored: dict[str, Stored[Any]] = field(default_factory=dict)
    failures: dict[str, StageFailure] = field(default_factory=dict)

    def get(self, asset: str, kind: type[T]) -> T:
        """The value of an input that must be there."""
        value = self.stored[asset].value
        assert isinstance(value, kind)  # noqa: S101 - narrows for the type checker; the store validated it
        return value

    def find(self, asset: str, kind: type[T]) -> T | None:
        """The value of an input, or ``None`` if it failed, or the recording needs none."""
        return self.get(asset, kind) if asset in self.stored else None

    def data_version(self, asset: str) -> str | None:
        """Hash of the input's value, ``None`` if it is missing."""
        return self.stored[asset].data_version if asset in self.stored else None


@dataclass
class Case:
    """One recording on the workbench."""

    key: str
    bench: Workbench
    listening: AbstractAsyncContextManager[object] = field(default_factory=nullcontext)
    """Entered by a stage while it hears the recording with a model: a lock, where that is one at a time."""

    @cached_property
    def row(self) -> CatalogRow:
        """What the catalogue knows.

        Raises:
            SourceUnavailable: nothing: no scan of this store ever saw the recording.
        """
        row = self.bench.catalog.get(self.key)
        if row is None:
            raise SourceUnavailable(
                f"the catalogue does not know a recording {self.key}.",
                hint="Put the file into its folder; the next scan takes it in.",
            )
        return row

    @property
    def metadata(self) -> CallMetadata:
        """What names, folders, manifests and sidecars say about it."""
        return self.row.metadata

    @property
    def name(self) -> str:
        """The file name that people know it by."""
        return display(self.row.sources[0].name) if self.row.sources else self.key

    @property
    def title(self) -> str:
        """What it is called: as its metadata says, else its file."""
        return (self.metadata.title or "").strip() or self.name

    @property
    def language(self) -> str:
        """Language of the recording, as a two-letter code."""
        return self.metadata.language or self.bench.settings.language

    @property
    def is_audio(self) -> bool:
        """False for a recording of which only a transcript is there."""
        return self.row.recording.kind is Kind.AUDIO

    @property
    def audio(self) -> Path:
        """The stored original bytes.

        Raises:
            SourceUnavailable: ``raw_audio`` has not stored them, or somebody removed them.
        """
        from callpipeline.store.raw import raw_path

        path = raw_path(self.bench.settings.store, self.key)
        if path is None:
            raise SourceUnavailable(
                f"the stored bytes of recording {self.key} are gone.",
                hint="Put the file back into its folder and materialize raw_audio again.",
            )
        return path

    def profile(self, seconds: float) -> Profile:
        """Whether it is a hearing or a call: as the metadata says, else by its length."""
        return profile_of(self.metadata, seconds, self.bench.settings)

    def job(self, inputs: Inputs) -> SpeechJob:
        """What a speech engine gets to work on."""
        info = inputs.get("raw_audio", AudioInfo)
        return SpeechJob(
            key=self.key,
            path=self.audio,
            info=info,
            activity=inputs.get("speech_activity", SpeechActivity),
            language=self.language,
            sha256=self.row.recording.sha256,
            plan=inputs.find("audio_chunks", ChunkPlan),
            name=self.name,
            hearing=self.profile(info.duration) == HEARING,
            speakers=self.metadata.speakers,
        )


def timestamp(seconds: float) -> str:
    """Return a time in a recording for people: ``1:02:03.5``."""
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes) // 60}:{int(minutes) % 60:02d}:{rest:04.1f}"
