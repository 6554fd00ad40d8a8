"""What can be set when a simulator is started; written as JSON when it runs in a process of its own.

Belongs here: values and their defaults. Does not: behaviour.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from callpipeline_tests.simulators.latency import Latency

MEBIBYTE = 1024 * 1024


class RateLimit(BaseModel):
    """Most requests and tokens in any window; ``None`` = no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: int | None = None
    tokens: int | None = None


class SimulatorOptions(BaseModel):
    """What both simulators have in common. ``port`` 0 = any free one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = 0
    api_key: str
    latency: Latency = Latency()
    """Time of the real work: of a job, or of an answer."""
    http_latency: Latency = Latency()
    """Time that every request takes besides."""
    faults: tuple[str, ...] = ()
    """Rates, see ``faults``."""
    seed: int = 0
    dialogues: Path | None = None
    """Folder with expected/*.json of the samples."""
    hearing: Literal["invented", "tones"] = "invented"
    """What is said in audio that nobody registered: invented words, or what ``tone_speech`` hears in it."""
    timeline: Path | None = None
    """A file of ``timeline``: what is said in any piece of one long recording."""
    window_seconds: float = 60.0
    limits: dict[str, RateLimit] = Field(default_factory=dict)
    """By group: AssemblyAI has ``requests`` and ``jobs``, OpenAI ``audio``, ``chat`` and ``embeddings``."""
    retry_after: bool = True
    """Whether a request over a limit is told when to come back."""


class AssemblyAIOptions(SimulatorOptions):
    """``concurrency`` jobs are processed at once (free account: 5); the rest queue, first in first out."""

    api_key: str = "simulated-assemblyai-key"
    concurrency: int = Field(5, ge=1)
    webhook_tries: int = Field(3, ge=1)


class OpenAIOptions(SimulatorOptions):
    """Options of the OpenAI simulator.

    ``responder`` is ``module:function`` (see ``openai_api.responder``). ``idempotency`` ``honoured`` answers
    a request with a known Idempotency-Key from memory; the real API ignores the header.
    """

    api_key: str = "sk-simulated-openai-key"
    max_audio_bytes: int = 25 * MEBIBYTE
    batch_seconds: float = 0.2
    idempotency: Literal["ignored", "honoured"] = "ignored"
    responder: str | None = None
