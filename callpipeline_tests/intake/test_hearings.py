"""Where a hearing's file goes, what it is called there, and what is known of it."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

import pytest

from callpipeline.failures import UsageError
from callpipeline.intake.catalog import Catalog
from callpipeline.intake.hearings import Place, place
from callpipeline.intake.scan import scan
from callpipeline.settings import Settings

SAID = {"title": "Budget", "committee": "Rules", "date": "2026-03-02"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "uploads" / "hearings"


def recording(path: Path, content: bytes = b"the sound of a hearing") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def taken(file: Path, folder: Path, **given: str | None) -> Place:
    found = place(file, folder, given)
    found.take(settled_for=5.0)
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_gets_a_second_name_and_a_sidecar_and_is_known_the_next_time(
    tmp_path: Path, folder: Path
) -> None:
    file = recording(tmp_path / "captured" / "Budget.MP3")
    first = taken(file, folder, **SAID, source=None, language=" ")
    assert first.linked
    assert not first.known
    assert first.path.samefile(file)
    assert json.loads(first.sidecar.read_text()) == {**SAID, "profile": "hearing"}
    again = taken(file, folder, title="The budget")
    assert (again.path, again.known) == (first.path, True)
    assert again.metadata.title == "The budget"
    assert again.metadata.date == "2026-03-02"
    assert names(folder) == ["Budget.json", "Budget.mp3"]
    assert taken(first.path, folder).known
    elsewhere = recording(tmp_path / "other" / "copy of it.mp3", file.read_bytes())
    assert taken(elsewhere, folder).path == first.path
    assert names(folder) == ["Budget.json", "Budget.mp3"]


def test_another_recording_of_the_same_name_gets_another(tmp_path: Path, folder: Path) -> None:
    taken(recording(tmp_path / "a" / "Budget.mp3"), folder, **SAID)
    other = taken(recording(tmp_path / "b" / "budget.wav", b"something else"), folder, title="Other")
    third = taken(recording(tmp_path / "c" / "Budget.mp3", b"a third one"), folder)
    assert (other.path.name, third.path.name) == ("budget (2).wav", "Budget (3).mp3")
    assert other.metadata.committee is None
    assert "Budget.mp3" in names(folder)


def test_what_stands_beside_the_file_counts_less_than_what_is_given(tmp_path: Path, folder: Path) -> None:
    file = recording(tmp_path / "in" / "h.mp3")
    (file.parent / "manifest.csv").write_text("file,title,committee,date\nh.mp3,From the table,Rules,\n")
    beside = {"Title": "From beside", "Date": "2026-01-01", "clerk": "Kim", "turns": [{"text": "no"}]}
    file.with_suffix(".json").write_text(json.dumps(beside))
    found = taken(file, folder, date="2026-03-02").metadata
    assert (found.title, found.committee, found.date) == ("From beside", "Rules", "2026-03-02")
    assert found.extra == {"clerk": "Kim"}
    assert "turns" not in (folder / "h.json").read_text()
    changed = json.loads((folder / "h.json").read_text()) | {"Committee": "By hand"}
    del changed["committee"]
    (folder / "h.json").write_text(json.dumps(changed))
    assert taken(file, folder).metadata.committee == "By hand"
    assert taken(file, folder, committee="Given").metadata.committee == "Given"


def test_a_sidecar_that_waits_for_its_recording_is_used_and_a_transcript_of_another_is_not(
    tmp_path: Path, folder: Path
) -> None:
    folder.mkdir(parents=True)
    (folder / "a.json").write_text(json.dumps(SAID))
    (folder / "b.json").write_text(json.dumps({"turns": []}))
    (folder / "c.srt").write_text("")
    assert taken(recording(tmp_path / "a.mp3", b"a"), folder).metadata.title == "Budget"
    assert taken(recording(tmp_path / "b.mp3", b"b"), folder).path.name == "b (2).mp3"
    assert taken(recording(tmp_path / "c.mp3", b"c"), folder).path.name == "c (2).mp3"


def test_a_scan_takes_it_at_once_with_all_that_is_known(tmp_path: Path, folder: Path) -> None:
    file = recording(tmp_path / ".hidden.mp3")
    before = time.time() - 60
    os.utime(file, (before, before))
    found = taken(file, folder, **SAID)
    settings = Settings(stable_seconds=5.0)
    with Catalog(tmp_path / "store" / "catalog.sqlite") as catalog:
        report = scan(catalog, folder, settings)
        assert report.waiting == ()
        (key,) = report.new
        assert catalog.metadata(key).profile == "hearing"
        taken(file, folder, title="Another")
        assert scan(catalog, folder, settings).changed == (key,)
        assert catalog.metadata(key).title == "Another"
    assert found.path.name == "hidden.mp3"


def test_where_no_link_is_possible_it_is_copied_with_its_time(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as other_disk:
        folder = Path(other_disk) / "hearings"
        file = recording(tmp_path / "h.mp3")
        if file.stat().st_dev == Path(other_disk).stat().st_dev:
            pytest.skip("there is only one disk")
        found = place(file, folder, SAID)
        assert not found.linked
        found.take(settled_for=0)
        assert found.path.read_bytes() == file.read_bytes()
        assert found.path.stat().st_mtime_ns == file.stat().st_mtime_ns
        assert taken(file, folder).known
        assert names(folder) == ["h.json", "h.mp3"]


def test_what_is_no_recording_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match="is not a file"):
        place(tmp_path, folder, SAID)
    with pytest.raises(UsageError, match="name of a recording"):
        place(recording(tmp_path / "notes.docx"), folder, SAID)
    assert not folder.exists()
