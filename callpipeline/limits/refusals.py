"""What a provider refuses the account: asked once, told to all who would ask the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from callpipeline.failures import AuthenticationFailed, CallPipelineError, NotConfigured, QuotaExceeded


class Refusals:
    """What a provider refused the account: the first call asks, all others are told the same at once.

    Only what the provider itself says belongs into ``noted``: what is wrong with one recording must not stop the
    others. A broken budget is not remembered: the gate asks budgets anew before anything is sent, and a shorter
    recording may still fit.
    """

    def __init__(self) -> None:
        self._refusal: CallPipelineError | None = None

    def check(self) -> None:
        """Raise what was refused before, if anything was.

        Raises:
            AuthenticationFailed, QuotaExceeded, NotConfigured: as the provider said it.
        """
        if self._refusal is not None:
            raise type(self._refusal)(str(self._refusal)) from self._refusal

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Check before a block of requests, and remember a refusal that leaves it."""
        self.check()
        try:
            yield
        except (AuthenticationFailed, QuotaExceeded, NotConfigured) as error:
            self._refusal = error
            raise
