"""Typed data that every room shares: what a recording is and what each stage says about it.

What belongs here: frozen value types with their units and invariants, no behaviour beyond small derived
figures. What does not: reading files, rules, anything that knows Dagster, HTTP or a provider.

Units: times are seconds from the start of the recording (float), levels are dBFS, confidences are 0-1.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    """Base of all stored values: immutable, and a field that nobody knows is an error, not noise."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Role(StrEnum):
    """Who a speaker is in the call."""

    AGENT = "agent"
    CUSTOMER = "customer"
    UNKNOWN = "unknown"


class Verdict(StrEnum):
    """Every outcome that a detection may have; each detection uses a part of them."""

    YES = "yes"
    NO = "no"
    NOT_APPLICABLE = "not_applicable"
    ATTEMPTED = "attempted"
    NO_ATTEMPT = "no_attempt"
    NO_OBJECTION = "no_objection"
    UNUSABLE = "unusable"
    SKIPPED = "skipped"
    SCORED = "scored"
    ERROR = "error"


class Region(Record):
    """A stretch of time, ``start`` <= ``end``, in seconds."""

    start: float
    end: float

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start


class Finding(Record):
    """One thing that was looked at: whether it is as it should be, what was found, and what to do if not.

    ``error_class``: of the failure, where it is not the recording that is not as it should be.
    """

    name: str
    passed: bool
    message: str
    value: float | None = None
    hint: str = ""
    error_class: str = ""


# --- intake -------------------------------------------------------------------------------------------


class CallMetadata(Record):
    """What the file name, the folder, ``manifest.csv`` or ``NAME.json`` say about a recording.

    ``None`` = nobody said. ``channel_roles`` maps the 0-based channel to a role and overrides the default
    (0 = agent, 1 = customer). ``extra`` keeps fields that this version does not know.
    """

    agent: str | None = None
    phone: str | None = None
    timestamp: str | None = None
    disposition: str | None = None
    campaign: str | None = None
    dialer: str | None = None
    user: str | None = None
    language: str | None = None
    profile: str | None = None
    title: str | None = None
    committee: str | None = None
    date: str | None = None
    source: str | None = None
    """Where it was taken from: an address, a broadcaster, an archive's number."""
    source_name: str | None = None
    """Name of the file."""
    channel_roles: dict[int, Role] | None = None
    speakers: int | None = None
    """How many people speak."""
    extra: dict[str, Any] = Field(default_factory=dict)


# --- audio --------------------------------------------------------------------------------------------


class ChannelLevel(Record):
    """Levels of one channel, in dBFS (-inf is stored as -120)."""

    rms_db: float
    peak_db: float
    clipped_ratio: float
    """Share of samples at full scale, 0-1."""


class AudioInfo(Record):
    """What one full streaming decode found out; the truth, where headers only claim.

    ``peaks`` holds for each channel about 600 (min, max) pairs in -1..1 for a waveform picture.
    """

    format: str
    codec: str
    sample_rate: int
    channels: int
    duration: float
    claimed_duration: float | None
    bytes: int
    bit_rate: int | None
    levels: tuple[ChannelLevel, ...]
    loudness_lufs: float | None
    silences: tuple[Region, ...]
    """Stretches in which all channels are quiet."""
    decode_errors: int
    has_video: bool = False
    dual_mono: bool = False
    """Several channels, all with the same sound: they tell nothing about who speaks."""
    peaks: tuple[tuple[tuple[float, float], ...], ...] = ()


class ChannelSpeech(Record):
    """Speech found on one channel. ``dropped`` = cross-talk: the other channel was far louder."""

    channel: int
    role: Role
    speech: tuple[Region, ...]
    dropped: tuple[Region, ...] = ()

    @property
    def seconds(self) -> float:
        """Total speech in seconds."""
        return sum(r.duration for r in self.speech)


class SpeechActivity(Record):
    """Voice by channel. ``source`` is what it was made from: ``vad``, ``transcript`` or ``diarization``."""

    duration: float
    channels: tuple[ChannelSpeech, ...]
    source: str
    detector: str


# --- speech -------------------------------------------------------------------------------------------


class Word(Record):
    """One word. ``start``/``end`` are ``None`` for a word that the engine did not time."""

    text: str
    start: float | None = None
    end: float | None = None
    confidence: float | None = None


class Segment(Record):
    """A stretch of transcript as the engine gave it. ``channel`` is 0-based; ``speaker`` is the engine's label."""

    start: float
    end: float
    text: str
    channel: int | None = None
    speaker: str | None = None
    words: tuple[Word, ...] = ()
    confidence: float | None = None


class Chunk(Record):
    """A time slice of a recording that is sent by itself.

    Times are seconds of the recording, on samples of the sent audio. The first ``overlap`` seconds are in the
    chunk before too; ``seam`` tells how the beginning was cut: at the start of the recording, in a silence, or
    anywhere, which is what the overlap is for.
    """

    index: int
    start: float
    end: float
    overlap: float = 0.0
    seam: Literal["start", "silence", "overlap"]

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start


class ChunkPlan(Record):
    """Where a long recording is cut. Every sample of it is in one chunk, or in two where they overlap.

    ``rate``: samples per second of the grid that cuts lie on. ``longest_seconds``: no chunk is longer.
    ``codec``: what chunks are sent as.
    """

    chunks: tuple[Chunk, ...]
    rate: int
    duration: float
    longest_seconds: float
    codec: str


class Gap(Record):
    """A stretch of a recording without a transcript because its chunk failed for good; the rest is kept."""

    start: float
    end: float
    error_class: str
    message: str
    chunk: int | None


class Transcript(Record):
    """What was said, from one engine. Segments are in order of start, and so are gaps.

    ``engine`` is the registered name (``sphinx``, ``whisper``, ``assemblyai``, ``openai``, ``provided``).
    ``demo`` marks text of the offline demo engine, which every surface must say.
    """

    engine: str
    engine_version: str
    language: str | None
    duration: float
    segments: tuple[Segment, ...]
    confidence: float | None = None
    demo: bool = False
    notes: tuple[str, ...] = ()
    skipped_reason: str | None = None
    """Why nothing was transcribed on purpose (nobody speaks, say); ``None`` when the engine was asked."""
    gaps: tuple[Gap, ...] = ()
    """What is missing: the next run tries these again."""
    labels_by_chunk: bool = False
    """The engine heard chunks one by one: nobody but the diarization knows who of one is who of another."""

    @property
    def text(self) -> str:
        """The whole text, segments joined by spaces."""
        return " ".join(s.text for s in self.segments if s.text)


class ChunkState(Record):
    """How far one chunk of a recording has come. ``index`` counts from 0 up to ``of``.

    ``started``: when it was sent first, ``finished``: when its text was here or it was given up, in seconds since
    1970. ``bytes``: size of its file, 0 while there is none.
    """

    recording: str
    index: int
    of: int
    start: float
    end: float
    state: Literal["waiting", "cutting", "sending", "done", "reused", "failed"]
    started: float | None = None
    finished: float | None = None
    bytes: int = 0
    error_class: str | None = None


class SpeakerSpan(Record):
    """One stretch in which ``speaker`` talks. ``channel`` is set when the channel decided it."""

    speaker: str
    start: float
    end: float
    channel: int | None = None


class Diarization(Record):
    """Who spoke when. ``roles`` maps each speaker to a role; ``role_confidence`` says how sure that is.

    With ``channels`` the roles are given (confidence 1.0 unless configured otherwise); with mono diarizers they are
    ``unknown`` until the text is there: ``speaker_turns`` infers them.
    """

    engine: str
    engine_version: str
    spans: tuple[SpeakerSpan, ...]
    roles: dict[str, Role]
    role_confidence: float
    notes: tuple[str, ...] = ()


class Turn(Record):
    """One uninterrupted stretch of one speaker."""

    index: int
    speaker: str
    role: Role
    start: float
    end: float
    text: str
    confidence: float | None = None


class SpeakerTurns(Record):
    """The conversation in order of start. ``role_confidence`` < 1 means that roles were inferred."""

    turns: tuple[Turn, ...]
    role_confidence: float
    transcript_engine: str
    diarization_engine: str
    demo: bool = False
    notes: tuple[str, ...] = ()


# --- qa -----------------------------------------------------------------------------------------------


class Evidence(Record):
    """Why a verdict was given: where to listen, and what was heard or measured there."""

    start: float
    end: float
    note: str
    turn: int | None = None


class Chapter(Record):
    """A part of a long recording about one thing. Chapters follow each other without a gap.

    ``turn`` is the first turn of it; ``announced`` tells a chapter that somebody announced from one that only its
    words set apart, whose ``title`` is made of them.
    """

    start: float
    end: float
    title: str
    turn: int
    announced: bool
    evidence: tuple[Evidence, ...] = ()


class Chapters(Record):
    """The chapters of a recording, from its beginning to its end; none where nobody speaks."""

    chapters: tuple[Chapter, ...]


class Detection(Record):
    """One verdict about one recording.

    ``verdict`` ``error`` goes with ``error_class`` and ``reason``; it never stands for a "no".
    ``score`` is only set by detections that score (0-100). ``items`` are the parts of a score:
    ``True`` passed, ``False`` failed, ``None`` does not apply.
    """

    name: str
    verdict: Verdict
    confidence: float
    evidence: tuple[Evidence, ...] = ()
    reason: str = ""
    rule_version: str
    error_class: str | None = None
    score: float | None = None
    band: str | None = None
    items: dict[str, bool | None] = Field(default_factory=dict)


class Detections(Record):
    """All verdicts of one recording, by name. ``flag`` = the analyst should listen."""

    detections: dict[str, Detection]
    flag: bool
    flag_reasons: tuple[str, ...] = ()


class SpeakerMetrics(Record):
    """Figures of one speaker in one call."""

    speaker: str
    role: Role
    talk_seconds: float
    talk_ratio: float
    """Share of all talk, 0-1."""
    turns: int
    words: int
    words_per_minute: float | None
    longest_monologue: float
    interruptions: int
    """Times this speaker started while the other still talked and went on."""
    loudness_db: float | None = None
    sentiment: float | None = None
    """-1..1, None when nothing was said."""
    sentiment_by_quarter: tuple[float | None, ...] = ()


class CallMetrics(Record):
    """Figures of one call. ``categories`` maps a phrase category to the evidence of its presence ([] = absent)."""

    duration: float
    talk_seconds: float
    silence_seconds: float
    overlap_seconds: float
    non_talk: tuple[Region, ...]
    speakers: tuple[SpeakerMetrics, ...]
    categories: dict[str, tuple[Evidence, ...]] = Field(default_factory=dict)
    sentiment_by_quarter: tuple[float | None, ...] = ()


# --- states -------------------------------------------------------------------------------------------


class StageFailure(Record):
    """A stage that failed on one recording: kept until a later try succeeds."""

    asset: str
    partition: str
    error_class: str
    message: str
    permanent: bool
    attempts: int
    at: datetime
