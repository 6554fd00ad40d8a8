"""The sensor of the economy mode: a job of the Batch API that has ended becomes a run that fetches its answers.

It keeps no state: what is still to be fetched stands in the ledger. A tick asks the provider once for each job that is
out, for nothing; fetching is the run's.
"""

import asyncio
import hashlib
from datetime import UTC, datetime

import dagster as dg

from callpipeline.defs.batches import batches
from callpipeline.defs.jobs import PROCESS
from callpipeline.defs.partitions import RECORDINGS
from callpipeline.defs.resources import Pipeline
from callpipeline.failures import CallPipelineError
from callpipeline.limits.ledger import FILE
from callpipeline.pipeline.workbench import Workbench


def build_graph_sensor() -> dg.SensorDefinition:
    """Return the sensor over jobs of the Batch API, running by default."""

    @dg.sensor(
        name="graph_batches",
        job_name=PROCESS,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Economy mode (CALLPIPELINE_GRAPH_ECONOMY): asks whether jobs of the provider's Batch API have ended, and "
            "starts a run for the recordings whose text chunks were in them."
        ),
    )
    def graph_batches(
        context: dg.SensorEvaluationContext, pipeline: Pipeline
    ) -> dg.SensorResult | dg.SkipReason:
        with pipeline.workbench() as bench:
            if not _may_be_out(bench):
                return dg.SkipReason("nothing is with the Batch API")
            try:
                jobs = asyncio.run(_ended(bench))
            except CallPipelineError as error:
                return dg.SkipReason(f"what has ended is not known now: {error}")
            size = bench.settings.batch_size
        waiting = {recording for recordings in jobs.values() for recording in recordings}
        order = list(context.instance.get_dynamic_partitions(RECORDINGS))
        which = hashlib.sha256(" ".join(sorted(jobs)).encode()).hexdigest()[:12]
        # The hour makes the key new as long as nothing was fetched: that run may have failed.
        hour = datetime.now(UTC).strftime("%Y-%m-%dT%H")
        requests = [
            dg.RunRequest(run_key=f"{batch.run_key}:{which}:{hour}", job_name=PROCESS, tags=dict(batch.tags))
            for batch in batches([key for key in order if key in waiting], order, size)
        ]
        if not requests:
            return dg.SkipReason("no job of the Batch API has ended")
        return dg.SensorResult(run_requests=requests)

    return graph_batches


def _may_be_out(bench: Workbench) -> bool:
    """Whether anything can be with a provider. Where there never was a ledger none is made."""
    settings = bench.settings
    if settings.extractor != "openai":
        return False
    return settings.postgres_url is not None or (settings.store / FILE).exists()


async def _ended(bench: Workbench) -> dict[str, tuple[str, ...]]:
    from callpipeline.graph.extractors.openai.economy import ended

    return await ended(bench.settings, bench.supplies)
