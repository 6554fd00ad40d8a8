"""Making sample calls, as somebody does who adds one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from callpipeline_tests.samples.conftest import DATA, SOURCE

needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")


def make(folder: Path, *names: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DATA / "make_samples.py"), *names]
    places = ["--samples", str(folder / "samples"), "--source", str(folder)]
    environment = os.environ | ({"PATH": path} if path is not None else {})
    return subprocess.run([*command, *places], capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of dialogue files with one short call in it."""
    (tmp_path / "calls").mkdir()
    shutil.copy(SOURCE / "calls" / "homes-too-short.toml", tmp_path / "calls" / "short.toml")
    return tmp_path


@needs_flite
def test_the_same_dialogue_gives_the_same_bytes(source: Path) -> None:
    first = make(source)
    assert first.returncode == 0, first.stderr
    sound = next((source / "samples").glob("*.mp3"))
    bytes_before = sound.read_bytes()
    assert make(source, "short").returncode == 0
    assert sound.read_bytes() == bytes_before


@needs_flite
def test_left_overs_of_a_renamed_sample_are_named(source: Path) -> None:
    assert make(source).returncode == 0
    script = source / "calls" / "short.toml"
    script.write_text(script.read_text().replace("Maria Lopez _ ", "Ann Lopez _ "))
    assert "not made by any dialogue file" in make(source).stderr


def test_without_flite_the_error_says_what_to_install(source: Path) -> None:
    done = make(source, path="")
    assert done.returncode == 2
    assert "apt install flite" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("customer: Hello?", "custmer: Hello?", "short.toml, dialogue line 1: cannot read 'custmer: Hello?'"),
        ("customer: Hello?", "customer [soon]: Hello?", "dialogue line 1: option 'soon'"),
        ("[voices]", "[voces]", "voces"),
        ('about = "', 'abut = "', "'about' is missing"),
        ("[voices]", "[voices", "short.toml: "),
    ],
)
def test_a_mistake_in_a_dialogue_file_is_named(source: Path, old: str, new: str, complaint: str) -> None:
    script = source / "calls" / "short.toml"
    script.write_text(script.read_text().replace(old, new, 1))
    done = make(source)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_name_is_answered_with_the_known_ones(source: Path) -> None:
    done = make(source, "nobody")
    assert done.returncode == 2
    assert "no dialogue file named nobody; there are: short" in done.stderr
