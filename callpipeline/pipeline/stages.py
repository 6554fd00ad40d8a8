"""The stages of a recording: what each needs, which parameters decide its result, and the function that makes it.

To add a stage: write its function here (a few lines that call a domain room), add a row to ``STAGES``, and its
asset spec under ``defs/assets``. A rule that changes gets a new ``code_version``: only what is below is re-done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from callpipeline.failures import Recorded, SourceUnavailable
from callpipeline.intake.formats import display
from callpipeline.intake.records import CatalogRow, Kind
from callpipeline.model import (
    AudioInfo,
    CallMetadata,
    CallMetrics,
    Detection,
    Detections,
    Diarization,
    Record,
    SpeakerTurns,
    SpeechActivity,
    StageFailure,
    Transcript,
    Verdict,
)
from callpipeline.pipeline.workbench import Workbench
from callpipeline.speech import provided
from callpipeline.speech.engines.base import SpeechJob
from callpipeline.store.results import Stored

T = TypeVar("T", bound=Record)


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
        """The value of an input, or ``None`` if it failed."""
        return self.get(asset, kind) if asset in self.stored else None

    def data_version(self, asset: str) -> str | None:
        """Hash of the input's value, ``None`` if it is missing."""
        return self.stored[asset].data_version if asset in self.stored else None


@dataclass
class Case:
    """One recording on the workbench."""

    key: str
    bench: Workbench

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

    def job(self, inputs: Inputs) -> SpeechJob:
        """What a speech engine gets to work on."""
        return SpeechJob(
            key=self.key,
            path=self.audio,
            info=inputs.get("raw_audio", AudioInfo),
            activity=inputs.get("speech_activity", SpeechActivity),
            language=self.language,
            sha256=self.row.recording.sha256,
        )

    def stored(self, asset: str) -> Stored[Any] | None:
        """The stored result of a stage, current or not."""
        return self.bench.store.get(asset, self.key, BY_ASSET[asset].value)


Run = Callable[[Case, Inputs], Awaitable[Record]]


def _none(_: Any) -> Mapping[str, object]:
    return {}


def _never(_: Workbench) -> bool:
    return False


@dataclass(frozen=True)
class Stage:
    """One row of the table: an asset of a recording and how it comes about.

    ``parameters`` are the settings and engines that decide the result for every recording, ``facts`` what decides it
    for one. With the code version and the inputs' data versions they are the cache key. ``can_do_without`` names
    inputs whose failure leaves a part that can still be decided. ``anew`` says whether this run makes the result
    again although nothing that decides it has changed.
    """

    asset: str
    needs: tuple[str, ...]
    value: type[Record]
    code_version: str
    run: Run
    parameters: Callable[[Workbench], Mapping[str, object]] = _none
    facts: Callable[[Case], Mapping[str, object]] = _none
    can_do_without: tuple[str, ...] = ()
    anew: Callable[[Workbench], bool] = _never


# --- audio --------------------------------------------------------------------------------------------


async def _raw_audio(case: Case, inputs: Inputs) -> AudioInfo:
    from callpipeline.audio.probe import probe
    from callpipeline.store.raw import raw_path

    bench, settings = case.bench, case.bench.settings
    if not case.is_audio:
        return provided.audio_info(*await bench.workers.thread(_ready_transcript, case))
    path = raw_path(settings.store, case.key)
    if path is None:
        path = await bench.workers.thread(_keep_source, case)
    return await bench.workers.thread(
        probe,
        path,
        max_duration=settings.max_duration,
        max_bytes=settings.max_bytes,
        name=case.name,
    )


def _keep_source(case: Case) -> Path:
    """Copy the original bytes into the store from the first source that still has them.

    Raises:
        SourceUnavailable: no source can be read, or all have changed since they were found.
    """
    from callpipeline.store.raw import keep

    problem: SourceUnavailable | None = None
    for source in case.bench.catalog.sources(case.key):
        try:
            return keep(case.bench.settings.store, source.path, case.key, source.sha256)
        except SourceUnavailable as error:
            problem = error
    raise problem or SourceUnavailable(
        f"no file with the bytes of recording {case.key} is there any more.",
        hint="Put it back; it is taken up again by itself.",
    )


async def _speech_activity(case: Case, inputs: Inputs) -> SpeechActivity:
    from callpipeline.audio.vad import speech_activity

    if not case.is_audio:
        return provided.activity((await case.bench.workers.thread(_ready_transcript, case))[0])
    return await case.bench.workers.thread(
        speech_activity,
        case.audio,
        inputs.get("raw_audio", AudioInfo),
        channel_roles=case.metadata.channel_roles,
    )


# --- speech -------------------------------------------------------------------------------------------


async def _transcripts(case: Case, inputs: Inputs) -> Transcript:
    from callpipeline.pipeline.fitness import check
    from callpipeline.qa.redaction import redact_transcript

    bench = case.bench
    if case.row.transcript is not None:
        transcript, _ = await bench.workers.thread(_ready_transcript, case)
    else:
        engine = bench.transcriber
        reason = nothing_to_transcribe(
            inputs.get("speech_activity", SpeechActivity), bench.settings.releasing_min_speech
        )
        if reason is None:
            job = case.job(inputs)
            await check(bench, job, case.metadata, name=case.name)
            transcript = await engine.transcribe(job)
        else:
            transcript = Transcript(
                engine=engine.name,
                engine_version=engine.version,
                language=case.language,
                duration=inputs.get("raw_audio", AudioInfo).duration,
                segments=(),
                demo=engine.demo,
                skipped_reason=reason,
            )
    return redact_transcript(transcript) if bench.settings.redact_pii else transcript


def _ready_transcript(case: Case) -> tuple[Transcript, Path]:
    from callpipeline.intake.transcript_files import read_transcript, split_line

    file = case.row.transcript
    if file is None:
        raise SourceUnavailable(f"the transcript of recording {case.key} is gone.", hint="Put it back.")
    return read_transcript(file, sha256=case.row.transcript_sha256), split_line(file)[0]


def nothing_to_transcribe(activity: SpeechActivity, min_speech: float) -> str | None:
    """Say why a recording needs no transcription: nobody speaks, or (on its own channel) the agent never does."""
    from callpipeline.qa import releasing

    if not any(channel.speech for channel in activity.channels):
        return "nobody speaks"
    verdict = releasing.detect(activity, min_speech=min_speech).verdict
    return "the agent never speaks" if verdict is Verdict.YES else None


async def _diarization(case: Case, inputs: Inputs) -> Diarization:
    if not case.is_audio:
        return provided.diarization((await case.bench.workers.thread(_ready_transcript, case))[0])
    job = case.job(inputs)
    return await case.bench.diarizer(job.info).diarize(job)


async def _speaker_turns(case: Case, inputs: Inputs) -> SpeakerTurns:
    from callpipeline.speech.turns import speaker_turns

    return speaker_turns(
        inputs.get("transcripts", Transcript),
        inputs.get("diarization", Diarization),
        channel_roles=case.metadata.channel_roles,
    )


# --- qa -----------------------------------------------------------------------------------------------


async def _detections(case: Case, inputs: Inputs) -> Detections:
    from callpipeline.qa import late_hello, releasing
    from callpipeline.qa.activity import activity_by_role, roles_known
    from callpipeline.qa.detections import combine

    settings = case.bench.settings
    activity = inputs.get("speech_activity", SpeechActivity)
    diarization = inputs.find("diarization", Diarization)
    turns = inputs.find("speaker_turns", SpeakerTurns)
    sure = 1.0
    if diarization is not None and not roles_known(activity):
        activity = activity_by_role(activity, diarization, turns)
        sure = turns.role_confidence if turns else diarization.role_confidence
    released = releasing.detect(activity, min_speech=settings.releasing_min_speech, role_confidence=sure)
    late = late_hello.detect(activity, released, after=settings.late_hello_after, role_confidence=sure)
    return combine(released, late, *_text_detections(case, inputs, released, late))


def _text_detections(
    case: Case, inputs: Inputs, released: Detection, late: Detection
) -> tuple[Detection, Detection]:
    """Return rebuttal and intro score; errors of their own if there is no conversation to judge."""
    from callpipeline.qa import rebuttal, scores
    from callpipeline.qa.detections import errored

    settings = case.bench.settings
    turns = inputs.find("speaker_turns", SpeakerTurns)
    if turns is None:
        failure = next(iter(inputs.failures.values()))
        error = Recorded(failure.error_class, failure.message, failure.permanent)
        return (
            errored("rebuttal", rebuttal.RULE_VERSION, error),
            errored("intro_score", scores.RULE_VERSION, error),
        )
    verdict = rebuttal.detect(
        turns,
        duration=inputs.get("speech_activity", SpeechActivity).duration,
        releasing=released,
        min_duration=settings.rebuttal_min_duration,
        max_duration=settings.rebuttal_max_duration,
    )
    return verdict, scores.intro_score(turns, released, late, verdict)


async def _call_metrics(case: Case, inputs: Inputs) -> CallMetrics:
    from callpipeline.qa.metrics import call_metrics

    return call_metrics(
        inputs.get("speaker_turns", SpeakerTurns),
        inputs.get("speech_activity", SpeechActivity),
        inputs.get("raw_audio", AudioInfo),
    )


# --- what decides a result beside its inputs ----------------------------------------------------------


def _roles(case: Case) -> Mapping[str, object]:
    roles = case.metadata.channel_roles
    return {"channel_roles": {str(k): v for k, v in roles.items()} if roles else None}


def _limits(bench: Workbench) -> Mapping[str, object]:
    return {"max_duration": bench.settings.max_duration, "max_bytes": bench.settings.max_bytes}


def _detector(bench: Workbench) -> Mapping[str, object]:
    from callpipeline.audio.vad import DETECTOR

    return {"detector": DETECTOR}


def _engine(bench: Workbench) -> Mapping[str, object]:
    from callpipeline.qa.redaction import RULE_VERSION

    return {
        "redaction": RULE_VERSION,
        "engine": bench.transcriber.name,
        "version": bench.transcriber.version,
        "redact_pii": bench.settings.redact_pii,
        "min_speech": bench.settings.releasing_min_speech,
    }


def _bought_anew(bench: Workbench) -> bool:
    return bench.force_paid and bench.transcriber.remote


def _text_source(case: Case) -> Mapping[str, object]:
    from callpipeline.intake.transcript_files import READER_VERSION

    return {"reader": READER_VERSION, "language": case.language, "transcript": case.row.transcript_sha256}


def _diarizer(bench: Workbench) -> Mapping[str, object]:
    from callpipeline.speech.diarizers import channels, spectral

    return {
        "diarizer": bench.settings.diarizer,
        "versions": [channels.VERSION, spectral.VERSION],
        "speakers": bench.settings.speakers,
    }


def _thresholds(bench: Workbench) -> Mapping[str, object]:
    from callpipeline.qa import late_hello, rebuttal, releasing, scores

    settings = bench.settings
    return {
        "rules": [rule.RULE_VERSION for rule in (releasing, late_hello, rebuttal, scores)],
        "releasing_min_speech": settings.releasing_min_speech,
        "late_hello_after": settings.late_hello_after,
        "rebuttal": [settings.rebuttal_min_duration, settings.rebuttal_max_duration],
    }


def _metrics(bench: Workbench) -> Mapping[str, object]:
    from callpipeline.qa.metrics import RULE_VERSION

    return {"rules": RULE_VERSION}


STAGES: tuple[Stage, ...] = (
    Stage("raw_audio", (), AudioInfo, "1", _raw_audio, parameters=_limits),
    Stage(
        "speech_activity", ("raw_audio",), SpeechActivity, "1", _speech_activity,
        parameters=_detector, facts=_roles,
    ),
    # Before diarization: a remote engine's answer takes longest, so it is asked first.
    Stage(
        "transcripts", ("raw_audio", "speech_activity"), Transcript, "1", _transcripts,
        parameters=_engine, facts=_text_source, anew=_bought_anew,
    ),
    Stage(
        "diarization", ("raw_audio", "speech_activity"), Diarization, "1", _diarization,
        parameters=_diarizer,
    ),
    Stage(
        "speaker_turns", ("transcripts", "diarization"), SpeakerTurns, "1", _speaker_turns, facts=_roles
    ),
    Stage(
        "detections", ("speech_activity", "diarization", "speaker_turns"), Detections, "1", _detections,
        parameters=_thresholds, can_do_without=("diarization", "speaker_turns"),
    ),
    Stage(
        "call_metrics", ("raw_audio", "speech_activity", "speaker_turns"), CallMetrics, "1", _call_metrics,
        parameters=_metrics,
    ),
)  # fmt: skip

BY_ASSET: Mapping[str, Stage] = {stage.asset: stage for stage in STAGES}
ASSETS: tuple[str, ...] = tuple(BY_ASSET)
