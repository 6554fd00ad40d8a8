"""What the ledger says to do about a request, and the hold on one while it is done.

What belongs here: what an engine sees of the ledger while it buys. What does not: rows, files and charges
(``ledger``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from callpipeline.failures import CallPipelineError, NotReached
from callpipeline.limits.ledger_rows import CallState, Order, Paid, Usage

if TYPE_CHECKING:
    from callpipeline.limits.ledger import Ledger

_REFUSED = frozenset(
    {"rate_limit", "bad_request", "authentication", "quota", "corrupt_chunk", "not_configured"}
)
"""Failures of a request after which nothing was done and nothing is charged."""


@dataclass(frozen=True, slots=True)
class Reuse:
    """It was bought before: take this."""

    paid: Paid


@dataclass(frozen=True, slots=True)
class Resume:
    """It was ordered before: fetch the provider's job. ``reference`` is what was noted when it was sent."""

    job_id: str
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """It must be sent.

    ``sends`` > 0: it may have been sent before; look for ``reference`` at the provider first.
    """

    sends: int = 0
    reference: str | None = None


Decision = Reuse | Resume | Send


class Claim:
    """One request, held by this process until the block of ``Ledger.claim`` ends.

    ``decision`` says what to do. ``already_running``: the provider may be at work on it since before; hand
    this to ``Gate.slot``, which counts it without a slot.
    """

    def __init__(self, ledger: Ledger, order: Order, decision: Decision, already_running: bool) -> None:
        self.order = order
        self.decision = decision
        self.already_running = already_running
        self._ledger = ledger
        self._reference: str | None = None
        self._in_doubt = isinstance(decision, Send) and decision.reference is not None
        self._out = False

    @property
    def in_doubt(self) -> bool:
        """Whether the provider may have taken an order of which nobody knows the job: look for its reference."""
        return self._in_doubt or self._out

    @property
    def unsent(self) -> tuple[CallState, ...]:
        """The states of the row in which nothing of it is with the provider."""
        sure = (CallState.CLAIMED, CallState.FAILED)
        return sure if self.in_doubt else (*sure, CallState.SENDING)

    async def sending(self, *, reference: str | None = None, busy_seconds: float = 0.0) -> None:
        """Write down that the request goes out now; the last thing before it does, and before every try.

        ``busy_seconds``: how long the provider works on such a job at most; so long it counts as under way
        when this process dies. 0 for a call that answers at once.
        """
        self._in_doubt = self.in_doubt and reference is not None
        await self._ledger._worker.do(self._ledger._sending, self.order, reference, busy_seconds)
        self._reference, self._out = reference, True

    async def not_answered(self, error: BaseException) -> None:
        """Write down how the request that went out last failed, and with it what is to be done next time.

        One that was refused was not sent, unless an earlier one is in doubt: then it may still be found. One whose
        answer was lost is in doubt; where there is no reference to look for, its charge is kept as unsure.
        """
        if _refused(error):
            self._out = False
            if not self._in_doubt:
                await self._ledger._worker.surely(self._ledger._not_sent, self.order)
        elif self._reference is None:
            await self._ledger._worker.surely(self._ledger._lost, self.order)
            self._out = False

    async def submitted(self, job_id: str) -> None:
        """Write down the provider's id of the job; the first thing after it is known."""
        await self._ledger._worker.surely(self._ledger._submitted, self.order, job_id)
        self._in_doubt = self._out = False

    async def finish(
        self,
        result: Any,
        usage: Usage | None = None,
        *,
        shares: Mapping[str, float] | None = None,
        recovered: bool = False,
    ) -> Paid:
        """Keep what was bought: the file first, then the row and the charge.

        ``shares``: how the charge is shared out where the call was for several recordings. ``recovered``: the answer came
        to a holder of before, who was killed before writing it down here; the charge that is unsure since is sure now.
        """
        return await self._ledger._worker.surely(
            self._ledger._finish, self.order, result, usage or Usage(), dict(shares or {}), recovered
        )

    async def failed(self, error: BaseException) -> None:
        """Write down that the provider ended the job without a result; nothing is charged for it."""
        await self._ledger._worker.surely(self._ledger._fail, self.order, error, tuple(CallState))
        self._in_doubt = self._out = False

    async def rewrite(self, paid: Paid, result: Any) -> Paid:
        """Put another form of the result in place of what is kept of a purchase; no money changes."""
        return await self._ledger._worker.surely(
            self._ledger._keep, paid.model_copy(update={"result": result})
        )


def _refused(error: BaseException) -> bool:
    """Whether a failure says that nothing was done and nothing is charged."""
    return isinstance(error, NotReached) or (
        isinstance(error, CallPipelineError) and error.error_class in _REFUSED
    )
