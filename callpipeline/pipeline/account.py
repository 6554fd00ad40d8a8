"""What a provider says of our account: asked before anything is sent, and once for a whole run.

What belongs here: when it is asked again. What does not: the question (the engine's ``probe``), and what is made of the
answer (``fitness``).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from math import inf

from callpipeline.failures import CallPipelineError, NotConfigured
from callpipeline.limits.retry import RetryPolicy, retrying
from callpipeline.limits.worker import Turns
from callpipeline.model import Finding
from callpipeline.speech.engines.base import refused

ASK_AGAIN_SECONDS = 30.0
"""A provider that said no, or nothing, is asked again after this: a run outlives a short outage."""


class Account:
    """The answer of one engine's provider."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._turns = Turns()
        self._answer: tuple[Finding, ...] | CallPipelineError = ()
        self._ask_after = float("-inf")

    @property
    def well(self) -> bool:
        """Whether the provider has said that it takes what is sent."""
        return self._ask_after == inf

    async def asked(
        self, name: str, probe: Callable[[], Awaitable[tuple[Finding, ...]]]
    ) -> tuple[Finding, ...]:
        """Return what the provider of the engine ``name`` says of key and models.

        Raises:
            CallPipelineError: it did not answer, after the usual retries.
        """
        async with self._turns.of("provider"):
            if time.monotonic() >= self._ask_after:
                try:
                    self._answer = await retrying(probe, self._policy)
                except NotConfigured as error:
                    self._answer = (refused(name, error),)
                except CallPipelineError as error:
                    self._answer = error
                taken = isinstance(self._answer, tuple) and all(finding.passed for finding in self._answer)
                self._ask_after = inf if taken else time.monotonic() + ASK_AGAIN_SECONDS
            if isinstance(self._answer, CallPipelineError):
                raise type(self._answer)(str(self._answer)) from self._answer
            return self._answer
