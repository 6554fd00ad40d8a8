from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from callpipeline.failures import SourceUnavailable
from callpipeline.store.raw import keep, raw_path

DATA = os.urandom(3 << 20)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "Call One.MP3"
    path.write_bytes(DATA)
    return path


def test_the_original_is_kept_byte_for_byte_under_its_key(tmp_path: Path, source: Path) -> None:
    kept = keep(tmp_path / "store", source, "ab12", SHA256)
    assert kept == tmp_path / "store" / "raw_audio" / "ab12.mp3"
    assert kept.read_bytes() == DATA
    assert raw_path(tmp_path / "store", "ab12") == kept


def test_keeping_again_needs_no_source_and_makes_no_second_copy(tmp_path: Path, source: Path) -> None:
    kept = keep(tmp_path, source, "ab12", SHA256)
    source.unlink()
    assert keep(tmp_path, tmp_path / "other.wav", "ab12", SHA256) == kept
    assert list((tmp_path / "raw_audio").iterdir()) == [kept]


def test_a_source_that_changed_meanwhile_is_not_kept(tmp_path: Path, source: Path) -> None:
    source.write_bytes(DATA[:-1] + b"x")
    with pytest.raises(SourceUnavailable, match="changed"):
        keep(tmp_path, source, "ab12", SHA256)
    assert raw_path(tmp_path, "ab12") is None
    assert list((tmp_path / "raw_audio").iterdir()) == []


def test_a_source_that_went_away_is_reported_as_such(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match=r"gone\.mp3"):
        keep(tmp_path, tmp_path / "gone.mp3", "ab12", SHA256)
    with pytest.raises(SourceUnavailable):
        keep(tmp_path, tmp_path, "ab12", SHA256)


@pytest.mark.parametrize(
    ("name", "kept_as"), [("call.dat", "ab12.dat"), ("call", "ab12"), ("c.JSON", "ab12.original")]
)
def test_unusual_names_are_kept_and_found_too(tmp_path: Path, name: str, kept_as: str) -> None:
    source = tmp_path / name
    source.write_bytes(DATA)
    (tmp_path / "raw_audio").mkdir()
    (tmp_path / "raw_audio" / "ab12.json").write_text("{}")
    assert raw_path(tmp_path, "ab12") is None
    kept = keep(tmp_path, source, "ab12", SHA256)
    assert kept.name == kept_as
    assert raw_path(tmp_path, "ab12") == kept
