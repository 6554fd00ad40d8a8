"""What a stage is: one row of the table of ``stages``.

What belongs here: the row and what its fields are when nothing is said. What does not: any stage.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from callpipeline.failures import Recorded
from callpipeline.model import Record
from callpipeline.pipeline.case import Case, Inputs
from callpipeline.pipeline.workbench import Workbench

Run = Callable[[Case, Inputs], Awaitable[Record]]


def _none(_: Any) -> Mapping[str, object]:
    return {}


def _never(_: Workbench) -> bool:
    return False


def _no_more(case: Case, inputs: Inputs) -> Mapping[str, object]:
    return {}


def always(case: Case, inputs: Inputs) -> bool:
    """Say that every recording needs a stage."""
    return True


def _nothing(_: Any) -> Recorded | None:
    return None


@dataclass(frozen=True)
class Stage:
    """One row of the table: an asset of a recording and how it comes about.

    ``parameters`` are the settings and engines that decide the result for every recording, ``facts`` what decides it
    for one, ``shows`` what only its inputs show of it. With the code version and the inputs' data versions they are
    the cache key. ``can_do_without`` names
    inputs whose failure leaves a part that can still be decided. ``anew`` says whether this run makes the result
    again although nothing that decides it has changed.

    ``applies`` says, from the inputs that are there, whether a recording needs it at all. ``optional`` names stages
    that some recordings do not need; of the others, their results are inputs. ``lacks`` says what is missing of a
    result that is there in part: it is kept and used, and made again by the next run.
    """

    asset: str
    needs: tuple[str, ...]
    value: type[Record]
    code_version: str
    run: Run
    parameters: Callable[[Workbench], Mapping[str, object]] = _none
    facts: Callable[[Case], Mapping[str, object]] = _none
    can_do_without: tuple[str, ...] = ()
    anew: Callable[[Workbench], bool] = _never
    applies: Callable[[Case, Inputs], bool] = always
    optional: tuple[str, ...] = ()
    lacks: Callable[[Any], Recorded | None] = _nothing
    shows: Callable[[Case, Inputs], Mapping[str, object]] = _no_more

    @property
    def inputs(self) -> tuple[str, ...]:
        """All stages that this one waits for."""
        return (*self.needs, *self.optional)
