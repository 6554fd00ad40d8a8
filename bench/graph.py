"""A knowledge graph from transcripts: how close the extraction comes to what the account's limits allow.

Ready-made transcripts through real Dagster runs with the extractor ``openai``, against a simulator in a process of its
own that enforces requests and tokens in a sliding window; answers take 2 to 8 s, long ones longer. Ideal: the requests
over the requests of a minute, or the tokens over its tokens, whichever is more. Then the same folder with one passage in
a hundred changed; a run that is killed in the middle, and the next one; and the usual way, which is the idea of the
script for parallel requests in OpenAI's public cookbook, with one chunk a request and with ten.

The time counts from the first request; what comes before it is told as start-up.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import graph_corpus, graph_usual
from bench.graph_answers import blocks
from bench.graph_runs import Done, start
from bench.provider_runs import house
from bench.result import Result, Scale
from callpipeline.knowledge import KgExtraction
from callpipeline.limits.books import open_books
from callpipeline.settings import Settings
from callpipeline_tests.simulators import OpenAISimulator, RateLimit
from callpipeline_tests.simulators.counting import CallRecord

RESPONDER = "bench.graph_answers:found"
GOALS = {Scale.SMALL: 1.25, Scale.FULL: 1.1}
"""At a small scale the last answers weigh more: one takes a twentieth of the whole."""
GOAL_CHANGED = 0.03
CHANGED = 0.01
_WRITTEN = 0.5
"""Seconds. An answer that came less than this before the kill counts as in flight: it may not be written down."""

_MOST_OUTPUT = {1: 1_200, 10: 900}
"""Tokens that the usual way allows an answer for each chunk: about twice, and one and a half times, what they take."""


@dataclass(frozen=True)
class Plan:
    """Sizes of a scale; ``window``: seconds of a minute. ``killed`` and ``usual``: (transcripts, chunks) of those parts.

    ``latency``: of an answer, see ``simulators.latency``.
    """

    transcripts: int
    chunks: int
    window: float
    requests: int
    tokens: int
    latency: str
    killed: tuple[int, int]
    usual: int
    scaled: str


PLANS = {
    Scale.FULL: Plan(
        transcripts=150,
        chunks=8_834,
        window=60,
        requests=500,
        tokens=1_000_000,
        latency="tokens:0.0005,1.7,0.35",
        killed=(15, 900),
        usual=1_500,
        scaled="nothing but the usual way, which gets 1,500 chunks, and the kills, which get 900",
    ),
    Scale.SMALL: Plan(
        transcripts=15,
        chunks=900,
        window=6,
        requests=250,
        tokens=500_000,
        latency="tokens:0.00005,0.17,0.35",
        killed=(4, 192),
        usual=450,
        scaled="a minute is 6 s: the window, latencies and pauses are a tenth, requests a half, tokens a half, so that"
        " requests and tokens are to each other as they are; the usual way gets 450 chunks, the kills 192",
    ),
}


def run(scale: Scale) -> Result:
    plan = PLANS[scale]
    first, changed = _extraction(plan)
    with ThreadPoolExecutor(len(_MOST_OUTPUT)) as side_by_side:
        asked = {each: side_by_side.submit(_usual, plan, each) for each in _MOST_OUTPUT}
        kills = {
            "a provider as OpenAI": _killed(plan, honour=False),
            "a provider that heeds Idempotency-Key": _killed(plan, honour=True),
        }
        usual = {each: found.result() for each, found in asked.items()}
    ours = first["against the ideal"]
    small_enough = changed["cost against the first run"] <= GOAL_CHANGED
    if scale is Scale.FULL:
        small_enough = small_enough and changed["time against the first run"] <= GOAL_CHANGED
    none_twice = all(
        kill["answered chunks paid twice"] == 0 and kill["chunks done"] == plan.killed[1]
        for kill in kills.values()
    )
    heeded = kills["a provider that heeds Idempotency-Key"]["chunks paid twice"] == 0
    whole = first["chunks done"] == plan.chunks and first["429s"] == 0 and not first["over a limit"]
    return Result(
        "graph",
        ours,
        f"makespan <= {GOALS[scale]} x max(requests / RPM, tokens / TPM), never over, no 429; 1 % changed <= 3 %;"
        " no answered chunk paid twice",
        ours <= GOALS[scale] and whole and small_enough and none_twice and heeded,
        {
            "scaled": plan.scaled,
            "limits": f"{plan.requests} requests and {plan.tokens:,} tokens in any {plan.window:g} s",
            "all": first,
            "1 % changed": changed,
            "killed in the middle": kills,
            "usual way (cookbook), by chunks a request": usual,
        },
    )


# --- all, and one in a hundred changed -------------------------------------------------------------------------


def _extraction(plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
    with _simulator(plan) as provider, _house(plan, provider) as folder:
        calls = folder / "calls"
        graph_corpus.write(calls, plan.transcripts, plan.chunks)
        done = start(calls, plan.window).done()
        first = _figures(plan, provider, done)
        paid = _dollars()
        sent = len(provider.calls("chat"))
        seconds = done.ended - done.begun
        count = graph_corpus.change(calls, CHANGED)
        done = start(calls, plan.window).done()
        again = provider.calls("chat")[sent:]
        dollars = _dollars() - paid
        first["dollars"] = round(paid, 4)
        return first, {
            "chunks changed": count,
            "chunks sent": sum(len(_texts(call)) for call in again),
            "requests": len(again),
            "dollars": round(dollars, 4),
            "cost against the first run": round(dollars / paid, 4),
            "seconds from first request to end": round(done.ended - again[0].at, 2),
            "seconds, start-up and all": round(done.ended - done.begun, 2),
            "time against the first run": round((done.ended - done.begun) / seconds, 4),
        }


def _figures(plan: Plan, provider: OpenAISimulator, done: Done) -> dict[str, Any]:
    stats = provider.stats
    calls = provider.calls("chat")
    if not done.success or not calls:
        raise RuntimeError("the run failed: the figures would mean nothing")
    fullest, minute = stats.windows["chat"], plan.window
    states = _states()
    tokens, requests = stats.paid.tokens, stats.paid.calls
    ideal = max(requests / plan.requests, tokens / plan.tokens) * minute
    makespan = done.ended - calls[0].at
    return {
        "against the ideal": round(makespan / ideal, 4),
        "makespan_s": round(makespan, 2),
        "ideal_s": round(ideal, 2),
        "first to last request, against the ideal": round((calls[-1].at - calls[0].at) / ideal, 4),
        "start-up_s": round(calls[0].at - done.begun, 2),
        "last request to end_s": round(done.ended - calls[-1].at, 2),
        "cpu_s": round(done.cpu, 2),
        "chunks done": sum(states.values()) - states["failed"],
        "chunks by state": dict(states),
        "requests": requests,
        "tokens": tokens,
        "tokens a chunk": round(tokens / plan.chunks, 1),
        "most requests in flight": stats.routes["chat"].in_flight_max,
        "fullest window, share of the tokens": round(fullest.tokens_max / plan.tokens, 4),
        "fullest window, share of the requests": round(fullest.requests_max / plan.requests, 4),
        "over a limit": fullest.tokens_max > plan.tokens or fullest.requests_max > plan.requests,
        "429s": fullest.rejected,
        "paid twice": stats.paid.duplicates,
    }


# --- killed in the middle --------------------------------------------------------------------------------------


def _killed(plan: Plan, *, honour: bool) -> dict[str, Any]:
    """Kill a run when half of its chunks are answered, and let the next one go on."""
    transcripts, chunks = plan.killed
    with (
        _simulator(plan, limited=False, honour=honour) as provider,
        _house(plan, provider, slots=4) as folder,
    ):
        graph_corpus.write(folder / "calls", transcripts, chunks)
        run = start(folder / "calls", plan.window)
        seen = _until_the_middle(provider, chunks)
        run.kill()
        killed = time.monotonic()
        before = {call.at: call for call in _settled(provider)}
        start(folder / "calls", plan.window).done()
        calls = _settled(provider)
        later = Counter(text for call in calls if call.at not in before for text in _texts(call))
        answered = [call for at, call in before.items() if seen.get(at, killed) <= killed - _WRITTEN]
        earlier = {text for call in before.values() for text in _texts(call)}
        kept = {text for call in answered for text in _texts(call)}
        states = _states()
        # The provider charges a request with a key that it knows only once.
        charged = {str(call.body): call for call in calls}.values() if honour else calls
        paid = Counter(text for call in charged for text in _texts(call))
        return {
            "chunks": chunks,
            "chunks done": sum(states.values()) - states["failed"],
            "answered before the kill": len(kept),
            "in flight at the kill": len(earlier - kept),
            "answered chunks paid twice": len(kept & later.keys()),
            "in flight at the kill and sent again": len((earlier - kept) & later.keys()),
            "chunks paid twice": sum(count - 1 for count in paid.values()),
            "requests charged twice": provider.stats.paid.duplicates,
        }


def _until_the_middle(provider: OpenAISimulator, chunks: int) -> dict[float, float]:
    """Wait until half is answered; return for each answered request when its answer was first seen."""
    seen: dict[float, float] = {}
    answered: list[CallRecord] = []
    while sum(len(_texts(call)) for call in answered) < chunks / 2:
        time.sleep(0.02)
        answered = [call for call in provider.calls("chat") if call.outcome == "200"]
        for call in answered:
            seen.setdefault(call.at, time.monotonic())
    return seen


def _settled(provider: OpenAISimulator) -> list[CallRecord]:
    """Return the chats when the simulator has seen that nobody waits any more."""
    while (stats := provider.stats.routes.get("chat")) and stats.in_flight:
        time.sleep(0.02)
    return provider.calls("chat")


# --- the usual way ---------------------------------------------------------------------------------------------


def _usual(plan: Plan, each: int) -> dict[str, Any]:
    """Send the same texts, with the same words around them, in the usual way."""
    texts = list(graph_corpus.texts(plan.usual))
    requests = graph_usual.bodies(_common(), texts, each, _MOST_OUTPUT[each])
    with _simulator(plan) as provider:
        account = graph_usual.Account(
            provider.base_url, provider.api_key, plan.requests, plan.tokens, plan.window
        )
        outcome = asyncio.run(graph_usual.work_off(account, requests))
        stats = provider.stats
    tokens = stats.paid.tokens
    ideal = max(stats.paid.calls / plan.requests, tokens / plan.tokens) * plan.window
    pace = outcome.seconds / outcome.chunks * plan.chunks if outcome.chunks else float("inf")
    return {
        "against its own ideal": round(outcome.seconds / ideal, 3),
        "seconds": round(outcome.seconds, 2),
        f"seconds for {plan.chunks:,} chunks at this pace": round(pace, 1),
        "chunks": outcome.chunks,
        "chunks lost": outcome.lost,
        "tokens a chunk": round(tokens / max(1, outcome.chunks), 1),
        "429s": outcome.refused,
    }


def _common() -> dict[str, Any]:
    """Return a request as the product words it, to be filled with other texts."""
    from callpipeline.graph.extractors.openai.batches import Block, Wording
    from callpipeline.graph.extractors.openai.routing import Routing
    from callpipeline.graph.ontology import load

    block = Block("", "", "", "", "", "", Routing(Settings()).strong)
    return dict(Wording(load(None)).compose([block], tokens=0, most=0).body)


# --- around it -------------------------------------------------------------------------------------------------


@contextmanager
def _simulator(plan: Plan, *, limited: bool = True, honour: bool = False) -> Iterator[OpenAISimulator]:
    limits = {"chat": RateLimit(requests=plan.requests, tokens=plan.tokens)} if limited else {}
    with OpenAISimulator(
        limits=limits,
        window_seconds=plan.window,
        latency=plan.latency,
        responder=RESPONDER,
        honour_idempotency=honour,
        child=True,
    ) as provider:
        yield provider


@contextmanager
def _house(plan: Plan, provider: OpenAISimulator, *, slots: int = 20) -> Iterator[Path]:
    """Make an empty instance; one model for all chunks, since the simulator has one limit for all models."""
    model = Settings.model_fields["graph_model"].default
    variables = {
        "TRANSCRIBER": "sphinx",
        "EXTRACTOR": "openai",
        "GRAPH_SMALL_MODEL": model,
        "OPENAI_CHAT_SLOTS": slots,
        "OPENAI_CHAT_REQUESTS_PER_MINUTE": plan.requests,
        "OPENAI_CHAT_TOKENS_PER_MINUTE": plan.tokens,
    }
    ours = {f"CALLPIPELINE_{name}": str(value) for name, value in variables.items()}
    with house(0, {**provider.environment(), **ours}) as folder:
        yield folder


def _texts(call: CallRecord) -> list[str]:
    """Return the chunks that a request was about."""
    assert isinstance(call.body, dict)
    return [text.strip() for _, text in blocks(call.body["messages"][-1]["content"])]


def _states() -> Counter[str]:
    """Count the chunks of all recordings that are there now by how their results came about."""
    from callpipeline.pipeline.workbench import Workbench

    with Workbench(Settings()) as bench:
        found = (bench.store.get("kg_extractions", key, KgExtraction) for key in bench.catalog.order())
        return Counter(chunk.state.value for stored in found if stored for chunk in stored.value.chunks)


def _dollars() -> float:
    with open_books(Settings()) as books:
        return books.costs.totals().total if books else 0.0
