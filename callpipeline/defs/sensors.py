"""Sensors: recordings that have landed become runs; finished recordings bring the roll-ups up to date.

A tick must end within 60 s however full the folder is, and may be evaluated twice: both sensors keep no state but
their cursor, and the same cursor gives the same requests.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from callpipeline.defs.batches import batches
from callpipeline.defs.jobs import PROCESS, ROLL_UP
from callpipeline.defs.partitions import RECORDINGS, recordings
from callpipeline.defs.resources import Pipeline
from callpipeline.intake.records import State
from callpipeline.intake.scan import ScanReport, scan
from callpipeline.pipeline.report import reported_revision

SCAN_SECONDS = 20.0
"""Longest time that a tick hashes files; the next tick goes on where this one stopped."""

LONGEST_ROLL_UP = timedelta(minutes=30)
"""After this long a roll-up that has not ended counts as dead."""

ARRIVALS = 1000
"""Most recordings that one tick requests."""


def build_uploads_sensor() -> dg.SensorDefinition:
    """Return the sensor over the upload folder, running by default."""

    @dg.sensor(
        name="uploads",
        job_name=PROCESS,
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Watches data/uploads (CALLPIPELINE_UPLOADS_DIR). New or changed recordings become partitions and are processed "
            "in batches. A file that is still being written waits; one known by its bytes costs nothing."
        ),
    )
    def uploads(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult:
        with pipeline.workbench() as bench:
            settings, catalog = bench.settings, bench.catalog
            settings.uploads.mkdir(parents=True, exist_ok=True)
            report = scan(catalog, settings.uploads, settings, budget_seconds=SCAN_SECONDS)
            identity = catalog.identity()
            seen = _seen(context.cursor, identity)
            arrivals = catalog.since(seen, ARRIVALS, folder=settings.uploads)
        keys = [arrival.key for arrival in arrivals if arrival.state is not State.DONE]
        known = list(context.instance.get_dynamic_partitions(RECORDINGS))
        new = list(dict.fromkeys(key for key in keys if key not in set(known)))
        last = f"{identity}:{arrivals[-1].seq if arrivals else seen}"
        requests = [
            # The last arrival's number makes the key new when a recording comes back after it was gone.
            dg.RunRequest(run_key=f"{batch.run_key}:{last}", job_name=PROCESS, tags=dict(batch.tags))
            for batch in batches(keys, known + new, settings.batch_size)
        ]
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else _nothing_new(report),
            dynamic_partitions_requests=[recordings.build_add_request(new)] if new else None,
            cursor=last,
        )

    return uploads


def _seen(cursor: str | None, identity: str) -> int:
    """Return the number of the last arrival that was requested; 0 for a catalogue that this cursor does not know.

    A catalogue that was lost and made anew counts from 1 again.
    """
    known, _, seq = (cursor or "").rpartition(":")
    return int(seq) if known == identity else 0


def _nothing_new(report: ScanReport) -> str:
    text = f"nothing new among {report.files} files"
    if report.waiting:
        text += f"; {len(report.waiting)} still being written"
    if report.problems:
        text += f"; {len(report.problems)} unreadable (callpipeline status --failed)"
    if not report.complete:
        text += "; more to look at in the next tick"
    return text


def build_results_sensor() -> dg.SensorDefinition:
    """Return the sensor that keeps the warehouse and the report up to date, running by default."""

    @dg.sensor(
        name="results",
        job_name=ROLL_UP,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Brings graph, warehouse and report up to date when recordings have been worked out.",
    )
    def results(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult | dg.SkipReason:
        with pipeline.workbench() as bench:
            revision = bench.catalog.revision()
            reported = reported_revision(bench.settings.store)
        if revision == reported:
            return dg.SkipReason("the report is up to date")
        if revision == context.cursor:
            return dg.SkipReason("asked for already; if that run failed, launch the job roll_up again")
        if _rolling_up(context.instance):
            return dg.SkipReason("a roll-up is under way; what it misses comes with the next one")
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=revision)], cursor=revision)

    return results


def _rolling_up(instance: dg.DagsterInstance) -> bool:
    filters = dg.RunsFilter(
        job_name=ROLL_UP,
        # One that was killed without a word stays "started" for ever; it must not block its successors.
        created_after=datetime.now(UTC) - LONGEST_ROLL_UP,
        statuses=[
            dg.DagsterRunStatus.QUEUED,
            dg.DagsterRunStatus.NOT_STARTED,
            dg.DagsterRunStatus.STARTING,
            dg.DagsterRunStatus.STARTED,
        ],
    )
    return bool(instance.get_run_ids(filters, limit=1))
