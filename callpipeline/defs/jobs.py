"""Jobs that people and sensors launch: process recordings, and bring the roll-ups up to date."""

from __future__ import annotations

import dagster as dg

from callpipeline.pipeline.stages import ASSETS

PROCESS = "process_recordings"
ROLL_UP = "roll_up"
ROLL_UPS = ("knowledge_graph", "kg_exports", "warehouse", "qa_report")


def process_job() -> dg.UnresolvedAssetJobDefinition:
    """All assets of the selected recordings, in one process: models stay warm, no step start-up."""
    return dg.define_asset_job(
        PROCESS,
        selection=dg.AssetSelection.assets(*ASSETS),
        description="Walk the selected recordings through all their stages. What is up to date is reused.",
        executor_def=dg.in_process_executor,
    )


def roll_up_job() -> dg.UnresolvedAssetJobDefinition:
    """The unpartitioned assets over all recordings."""
    return dg.define_asset_job(
        ROLL_UP,
        selection=dg.AssetSelection.assets(*ROLL_UPS),
        description="Bring knowledge graph, warehouse and report up to date with what has been worked out since.",
        executor_def=dg.in_process_executor,
    )
