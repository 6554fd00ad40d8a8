"""What clients are answered: typed documents, which are also what /docs shows. No behaviour."""

from __future__ import annotations

from pydantic import BaseModel, Field

from callpipeline.model import Role
from callpipeline.service.options import Options
from callpipeline.service.tasks import TaskState


class SpokenWord(BaseModel):
    """One word. Without a time of its own (``timed`` false) it has its place in the sentence."""

    text: str
    start: float
    end: float
    speaker: str
    confidence: float | None = None
    timed: bool = True


class SpokenSegment(BaseModel):
    """One uninterrupted stretch of one speaker."""

    speaker: str
    role: Role
    start: float
    end: float
    text: str
    words: list[SpokenWord]


class Speaker(BaseModel):
    """One voice. ``name`` is how subtitles call it."""

    id: str
    name: str
    role: Role
    seconds: float


class Used(BaseModel):
    """What really worked on the recording, which may be less than was asked for: then ``notes`` say so."""

    transcription: str
    transcription_version: str
    diarization: str
    diarization_version: str
    demo: bool = Field(description="True: text of the offline demo engine; wrong words are normal.")
    notes: list[str]


class Missing(BaseModel):
    """A stretch without a transcript, because the piece of audio failed for good."""

    start: float
    end: float
    reason: str


class Result(BaseModel):
    """Who said what, when. All times are seconds from the start of the recording."""

    task_id: str
    recording: str = Field(description="Key of the recording: the start of the SHA-256 of its bytes.")
    file_name: str
    duration: float
    language: str | None
    text: str
    speakers: list[Speaker]
    segments: list[SpokenSegment]
    role_confidence: float
    skipped_reason: str | None = Field(
        None, description="Why nothing was transcribed on purpose: nobody speaks, say."
    )
    missing: list[Missing]
    options: Options
    used: Used
    reused: bool = Field(description="True: the results were there already, nothing had to be done.")
    seconds: float = Field(description="How long it was worked on.")


class ErrorBody(BaseModel):
    """What went wrong, for programs (``type``, ``code``) and for people (``message``)."""

    message: str
    type: str
    code: str | None = None
    param: str | None = None


class Problem(BaseModel):
    """Every answer that is no success looks like this."""

    error: ErrorBody


class Links(BaseModel):
    """Where to look next."""

    status: str
    result: str
    progress: str
    events: str


class StageState(BaseModel):
    """One stage of a recording: ``waiting``, ``done``, ``reused``, ``not_needed`` or ``failed``."""

    name: str
    state: str


class Chunks(BaseModel):
    """How far a long recording has come that is transcribed in chunks."""

    done: int
    of: int
    failed: int
    seconds_per_second: float | None = Field(description="Seconds of audio that are done each second.")
    seconds_left: float | None


class Status(BaseModel):
    """How far a task has come. Times are seconds since 1970."""

    task_id: str
    batch_id: str | None
    status: TaskState
    progress: float = Field(
        description="Share of the work that is done, 0-1, from stages and chunks that ended."
    )
    stages: list[StageState]
    chunks: Chunks | None = None
    ahead: int | None = Field(None, description="Tasks that come first, while it waits.")
    recording: str
    file_name: str
    priority: int
    run_id: str | None = Field(None, description="Dagster run that works, or worked, on it.")
    created: float
    started: float | None
    finished: float | None
    expires: float | None = Field(None, description="When the task and its result are removed.")
    error: ErrorBody | None = None
    links: Links


class Batch(BaseModel):
    """Several recordings that were sent together."""

    batch_id: str
    tasks: list[Status]


class JobProgress(BaseModel):
    """How far a job has come: a task, a batch, or a recording that any process of this store works on."""

    job_id: str
    kind: str = Field(description="task, batch or recording")
    status: TaskState
    progress: float
    done: int
    of: int
    tasks: list[Status] = []
    chunks: Chunks | None = None


class ModelInMemory(BaseModel):
    """A model that is loaded in the process that answers."""

    engine: str
    name: str
    device: str
    idle_seconds: float = Field(description="How long nobody has used it; 0 while it works.")
    note: str = Field("", description="What is not as it was asked for, as: on the CPU, since CUDA broke.")


class Stats(BaseModel):
    """How the service is doing."""

    tasks: dict[TaskState, int]
    workers: int
    queue_limit: int
    work_seconds_mean: float | None = Field(description="Of the last 50 tasks that had something to do.")
    uptime_seconds: float
    models: list[ModelInMemory] = Field(description="Loaded now; idle ones are unloaded after some time.")
    version: str


class Feature(BaseModel):
    """Something that the service can do here, or why not and what to do about it."""

    name: str
    kind: str
    available: bool
    used: bool = Field(description="Requests without options use it.")
    detail: str
    hint: str = ""


class Features(BaseModel):
    """What works here, now."""

    engines: list[Feature]
    models: list[ModelInMemory] = Field(description="Loaded now; others are loaded when they are needed.")
    options: list[str] = Field(description="Form fields that choose how a recording is worked on.")
    response_formats: list[str]
    max_bytes: int
    max_duration: float
    retention_days: float


class Health(BaseModel):
    """Whether the service is up. ``ready``: requests for transcripts are taken. Never waits for a model."""

    status: str
    ready: bool
    orchestration: str = Field(
        description="opening, ready or failed: Dagster, which asynchronous tasks need."
    )
    engine: str
    detail: str = ""
    version: str
