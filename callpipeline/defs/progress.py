"""How far a batch has come, and the words in which its run ends: what is done, what failed, what is left.

Belongs here: sentences for the run's page. Does not: deciding anything.
"""

from __future__ import annotations

from collections.abc import Collection

import dagster as dg

from callpipeline.failures import DeadlineExceeded
from callpipeline.limits.ledger_rows import CallState
from callpipeline.pipeline.outcomes import RecordingOutcome, StageOutcome, Status
from callpipeline.pipeline.workbench import Workbench

LISTED_FAILURES = 20


class Progress:
    """The outcomes of a batch so far."""

    def __init__(self, keys: Collection[str]) -> None:
        self.keys = frozenset(keys)
        self.failed: list[StageOutcome] = []
        self._begun: set[str] = set()
        self._ended: set[str] = set()

    def note(self, outcome: StageOutcome | RecordingOutcome) -> None:
        """Take in an outcome."""
        self._begun.add(outcome.key)
        if isinstance(outcome, RecordingOutcome):
            self._ended.add(outcome.key)
        elif outcome.status is Status.FAILED:
            self.failed.append(outcome)

    def left(self, bench: Workbench) -> str:
        """Say what a run leaves that is stopped in the middle of its batch."""
        failed = self._ended & {outcome.key for outcome in self.failed}
        begun = self._begun - self._ended
        counts = (
            f"{len(self._ended - failed)} of {_recordings(len(self.keys))} done",
            f"{len(failed)} failed" if failed else "",
            f"{len(begun)} begun (their results so far are kept)" if begun else "",
            f"{len(self.keys - self._begun)} not begun",
        )
        parts = (f"Ended early: {', '.join(filter(None, counts))}.", self._at_providers(bench))
        return " ".join((*filter(None, parts), "The next run goes on from here."))

    def failure(self, bench: Workbench) -> dg.Failure:
        """Say which recordings failed, so that the run's page answers the question without a search."""
        total, failed = len(self.keys), len({outcome.key for outcome in self.failed})
        lines = [
            f"{failed} of {_recordings(total)} failed; the others are done.",
            self._after_deadline(bench),
            self._at_providers(bench),
            *map(line, self.failed[:LISTED_FAILURES]),
        ]
        if len(self.failed) > LISTED_FAILURES:
            more = len(self.failed) - LISTED_FAILURES
            lines.append(f"... and {more} more: callpipeline status --failed lists all")
        return dg.Failure(
            description="\n".join(filter(None, lines)),
            metadata={"failed": failed, "done": total - failed},
            # What can be tried again is tried by the next run: a retry of this one would repeat permanent failures.
            allow_retries=False,
        )

    def _after_deadline(self, bench: Workbench) -> str:
        late = {
            o.key for o in self.failed if o.failure and o.failure.error_class == DeadlineExceeded.error_class
        }
        allowed = bench.settings.run_deadline
        if not late or allowed is None:
            return ""
        return (
            f"The run's deadline of {allowed:g} s passed before {_recordings(len(late))} had all answers of the "
            "provider; the next run goes on with them."
        )

    def _at_providers(self, bench: Workbench) -> str:
        try:
            calls = [call for call in bench.unfinished_calls() if call.recording in self.keys]
        except Exception as error:  # last words must not take the place of why the run ends
            return f"What is left at the provider could not be read: {error}"
        jobs = sum(call.state is CallState.SUBMITTED for call in calls)
        parts = []
        if jobs:
            whose = "1 job is" if jobs == 1 else f"{jobs} jobs are"
            parts.append(
                f"{whose} still at the provider and will be fetched by the next run, not paid again."
            )
        sent = [call for call in calls if call.state is not CallState.SUBMITTED]
        if found := sum(call.reference is not None for call in sent):
            what = _requests(found)
            parts.append(f"{what} on the way: the next run looks for what came of it before it sends again.")
        if lost := len(sent) - found:
            what, again, who = _requests(lost), *(("it", "it") if lost == 1 else ("them", "they"))
            parts.append(
                f"{what} under way at a provider that keeps no answers: the next run sends {again} again, and "
                f"{who} may be charged twice (callpipeline costs counts this as unsure)."
            )
        return " ".join(parts)


def line(outcome: StageOutcome) -> str:
    """Return a failed stage as one line."""
    failure = outcome.failure
    assert failure is not None  # noqa: S101 - failed outcomes carry one
    return f"{outcome.asset} of {outcome.key}: {failure.error_class}: {failure.message}"


def _requests(count: int) -> str:
    return "1 request was" if count == 1 else f"{count} requests were"


def _recordings(count: int) -> str:
    return "1 recording" if count == 1 else f"{count} recordings"
