"""The stages of a recording: what each needs, which parameters decide its result, and the function that makes it.

To add a stage: write its function here (a few lines that call a domain room), add a row to ``STAGES``, and its
asset spec under ``defs/assets``. A rule that changes gets a new ``code_version``: only what is below is re-done.
Those of the knowledge graph are in ``graph_stages``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from callpipeline.failures import Recorded, SourceUnavailable
from callpipeline.model import (
    AudioInfo,
    CallMetrics,
    Chapters,
    ChunkPlan,
    Detection,
    Detections,
    Diarization,
    Role,
    SpeakerTurns,
    SpeechActivity,
    Transcript,
    Verdict,
)
from callpipeline.pipeline.case import HEARING, Case, Inputs, timestamp
from callpipeline.pipeline.graph_stages import GRAPH_STAGES
from callpipeline.pipeline.stage import Stage
from callpipeline.pipeline.workbench import Workbench
from callpipeline.speech import provided
from callpipeline.speech.engines.base import ChunkingTranscriber, ChunkLimits

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
    info = inputs.get("raw_audio", AudioInfo)
    # The channels of a hearing are nobody's, unless its metadata says whose.
    nobody = dict.fromkeys(range(info.channels), Role.UNKNOWN) if _hearing(case, inputs) else {}
    return await case.bench.workers.thread(
        speech_activity,
        case.audio,
        info,
        channel_roles={**nobody, **(case.metadata.channel_roles or {})},
    )


# --- speech -------------------------------------------------------------------------------------------


async def _audio_chunks(case: Case, inputs: Inputs) -> ChunkPlan:
    from callpipeline.speech.engines.chunking import plan_of

    limits = _chunk_limits(case.bench)
    assert limits is not None  # noqa: S101 - only then it applies
    return plan_of(
        inputs.get("raw_audio", AudioInfo),
        inputs.get("speech_activity", SpeechActivity),
        case.bench.settings,
        limits,
    )


def _works_in_chunks(case: Case, inputs: Inputs) -> bool:
    """Whether the engine gets the recording in chunks: it is too long for it, or a hearing."""
    engine = case.bench.transcriber
    info, activity = inputs.find("raw_audio", AudioInfo), inputs.find("speech_activity", SpeechActivity)
    if not isinstance(engine, ChunkingTranscriber) or engine.chunk_limits is None:
        return False
    if info is None or activity is None or case.row.transcript is not None:
        return False
    if nothing_to_transcribe(case, inputs) is not None:
        return False
    return case.profile(info.duration) == HEARING or not engine.fits(info, activity)


def _chunk_limits(bench: Workbench) -> ChunkLimits | None:
    engine = bench.transcriber
    return engine.chunk_limits if isinstance(engine, ChunkingTranscriber) else None


async def _transcripts(case: Case, inputs: Inputs) -> Transcript:
    from callpipeline.pipeline.transcription import transcribed
    from callpipeline.qa.redaction import redact_transcript

    bench = case.bench
    if case.row.transcript is not None:
        transcript, _ = await bench.workers.thread(_ready_transcript, case)
    else:
        engine = bench.transcriber
        reason = nothing_to_transcribe(case, inputs)
        if reason is None:
            transcript = await transcribed(case, case.job(inputs))
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


def nothing_to_transcribe(case: Case, inputs: Inputs) -> str | None:
    """Say why a recording needs no transcription: nobody speaks, or (on its own channel) the agent never does."""
    from callpipeline.qa import releasing

    activity = inputs.get("speech_activity", SpeechActivity)
    if not any(channel.speech for channel in activity.channels):
        return "nobody speaks"
    if _hearing(case, inputs):
        return None
    verdict = releasing.detect(activity, min_speech=case.bench.settings.releasing_min_speech).verdict
    return "the agent never speaks" if verdict is Verdict.YES else None


async def _diarization(case: Case, inputs: Inputs) -> Diarization:
    if not case.is_audio:
        return provided.diarization((await case.bench.workers.thread(_ready_transcript, case))[0])
    job = case.job(inputs)
    return await case.bench.diarizer(job).diarize(job)


async def _speaker_turns(case: Case, inputs: Inputs) -> SpeakerTurns:
    from callpipeline.speech.turns import speaker_turns

    return speaker_turns(
        inputs.get("transcripts", Transcript),
        inputs.get("diarization", Diarization),
        channel_roles=case.metadata.channel_roles,
        parties=not _hearing(case, inputs),
    )


async def _chapters(case: Case, inputs: Inputs) -> Chapters:
    from callpipeline.speech.chapters import chapters

    turns, info = inputs.get("speaker_turns", SpeakerTurns), inputs.get("raw_audio", AudioInfo)
    return Chapters(chapters=await case.bench.workers.cpu(chapters, turns, duration=info.duration))


def _missing_chunks(transcript: Transcript) -> Recorded | None:
    """Say which stretches have no transcript because their chunks failed."""
    gaps = transcript.gaps
    if not gaps:
        return None
    where = ", ".join(
        f"{timestamp(gap.start)}-{timestamp(gap.end)} ({gap.message.rstrip('.')})" for gap in gaps
    )
    count = "1 stretch has" if len(gaps) == 1 else f"{len(gaps)} stretches have"
    message = f"{count} no transcript: {where}. The rest is kept; the next run tries only what is missing."
    return Recorded(gaps[0].error_class, message, permanent=False)


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

    return await case.bench.workers.thread(
        call_metrics,
        inputs.get("speaker_turns", SpeakerTurns),
        inputs.get("speech_activity", SpeechActivity),
        inputs.get("raw_audio", AudioInfo),
    )


# --- what a recording needs ---------------------------------------------------------------------------


def _hearing(case: Case, inputs: Inputs) -> bool:
    return case.profile(_seconds(inputs)) == HEARING


def _call(case: Case, inputs: Inputs) -> bool:
    return not _hearing(case, inputs)


def _seconds(inputs: Inputs) -> float:
    """Return the recording's length, 0 if the stages that know it failed."""
    found = (
        inputs.find("raw_audio", AudioInfo),
        inputs.find("speech_activity", SpeechActivity),
        inputs.find("transcripts", Transcript),
    )
    return next((value.duration for value in found if value is not None), 0.0)


# --- what decides a result beside its inputs ----------------------------------------------------------


def _roles(case: Case) -> Mapping[str, object]:
    roles = case.metadata.channel_roles
    return {
        "channel_roles": {str(k): v for k, v in roles.items()} if roles else None,
    }


def _people(case: Case) -> Mapping[str, object]:
    return {"speakers": case.metadata.speakers}


def _kind(case: Case, inputs: Inputs) -> Mapping[str, object]:
    return {"profile": case.profile(_seconds(inputs))}


def _channels(case: Case, inputs: Inputs) -> Mapping[str, object]:
    """What a hearing differs in from a call, as far as its sound goes: several channels may be one room."""
    info = inputs.find("raw_audio", AudioInfo)
    return {"room": info is not None and info.channels > 1 and _hearing(case, inputs)}


def _asked(case: Case, inputs: Inputs) -> Mapping[str, object]:
    """A provider is told how many speak in a call."""
    return {**_channels(case, inputs), **(_kind(case, inputs) if case.bench.transcriber.remote else {})}


def _limits(bench: Workbench) -> Mapping[str, object]:
    return {"max_duration": bench.settings.max_duration, "max_bytes": bench.settings.max_bytes}


def _detector(bench: Workbench) -> Mapping[str, object]:
    from callpipeline.audio.vad import DETECTOR

    return {"detector": DETECTOR}


def _cuts(bench: Workbench) -> Mapping[str, object]:
    limits, settings = _chunk_limits(bench), bench.settings
    if limits is None:
        return {}
    return {
        "limits": [str(limits.seconds), limits.bytes],
        "chunk": [settings.chunk_seconds, settings.chunk_overlap, settings.chunk_codec],
    }


def _from_where(bench: Workbench) -> Mapping[str, object]:
    """With another length for hearings each recording is looked at again."""
    return {"hearing_from": bench.settings.hearing_from}


def _engine(bench: Workbench) -> Mapping[str, object]:
    from callpipeline.pipeline.transcription import options
    from callpipeline.qa.redaction import RULE_VERSION

    return {
        "redaction": RULE_VERSION,
        "engine": bench.transcriber.name,
        "version": bench.transcriber.version,
        "redact_pii": bench.settings.redact_pii,
        "min_speech": bench.settings.releasing_min_speech,
        **options(bench),
    }


def _bought_anew(bench: Workbench) -> bool:
    return bench.force_paid and bench.transcriber.remote


def _text_source(case: Case) -> Mapping[str, object]:
    from callpipeline.intake.transcript_files import READER_VERSION

    remote = case.bench.transcriber.remote
    return {
        "reader": READER_VERSION,
        "language": case.language,
        "transcript": case.row.transcript_sha256,
        "speakers": case.metadata.speakers if remote else None,
    }


def _diarizer(bench: Workbench) -> Mapping[str, object]:
    from callpipeline.speech.diarizers import versions

    return {
        "diarizer": bench.settings.diarizer,
        "versions": versions(bench.settings),
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
        parameters=_detector, facts=_roles, shows=_channels,
    ),
    Stage(
        "audio_chunks", ("raw_audio", "speech_activity"), ChunkPlan, "1", _audio_chunks,
        parameters=_cuts, applies=_works_in_chunks,
    ),
    # Before diarization: a remote engine's answer takes longest, so it is asked first.
    Stage(
        "transcripts", ("raw_audio", "speech_activity"), Transcript, "1", _transcripts,
        parameters=_engine, facts=_text_source, anew=_bought_anew, optional=("audio_chunks",),
        lacks=_missing_chunks, shows=_asked,
    ),
    Stage(
        "diarization", ("raw_audio", "speech_activity"), Diarization, "1", _diarization,
        parameters=_diarizer, facts=_people, shows=_kind,
    ),
    Stage(
        "speaker_turns", ("transcripts", "diarization"), SpeakerTurns, "1", _speaker_turns,
        facts=_roles, shows=_kind,
    ),
    Stage(
        "detections", ("speech_activity", "diarization", "speaker_turns"), Detections, "1", _detections,
        parameters=_thresholds, can_do_without=("diarization", "speaker_turns"), applies=_call,
    ),
    Stage(
        "call_metrics", ("raw_audio", "speech_activity", "speaker_turns"), CallMetrics, "1", _call_metrics,
        parameters=_metrics,
    ),
    Stage(
        "chapters", ("raw_audio", "speaker_turns"), Chapters, "1", _chapters,
        parameters=_from_where, applies=_hearing,
    ),
    *GRAPH_STAGES,
)  # fmt: skip

BY_ASSET: Mapping[str, Stage] = {stage.asset: stage for stage in STAGES}
ASSETS: tuple[str, ...] = tuple(BY_ASSET)
