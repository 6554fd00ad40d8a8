"""Memory and disk that get tight: how far work looks ahead, and whose files make room."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from callpipeline.settings import Settings
from callpipeline.store import files
from callpipeline.store.pressure import Level, Marks, look_ahead, make_room, pressure

CALM = Marks(system_share=1.0, least_memory=0, least_disk=0)
ALL = 1 << 60
"""More bytes than any machine has."""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.mark.parametrize(
    ("marks", "level", "ahead", "words"),
    [
        (CALM, Level.CALM, 3, ""),
        (Marks(1, 1.0, 0, 0), Level.TIGHT, 1, "its limit is 0 MiB"),
        (Marks(None, 0.0, 0, 0), Level.TIGHT, 1, "of the memory is in use"),
        (Marks(1, 0.0, 0, 0), Level.CRITICAL, 0, "its limit is 0 MiB"),
        (Marks(None, 1.0, ALL, 0), Level.CRITICAL, 0, "of memory are free"),
        (Marks(None, 1.0, 0, ALL), Level.CRITICAL, 0, "are free on the disk"),
    ],
)
def test_the_tighter_it_is_the_fewer_chunks_lie_ready(
    settings: Settings, marks: Marks, level: Level, ahead: int, words: str
) -> None:
    settings = settings.model_copy(update={"chunk_look_ahead": 3})
    found = pressure(settings, marks)
    assert found.level is level
    assert words in " ".join(found.reasons)
    assert look_ahead(settings, marks) == ahead


def test_half_a_full_disk_is_tight_and_never_more_is_kept_ready_than_the_settings_say(
    settings: Settings, tmp_path: Path
) -> None:
    disk = os.statvfs(tmp_path)
    marks = Marks(system_share=1.0, least_memory=0, least_disk=2 * disk.f_bavail * disk.f_frsize)
    assert pressure(settings, marks).disk is Level.TIGHT
    assert look_ahead(settings, marks) == 1
    assert look_ahead(settings.model_copy(update={"chunk_look_ahead": 0}), marks) == 0


def test_the_limit_of_the_process_is_a_setting(settings: Settings) -> None:
    assert Marks.of(settings).process_bytes is None
    tight = settings.model_copy(update={"memory_limit_mb": 1.0})
    assert pressure(tight).memory is not Level.CALM
    assert "its limit is 1 MiB" in pressure(tight).reasons[0]


def _left_behind(folder: Path, name: str, size: int, age: float, pid: int) -> Path:
    """A file that looks as if a process with this number had been killed while it wrote it."""
    with files.writing(folder / name) as file:
        (written,) = folder.glob(f".{name}.*.tmp")
        path = written.with_name(written.name.replace(f".{os.getpid()}.", f".{pid}."))
        file.write(bytes(size))
        file.flush()
        path.write_bytes(written.read_bytes())
    (folder / name).unlink()
    when = time.time() - age
    os.utime(path, (when, when))
    return path


def _dead() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_full_disk_costs_dead_processes_their_files_oldest_and_largest_first(
    settings: Settings, start: Start
) -> None:
    folder = settings.store / "sending"
    pid = _dead()
    small = _left_behind(folder, "small", 10, 60, pid)
    large = _left_behind(folder, "large", 100_000, 60, pid)
    old = _left_behind(folder, "old", 10_000, 3000, pid)
    elsewhere = folder / ".chunk-9.17.ffffff01234567.tmp"
    elsewhere.write_bytes(b"of another container")
    living = start(
        "import signal, sys\nfrom pathlib import Path\nfrom callpipeline.store import files\n"
        "with files.writing(Path(sys.argv[1])) as file:\n"
        "    file.write(bytes(1000)); file.flush(); print('written', flush=True); signal.pause()",
        folder / "living",
    )
    assert living.stdout
    assert living.stdout.readline() == "written\n"
    (alive,) = folder.glob(".living.*.tmp")

    assert make_room(settings, CALM) == []
    assert make_room(settings, Marks(least_disk=ALL)) == [old, large, small]
    assert {*folder.iterdir()} == {alive, elsewhere}


def test_what_a_living_process_keeps_for_hours_is_not_touched_but_what_one_before_it_left_is(
    tmp_path: Path,
) -> None:
    long_ago = time.time() - 40 * 86_400
    with files.scratch(tmp_path / "chunk-1") as waiting:
        waiting.write_bytes(b"x")
        assert files.sweep_temporaries(tmp_path, 0) == []
    with files.scratch(tmp_path / "chunk-2") as older_than_we_are:
        older_than_we_are.write_bytes(b"x")
        os.utime(older_than_we_are, (long_ago, long_ago))
        swept = files.sweep_temporaries(tmp_path, 1e9)
        assert swept == ([older_than_we_are] if sys.platform == "linux" else [])
