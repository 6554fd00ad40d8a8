import pytest

from callpipeline.model import CallMetadata, Verdict
from callpipeline.qa.rollups import reach, rebuttal_flag, roll_up
from callpipeline.qa.rows import call_row
from callpipeline_tests.qa.builders import failure, row


@pytest.mark.parametrize(
    ("owed", "attempted", "flagged"),
    [(4, 0, False), (5, 0, True), (5, 1, True), (5, 2, False), (50, 1, True), (50, 2, False), (0, 0, False)],
)
def test_an_agent_is_flagged_from_five_owed_with_fewer_than_two_attempted(owed, attempted, flagged):
    rows = [
        row(str(i), agent="Nora", rebuttal=Verdict.ATTEMPTED if i < attempted else Verdict.NO_ATTEMPT)
        for i in range(owed)
    ]
    rows += [
        row(f"x{i}", agent="Nora", rebuttal=v) for i, v in enumerate((Verdict.NO_OBJECTION, Verdict.SKIPPED))
    ]
    (agent,) = roll_up(rows).agents
    assert (agent.rebuttals_owed, agent.rebuttals_attempted) == (owed, attempted)
    assert agent.rebuttal_flag is flagged
    assert rebuttal_flag(owed, attempted) is flagged


def failed(key, **metadata):
    return call_row(
        key, metadata=CallMetadata(**metadata), file_name="a", file_path="a", failures=[failure()]
    )


def test_failed_and_waiting_calls_are_no_verdicts():
    waiting = call_row("w", metadata=CallMetadata(agent="Nora"), file_name="a", file_path="a")
    (agent,) = roll_up([failed("f", agent="Nora"), waiting, row("j", agent="Nora", score=80.0)]).agents
    assert (agent.calls, agent.judged, agent.errors) == (3, 1, 1)
    assert agent.intro_score == 80.0


@pytest.mark.parametrize(
    ("dispositions", "verdict"),
    [
        (["Dead Call", "Unknown", "Voicemail", "Decision Maker - NYI", "Wrong Number"], "low"),
        (["Dead Call", "Voicemail", "Decision Maker - NYI", "Wrong Number"], "good"),
        (["dead call", " voicemail "], "low"),
        (["Decision Maker"], "good"),
        (["DNC - Unknown", "DNC - Decision Maker", "Sold", "Influencer", ""], "unknown"),
        (["DNC - Unknown", "Decision Maker - NYI"], "good"),
        ([], "unknown"),
    ],
    ids=["outnumbered", "a tie", "spelling", "reached", "neither", "DNC is neither", "none"],
)
def test_reach_is_low_when_nobody_outnumbers_somebody(dispositions, verdict):
    assert reach(dispositions)[2] == verdict


def test_campaigns_count_their_dispositions():
    rows = [row(str(i), campaign="Bramwick", disposition=d) for i, d in enumerate(["Sold", "Sold", None])]
    (campaign,) = roll_up(rows).campaigns
    assert campaign.dispositions == {"Sold": 2, "(none)": 1}
    assert campaign.reach == "unknown"


def test_days_are_in_order_and_those_without_a_date_last():
    rows = [row("a", date="2026-11-20"), row("b"), row("c", date="2026-11-19"), row("d", date="2026-11-20")]
    assert [(d.day, d.calls) for d in roll_up(rows).days] == [("2026-11-19", 1), ("2026-11-20", 2), ("", 1)]


def test_agents_to_listen_to_come_first():
    rows = [row("a", agent="Adam"), row("b", agent="Zoe", late_hello=Verdict.YES)]
    assert [a.agent for a in roll_up(rows).agents] == ["Zoe", "Adam"]


def test_scores_are_counted_by_band():
    rows = [row(str(i), score=float(s)) for i, s in enumerate((100, 83, 50, 17, 0))]
    assert roll_up(rows).bands == {"excellent": 2, "good": 1, "needs_training": 1, "critical": 1}


def test_no_calls_are_no_calls():
    sums = roll_up([])
    assert (sums.agents, sums.total.calls, sums.total.intro_score) == ((), 0, None)
