from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from callpipeline.store import files
from callpipeline_tests.store.conftest import Start

WRITER = """
import sys
from pathlib import Path
from callpipeline.store import files
target = Path(sys.argv[1])
print("ready", flush=True)
n = int(sys.argv[2])
while True:
    n += 1
    with files.writing(target) as f:
        for _ in range(40):
            f.write(b"%09d\\n" % n * 100)
"""


def test_a_reader_never_sees_half_a_file_however_often_the_writer_is_killed(
    tmp_path: Path, start: Start
) -> None:
    target = tmp_path / "value.json"
    for kill in range(12):
        writer = start(WRITER, target, str(kill * 1000))
        assert writer.stdout is not None
        writer.stdout.readline()
        before = target.stat().st_mtime_ns if target.exists() else 0
        while not target.exists() or target.stat().st_mtime_ns == before:
            assert writer.poll() is None
        writer.kill()
        writer.wait()
        lines = target.read_bytes().splitlines()
        assert len(lines) == 4000
        assert len(set(lines)) == 1


def test_temporaries_of_a_killed_writer_are_swept_at_once(tmp_path: Path, start: Start) -> None:
    source = """
import os, signal, sys
from pathlib import Path
from callpipeline.store import files
with files.writing(Path(sys.argv[1])) as f:
    f.write(b"half")
    f.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    start(source, tmp_path / "deep" / "value.json").wait()
    (left,) = (tmp_path / "deep").iterdir()
    assert files.sweep_temporaries(tmp_path, 3600, dry_run=True) == [left]
    assert left.exists()
    assert files.sweep_temporaries(tmp_path, 3600) == [left]
    assert not left.exists()


def test_temporaries_of_a_living_writer_are_left_alone(tmp_path: Path) -> None:
    with files.writing(tmp_path / "value.json") as file:
        file.write(b"x")
        assert files.sweep_temporaries(tmp_path, 3600) == []
    assert (tmp_path / "value.json").read_bytes() == b"x"


def test_temporaries_from_elsewhere_are_only_swept_when_old(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    foreign = tmp_path / f".value.json.{dead.pid}.ffffff01234567.tmp"
    foreign.write_bytes(b"half")
    assert files.sweep_temporaries(tmp_path, 3600) == []
    old = time.time() - 7200
    os.utime(foreign, (old, old))
    assert files.sweep_temporaries(tmp_path, 3600) == [foreign]


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "in" / "value.json"
    files.write_text(target, "old")
    with pytest.raises(ZeroDivisionError), files.writing(target) as file:
        file.write(bytes(1 // 0))
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]


def test_names_as_long_as_the_file_system_allows_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("ä" * 120 + ".json")
    files.write_bytes(target, b"x")
    assert target.read_bytes() == b"x"


def test_files_that_only_look_like_temporaries_are_not_swept(tmp_path: Path) -> None:
    for name in (".hidden.tmp", "value.1.abc.tmp", ".value.json.12.tmp"):
        (tmp_path / name).write_bytes(b"mine")
    assert files.sweep_temporaries(tmp_path, 0) == []
