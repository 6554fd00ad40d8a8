"""A tiny provider of paid jobs on loopback, and a client that buys from it through the whole gate.

The provider is as forgetful as real ones: the same order twice is two jobs, and both are paid.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from callpipeline.failures import NetworkFailed
from callpipeline.limits.gate import Answer, CallRequest, Gate
from callpipeline.limits.ledger import Claim, Ledger, Resume, Reuse, Send
from callpipeline.limits.ledger_rows import Order, Usage, request_hash
from callpipeline.limits.retry import RetryPolicy
from callpipeline.limits.supplies import Supplies, open_supplies
from callpipeline.settings import Settings

POOL = "assemblyai"
SLOTS = 4
JOB_SECONDS = 0.05
BUSY_SECONDS = 30.0
COST = 0.01


class Provider:
    """Jobs by id. ``hook`` is called before and after each answer, and may kill the client.

    ``patient``: no job ends before it is unset. ``losing``: every fifth order is taken, but its answer is lost.
    """

    def __init__(self) -> None:
        self.paid: Counter[str] = Counter()
        self.most_at_once = 0
        self.patient = False
        self.losing = False
        self.shown: set[str] = set()
        self.hook: Callable[[str], None] = lambda _: None
        self._jobs: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def create(self, reference: str) -> dict[str, Any]:
        with self._lock:
            self.paid[reference] += 1
            job = f"job-{len(self._jobs)}"
            now = time.monotonic()
            self._jobs[job] = reference, now + JOB_SECONDS
            running = sum(self.patient or end > now for _, end in self._jobs.values())
            self.most_at_once = max(self.most_at_once, running)
            return {"id": job}

    def show(self, job: str) -> dict[str, Any]:
        with self._lock:
            reference, end = self._jobs[job]
            self.shown.add(reference)
            done = not self.patient and time.monotonic() >= end
            return {"id": job, "done": done, "text": f"said in {reference}"}

    def find(self, reference: str) -> dict[str, Any]:
        with self._lock:
            return {"ids": [job for job, (of, _) in self._jobs.items() if of == reference]}


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, what, name = self.path.split("/")
            self._reply(provider.show(name) if what == "jobs" else provider.find(name))

        def do_POST(self) -> None:
            answer = provider.create(self.path.rpartition("/")[2])
            if provider.losing and provider.paid.total() % 5 == 0:
                self.close_connection = True
            else:
                self._reply(answer)

        def _reply(self, answer: dict[str, Any]) -> None:
            provider.hook("before")
            body = json.dumps(answer).encode()
            try:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                return
            provider.hook("after")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def name_of(number: int) -> str:
    return f"call-{number}"


def settings_of(root: Path, url: str | None) -> Settings:
    return Settings(store_dir=root, postgres_url=url, assemblyai_slots=SLOTS, budget_per_run=1000.0)


async def run_jobs(root: Path, url: str | None, address: str, numbers: range) -> None:
    """Buy all jobs side by side; one that another process works on is waited for."""
    with open_supplies(settings_of(root, url), run="run", policy=RetryPolicy().scaled(0.001)) as supplies:
        await asyncio.gather(*(buy(supplies, address, name_of(n)) for n in numbers))


async def buy(supplies: Supplies, address: str, name: str) -> str:
    """Get the text of one job, from the ledger, from a job that runs, or from a new one."""
    of = request_hash(name=name)
    order = Order(of, "provider", POOL, "m", recording=name)
    async with supplies.ledger.claim(order) as claim:
        if isinstance(claim.decision, Reuse):
            return str(claim.decision.paid.result["text"])
        async with supplies.gate.slot(POOL, what=name, key=of, already_running=claim.already_running):
            job = await _job(supplies.gate, claim, address, name)
            while not (shown := await _ask(supplies.gate, f"{address}/jobs/{job}"))["done"]:
                await asyncio.sleep(JOB_SECONDS / 4)
        paid = await claim.finish(shown, Usage(seconds=60.0, cost=COST))
        return str(paid.result["text"])


async def _job(gate: Gate, claim: Claim, address: str, name: str) -> str:
    """Return the id of the job: the one of before, the one that turns up at the provider, or a new one."""
    look_first = False
    match claim.decision:
        case Resume(job_id):
            return job_id
        case Send(reference=str()):
            look_first = True

    async def send() -> Answer[str]:
        nonlocal look_first
        if look_first and (
            found := (await asyncio.to_thread(_fetch, f"{address}/find/{name}", "GET"))["ids"]
        ):
            return Answer(str(found[0]))
        look_first = True
        return Answer(str((await asyncio.to_thread(_fetch, f"{address}/jobs/{name}", "POST"))["id"]))

    await claim.sending(reference=name, busy_seconds=BUSY_SECONDS)
    request = CallRequest(claim.order.request_hash, model="m", cost_estimate=COST, timeout=20.0)
    job = (await gate.call("provider", POOL, request, send, slot=False)).value
    await claim.submitted(job)
    return job


async def _ask(gate: Gate, url: str) -> dict[str, Any]:
    async def send() -> Answer[dict[str, Any]]:
        return Answer(await asyncio.to_thread(_fetch, url, "GET"))

    return (await gate.call("provider", POOL, CallRequest(timeout=20.0), send, slot=False)).value


def _fetch(url: str, method: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=20) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except (OSError, HTTPException) as error:
        raise NetworkFailed(f"{url}: {error}") from error


def all_done(ledger: Ledger, count: int) -> bool:
    return all(isinstance(ledger.attach(request_hash(name=name_of(n))), Reuse) for n in range(count))
