"""What Dagster loads: all assets, jobs and sensors, with nothing opened or read yet."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from callpipeline.defs.assets.kg_exports import build_kg_exports
from callpipeline.defs.assets.knowledge_graph import build_knowledge_graph
from callpipeline.defs.assets.process import build_step
from callpipeline.defs.assets.qa_report import build_qa_report
from callpipeline.defs.assets.warehouse import build_warehouse
from callpipeline.defs.graph_sensor import build_graph_sensor
from callpipeline.defs.jobs import process_job, roll_up_job
from callpipeline.defs.resources import PipelineResource
from callpipeline.defs.sensors import build_results_sensor, build_uploads_sensor


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Return fresh definitions; tests, benches and the command line swap the ``pipeline`` resource."""
    with warnings.catch_warnings():
        # BackfillPolicy is beta and partitioned checks are preview in the pinned Dagster; both are covered by tests.
        warnings.simplefilter("ignore", category=dg.BetaWarning)
        warnings.simplefilter("ignore", category=dg.PreviewWarning)
        return dg.Definitions(
            assets=[
                build_step(),
                build_knowledge_graph(),
                build_kg_exports(),
                build_warehouse(),
                build_qa_report(),
            ],
            jobs=[process_job(), roll_up_job()],
            sensors=[build_uploads_sensor(), build_results_sensor(), build_graph_sensor()],
            resources={"pipeline": PipelineResource(), **(resource_overrides or {})},
            executor=dg.in_process_executor,
        )


defs = build_defs()
