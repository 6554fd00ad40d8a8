"""``/metrics`` for Prometheus: read from the tables when it is asked for, so that it survives restarts.

What several processes share (tasks, calls to providers, costs, recordings, runs) is the same whichever of them is
asked; requests and the gate's waits are those of this process. The dashboard is ``deploy/grafana/callpipeline.json``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from callpipeline.failures import CallPipelineError
from callpipeline.limits.books import open_books
from callpipeline.limits.costs import Grouping
from callpipeline.limits.slots import open_places
from callpipeline.limits.supplies import POOLS
from callpipeline.service.auth import SHOWN, Needs
from callpipeline.service.core import Service
from callpipeline.service.figures import BOUNDS, Figures
from callpipeline.service.keys import Scope
from callpipeline.service.parallel_api import Here
from callpipeline.service.tasks import Span
from callpipeline.store.pressure import free_disk, free_memory

TEXT = "text/plain; version=0.0.4; charset=utf-8"
RUN_STATES = ("QUEUED", "STARTING", "STARTED", "SUCCESS", "FAILURE", "CANCELED")

router = APIRouter(tags=["the service itself"], dependencies=SHOWN)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    dependencies=[Depends(Needs(Scope.METRICS))],
    summary="Figures for Prometheus",
)
async def metrics(request: Request, service: Here) -> Response:
    """Return all figures in Prometheus's text format. Where keys are set, the key needs the scope `metrics`."""
    registry = CollectorRegistry()
    registry.register(_Own(request.app.state.figures, service))
    own = generate_latest(registry)
    shared = CollectorRegistry()
    shared.register(_Shared(service))
    return Response(own + await service.books.do(generate_latest, shared), media_type=TEXT)


class _Own(Collector):
    """Figures of this process, which live in its event loop."""

    def __init__(self, figures: Figures, service: Service) -> None:
        self._figures = figures
        self._service = service

    def describe(self) -> Sequence[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        info = InfoMetricFamily("callpipeline", "The version that runs.")
        info.add_metric((), {"version": version("callpipeline")})
        yield info
        requests = CounterMetricFamily(
            "callpipeline_http_requests", "Requests answered.", labels=("method", "path", "status")
        )
        for (method, path, status), count in self._figures.requests.items():
            requests.add_metric((method, path, str(status)), count)
        yield requests
        seconds = HistogramMetricFamily(
            "callpipeline_http_request_seconds", "How long answers took.", labels=("path",)
        )
        for path, histogram in self._figures.seconds.items():
            upto = [sum(histogram.counts[: number + 1]) for number in range(len(histogram.counts))]
            seconds.add_metric((path,), _buckets(upto), histogram.total)
        yield seconds
        yield from self._gates()

    def _gates(self) -> Iterator[Metric]:
        calls = CounterMetricFamily(
            "callpipeline_gate_calls", "Calls that ended, by outcome.", labels=("pool", "outcome")
        )
        retries = CounterMetricFamily("callpipeline_gate_retries", "Calls tried again.", labels=("pool",))
        waits = CounterMetricFamily(
            "callpipeline_gate_wait_seconds", "Waiting of calls, by what for.", labels=("pool", "kind")
        )
        flying = GaugeMetricFamily(
            "callpipeline_gate_in_flight", "Calls at the provider now.", labels=("pool",)
        )
        for pool, gates in self._service.benches.gates().items():
            outcomes: Counter[str] = Counter()
            for stats in gates:
                outcomes.update(stats.outcomes)
            for outcome, count in outcomes.items():
                calls.add_metric((pool, outcome), count)
            retries.add_metric((pool,), sum(stats.retries for stats in gates))
            flying.add_metric((pool,), sum(stats.in_flight for stats in gates))
            for kind in ("queue", "slot", "rate", "retry"):
                waited = sum(getattr(stats, f"{kind}_seconds") for stats in gates)
                waits.add_metric((pool, kind), waited)
        yield from (calls, retries, waits, flying)


class _Shared(Collector):
    """Figures of the tables, which all processes share. Blocks while it reads them."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def describe(self) -> Sequence[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        yield from self._tasks()
        yield from self._recordings()
        yield from self._runs()
        try:
            yield from self._calls()
        except CallPipelineError:
            yield GaugeMetricFamily("callpipeline_ledger_up", "Whether the ledger can be read.", value=0)
        yield from self._pools()
        yield from self._machine()

    def _tasks(self) -> Iterator[Metric]:
        tasks = self._service.tasks
        states = GaugeMetricFamily("callpipeline_tasks", "Tasks that are kept, by state.", labels=("state",))
        for state, count in tasks.counts().items():
            states.add_metric((state.value,), count)
        yield states
        room = self._service.settings.service_queue
        yield GaugeMetricFamily("callpipeline_queue_limit", "Tasks that may wait.", value=room)
        yield CounterMetricFamily(
            "callpipeline_cache_hits", "Tasks that were answered from what was there.", value=tasks.reused()
        )
        spans: tuple[tuple[Span, str], ...] = (
            ("wait", "How long tasks waited for their turn."),
            ("work", "How long tasks were worked on."),
        )
        for span, about in spans:
            counts, total = tasks.classes(span, BOUNDS)
            histogram = HistogramMetricFamily(f"callpipeline_task_{span}_seconds", about)
            histogram.add_metric((), _buckets(counts), total)
            yield histogram

    def _recordings(self) -> Iterator[Metric]:
        counts = self._service.catalog.counts()
        found = GaugeMetricFamily("callpipeline_recordings", "Recordings, by state.", labels=("state",))
        for state in ("new", "done", "failed"):
            found.add_metric((state,), getattr(counts, state))
        yield found

    def _runs(self) -> Iterator[Metric]:
        import dagster as dg

        instance = self._service.orchestration.instance
        if instance is None:
            return
        found = GaugeMetricFamily("callpipeline_runs", "Dagster runs, by state.", labels=("state",))
        for state in RUN_STATES:
            wanted = dg.RunsFilter(statuses=[dg.DagsterRunStatus(state)])
            found.add_metric((state.lower(),), instance.get_runs_count(wanted))
        yield found

    def _calls(self) -> Iterator[Metric]:
        calls = CounterMetricFamily(
            "callpipeline_provider_calls", "Orders to providers.", labels=("provider", "model", "state")
        )
        tokens = CounterMetricFamily(
            "callpipeline_provider_tokens", "Tokens bought.", labels=("provider", "model", "direction")
        )
        audio = CounterMetricFamily(
            "callpipeline_provider_audio_seconds", "Audio sent.", labels=("provider", "model")
        )
        cost = CounterMetricFamily(
            "callpipeline_cost_dollars", "What providers charge.", labels=("provider", "state")
        )
        with open_books(self._service.settings) as books:
            tallies = books.tallies() if books else []
            shares = books.costs.by(Grouping.PROVIDER) if books else []
        bought: Counter[tuple[str, str, str]] = Counter()
        heard: Counter[tuple[str, str]] = Counter()
        for tally in tallies:
            calls.add_metric((tally.provider, tally.model, tally.state), tally.calls)
            bought[tally.provider, tally.model, "in"] += tally.tokens_in
            bought[tally.provider, tally.model, "out"] += tally.tokens_out
            heard[tally.provider, tally.model] += round(tally.seconds)
        for labels, count in bought.items():
            tokens.add_metric(labels, count)
        for named, count in heard.items():
            audio.add_metric(named, count)
        for share in shares:
            for state in ("settled", "open", "unsure"):
                cost.add_metric((share.name, state), getattr(share, state))
        yield from (calls, tokens, audio, cost)

    def _pools(self) -> Iterator[Metric]:
        settings = self._service.settings
        size = GaugeMetricFamily("callpipeline_pool_slots", "Slots of a pool.", labels=("pool",))
        held = GaugeMetricFamily("callpipeline_pool_slots_held", "Slots that are taken.", labels=("pool",))
        places = open_places(settings.store, settings.postgres_url)
        try:
            for pool in POOLS:
                asked = self._service.orchestration.slot_limit(pool)
                limit = getattr(settings, f"{pool}_slots") if asked is None else asked
                size.add_metric((pool,), limit)
                held.add_metric((pool,), len(places.holders(pool)))
        finally:
            places.close()
        yield from (size, held)

    def _machine(self) -> Iterator[Metric]:
        for name, about, free in (
            ("disk", "Free on the disk of the store.", free_disk(self._service.settings.store)),
            ("memory", "Memory that is free.", free_memory()),
        ):
            if free is not None:
                yield GaugeMetricFamily(f"callpipeline_{name}_free_bytes", about, value=free)


def _buckets(upto: Sequence[int]) -> list[tuple[str, float]]:
    return [(bound, float(count)) for bound, count in zip((*map(str, BOUNDS), "+Inf"), upto, strict=True)]
