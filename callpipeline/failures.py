"""The one failure taxonomy: what went wrong, whether trying again can help, and what a person can do.

Every exception that crosses a room's wall is a ``CallPipelineError``. ``permanent`` decides retries on every
level (our own loop, Dagster's run retries): a permanent failure is never tried again by itself.
"""

from __future__ import annotations

from pydantic import ValidationError

_PROBLEMS_TOLD = 3


class CallPipelineError(Exception):
    """Base of all failures. ``error_class`` is the stable name that is stored and shown; ``hint`` says what to do."""

    error_class: str = "internal"
    permanent: bool = True

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip() if hint else message)
        self.hint = hint


# --- the recording itself: trying again with the same bytes cannot help ---------------------------------


class BadInput(CallPipelineError):
    """The recording cannot be used as it is."""

    error_class = "bad_input"


class EmptyFile(BadInput):
    """Zero bytes, or an audio stream with no samples."""

    error_class = "empty_file"


class NotAudio(BadInput):
    """No audio stream could be opened, or it has no sample rate."""

    error_class = "not_audio"


class CorruptAudio(BadInput):
    """Opened, but so much of it fails to decode that verdicts would be guesses."""

    error_class = "corrupt_audio"


class TooLong(BadInput):
    """Longer or larger than the configured limit."""

    error_class = "too_long"


class BadTranscript(BadInput):
    """A ready-made transcript that cannot be read."""

    error_class = "bad_transcript"


# --- the world around: trying again may help ------------------------------------------------------------


class SourceUnavailable(CallPipelineError):
    """No source of this recording can be read now: vanished, changed, no permission."""

    error_class = "source_unavailable"
    permanent = False


class ResourceExhausted(CallPipelineError):
    """Disk, memory or a worker process gave out."""

    error_class = "resource_exhausted"
    permanent = False


class EngineFailed(CallPipelineError):
    """A local engine broke while working on this recording."""

    error_class = "engine_failed"
    permanent = False


class Busy(CallPipelineError):
    """Another process is working on the same thing and did not finish in the time allowed."""

    error_class = "busy"
    permanent = False


class DatabaseUnavailable(CallPipelineError):
    """The database server does not answer now."""

    error_class = "database"
    permanent = False


# --- calls to a provider ----------------------------------------------------------------------------------


class CallFailed(CallPipelineError):
    """A provider did not give the answer that was asked for. ``retry_after``: seconds it asked us to wait."""

    error_class = "api"
    permanent = False

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class RateLimited(CallFailed):
    """More calls than the provider allows; nothing was done and nothing is charged."""

    error_class = "rate_limit"


class NetworkFailed(CallFailed):
    """No answer, or half of one: whether the provider did the work is not known."""

    error_class = "network"


class NotReached(NetworkFailed):
    """No connection was made, so nothing was sent and nothing is charged."""


class ProviderFailed(CallFailed):
    """The provider answered that it failed, or answered nonsense."""

    error_class = "api"


class CorruptChunk(CallFailed):
    """The provider could not read this piece of audio; cutting it anew may help once."""

    error_class = "corrupt_chunk"


class AccountRefused(CallFailed):
    """The provider refuses the account: no call is tried again. The recording is fine, so the next run takes it."""

    permanent = True


class AuthenticationFailed(AccountRefused):
    """The provider refuses the key."""

    error_class = "authentication"


class QuotaExceeded(AccountRefused):
    """The account has no credit left; waiting does not help."""

    error_class = "quota"


class BadRequest(CallFailed):
    """The provider will never accept this request."""

    error_class = "bad_request"
    permanent = True


class OutputTruncated(CallFailed):
    """A model's answer was cut off at its allowed length; it is paid."""

    error_class = "output_truncated"


class Refused(CallFailed):
    """A model will not answer this question, or its provider filters it; it is paid."""

    error_class = "refused"
    permanent = True


class UnusableAnswer(CallFailed):
    """A model's answer is not what was asked for; it is paid."""

    error_class = "unusable_answer"


class BudgetExceeded(CallPipelineError):
    """The call would break a budget, so it was not made. Another day or a larger budget lets it through."""

    error_class = "budget"
    permanent = False


class NotFit(CallPipelineError):
    """Checks made before anything is spent say no; the message lists all that failed. Nothing was sent."""

    error_class = "not_fit"
    permanent = False


class DeadlineExceeded(CallPipelineError):
    """The time allowed for a call, its waits and its retries together is over."""

    error_class = "deadline"
    permanent = False


# --- the set-up: a person must change something ---------------------------------------------------------


class NotConfigured(CallPipelineError):
    """A setting, key, extra or model weights are missing or wrong. The recording is fine: the next run tries again."""

    error_class = "not_configured"
    permanent = False


class UpstreamMissing(CallPipelineError):
    """A stage was asked for whose inputs are not in the store."""

    error_class = "upstream_missing"
    permanent = False


class UsageError(CallPipelineError):
    """The command cannot be carried out as given."""

    error_class = "usage"


class Recorded(CallPipelineError):
    """A failure that was recorded earlier, as an exception again, with its own class."""

    def __init__(self, error_class: str, message: str, permanent: bool) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.permanent = permanent


def describe(error: BaseException) -> tuple[str, str, bool]:
    """Return (error_class, message, permanent) of any exception; permanent = the same recording will fail again.

    Unknown exceptions count as transient ``internal:<type>``: a bug or a hiccup must not mark a recording as
    unusable for ever.
    """
    if isinstance(error, CallPipelineError):
        return error.error_class, str(error), error.permanent and not isinstance(error, AccountRefused)
    if isinstance(error, MemoryError):
        return ResourceExhausted.error_class, "out of memory", False
    if isinstance(error, OSError) and error.errno == 28:
        return ResourceExhausted.error_class, f"disk full: {error}", False
    message = problems(error) if isinstance(error, ValidationError) else str(error)
    return f"internal:{type(error).__name__}", message or type(error).__name__, False


def problems(error: Exception) -> str:
    """Say what is wrong with a value that cannot be read, without the value: it may be what somebody said.

    Pydantic's own text, and that of ``float("...")``, quotes it, and messages of failures go into logs.
    """
    if isinstance(error, ValidationError):
        found = error.errors(include_input=False, include_context=False, include_url=False)
        said = [f"{'.'.join(map(str, one['loc'])) or 'the whole'}: {one['msg']}" for one in found]
        return "; ".join(said[:_PROBLEMS_TOLD])
    return f"there is no {error}" if isinstance(error, KeyError) else type(error).__name__
