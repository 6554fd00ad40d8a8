from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from callpipeline.intake.catalog import Catalog
from callpipeline.settings import Settings
from callpipeline_tests.intake.conftest import LONG_AGO, Intake


def key_of(content: bytes | str) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:16]


def test_recordings_are_named_by_their_bytes(intake: Intake) -> None:
    intake.write("a.mp3", "one")
    intake.write("deep/er/B.WAV", "two")
    report = intake.scan()
    assert set(report.new) == {key_of("one"), key_of("two")}
    assert (report.files, report.bytes_hashed, report.complete) == (2, 6, True)
    again = intake.scan()
    assert (again.new, again.changed, again.removed, again.bytes_hashed) == ((), (), (), 0)


@pytest.mark.parametrize(
    "name", ["x.txt", ".hidden.mp3", "x.mp3.part", "x.mp3.crdownload", "x.mp3~", "x.tmp", "x.pdf"]
)
def test_what_is_no_recording_is_left_alone(intake: Intake, name: str) -> None:
    intake.write(name, "x")
    intake.write(".dot/a.mp3", "x")
    report = intake.scan()
    assert (report.new, report.files, report.problems) == ((), 0, ())


def test_the_same_bytes_under_two_names_are_one_recording_with_two_sources(intake: Intake) -> None:
    intake.write("a.mp3", "same")
    intake.write("b.mp3", "same")
    assert intake.counts() == (1, 0, 0)
    key = key_of("same")
    assert [s.path.name for s in intake.catalog.sources(key)] == ["a.mp3", "b.mp3"]
    (intake.folder / "a.mp3").unlink()
    assert intake.scan().removed == ()
    assert [s.path.name for s in intake.catalog.sources(key) if s.present] == ["b.mp3"]


def test_a_touched_file_with_the_same_bytes_changes_nothing(intake: Intake) -> None:
    intake.write("a.mp3", "one")
    intake.scan()
    intake.write("a.mp3", "one", mtime=LONG_AGO + 5)
    report = intake.scan()
    assert (report.new, report.changed, report.removed, report.bytes_hashed) == ((), (), (), 3)


def test_new_bytes_at_a_known_path_are_a_new_recording(intake: Intake) -> None:
    intake.write("a.mp3", "one")
    intake.scan()
    intake.write("a.mp3", "two", mtime=LONG_AGO + 5)
    report = intake.scan()
    assert (report.new, report.removed) == ((key_of("two"),), (key_of("one"),))
    assert intake.catalog.pending("p") == [key_of("two")]


def test_a_renamed_file_is_the_same_recording(intake: Intake) -> None:
    intake.write("a.mp3", "one")
    intake.scan()
    intake.catalog.mark_done(key_of("one"), "p")
    (intake.folder / "a.mp3").rename(intake.folder / "Ann _ 5551234567.mp3")
    report = intake.scan()
    assert (report.new, report.changed, report.removed) == ((), (key_of("one"),), ())
    assert intake.catalog.metadata(key_of("one")).agent == "Ann"


def test_a_file_that_went_and_came_back_is_not_read_again(intake: Intake) -> None:
    path = intake.write("a.mp3", "one")
    intake.scan()
    away = path.rename(intake.folder.parent / "away.mp3")
    assert intake.scan().removed == (key_of("one"),)
    assert intake.catalog.pending("p") == []
    away.rename(path)
    report = intake.scan()
    assert (report.bytes_hashed, report.changed) == (0, (key_of("one"),))
    assert intake.catalog.pending("p") == [key_of("one")]


def test_a_file_that_is_still_written_waits(intake: Intake) -> None:
    intake.write("a.mp3", "half", mtime=time.time())
    report = intake.scan()
    assert (report.new, [p.name for p in report.waiting]) == ((), ["a.mp3"])
    assert intake.catalog.counts().waiting == 1
    intake.write("a.mp3", "half and whole")
    assert intake.counts() == (1, 0, 0)
    assert intake.catalog.counts().waiting == 0


def test_a_file_with_a_time_in_the_future_is_taken_once_it_stays_the_same(intake: Intake) -> None:
    intake.settings = intake.settings.model_copy(update={"stable_seconds": 0.2})
    path = intake.write("a.mp3", "one", mtime=time.time() + 86_400)
    assert len(intake.scan().waiting) == 1
    path.write_bytes(b"one more")
    os.utime(path, (time.time() + 90_000,) * 2)
    assert len(intake.scan().waiting) == 1
    assert intake.scan(wait=True).new == (key_of("one more"),)


GROWER = """
import sys
with open(sys.argv[1], "wb", 0) as file:
    print(flush=True)
    while file.write(b"x"):
        pass
"""


def test_waiting_for_a_file_that_keeps_growing_ends(intake: Intake) -> None:
    intake.settings = intake.settings.model_copy(update={"stable_seconds": 0.5})
    grower = subprocess.Popen(
        [sys.executable, "-c", GROWER, intake.folder / "a.mp3"],
        stdout=subprocess.PIPE,
    )
    try:
        assert grower.stdout is not None
        grower.stdout.readline()
        assert [p.name for p in intake.scan(wait=True).waiting] == ["a.mp3"]
    finally:
        grower.kill()
        grower.communicate()


def test_a_broken_link_and_an_unreadable_folder_are_problems_and_no_more(intake: Intake) -> None:
    intake.write("a.mp3", "one")
    (intake.folder / "gone.mp3").symlink_to(intake.folder / "nowhere.mp3")
    (intake.folder / "self").symlink_to(intake.folder / "self")
    report = intake.scan()
    assert len(report.new) == 1
    assert {p.path.name for p in report.problems} == {"gone.mp3", "self"}
    assert "link" in intake.problem("gone.mp3")
    (intake.folder / "gone.mp3").unlink()
    (intake.folder / "self").unlink()
    assert intake.scan().problems == ()


def test_links_to_folders_are_followed_without_end_or_doubles(intake: Intake, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "b.mp3").write_bytes(b"two")
    os.utime(other / "b.mp3", (LONG_AGO, LONG_AGO))
    intake.write("in/a.mp3", "one")
    (intake.folder / "in" / "loop").symlink_to(intake.folder)
    (intake.folder / "0_linked").symlink_to(other)
    (intake.folder / "1_again").symlink_to(intake.folder / "in")
    assert intake.counts() == (2, 0, 0)
    assert [s.path for s in intake.catalog.sources(key_of("one"))] == [intake.folder / "in" / "a.mp3"]


def test_a_folder_that_vanished_takes_nothing_with_it(intake: Intake) -> None:
    intake.write("a.mp3", "one")
    intake.scan()
    moved = intake.folder.rename(intake.folder.with_name("unplugged"))
    report = intake.scan()
    assert report.removed == ()
    assert [p.path for p in report.problems] == [intake.folder]
    assert intake.catalog.pending("p") == [key_of("one")]
    moved.rename(intake.folder)
    report = intake.scan()
    assert (report.problems, report.bytes_hashed, report.changed) == ((), 0, ())


def test_scanning_a_file_or_nothing_is_a_problem_and_not_a_crash(intake: Intake) -> None:
    for folder in (intake.write("a.mp3", "one"), intake.folder / "never"):
        report = intake.scan(folder)
        assert [p.path for p in report.problems] == [folder]


AS_NOBODY = """
import os, sys
from pathlib import Path
from callpipeline.intake.catalog import Catalog
from callpipeline.intake.scan import scan
from callpipeline.settings import Settings
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
report = scan(Catalog(Path(sys.argv[1])), Path(sys.argv[2]), Settings())
print(sorted(p.path.name for p in report.problems), *report.removed)
"""


def test_what_may_not_be_read_is_a_problem_until_it_may(settings: Settings) -> None:
    with TemporaryDirectory() as name:
        intake = Intake(Path(name), settings)
        secret = intake.write("secret/a.mp3", "one").parent
        intake.write("locked.mp3", "two")
        intake.scan()
        intake.catalog.close()
        locked = intake.write("locked.mp3", "three", mtime=LONG_AGO + 9)
        for path in (Path(name), intake.catalog.path.parent, *intake.catalog.path.parent.iterdir()):
            path.chmod(0o777)
        secret.chmod(0)
        locked.chmod(0)
        try:
            arguments = [sys.executable, "-c", AS_NOBODY, intake.catalog.path, intake.folder]
            run = subprocess.run(arguments, capture_output=True, text=True, check=True)
        finally:
            secret.chmod(0o755)
            locked.chmod(0o644)
        assert run.stdout == f"['locked.mp3', 'secret'] {key_of('two')}\n"
        report = intake.scan()
        assert (report.problems, report.new, report.changed) == ((), (key_of("three"),), ())
        assert intake.catalog.pending("p") == [key_of("one"), key_of("three")]
        intake.catalog.close()


def test_names_with_newlines_and_bytes_that_are_no_text_are_fine(intake: Intake) -> None:
    names = [b"new\nline.mp3", b"latin-\xe9.mp3", b"#hash.jsonl#.mp3", "ünï _ 5551234567.mp3".encode()]
    for number, name in enumerate(names):
        path = os.fsencode(intake.folder) + b"/" + name
        Path(os.fsdecode(path)).write_bytes(b"%d" % number)
        os.utime(path, (LONG_AGO, LONG_AGO))
    report = intake.scan()
    assert (len(report.new), report.problems) == (4, ())
    rows = intake.catalog.rows()
    assert {os.fsencode(row.sources[0].name) for row in rows} == set(names)
    assert all(row.sources[0].exists() for row in rows)
    assert intake.scan().new == ()


def test_an_empty_file_is_a_recording_that_others_will_judge(intake: Intake) -> None:
    intake.write("a.mp3", b"")
    assert intake.scan().new == (key_of(b""),)


def test_a_scan_on_a_budget_goes_on_where_it_stopped(intake: Intake) -> None:
    for number in range(4):
        intake.write(f"{number}.mp3", str(number))
    intake.write("known.mp3", "known")
    found = []
    for left in (4, 3, 2, 1, 0):
        report = intake.scan(budget_seconds=0.0)
        assert len(report.new) == 1
        assert report.removed == ()
        assert report.complete == (left == 0)
        found += report.new
    assert len(set(found)) == 5
    assert intake.scan(budget_seconds=0.0).complete


def test_progress_counts_up_to_all_files_that_are_read(intake: Intake) -> None:
    for number in range(3):
        intake.write(f"{number}.mp3", str(number))
    calls: list[tuple[int, int]] = []
    intake.scan(on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_the_store_is_not_scanned_when_it_lies_inside_the_folder(intake: Intake) -> None:
    intake.write("a.mp3", "one")
    copy = intake.catalog.path.parent / "raw_audio" / "a.mp3"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(b"two")
    os.utime(copy, (LONG_AGO, LONG_AGO))
    assert intake.scan(intake.folder.parent).new == (key_of("one"),)


def test_a_short_hash_clash_gives_a_longer_key(intake: Intake) -> None:
    with Catalog(intake.folder.parent / "small" / "catalog.sqlite", key_length=1) as catalog:
        intake.catalog = catalog
        for number in range(40):
            intake.write(f"{number}.mp3", str(number))
        new = intake.scan().new
        assert len(new) == 40
        assert {len(key) for key in new} == {1, 9}
        for row in catalog.rows():
            assert row.recording.sha256.startswith(row.recording.key)
        assert intake.scan().new == ()


SCANNER = """
import sys
from pathlib import Path
from callpipeline.intake.catalog import Catalog
from callpipeline.intake.scan import scan
from callpipeline.settings import Settings
sys.stdin.readline()
print(len(scan(Catalog(Path(sys.argv[1])), Path(sys.argv[2]), Settings()).new))
"""


def test_processes_that_scan_at_once_find_every_recording_once(intake: Intake) -> None:
    for number in range(300):
        intake.write(f"{number}.mp3", str(number))
    catalog = intake.catalog.path
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCANNER, catalog, intake.folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    found = [process.communicate()[0] for process in running]
    assert sum(int(number) for number in found) == 300
    rows = intake.catalog.rows()
    assert len(rows) == 300
    assert [row.recording.seq for row in rows] == list(range(1, 301))
    assert intake.counts() == (0, 0, 0)


def test_a_killed_scan_loses_nothing(intake: Intake) -> None:
    for number in range(1500):
        intake.write(f"{number}.mp3", str(number))
    process = subprocess.Popen(
        [sys.executable, "-c", SCANNER, intake.catalog.path, intake.folder], stdin=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    while intake.catalog.counts().recordings == 0:
        assert process.poll() in (None, 0)
    process.kill()
    process.communicate()
    before = intake.catalog.counts().recordings
    assert len(intake.scan().new) == 1500 - before
    assert intake.catalog.counts().recordings == 1500
