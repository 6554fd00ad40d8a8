"""Every setting, in one class, read from the environment (prefix ``CALLPIPELINE_``) and nowhere else.

A setting that belongs to a provider keeps the provider's own variable name (ASSEMBLYAI_API_KEY ...).
"""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "CALLPIPELINE_"

DEFAULT_NAME_PATTERN = (
    r"^(?P<agent>.+?) _ (?:(?P<timestamp>.+?) _ )?(?P<phone>\+?[\d(][\d\-(). ]{5,18}\d)"
    r"(?: _ (?P<disposition>.+?))?(?: ?\(\d{1,2}\))?$"
)
"""``Agent _ time _ phone _ disposition`` or ``Agent _ phone``, without the `` (1)`` of a second download."""

DEFAULT_FOLDER_PATTERN = (
    r"(?:^|/)Recordings/(?P<campaign>[^/]+)/(?P<user>[^/]+)/(?:[^/]*-)?"
    r"(?P<date>\d{4}-?\d{2}-?\d{2}|\d{2}-\d{2}-\d{4})_\d{3}(?: (?P<dialer>[^/]+?))?(?:/|\.\w{2,5}$|$)"
)
"""``Recordings/{agent or campaign}/{user}/{name}-{date}_{NNN} {dialer}``, a folder or the file itself."""


class TranscriberName(StrEnum):
    """Transcription engines. ``auto`` takes the best that works here: see ``callpipeline doctor``."""

    AUTO = "auto"
    ASSEMBLYAI = "assemblyai"
    OPENAI = "openai"
    WHISPER = "whisper"
    SPHINX = "sphinx"


class DiarizerName(StrEnum):
    """Diarization engines. ``auto`` = ``channels`` for stereo, the best mono engine otherwise."""

    AUTO = "auto"
    CHANNELS = "channels"
    SPECTRAL = "spectral"
    TITANET = "titanet"
    SORTFORMER = "sortformer"


def project_root() -> Path:
    """Return the nearest folder from here upwards that holds ``dagster.yaml``, else the working folder."""
    here = Path.cwd()
    return next((p for p in (here, *here.parents) if (p / "dagster.yaml").is_file()), here)


class Settings(BaseSettings):
    """Settings of one process. Frozen: change the environment, or use ``model_copy(update=...)`` in tests."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", populate_by_name=True)

    # where things are
    data_dir: Path = Field(
        default_factory=lambda: project_root() / "data", description="Holds uploads/ and store/."
    )
    uploads_dir: Path | None = Field(None, description="Watched folder; default data_dir/uploads.")
    store_dir: Path | None = Field(None, description="Results; default data_dir/store.")
    postgres_url: str | None = Field(None, description="Dagster storage on Postgres instead of SQLite.")

    # intake
    name_pattern: str = Field(DEFAULT_NAME_PATTERN, description="Regex with named groups for file stems.")
    folder_pattern: str = Field(
        DEFAULT_FOLDER_PATTERN, description="Regex with named groups for the whole path."
    )
    stable_seconds: float = Field(
        5.0, ge=0, description="A file this long unchanged counts as fully written."
    )
    batch_size: int = Field(500, ge=1, description="Recordings a run takes.")
    max_duration: float = Field(36_000.0, gt=0, description="Longest recording in seconds (10 h).")
    max_bytes: int = Field(5 * 1024**3, gt=0, description="Largest file in bytes (5 GiB).")

    # engines
    transcriber: TranscriberName = Field(
        TranscriberName.AUTO,
        description="auto (the best that works here), assemblyai, openai, whisper or sphinx (offline demo).",
    )
    diarizer: DiarizerName = Field(
        DiarizerName.AUTO,
        description="auto, channels (one voice a channel), spectral (voices in one channel, no weights), titanet or "
        "sortformer (NeMo models).",
    )
    language: str = Field(
        "en", description="Language of the recordings, unless their metadata says otherwise."
    )
    whisper_model: str = Field(
        "small.en", description="faster-whisper size, or a folder with a CTranslate2 model."
    )
    whisper_device: str = Field("auto", description="auto, cpu or cuda.")
    whisper_compute_type: str = Field("default", description="CTranslate2 compute type, such as int8.")
    suppress_numerals: bool = Field(
        False, description="Have Whisper write numbers as words, so that each can be aligned with its sound."
    )
    source_separation: bool = Field(
        False, description="Take noise out of what engines of this machine hear (high-pass, noise reduction)."
    )
    enhanced_alignment: bool = Field(
        False, description="Find the times of words anew by forced alignment (English, CPU only)."
    )
    sortformer_model: str = Field(
        "nvidia/diar_streaming_sortformer_4spk-v2.1",
        description="NeMo Sortformer for the diarizer sortformer: a .nemo file, or its name at the hub.",
    )
    titanet_model: str = Field(
        "nvidia/speakerverification_en_titanet_large",
        description="NeMo model of voices for the diarizer titanet: a .nemo file, or its name at the hub.",
    )
    nemo_device: str = Field("auto", description="Where NeMo models run: auto, cpu or cuda.")
    assemblyai_api_key: SecretStr | None = Field(
        None, validation_alias="ASSEMBLYAI_API_KEY", description="Key of the AssemblyAI account."
    )
    assemblyai_base_url: str = Field(
        "https://api.assemblyai.com",
        validation_alias="ASSEMBLYAI_BASE_URL",
        description="Where AssemblyAI answers (https://api.eu.assemblyai.com for the EU).",
    )
    assemblyai_models: str = Field(
        "universal-3-5-pro,universal-2", description="Speech models, the first that knows the language."
    )
    openai_api_key: SecretStr | None = Field(
        None, validation_alias="OPENAI_API_KEY", description="Key of the OpenAI account."
    )
    openai_base_url: str = Field(
        "https://api.openai.com/v1",
        validation_alias="OPENAI_BASE_URL",
        description="Where OpenAI, or a server that speaks its API, answers.",
    )
    openai_transcribe_model: str = Field("whisper-1", description="Transcription model at OpenAI.")
    cut_silences: bool = Field(
        True, description="Leave long silences out of what is sent; times are mapped back."
    )
    longest_silence: float = Field(
        3.0, ge=0.5, description="Silences longer than this are cut short before sending (s)."
    )
    speakers: int = Field(
        2,
        ge=1,
        le=8,
        description="Speakers expected in a mono call of which no metadata says how many; those of hearings are counted.",
    )

    # long recordings
    hearing_from: float = Field(
        1800.0,
        gt=0,
        description="Recordings this long (s) are hearings, unless their metadata says profile=call.",
    )
    chunk_seconds: float = Field(
        600.0,
        ge=10,
        description="Length that chunks of a long recording are cut to (s), where engines need chunks.",
    )
    chunk_overlap: float = Field(
        3.0, ge=0, le=30, description="What chunks share where no silence was found to cut in (s)."
    )
    chunk_look_ahead: int = Field(
        2, ge=0, description="Chunks of a recording that wait on disk, ready to be sent."
    )
    chunk_context: bool = Field(
        False,
        description="Tell the model the last words of the chunk before; chunks go one after another then.",
    )
    chunk_codec: Literal["opus", "mp3", "flac"] = Field("opus", description="What chunks are sent as.")

    # knowledge graph
    extractor: Literal["embedded", "openai"] = Field(
        "embedded",
        description="What finds entities and relations: embedded (rules and statistics, free) or openai (paid).",
    )
    graph_model: str = Field("gpt-5.4", description="Chat model for the extraction from rich text chunks.")
    graph_small_model: str = Field("gpt-5.4-mini", description="Chat model for simple text chunks.")
    graph_embedding_model: str = Field(
        "text-embedding-3-small", description="Embedding model for search and for telling equal names apart."
    )
    graph_economy: bool = Field(
        False, description="Send through the provider's Batch API: half the price, results within a day."
    )
    ontology_file: Path | None = Field(
        None, description="Node and relation types (YAML) that replace the shipped ones."
    )
    text_chunk_characters: int = Field(
        2000, ge=200, le=20_000, description="Length that text chunks are cut to (characters)."
    )
    graph_chunks_per_request: int = Field(12, ge=1, le=50, description="Text chunks in one request, at most.")
    graph_similarity: float = Field(
        0.92,
        gt=0.5,
        le=1,
        description="Text chunks this equal (Jaccard) share one result; 1 = only exactly equal ones.",
    )
    graph_min_confidence: float = Field(
        0.5, ge=0, le=1, description="Entities and relations below this are not kept."
    )

    # rules
    releasing_min_speech: float = Field(0.30, description="Less agent speech than this is releasing (s).")
    late_hello_after: float = Field(
        5.0, description="First agent speech strictly later than this is late (s)."
    )
    rebuttal_min_duration: float = Field(
        20.0, description="Shorter calls are skipped by the rebuttal rule (s)."
    )
    rebuttal_max_duration: float = Field(
        600.0, description="Longer calls are skipped by the rebuttal rule (s)."
    )
    redact_pii: bool = Field(
        False, description="Mask phone, e-mail, card and SSN-like numbers in stored text."
    )

    # limits of providers
    assemblyai_slots: int = Field(
        5, ge=0, description="Jobs in flight at AssemblyAI, until the Dagster pool of that name says."
    )
    openai_audio_slots: int = Field(3, ge=0, description="Pieces of audio in flight at OpenAI; as above.")
    openai_chat_slots: int = Field(20, ge=0, description="Chat requests in flight at OpenAI; as above.")
    assemblyai_requests_per_minute: float | None = Field(4000, gt=0, description="20,000 in five minutes.")
    openai_audio_requests_per_minute: float | None = Field(20, gt=0, description="Of the account's tier.")
    openai_audio_tokens_per_minute: float | None = Field(
        None,
        gt=0,
        description="Of the account's tier, for models that are charged by tokens: gpt-4o-transcribe.",
    )
    openai_chat_requests_per_minute: float | None = Field(500, gt=0, description="Of the account's tier.")
    openai_chat_tokens_per_minute: float | None = Field(1_000_000, gt=0, description="Of the account's tier.")
    openai_chat_small_slots: int = Field(
        20, ge=0, description="Chat requests to the small model in flight at OpenAI; as above."
    )
    openai_chat_small_requests_per_minute: float | None = Field(
        500, gt=0, description="Of the account's tier: each model has limits of its own."
    )
    openai_chat_small_tokens_per_minute: float | None = Field(
        1_000_000, gt=0, description="Of the account's tier."
    )
    openai_embeddings_slots: int = Field(
        4, ge=0, description="Embedding requests in flight at OpenAI; as above."
    )
    openai_embeddings_requests_per_minute: float | None = Field(
        3000, gt=0, description="Of the account's tier."
    )
    openai_embeddings_tokens_per_minute: float | None = Field(
        1_000_000, gt=0, description="Of the account's tier."
    )
    rate_share: float = Field(0.98, gt=0, le=1, description="Share of the rate limits that is used.")
    call_timeout: float = Field(
        600.0, gt=0, description="Seconds for one provider call; waiting for its turn does not count."
    )
    retry_delay_scale: float = Field(
        1.0, ge=0, description="Multiplies the delays between retries; below 1 only against simulators."
    )
    run_deadline: float | None = Field(
        None, gt=0, description="Seconds after which a run makes no more provider calls."
    )
    budget_per_recording: float | None = Field(None, ge=0, description="Dollars one recording may cost.")
    budget_per_run: float | None = Field(None, ge=0, description="Dollars one run may spend.")
    budget_per_day: float | None = Field(None, ge=0, description="Dollars all runs may spend on a UTC day.")
    prices_file: Path | None = Field(None, description="Prices that add to or override the shipped ones.")

    # work
    workers: int = Field(
        default_factory=lambda: max(1, os.cpu_count() or 1), ge=1, description="Worker processes."
    )
    recordings_in_flight: int = Field(16, ge=1, description="Recordings of a run that are walked at once.")
    memory_limit_mb: float | None = Field(
        None, gt=0, description="Memory (MiB) of the process from which on fewer chunks are kept ready."
    )
    parallel_processing: bool = Field(
        True,
        validation_alias="PARALLEL_PROCESSING",
        description="Transcription and diarization of a recording side by side; false: one after the other.",
    )
    use_process_pool: bool = Field(
        True,
        validation_alias="USE_PROCESS_POOL",
        description="CPU-heavy Python in worker processes; false: in threads of the process itself.",
    )

    # speech service
    service_workers: int = Field(
        2,
        ge=1,
        validation_alias="MAX_WORKERS",
        description="Recordings that the service works on at once: waiting clients, and runs, each.",
    )
    service_queue: int = Field(100, ge=1, description="Tasks that may wait; more are turned away (429).")
    service_max_bytes: int = Field(
        1024**3, gt=0, description="Largest upload that the service takes in bytes (1 GiB)."
    )
    service_retention_days: float = Field(
        30.0, gt=0, description="Days until a task, its result and its upload are removed."
    )
    service_requests_per_minute: int = Field(
        600, ge=0, description="Requests a minute of one API key; 0 = any number."
    )
    service_cors_origins: str = Field(
        "", description="Origins of pages that may call the service, with commas; none unless told."
    )
    service_unload_after: float = Field(
        900.0, ge=0, description="Seconds after which the service unloads a model that nobody used."
    )
    gpu_memory_optimization: bool = Field(
        False,
        validation_alias="GPU_MEMORY_OPTIMIZATION",
        description="The service unloads models after each task, not only after idle time.",
    )
    webhook_url: str | None = Field(
        None,
        description="Where AssemblyAI reaches the service's /webhooks/assemblyai; jobs then end without polling.",
    )
    webhook_secret: SecretStr | None = Field(
        None,
        description="What webhooks must carry in the header X-Callpipeline-Webhook; needed with the address.",
    )

    @field_validator("name_pattern", "folder_pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value

    @property
    def uploads(self) -> Path:
        """The watched folder."""
        return (self.uploads_dir or self.data_dir / "uploads").expanduser()

    @property
    def store(self) -> Path:
        """The folder of results."""
        return (self.store_dir or self.data_dir / "store").expanduser()


def without_login(address: str) -> str:
    """Return an address as it may be shown: without the name and the password that may stand before its host."""
    return _LOGIN.sub(r"\1", address)


_LOGIN = re.compile(r"^(\s*(?:[a-z][a-z0-9+.-]*://)?)[^/\s]*@", re.IGNORECASE)


def variable_of(name: str) -> str:
    """Return the environment variable that sets the setting ``name``."""
    own = Settings.model_fields[name].validation_alias
    return own if isinstance(own, str) else f"{PREFIX}{name.upper()}"
