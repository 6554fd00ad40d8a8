"""``qa_report``: the table and the page that the analyst opens, over all recordings."""

import dagster as dg

from callpipeline.defs.assets.base import over_all_recordings, table
from callpipeline.defs.resources import Pipeline
from callpipeline.pipeline.report import write_report


def build_qa_report() -> dg.AssetsDefinition:
    """Return the unpartitioned asset."""

    @dg.asset(
        name="qa_report",
        group_name="results",
        kinds={"csv", "html"},
        code_version="1",
        deps=over_all_recordings("raw_audio", "speaker_turns", "detections", "call_metrics"),
        description=(
            "CSV for the spreadsheet and one self-contained HTML page: the flagged calls first, each with its evidence, "
            "and roll-ups for each agent, campaign and day. Made from what changed since the last time."
        ),
    )
    def qa_report(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
        with pipeline.workbench() as bench:
            report = write_report(bench)
        total = report.rollups.total
        return dg.MaterializeResult(
            metadata={
                "report": dg.MetadataValue.path(str(report.html)),
                "csv": dg.MetadataValue.path(str(report.csv)),
                "recordings": report.rows,
                "changed": report.changed,
                "flagged": total.flagged,
                "errors": total.errors,
                "agents": table(
                    ("agent", "calls", "flagged", "score", "rebuttals owed", "attempted", "rebuttal flag"),
                    [
                        (
                            agent.agent or "unknown",
                            agent.calls,
                            agent.flagged,
                            "" if agent.intro_score is None else agent.intro_score,
                            agent.rebuttals_owed,
                            agent.rebuttals_attempted,
                            "flagged" if agent.rebuttal_flag else "",
                        )
                        for agent in report.rollups.agents
                    ],
                ),
                "campaigns": table(
                    ("campaign", "calls", "reached", "not reached", "reach"),
                    [
                        (
                            campaign.campaign or "none",
                            campaign.calls,
                            campaign.reached,
                            campaign.not_reached,
                            campaign.reach,
                        )
                        for campaign in report.rollups.campaigns
                    ],
                ),
            }
        )

    return qa_report
