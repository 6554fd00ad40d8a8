from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from callpipeline.failures import NotConfigured
from callpipeline.intake.catalog import Catalog
from callpipeline.intake.records import Kind, State
from callpipeline.store.results import ResultStore
from callpipeline_tests.intake.conftest import LONG_AGO, Intake


def three(intake: Intake) -> list[str]:
    for number, name in enumerate(("in/a.mp3", "in/b.mp3", "out/c.mp3")):
        intake.write(name, str(number))
        intake.scan()
    return [row.recording.key for row in intake.catalog.rows()]


def test_what_is_pending_depends_on_the_plan(intake: Intake) -> None:
    a, b, c = three(intake)
    catalog = intake.catalog
    assert catalog.pending("p1") == [a, b, c]
    catalog.mark_done(a, "p1")
    assert catalog.pending("p1") == [b, c]
    assert catalog.pending("p2") == [a, b, c]


def test_failures_for_good_stay_until_asked_for_and_passing_ones_come_again(intake: Intake) -> None:
    a, b, c = three(intake)
    catalog = intake.catalog
    catalog.mark_done(c, "p1")
    catalog.mark_failed(a, "p1", "not_audio", "no sound", permanent=True)
    catalog.mark_failed(b, "p1", "engine_failed", "broke", permanent=False)
    assert catalog.pending("p1") == [b]
    assert catalog.pending("p1", retry_failed=True) == [a, b]
    assert catalog.pending("p2") == [a, b, c]
    counts = catalog.counts()
    assert (counts.recordings, counts.done, counts.failed, counts.permanent, counts.new) == (3, 1, 2, 1, 0)
    row = catalog.get(a)
    assert row is not None
    assert (row.recording.state, row.recording.error_class, row.recording.message) == (
        State.FAILED,
        "not_audio",
        "no sound",
    )
    catalog.mark_done(a, "p1")
    row = catalog.get(a)
    assert row is not None
    assert (row.recording.error_class, row.recording.permanent) == (None, False)


def test_answers_can_be_limited_to_a_folder(intake: Intake) -> None:
    a, b, c = three(intake)
    catalog = intake.catalog
    inside = intake.folder / "in"
    assert catalog.pending("p", inside) == [a, b]
    assert catalog.counts(inside).recordings == 2
    assert [row.recording.key for row in catalog.rows(inside)] == [a, b]
    assert [r.key for r in catalog.since(0, 10, folder=inside)] == [a, b]
    assert catalog.pending("p", intake.folder / "i") == []
    assert catalog.pending("p", Path("/")) == [a, b, c]
    assert catalog.pending("p", inside / ".." / "out") == [c]


def test_arrivals_are_handed_out_once_and_in_order(intake: Intake) -> None:
    a, b, c = three(intake)
    first = intake.catalog.since(0, 2)
    assert [r.key for r in first] == [a, b]
    assert [r.key for r in intake.catalog.since(first[-1].seq, 2)] == [c]
    assert intake.catalog.since(first[-1].seq + 1, 2) == []


def test_a_recording_that_comes_back_undone_arrives_again(intake: Intake) -> None:
    a, b, _ = three(intake)
    intake.catalog.mark_done(b, "p")
    last = intake.catalog.since(0, 9)[-1].seq
    contents = {name: (intake.folder / name).read_bytes() for name in ("in/a.mp3", "in/b.mp3")}
    for name in contents:
        (intake.folder / name).unlink()
    assert set(intake.scan().removed) == {a, b}
    assert [r.key for r in intake.catalog.since(0, 9)] == intake.catalog.pending("p")
    for name, content in contents.items():
        intake.write(name, content)
    assert intake.scan().changed == (a,)
    assert [r.key for r in intake.catalog.since(last, 9)] == [a]


def test_a_recording_whose_inputs_changed_is_to_be_done_again(intake: Intake) -> None:
    a, *_ = three(intake)
    intake.catalog.mark_failed(a, "p", "bad_transcript", "line 3", permanent=True)
    last = intake.catalog.since(0, 9)[-1].seq
    intake.write("in/a.json", '{"language": "es"}')
    assert intake.scan().changed == (a,)
    assert a in intake.catalog.pending("p")
    assert [(r.key, r.state) for r in intake.catalog.since(last, 9)] == [(a, State.NEW)]


def test_what_was_done_with_older_inputs_is_not_noted(intake: Intake) -> None:
    a, *_ = three(intake)
    row = intake.catalog.get(a)
    assert row is not None
    intake.write("in/a.json", '{"language": "es"}')
    intake.scan()
    assert not intake.catalog.mark_done(a, "p", seq=row.recording.seq)
    assert a in intake.catalog.pending("p")
    now = intake.catalog.get(a)
    assert now is not None
    assert intake.catalog.mark_done(a, "p", seq=now.recording.seq)
    assert a not in intake.catalog.pending("p")
    assert not intake.catalog.mark_done("unknown", "p")


def test_the_primary_source_speaks_first_and_others_fill_its_blanks(intake: Intake) -> None:
    intake.write("a/Ann _ 5551234567.mp3", "same")
    intake.write("a/manifest.csv", "file,Team\nAnn _ 5551234567.mp3,red\n")
    (key,) = intake.scan().new
    intake.write("b/Bob _ 1 PM _ 5557654321 _ Sold.mp3", "same")
    assert intake.scan().changed == (key,)
    metadata = intake.catalog.metadata(key)
    assert (metadata.agent, metadata.phone, metadata.disposition) == ("Ann", "5551234567", "Sold")
    assert (metadata.source_name, metadata.extra) == ("Ann _ 5551234567.mp3", {"Team": "red"})
    (intake.folder / "a" / "Ann _ 5551234567.mp3").unlink()
    assert intake.scan().changed == (key,)
    assert intake.catalog.metadata(key).agent == "Bob"
    (intake.folder / "b" / "Bob _ 1 PM _ 5557654321 _ Sold.mp3").unlink()
    intake.scan()
    (row,) = intake.catalog.rows(absent=True)
    assert not row.present
    assert intake.catalog.rows() == []


def test_every_revision_is_new_after_a_change_that_a_report_shows(intake: Intake) -> None:
    seen = [intake.catalog.revision()]
    a, *_ = three(intake)
    seen.append(intake.catalog.revision())
    intake.scan()
    assert intake.catalog.revision() == seen[-1]
    intake.catalog.mark_done(a, "p")
    seen.append(intake.catalog.revision())
    intake.write("in/a.json", '{"agent": "Ann"}')
    intake.scan()
    seen.append(intake.catalog.revision())
    (intake.folder / "out" / "c.mp3").unlink()
    intake.scan()
    seen.append(intake.catalog.revision())
    assert len(set(seen)) == len(seen)


def test_threads_share_a_catalogue(intake: Intake) -> None:
    keys = three(intake)
    failures: list[BaseException] = []

    def work(plan: str) -> None:
        try:
            for _ in range(50):
                for key in keys:
                    intake.catalog.mark_done(key, plan)
                intake.catalog.pending(plan)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert intake.catalog.counts().done == 3


def test_a_catalogue_that_is_no_database_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(b"something else entirely" * 500)
    with pytest.raises(NotConfigured, match="Move it away"):
        Catalog(path).counts()


def test_a_catalogue_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(NotConfigured, match="newer"):
        Catalog(path).counts()


def test_the_catalogue_says_what_kind_a_recording_is_and_where_its_transcript_lies(intake: Intake) -> None:
    turns = '{"turns": [{"speaker": "agent", "start": 0, "end": 1, "text": "hi"}]}'
    intake.write("call.mp3", "sound")
    beside = intake.write("call.json", turns)
    alone = intake.write("alone.srt", "1\n00:00:01,000 --> 00:00:02,000\nhi\n")
    intake.write("plain.mp3", "other")
    intake.scan()
    found = {row.sources[0].name: row for row in intake.catalog.rows()}
    assert {name: row.recording.kind for name, row in found.items()} == {
        "call.mp3": Kind.AUDIO,
        "plain.mp3": Kind.AUDIO,
        "alone.srt": Kind.TRANSCRIPT,
    }
    assert found["call.mp3"].transcript == beside
    assert found["alone.srt"].transcript == alone
    assert found["alone.srt"].transcript_sha256 == found["alone.srt"].recording.sha256
    assert found["plain.mp3"].transcript is None
    key = found["call.mp3"].recording.key
    intake.catalog.mark_done(key, "p")
    intake.write("call.json", turns.replace("hi", "hello"), mtime=LONG_AGO + 5)
    assert intake.scan().changed == (key,)
    row = intake.catalog.get(key)
    assert row is not None
    assert row.transcript_sha256 != found["call.mp3"].transcript_sha256
    beside.unlink()
    intake.scan()
    assert intake.catalog.transcript_file(key) is None


def test_keys_fit_the_result_store(intake: Intake, tmp_path: Path) -> None:
    for key in three(intake):
        assert ResultStore(tmp_path).path("transcripts", key).name == f"{key}.json"
