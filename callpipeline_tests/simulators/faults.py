"""What goes wrong on purpose: single faults, scripts of them per route, and seeded rates.

Belongs here: deciding which fault a request gets. Does not: carrying it out (see ``server``).

A fault in words: ``KIND[:VALUE][@after]``.

- a status: ``429``, ``500``, ``503`` ...; ``429:2`` adds ``Retry-After: 2``; ``quota`` is a 429 with code
  insufficient_quota
- ``reset`` (connection reset), ``stall[:SECONDS]`` (half of the answer, then nothing), ``truncated`` (half of
  the JSON, as if complete), ``wrong_type`` (an HTML page with status 200)
- ``expired`` (the polled job is gone: 404 from now on), ``job_error`` (the submitted job ends with an error)

A status or a reset normally comes before anything was done; with ``@after`` the provider did its work (and
wants its money), and only the answer is lost. ``ok`` in a script lets a request through.

A rate in words: ``[ROUTE/]FAULT=RATE``; ``storm=RATE`` spreads RATE over the usual transient faults.
"""

from __future__ import annotations

import random
import re
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict

ANY_ROUTE = "*"
STORM = ("429", "429:0.1", "500", "503", "reset", "reset@after", "truncated", "wrong_type")
_ROUTE_OF_KIND = {"expired": "poll", "job_error": "submit"}
_KINDS = ("quota", "reset", "stall", "truncated", "wrong_type", "expired", "job_error")
_FAULT = re.compile(rf"^(?P<kind>[1-5]\d\d|{'|'.join(_KINDS)})(:(?P<value>[\d.]+))?(?P<after>@after)?$")


class Fault(BaseModel):
    """One fault. ``value`` is Retry-After or the length of a stall, in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    value: float | None = None
    after: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a fault such as ``429:2`` or ``reset@after``.

        Raises:
            ValueError: nobody knows such a fault.
        """
        match = _FAULT.match(text)
        if not match:
            raise ValueError(
                f"{text!r} is no fault: KIND[:VALUE][@after], KIND a status or {', '.join(_KINDS)}"
            )
        value = match["value"]
        return cls(kind=match["kind"], value=float(value) if value else None, after=bool(match["after"]))

    def __str__(self) -> str:
        value = "" if self.value is None else f":{self.value:g}"
        return f"{self.kind}{value}{'@after' if self.after else ''}"

    @property
    def status(self) -> int | None:
        """The status to answer with, if that is what this fault does."""
        return 429 if self.kind == "quota" else int(self.kind) if self.kind.isdigit() else None

    @property
    def spoils_answer(self) -> bool:
        """The work is done, then the answer is spoilt on its way."""
        return self.after or self.kind in ("stall", "truncated", "wrong_type")

    def fits(self, route: str) -> bool:
        """Whether this fault can happen on this route."""
        return _ROUTE_OF_KIND.get(self.kind, route) == route


class RatedFault(BaseModel):
    """A fault that hits a share ``rate`` (0-1) of the requests of one route, or of all (``*``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fault: Fault
    rate: float
    route: str = ANY_ROUTE


def parse_rates(texts: Iterable[str]) -> list[RatedFault]:
    """Read rates such as ``500=0.1``, ``submit/reset@after=0.05`` or ``storm=0.2``.

    Raises:
        ValueError: one of them cannot be read.
    """
    rates = []
    for text in texts:
        name, equals, number = text.rpartition("=")
        route, _, fault = name.rpartition("/")
        if not equals:
            raise ValueError(f"{text!r} is no rate of a fault: [ROUTE/]FAULT=RATE, such as 500=0.1")
        kinds: Sequence[str] = STORM if fault == "storm" else (fault,)
        rates += [
            RatedFault(fault=Fault.parse(kind), rate=float(number) / len(kinds), route=route or ANY_ROUTE)
            for kind in kinds
        ]
    return rates


class FaultPlan:
    """Decides for each request whether a fault hits it: scripts first, then one draw against the rates."""

    def __init__(self, rates: Iterable[RatedFault] = (), *, seed: int = 0) -> None:
        self._start = (tuple(rates), seed)
        self.reset()

    def reset(self) -> None:
        """Go back to the rates and the seed of the start, without scripts."""
        self._scripts: dict[str, deque[Fault | None]] = {}
        self._rates, seed = list(self._start[0]), self._start[1]
        self._rng = random.Random(seed)
        self.fired: Counter[str] = Counter()

    def clear(self) -> None:
        """No more faults, scripted or by rate."""
        self._scripts, self._rates = {}, []

    def script(self, route: str, faults: Iterable[str]) -> None:
        """Append faults for the next requests of ``route`` (``*`` = of any); ``ok`` lets one through."""
        queue = self._scripts.setdefault(route, deque())
        queue.extend(None if text == "ok" else Fault.parse(text) for text in faults)

    def rate(self, rates: Iterable[str], *, seed: int | None = None) -> None:
        """Replace the rates."""
        self._rates = parse_rates(rates)
        if seed is not None:
            self._rng = random.Random(seed)

    def waiting(self) -> dict[str, list[str]]:
        """Return the scripted faults that no request has met yet."""
        return {
            route: ["ok" if fault is None else str(fault) for fault in queue]
            for route, queue in self._scripts.items()
            if queue
        }

    def rates(self) -> list[str]:
        """Return the rates in words."""
        return [f"{rated.route}/{rated.fault}={rated.rate:g}" for rated in self._rates]

    def next(self, route: str) -> Fault | None:
        """Return the fault that hits this request."""
        fault = self._next(route)
        if fault:
            self.fired[str(fault)] += 1
        return fault

    def _next(self, route: str) -> Fault | None:
        for name in (route, ANY_ROUTE):
            if queue := self._scripts.get(name):
                return queue.popleft()
        draw, edge = self._rng.random(), 0.0
        for rated in self._rates:
            if rated.route in (route, ANY_ROUTE) and rated.fault.fits(route):
                edge += rated.rate
                if draw < edge:
                    return rated.fault
        return None
