from __future__ import annotations

import csv
import json
import threading
from pathlib import Path

import pytest

from callpipeline.failures import UsageError
from callpipeline.graph.text_chunks import text_chunks
from callpipeline.intake.catalog import Catalog
from callpipeline.intake.scan import scan
from callpipeline.knowledge import TextChunks
from callpipeline.model import (
    AudioInfo,
    CallMetrics,
    Detection,
    Detections,
    Evidence,
    Role,
    Segment,
    SpeakerMetrics,
    SpeakerTurns,
    Transcript,
    Turn,
    Verdict,
    Word,
)
from callpipeline.settings import Settings
from callpipeline.store import warehouse
from callpipeline.store.results import ResultStore
from callpipeline_tests.store.conftest import Start


class World:
    """A store with recordings and results that a test can change."""

    def __init__(self, folder: Path) -> None:
        self.uploads = folder / "uploads"
        self.uploads.mkdir()
        self.root = folder / "store"
        self.catalog = Catalog(self.root / "catalog.sqlite")
        self.store = ResultStore(self.root)

    def recording(self, agent: str, disposition: str = "Voicemail", campaign: str = "") -> str:
        folder = self.uploads
        if campaign:
            folder = folder / "Recordings" / campaign / "u" / "x-2026-01-02_001 D"
        folder.mkdir(parents=True, exist_ok=True)
        number = f"555000{sum(1 for _ in self.uploads.rglob('*.mp3')):04d}"
        (folder / f"{agent} _ 10_30 _ {number} _ {disposition}.mp3").write_bytes(number.encode())
        (key,) = scan(self.catalog, self.uploads, Settings()).new
        return key

    def put(self, asset: str, key: str, value: object) -> None:
        self.store.put(asset, key, value, cache_key="c", code_version="1")  # type: ignore[type-var]

    def verdict(self, key: str, rebuttal: Verdict, *, score: float | None = None) -> None:
        found = {
            "rebuttal": Detection(
                name="rebuttal",
                verdict=rebuttal,
                confidence=0.8,
                rule_version="r1",
                evidence=(Evidence(start=1.0, end=2.0, note="heard 'no'"),),
            ),
            "intro_score": Detection(
                name="intro_score",
                verdict=Verdict.SCORED,
                confidence=1.0,
                rule_version="s1",
                score=score,
                items={"intro": True, "owner": None},
            ),
        }
        self.put("detections", key, Detections(detections=found, flag=rebuttal is Verdict.NO_ATTEMPT))

    def refresh(self) -> warehouse.WarehouseDelta:
        return warehouse.refresh(self.root, self.catalog)

    def ask(self, query: str) -> list[tuple[object, ...]]:
        with warehouse.connect(self.root) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def transcript(*texts: str) -> Transcript:
    segments = tuple(
        Segment(
            start=float(n),
            end=n + 1.0,
            text=text,
            channel=n % 2,
            words=tuple(Word(text=w, start=float(n), end=n + 0.5) for w in text.split()),
        )
        for n, text in enumerate(texts)
    )
    return Transcript(engine="x", engine_version="1", language=None, duration=9.0, segments=segments)


def chunks(key: str) -> TextChunks:
    said = (("A", Role.AGENT, 1.5, "hello there"), ("B", Role.CUSTOMER, 3.0, "hi"))
    turns = SpeakerTurns(
        turns=tuple(
            Turn(index=n, speaker=speaker, role=role, start=start, end=start + 1, text=text)
            for n, (speaker, role, start, text) in enumerate(said)
        ),
        role_confidence=1.0,
        transcript_engine="x",
        diarization_engine="x",
    )
    return text_chunks(turns, transcript(), recording=key, title="", language="en")


def test_every_result_becomes_rows_with_its_values(world: World) -> None:
    key = world.recording("Ann Lee", "Sold")
    world.put("transcripts", key, transcript("hello there", "", "it's me"))
    world.put(
        "raw_audio",
        key,
        AudioInfo(
            format="mp3",
            codec="mp3",
            sample_rate=8000,
            channels=2,
            duration=61.5,
            claimed_duration=None,
            bytes=10,
            bit_rate=None,
            levels=(),
            loudness_lufs=-20.0,
            silences=(),
            decode_errors=0,
        ),
    )
    turn = Turn(index=0, speaker="A", role=Role.AGENT, start=0.0, end=2.0, text="hello there")
    world.put(
        "speaker_turns",
        key,
        SpeakerTurns(turns=(turn,), role_confidence=0.9, transcript_engine="x", diarization_engine="y"),
    )
    world.verdict(key, Verdict.NO_ATTEMPT, score=66.7)
    speaker = SpeakerMetrics(
        speaker="A",
        role=Role.AGENT,
        talk_seconds=2.0,
        talk_ratio=1.0,
        turns=1,
        words=2,
        words_per_minute=60.0,
        longest_monologue=2.0,
        interruptions=0,
    )
    world.put(
        "call_metrics",
        key,
        CallMetrics(
            duration=61.5,
            talk_seconds=2.0,
            silence_seconds=59.5,
            overlap_seconds=0.0,
            non_talk=(),
            speakers=(speaker,),
        ),
    )
    world.put("text_chunks", key, chunks(key))
    world.catalog.mark_done(key, "p")
    delta = world.refresh()
    assert (delta.added, delta.recordings, delta.rebuilt, delta.unreadable) == (6, 1, True, 0)
    assert world.ask("SELECT key, agent, disposition, state, duration, flag, present FROM recordings") == [
        (key, "Ann Lee", "Sold", "done", 61.5, True, True)
    ]
    assert world.ask("SELECT segment, text, channel FROM segments ORDER BY 1") == [
        (0, "hello there", 0),
        (1, "", 1),
        (2, "it's me", 0),
    ]
    assert world.ask('SELECT segment, word, text, "start" FROM words ORDER BY 1, 2') == [
        (0, 0, "hello", 0.0),
        (0, 1, "there", 0.0),
        (2, 0, "it's", 2.0),
        (2, 1, "me", 2.0),
    ]
    assert world.ask("SELECT turn, role, text, role_confidence FROM turns") == [
        (0, "agent", "hello there", 0.9)
    ]
    assert world.ask("SELECT name, verdict, score, items, evidence[1].note FROM detections ORDER BY 1") == [
        ("intro_score", "scored", 66.7, {"intro": True, "owner": None}, None),
        ("rebuttal", "no_attempt", None, {}, "heard 'no'"),
    ]
    assert world.ask("SELECT silence_seconds FROM call_metrics") == [(59.5,)]
    assert world.ask("SELECT speaker, words_per_minute FROM speaker_metrics") == [("A", 60.0)]
    assert world.ask('SELECT chunk, id, "start", text, speakers, low_value FROM text_chunks') == [
        (0, f"{key}:0", 1.5, "hello there\nhi", ["A", "B"], "greetings and small talk only")
    ]


def test_only_what_changed_is_taken_in_again(world: World) -> None:
    keys = [world.recording(f"Agent {n}") for n in range(4)]
    for key in keys:
        world.put("transcripts", key, transcript("one"))
    world.refresh()
    before = (world.root / warehouse.FILE).stat().st_ino
    delta = world.refresh()
    assert (delta.added, delta.changed, delta.removed, delta.recordings) == (0, 0, 0, 4)
    assert (world.root / warehouse.FILE).stat().st_ino == before
    world.put("transcripts", keys[0], transcript("two", "three"))
    world.store.remove("transcripts", keys[1])
    new = world.recording("Agent 9")
    world.put("transcripts", new, transcript("four"))
    delta = world.refresh()
    assert (delta.added, delta.changed, delta.removed, delta.rebuilt) == (1, 1, 1, False)
    assert sorted(text for (text,) in world.ask("SELECT text FROM segments")) == [
        "four",
        "one",
        "one",
        "three",
        "two",
    ]


def test_a_change_of_the_catalogue_alone_shows(world: World) -> None:
    key = world.recording("Ann")
    world.refresh()
    world.catalog.mark_failed(key, "p", "not_audio", "no sound in it", permanent=True)
    world.refresh()
    assert world.ask("SELECT state, error_class, message FROM recordings") == [
        ("failed", "not_audio", "no sound in it")
    ]
    next(world.uploads.glob("*.mp3")).unlink()
    scan(world.catalog, world.uploads, Settings())
    world.refresh()
    assert world.ask("SELECT present, agent FROM recordings") == [(False, "Ann")]


def test_what_is_said_of_a_hearing_can_be_asked_for(world: World) -> None:
    (world.uploads / "manifest.csv").write_text(
        "file,title,committee,date,source,profile\n"
        "one.mp3,Budget review,Ways and Means,2026-03-02,https://city.example/one,hearing\n"
        "two.mp3,Second reading,Ways and Means,2026-03-03,,hearing\n"
    )
    (world.uploads / "two.json").write_text(
        json.dumps({"Title": "Third reading", "source": "Channel 9", "Room": "B2"})
    )
    for name in ("one.mp3", "two.mp3"):
        (world.uploads / name).write_bytes(name.encode())
    scan(world.catalog, world.uploads, Settings())
    world.refresh()
    columns = "title, committee, date, source, profile, extra"
    assert world.ask(f"SELECT {columns} FROM recordings ORDER BY file_name") == [
        ("Budget review", "Ways and Means", "2026-03-02", "https://city.example/one", "hearing", "{}"),
        ("Third reading", "Ways and Means", "2026-03-03", "Channel 9", "hearing", '{"Room":"B2"}'),
    ]
    (world.uploads / "two.json").write_text(json.dumps({"source": "Archive 12"}))
    scan(world.catalog, world.uploads, Settings())
    world.refresh()
    assert world.ask("SELECT title, source FROM recordings WHERE file_name = 'two.mp3'") == [
        ("Second reading", "Archive 12")
    ]


def test_a_damaged_result_is_left_out_and_the_rest_is_there(world: World) -> None:
    keys = [world.recording(f"Agent {n}") for n in range(3)]
    for key in keys:
        world.put("transcripts", key, transcript("one"))
    world.store.path("transcripts", keys[1]).write_bytes(b'{"half":')
    assert world.refresh().unreadable == 1
    assert world.ask("SELECT count(*) FROM segments") == [(2,)]
    assert world.refresh().changed == 0
    world.put("transcripts", keys[1], transcript("one"))
    world.refresh()
    assert world.ask("SELECT count(*) FROM segments") == [(3,)]


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 1000])
def test_a_damaged_warehouse_is_built_anew(world: World, content: bytes) -> None:
    key = world.recording("Ann")
    world.put("transcripts", key, transcript("one"))
    world.refresh()
    (world.root / warehouse.FILE).write_bytes(content)
    assert world.refresh().rebuilt
    assert world.ask("SELECT count(*) FROM segments") == [(1,)]


def test_a_warehouse_of_another_schema_is_built_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.recording("Ann")
    world.refresh()
    monkeypatch.setattr(warehouse, "SCHEMA_VERSION", "another")
    assert world.refresh().rebuilt
    assert not world.refresh().rebuilt


def test_an_agent_is_flagged_only_with_five_owed_and_fewer_than_two_attempted(world: World) -> None:
    cases = {
        "Four Owed": [Verdict.NO_ATTEMPT] * 4 + [Verdict.NO_OBJECTION] * 3,
        "Five Owed": [Verdict.NO_ATTEMPT] * 4 + [Verdict.ATTEMPTED],
        "Two Tried": [Verdict.NO_ATTEMPT] * 6 + [Verdict.ATTEMPTED] * 2,
    }
    for agent, verdicts in cases.items():
        for verdict in verdicts:
            world.verdict(world.recording(agent), verdict, score=50.0)
    world.refresh()
    found = world.ask(
        "SELECT agent, calls, rebuttals_owed, rebuttals_attempted, rebuttal_flag, band FROM agent_scores"
        " ORDER BY agent"
    )
    assert found == [
        ("Five Owed", 5, 5, 1, True, "good"),
        ("Four Owed", 7, 4, 0, False, "good"),
        ("Two Tried", 8, 8, 2, False, "good"),
    ]


def test_reach_is_low_when_nobody_outnumbers_somebody(world: World) -> None:
    dispositions = {
        "Low": ["Dead Call", "Unknown", "Voicemail", "Decision Maker - NYI", "wrong  number"],
        "Tie": ["Dead Call", "Decision Maker - NYI", "DNC - Decision Maker", "DNC - Unknown"],
        "None": ["Sold", "Influencer"],
    }
    for campaign, names in dispositions.items():
        for name in names:
            world.recording("Ann", name, campaign)
    world.refresh()
    assert world.ask("SELECT campaign, reached, not_reached, reach FROM campaign_reach") == [
        ("Low", 2, 3, "low"),
        ("None", 0, 0, "unknown"),
        ("Tie", 1, 1, "good"),
    ]


def test_exports_hold_the_table_and_replace_the_old_file(world: World, tmp_path: Path) -> None:
    for name in ("Ann", 'Bo "B", jr.', "Chloé"):
        world.recording(name)
    world.refresh()
    target = tmp_path / "out" / "it's.csv"
    for _ in range(2):
        assert warehouse.export(world.root, "recordings", target, "csv") == 3
    with target.open(newline="") as file:
        assert {row["agent"] for row in csv.DictReader(file)} == {"Ann", 'Bo "B", jr.', "Chloé"}
    query = "SELECT agent FROM recordings ORDER BY agent LIMIT 2;"
    assert warehouse.export(world.root, query, tmp_path / "a.json", "json") == 2
    assert json.loads((tmp_path / "a.json").read_text())[0] == {"agent": "Ann"}
    assert warehouse.export(world.root, "agent_scores", tmp_path / "a.parquet", "parquet") == 3
    assert (tmp_path / "a.parquet").read_bytes()[:4] == b"PAR1"
    assert [path.name for path in target.parent.iterdir()] == ["it's.csv"]


def test_what_cannot_be_exported_is_said(world: World, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no warehouse"):
        warehouse.export(world.root, "recordings", tmp_path / "x.csv", "csv")
    world.recording("Ann")
    world.refresh()
    with pytest.raises(UsageError, match="segments"):
        warehouse.export(world.root, "nonsense", tmp_path / "x.csv", "csv")
    with pytest.raises(UsageError, match="cannot be answered"):
        warehouse.export(world.root, "SELECT nothing FROM recordings", tmp_path / "x.csv", "csv")
    assert not (tmp_path / "x.csv").exists()


def test_an_open_connection_keeps_its_state_and_a_new_one_sees_the_newest(world: World) -> None:
    world.recording("Ann")
    world.refresh()
    with warehouse.connect(world.root) as old:
        world.recording("Bob")
        world.refresh()
        with warehouse.connect(world.root) as new:
            assert new.execute("SELECT count(*) FROM recordings").fetchall() == [(2,)]
            assert old.execute("SELECT count(*) FROM recordings").fetchall() == [(1,)]


REFRESHER = """
import sys
from pathlib import Path
from callpipeline.intake.catalog import Catalog
from callpipeline.model import Region, Segment, Transcript
from callpipeline.store import warehouse
from callpipeline.store.results import ResultStore
root = Path(sys.argv[1])
store, catalog = ResultStore(root), Catalog(root / "catalog.sqlite")
print("ready", flush=True)
n = 0
while True:
    n += 1
    for key in ("a1", "a2", "a3"):
        segments = tuple(Segment(start=i, end=i, text=str(n)) for i in range(50))
        value = Transcript(engine="x", engine_version="1", language=None, duration=1, segments=segments)
        store.put("transcripts", key, value, cache_key="c", code_version="1")
    warehouse.refresh(root, catalog)
"""


def test_readers_see_whole_states_while_refreshing_processes_are_killed(world: World, start: Start) -> None:
    world.refresh()
    failures: list[BaseException] = []
    states: set[tuple[int, ...]] = set()
    stop = threading.Event()

    def read() -> None:
        query = "SELECT key, count(*), count(DISTINCT text), any_value(text)::INT FROM segments GROUP BY 1"
        while not stop.is_set():
            try:
                rows = world.ask(query)
                assert all(row[1:3] == (50, 1) for row in rows)
                states.add(tuple(int(str(row[3])) for row in sorted(rows)))
            except BaseException as error:
                failures.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(3):
            process = start(REFRESHER, world.root)
            assert process.stdout is not None
            process.stdout.readline()
            seen = len(states)
            while len(states) < seen + 2 and not failures:
                assert process.poll() is None
            process.kill()
            process.wait()
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert failures == []
    assert world.refresh().recordings == 0
    assert world.ask("SELECT count(*) FROM segments") == [(150,)]
