"""Sums over many calls: per agent, per campaign, per day.

What belongs here: counting lines of the report. What does not: how the sums look.

Rates are over the calls that were judged: a call that failed or waits counts as a call and as nothing else. Hearings
are no calls: they are in none of these sums.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from callpipeline.model import Record, Verdict
from callpipeline.qa.rows import CallRow
from callpipeline.qa.scores import BANDS, band

RULE_VERSION = "rollups-1"

OWED_AT_LEAST = 5
"""An agent is judged on rebuttals from so many calls on in which one was owed."""
ATTEMPTED_AT_LEAST = 2
"""With fewer attempts than this the agent is flagged."""

NOT_REACHED = frozenset({"dead call", "unknown", "voicemail"})
REACHED = frozenset({"wrong number"})
REACHED_PREFIX = "decision maker"


class Tally(Record):
    """What every roll-up counts."""

    calls: int
    judged: int
    """Calls with a decided flag (status ok or partial)."""
    errors: int
    """Calls with status error."""
    flagged: int
    releasing: int
    late_hello: int
    no_attempt: int
    rebuttals_owed: int
    rebuttals_attempted: int
    intro_score: float | None
    """Mean of the calls that have one, 0-100."""
    seconds: float
    """Recorded time."""


class AgentRollup(Tally):
    """One agent. ``rebuttal_flag``: owed often enough to judge, and hardly ever attempted."""

    agent: str
    band: str | None
    agent_talk: float | None
    """Mean share of the talk, 0-1."""
    rebuttal_flag: bool


class CampaignRollup(Tally):
    """One campaign. ``reach`` is low when calls that reach nobody outnumber those that reach a person."""

    campaign: str
    dispositions: dict[str, int]
    reached: int
    not_reached: int
    reach: Literal["low", "good", "unknown"]


class DayRollup(Tally):
    """One day; ``day`` is an ISO date, "" for calls without one."""

    day: str


class Rollups(Record):
    """All sums of one report."""

    agents: tuple[AgentRollup, ...]
    campaigns: tuple[CampaignRollup, ...]
    days: tuple[DayRollup, ...]
    total: Tally
    bands: dict[str, int]
    """Scored calls by band, best first."""


def roll_up(rows: Sequence[CallRow]) -> Rollups:
    """Count the lines of a report in every way that it shows.

    Agents with the most flagged calls come first, campaigns by name, days in order.
    """
    rows = [row for row in rows if not row.hearing]
    agents = [_agent(name, own) for name, own in _grouped(rows, lambda r: r.agent)]
    campaigns = [_campaign(name, own) for name, own in _grouped(rows, lambda r: r.campaign)]
    days = [_day(day, own) for day, own in _grouped(rows, lambda r: r.day)]
    scored = Counter(band(row.score) for row in rows if row.score is not None)
    return Rollups(
        agents=tuple(sorted(agents, key=lambda a: (-a.flagged, -a.calls, a.agent.casefold()))),
        campaigns=tuple(campaigns),
        days=tuple(days),
        total=Tally.model_validate(_tally(rows)),
        bands={name: scored[name] for _, name in BANDS},
    )


def rebuttal_flag(owed: int, attempted: int) -> bool:
    """Return whether an agent is flagged for rebuttals."""
    return owed >= OWED_AT_LEAST and attempted < ATTEMPTED_AT_LEAST


def reach(dispositions: Iterable[str]) -> tuple[int, int, Literal["low", "good", "unknown"]]:
    """Return how many calls reached a person, how many nobody, and the verdict about the campaign.

    A person: "Wrong Number" and everything that begins with "Decision Maker". Nobody: "Dead Call", "Unknown",
    "Voicemail". Other dispositions say nothing about reach. A tie is not low.
    """
    names = [" ".join(d.casefold().split()) for d in dispositions]
    reached = sum(name in REACHED or name.startswith(REACHED_PREFIX) for name in names)
    missed = sum(name in NOT_REACHED for name in names)
    if not reached and not missed:
        return 0, 0, "unknown"
    return reached, missed, "low" if missed > reached else "good"


def _grouped(rows: Iterable[CallRow], key: Callable[[CallRow], str]) -> list[tuple[str, list[CallRow]]]:
    groups: defaultdict[str, list[CallRow]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return sorted(groups.items(), key=lambda item: (not item[0], item[0].casefold(), item[0]))


def _tally(rows: Sequence[CallRow]) -> dict[str, object]:
    rebuttals = Counter(row.verdict("rebuttal") for row in rows)
    scores = [row.score for row in rows if row.score is not None]
    return {
        "calls": len(rows),
        "judged": sum(row.status in ("ok", "partial") for row in rows),
        "errors": sum(row.status == "error" for row in rows),
        "flagged": sum(row.flag for row in rows),
        "releasing": sum(row.verdict("releasing") is Verdict.YES for row in rows),
        "late_hello": sum(row.verdict("late_hello") is Verdict.YES for row in rows),
        "no_attempt": rebuttals[Verdict.NO_ATTEMPT],
        "rebuttals_owed": rebuttals[Verdict.NO_ATTEMPT] + rebuttals[Verdict.ATTEMPTED],
        "rebuttals_attempted": rebuttals[Verdict.ATTEMPTED],
        "intro_score": round(sum(scores) / len(scores), 1) if scores else None,
        "seconds": round(sum(row.duration or 0.0 for row in rows), 3),
    }


def _agent(name: str, rows: Sequence[CallRow]) -> AgentRollup:
    tally = Tally.model_validate(_tally(rows))
    talk = [row.agent_talk for row in rows if row.agent_talk is not None]
    return AgentRollup(
        **tally.model_dump(),
        agent=name,
        band=band(tally.intro_score) if tally.intro_score is not None else None,
        agent_talk=round(sum(talk) / len(talk), 4) if talk else None,
        rebuttal_flag=rebuttal_flag(tally.rebuttals_owed, tally.rebuttals_attempted),
    )


def _day(day: str, rows: Sequence[CallRow]) -> DayRollup:
    return DayRollup.model_validate({**_tally(rows), "day": day})


def _campaign(name: str, rows: Sequence[CallRow]) -> CampaignRollup:
    reached, missed, verdict = reach(row.disposition for row in rows)
    dispositions = Counter(row.disposition or "(none)" for row in rows)
    return CampaignRollup.model_validate(
        {
            **_tally(rows),
            "campaign": name,
            "dispositions": dict(dispositions.most_common()),
            "reached": reached,
            "not_reached": missed,
            "reach": verdict,
        }
    )
