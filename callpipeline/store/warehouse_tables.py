"""The tables of the warehouse: what each column is made from.

One ``Table`` per table that is filled from an asset's result files; adding one is one entry here (and a
higher ``SCHEMA_VERSION``). Roll-ups are views, so they are never older than what they sum up.
"""
# ruff: noqa: S608 - queries are put together from the constants below only

from __future__ import annotations

from dataclasses import dataclass

SCHEMA_VERSION = "6"
"""Another version of the file is thrown away and built anew."""

_REGION = 'STRUCT("start" DOUBLE, "end" DOUBLE)'
_EVIDENCE = 'STRUCT("start" DOUBLE, "end" DOUBLE, note VARCHAR, turn INTEGER)'


@dataclass(frozen=True)
class Table:
    """A table filled from the value of an asset.

    Attributes:
        name: of the table.
        asset: whose files it is made from.
        value: DuckDB type of as much of the value as is needed.
        columns: the table's columns.
        select: rows for ``columns`` out of ``docs(key VARCHAR, value ...)``.
    """

    name: str
    asset: str
    value: str
    columns: str
    select: str


_SEGMENT = (
    'STRUCT("start" DOUBLE, "end" DOUBLE, "text" VARCHAR, channel INTEGER, speaker VARCHAR,'
    ' confidence DOUBLE, words STRUCT("text" VARCHAR, "start" DOUBLE, "end" DOUBLE, confidence DOUBLE)[])'
)
_GAP = 'STRUCT("start" DOUBLE, "end" DOUBLE, error_class VARCHAR, message VARCHAR, chunk INTEGER)'
_TRANSCRIPT = f"STRUCT(engine VARCHAR, demo BOOLEAN, segments {_SEGMENT}[], gaps {_GAP}[])"
_SEGMENTS = (
    "SELECT key, value.engine AS engine, value.demo AS demo, unnest(value.segments) AS s,"
    " generate_subscripts(value.segments, 1) - 1 AS segment FROM docs"
)
_TURN = (
    'STRUCT("index" INTEGER, speaker VARCHAR, role VARCHAR, "start" DOUBLE, "end" DOUBLE, "text" VARCHAR,'
    " confidence DOUBLE)"
)
_DETECTION = (
    "STRUCT(verdict VARCHAR, confidence DOUBLE, reason VARCHAR, rule_version VARCHAR, error_class VARCHAR,"
    f" score DOUBLE, band VARCHAR, items MAP(VARCHAR, BOOLEAN), evidence {_EVIDENCE}[])"
)
_DETECTIONS = f"STRUCT(flag BOOLEAN, flag_reasons VARCHAR[], detections MAP(VARCHAR, {_DETECTION}))"
_SPEAKER = (
    "STRUCT(speaker VARCHAR, role VARCHAR, talk_seconds DOUBLE, talk_ratio DOUBLE, turns INTEGER,"
    " words INTEGER, words_per_minute DOUBLE, longest_monologue DOUBLE, interruptions INTEGER,"
    " loudness_db DOUBLE, sentiment DOUBLE, sentiment_by_quarter DOUBLE[])"
)
_METRICS = (
    "STRUCT(duration DOUBLE, talk_seconds DOUBLE, silence_seconds DOUBLE, overlap_seconds DOUBLE,"
    f" non_talk {_REGION}[], sentiment_by_quarter DOUBLE[], categories MAP(VARCHAR, {_EVIDENCE}[]),"
    f" speakers {_SPEAKER}[])"
)

TABLES = (
    Table(
        name="audio",
        asset="raw_audio",
        value="STRUCT(format VARCHAR, codec VARCHAR, sample_rate INTEGER, channels INTEGER, duration DOUBLE,"
        ' "bytes" BIGINT, bit_rate BIGINT, loudness_lufs DOUBLE, decode_errors INTEGER, has_video BOOLEAN)',
        columns="key VARCHAR, format VARCHAR, codec VARCHAR, sample_rate INTEGER, channels INTEGER,"
        ' duration DOUBLE, "bytes" BIGINT, bit_rate BIGINT, loudness_lufs DOUBLE, decode_errors INTEGER,'
        " has_video BOOLEAN",
        select="SELECT key, unnest(value) FROM docs",
    ),
    Table(
        name="segments",
        asset="transcripts",
        value=_TRANSCRIPT,
        columns='key VARCHAR, segment INTEGER, "start" DOUBLE, "end" DOUBLE, "text" VARCHAR, channel INTEGER,'
        " speaker VARCHAR, confidence DOUBLE, engine VARCHAR, demo BOOLEAN",
        select='SELECT key, segment, s."start", s."end", s."text", s.channel, s.speaker, s.confidence,'
        f" engine, demo FROM ({_SEGMENTS})",
    ),
    Table(
        name="words",
        asset="transcripts",
        value=_TRANSCRIPT,
        columns='key VARCHAR, segment INTEGER, word INTEGER, "text" VARCHAR, "start" DOUBLE, "end" DOUBLE,'
        " confidence DOUBLE, channel INTEGER, speaker VARCHAR",
        select='SELECT key, segment, word, w."text", w."start", w."end", w.confidence, channel, speaker FROM'
        " (SELECT key, segment, s.channel AS channel, s.speaker AS speaker, unnest(s.words) AS w,"
        f" generate_subscripts(s.words, 1) - 1 AS word FROM ({_SEGMENTS}))",
    ),
    Table(
        name="turns",
        asset="speaker_turns",
        value=f"STRUCT(turns {_TURN}[], role_confidence DOUBLE)",
        columns='key VARCHAR, turn INTEGER, speaker VARCHAR, role VARCHAR, "start" DOUBLE, "end" DOUBLE,'
        ' "text" VARCHAR, confidence DOUBLE, role_confidence DOUBLE',
        select='SELECT key, t."index", t.speaker, t.role, t."start", t."end", t."text", t.confidence,'
        " role_confidence FROM (SELECT key, unnest(value.turns) AS t,"
        " value.role_confidence AS role_confidence FROM docs)",
    ),
    Table(
        name="flags",
        asset="detections",
        value=_DETECTIONS,
        columns="key VARCHAR, flag BOOLEAN, flag_reasons VARCHAR[]",
        select="SELECT key, value.flag, value.flag_reasons FROM docs",
    ),
    Table(
        name="detections",
        asset="detections",
        value=_DETECTIONS,
        columns="key VARCHAR, name VARCHAR, verdict VARCHAR, confidence DOUBLE, reason VARCHAR,"
        " rule_version VARCHAR, error_class VARCHAR, score DOUBLE, band VARCHAR, items MAP(VARCHAR, BOOLEAN),"
        f" evidence {_EVIDENCE}[]",
        select="SELECT key, e.key, e.value.verdict, e.value.confidence, e.value.reason, e.value.rule_version,"
        " e.value.error_class, e.value.score, e.value.band, e.value.items, e.value.evidence"
        " FROM (SELECT key, unnest(map_entries(value.detections)) AS e FROM docs)",
    ),
    Table(
        name="call_metrics",
        asset="call_metrics",
        value=_METRICS,
        columns="key VARCHAR, duration DOUBLE, talk_seconds DOUBLE, silence_seconds DOUBLE,"
        f" overlap_seconds DOUBLE, non_talk {_REGION}[], sentiment_by_quarter DOUBLE[],"
        f" categories MAP(VARCHAR, {_EVIDENCE}[])",
        select="SELECT key, value.duration, value.talk_seconds, value.silence_seconds, value.overlap_seconds,"
        " value.non_talk, value.sentiment_by_quarter, value.categories FROM docs",
    ),
    Table(
        name="speaker_metrics",
        asset="call_metrics",
        value=_METRICS,
        columns="key VARCHAR, speaker VARCHAR, role VARCHAR, talk_seconds DOUBLE, talk_ratio DOUBLE,"
        " turns INTEGER, words INTEGER, words_per_minute DOUBLE, longest_monologue DOUBLE,"
        " interruptions INTEGER, loudness_db DOUBLE, sentiment DOUBLE, sentiment_by_quarter DOUBLE[]",
        select="SELECT key, unnest(s) FROM (SELECT key, unnest(value.speakers) AS s FROM docs)",
    ),
    Table(
        name="chapters",
        asset="chapters",
        value='STRUCT(chapters STRUCT("start" DOUBLE, "end" DOUBLE, title VARCHAR, turn INTEGER,'
        " announced BOOLEAN)[])",
        columns='key VARCHAR, chapter INTEGER, "start" DOUBLE, "end" DOUBLE, title VARCHAR, turn INTEGER,'
        " announced BOOLEAN",
        select='SELECT key, chapter, c."start", c."end", c.title, c.turn, c.announced FROM'
        " (SELECT key, unnest(value.chapters) AS c,"
        " generate_subscripts(value.chapters, 1) - 1 AS chapter FROM docs)",
    ),
    Table(
        name="gaps",
        asset="transcripts",
        value=_TRANSCRIPT,
        columns='key VARCHAR, "start" DOUBLE, "end" DOUBLE, error_class VARCHAR, message VARCHAR, chunk INTEGER',
        select="SELECT key, unnest(g) FROM (SELECT key, unnest(value.gaps) AS g FROM docs)",
    ),
    Table(
        name="text_chunks",
        asset="text_chunks",
        value='STRUCT(chunks STRUCT(id VARCHAR, "index" INTEGER, "text" VARCHAR, "start" DOUBLE, "end" DOUBLE,'
        " lines STRUCT(speaker VARCHAR)[], low_value VARCHAR, priority DOUBLE)[])",
        columns='key VARCHAR, chunk INTEGER, id VARCHAR, "start" DOUBLE, "end" DOUBLE, "text" VARCHAR,'
        " speakers VARCHAR[], low_value VARCHAR, priority DOUBLE",
        select='SELECT key, c."index", c.id, c."start", c."end", c."text",'
        " list_sort(list_distinct([l.speaker FOR l IN c.lines])), c.low_value, c.priority"
        " FROM (SELECT key, unnest(value.chunks) AS c FROM docs)",
    ),
)

CATALOG_COLUMNS = (
    "key VARCHAR, sha256 VARCHAR, seq BIGINT, kind VARCHAR, state VARCHAR, updated_at TIMESTAMP,"
    " error_class VARCHAR, message VARCHAR, permanent BOOLEAN, present BOOLEAN, file_name VARCHAR,"
    " file_path VARCHAR, paths VARCHAR[], agent VARCHAR, phone VARCHAR, timestamp VARCHAR,"
    " disposition VARCHAR, campaign VARCHAR, dialer VARCHAR, user VARCHAR,"
    " language VARCHAR, profile VARCHAR, title VARCHAR, committee VARCHAR, date VARCHAR, source VARCHAR,"
    " extra JSON"
)
"""What the catalogue says of each recording (times in UTC); ``recordings`` adds what was found out."""

CALL_COLUMNS = (
    "request_hash VARCHAR, provider VARCHAR, pool VARCHAR, model VARCHAR, recording VARCHAR, purpose VARCHAR,"
    " run VARCHAR, state VARCHAR, job_id VARCHAR, sends INTEGER, seconds DOUBLE, tokens_in BIGINT,"
    " tokens_out BIGINT, cost DOUBLE, result VARCHAR, error_class VARCHAR, message VARCHAR,"
    " created TIMESTAMP, updated TIMESTAMP"
)
"""One row a request to a provider, as the ledger has it (times in UTC, ``cost`` in dollars, ``run`` its last)."""

CHARGE_COLUMNS = (
    "id VARCHAR, request_hash VARCHAR, provider VARCHAR, model VARCHAR, recording VARCHAR, run VARCHAR,"
    " day DATE, state VARCHAR, cost DOUBLE, charged_at TIMESTAMP"
)
"""What was spent, in dollars: a request that was bought twice has two charges, each with its own run and day."""

CALL_MARK_COLUMNS = "request_hash VARCHAR, mark VARCHAR"

RECORDINGS = """
CREATE OR REPLACE VIEW recordings AS
SELECT c.*, a.duration, a.channels, a.sample_rate, a.codec, a.bytes, f.flag, f.flag_reasons,
    COALESCE(lower(trim(c.profile)) = 'hearing', false) OR h.key IS NOT NULL AS hearing
FROM catalog c LEFT JOIN audio a USING (key) LEFT JOIN flags f USING (key)
    LEFT JOIN (SELECT DISTINCT key FROM chapters) h USING (key)
"""
"""A hearing says so, or is so long that it got chapters."""

_VERDICTS = """
SELECT key,
    any_value(verdict) FILTER (name = 'releasing') AS releasing,
    any_value(verdict) FILTER (name = 'late_hello') AS late_hello,
    any_value(verdict) FILTER (name = 'rebuttal') AS rebuttal,
    any_value(score) FILTER (name = 'intro_score') AS intro_score
FROM detections GROUP BY key
"""

AGENT_SCORES = f"""
CREATE OR REPLACE VIEW agent_scores AS
SELECT *,
    CASE WHEN intro_score >= 83 THEN 'excellent' WHEN intro_score >= 50 THEN 'good'
        WHEN intro_score >= 17 THEN 'needs_training' WHEN intro_score IS NOT NULL THEN 'critical' END AS band,
    rebuttals_owed >= 5 AND rebuttals_attempted < 2 AS rebuttal_flag
FROM (
    SELECT COALESCE(r.agent, '') AS agent,
        count(*) AS calls,
        count(*) FILTER (r.flag) AS flagged,
        count(*) FILTER (v.releasing = 'yes') AS releasing,
        count(*) FILTER (v.late_hello = 'yes') AS late_hello,
        count(*) FILTER (v.rebuttal = 'no_attempt') AS no_attempt,
        count(*) FILTER (v.rebuttal IN ('attempted', 'no_attempt')) AS rebuttals_owed,
        count(*) FILTER (v.rebuttal = 'attempted') AS rebuttals_attempted,
        round(avg(v.intro_score), 1) AS intro_score,
        COALESCE(sum(r.duration), 0) AS seconds
    FROM recordings r LEFT JOIN ({_VERDICTS}) v USING (key) WHERE NOT r.hearing GROUP BY 1
)
ORDER BY flagged DESC, calls DESC, agent
"""
"""Per agent, over calls (hearings are none).

Flagged for rebuttals only where one was owed in 5 calls or more and tried in fewer than 2.
"""

CAMPAIGN_REACH = """
CREATE OR REPLACE VIEW campaign_reach AS
SELECT *,
    CASE WHEN reached + not_reached = 0 THEN 'unknown' WHEN not_reached > reached THEN 'low' ELSE 'good' END
        AS reach
FROM (
    SELECT COALESCE(campaign, '') AS campaign,
        count(*) AS calls,
        count(*) FILTER (disposition = 'wrong number' OR disposition LIKE 'decision maker%') AS reached,
        count(*) FILTER (disposition IN ('dead call', 'unknown', 'voicemail')) AS not_reached
    FROM (
        SELECT campaign, regexp_replace(lower(trim(disposition)), '\\s+', ' ', 'g') AS disposition
        FROM recordings WHERE NOT hearing
    )
    GROUP BY 1
)
ORDER BY campaign
"""
"""Per campaign: low when calls that reach nobody outnumber those that reach a person; a tie is not low."""

_SPENT = """
count(DISTINCT request_hash) AS calls,
COALESCE(sum(h.cost) FILTER (h.state = 'settled'), 0) AS settled,
COALESCE(sum(h.cost) FILTER (h.state = 'open'), 0) AS open,
COALESCE(sum(h.cost) FILTER (h.state = 'unsure'), 0) AS unsure,
sum(h.cost) AS cost
FROM charges h
"""
"""Calls that were charged, and dollars: paid, estimates of calls under way, and of calls killed on the way."""

COSTS_BY_RECORDING = f"""
CREATE OR REPLACE VIEW costs_by_recording AS
SELECT h.recording AS key, any_value(c.file_name) AS file_name, {_SPENT}
LEFT JOIN catalog c ON c.key = h.recording GROUP BY 1 ORDER BY cost DESC, 1
"""

COSTS_BY_RUN = f"""
CREATE OR REPLACE VIEW costs_by_run AS
SELECT run, min(h.charged_at) AS first_at, max(h.charged_at) AS last_at, {_SPENT} GROUP BY 1 ORDER BY 2
"""

COSTS_BY_DAY = f"""
CREATE OR REPLACE VIEW costs_by_day AS SELECT day, {_SPENT} GROUP BY 1 ORDER BY 1
"""
"""Days are days of UTC."""

VIEWS = (RECORDINGS, AGENT_SCORES, CAMPAIGN_REACH, COSTS_BY_RECORDING, COSTS_BY_RUN, COSTS_BY_DAY)

READABLE = (
    *(table.name for table in TABLES if table.name not in ("audio", "flags")),
    *("recordings", "agent_scores", "campaign_reach", "provider_calls", "charges"),
    *("entities", "relations", "mentions"),
    *("costs_by_recording", "costs_by_run", "costs_by_day"),
)
"""Tables and views that people ask for by name."""
