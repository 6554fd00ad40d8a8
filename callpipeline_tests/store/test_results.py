from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import BaseModel

from callpipeline.failures import UsageError
from callpipeline.model import Region, Segment, StageFailure, Transcript
from callpipeline.store.results import ResultStore
from callpipeline_tests.store.conftest import Start

WRITER = """
import sys
from pathlib import Path
from callpipeline.model import Region
from callpipeline.store.results import ResultStore
store = ResultStore(Path(sys.argv[1]))
print("ready", flush=True)
n = 0
while True:
    n += 1
    for key in ("a1", "a2", "a3"):
        store.put("detections", key, Region(start=n, end=n), cache_key=str(n), code_version="1")
"""


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "store")


def transcript(text: str) -> Transcript:
    segment = Segment(start=0.0, end=1.5, text=text, speaker="agent")
    return Transcript(engine="x", engine_version="1", language="en", duration=2.0, segments=(segment,))


def failure(key: str, attempts: int = 1) -> StageFailure:
    return StageFailure(
        asset="transcripts",
        partition=key,
        error_class="engine_failed",
        message="broke",
        permanent=False,
        attempts=attempts,
        at=datetime.now(UTC),
    )


def test_what_was_stored_comes_back_with_what_it_was_made_from(store: ResultStore) -> None:
    text = 'Grüße, "quoted", "value": {}, \n tab\t'
    put = store.put("transcripts", "ab12", transcript(text), cache_key="c1", code_version="7")
    got = store.get("transcripts", "ab12", Transcript)
    assert got == put
    assert got is not None
    assert got.value.segments[0].text == text
    assert (got.asset, got.partition, got.cache_key, got.code_version) == ("transcripts", "ab12", "c1", "7")
    assert json.loads(got.path.read_text())["value"]["segments"][0]["text"] == text
    header = store.header("transcripts", "ab12")
    assert header is not None
    assert (header.cache_key, header.data_version) == ("c1", got.data_version)


def test_the_data_version_depends_on_the_value_only(store: ResultStore) -> None:
    first = store.put("transcripts", "a1", transcript("x"), cache_key="c1", code_version="1")
    again = store.put("transcripts", "a1", transcript("x"), cache_key="c2", code_version="2")
    other = store.put("transcripts", "a1", transcript("y"), cache_key="c2", code_version="2")
    assert first.data_version == again.data_version != other.data_version


def test_what_is_not_there_is_none(store: ResultStore) -> None:
    assert store.get("transcripts", "a1", Transcript) is None
    assert store.header("transcripts", "a1") is None
    assert store.keys("transcripts") == set()
    assert store.failure("transcripts", "a1") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-20],
        lambda content: content.replace(b"hello", b"hallo"),
        lambda content: b"\x00\xff not ours",
        lambda content: b'{"some": "other json"}',
        lambda content: content.replace(b'"partition":"a1"', b'"partition":"a2"'),
    ],
    ids=["empty", "cut", "altered", "binary", "foreign", "other-recording"],
)
def test_a_damaged_file_counts_as_absent_and_is_kept_aside(store: ResultStore, damage: object) -> None:
    path = store.put("transcripts", "a1", transcript("hello"), cache_key="c", code_version="1").path
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert store.get("transcripts", "a1", Transcript) is None
    assert not path.exists()
    assert path.with_name("a1.json.corrupt").exists()
    assert store.keys("transcripts") == set()


def test_a_sound_value_of_another_version_counts_as_absent_and_stays(store: ResultStore) -> None:
    path = store.put("transcripts", "a1", Region(start=0, end=1), cache_key="c", code_version="1").path
    assert store.get("transcripts", "a1", Transcript) is None
    assert path.exists()
    store.put("transcripts", "a1", transcript("x"), cache_key="c", code_version="2")
    assert store.get("transcripts", "a1", Transcript) is not None


def test_a_value_that_could_not_be_read_back_is_refused(store: ResultStore) -> None:
    with pytest.raises(ValueError, match="start"):
        store.put("transcripts", "a1", Region(start=float("nan"), end=1), cache_key="c", code_version="1")
    assert store.keys("transcripts") == set()


def test_a_failure_stands_until_the_next_value(store: ResultStore) -> None:
    store.fail(failure("a1"))
    store.fail(failure("a1", attempts=2))
    kept = store.failure("transcripts", "a1")
    assert kept is not None
    assert kept.attempts == 2
    assert store.failed_keys("transcripts") == {"a1"}
    assert store.keys("transcripts") == set()
    store.put("transcripts", "a1", transcript("x"), cache_key="c", code_version="1")
    assert store.failure("transcripts", "a1") is None
    assert store.keys("transcripts") == {"a1"}


def test_a_failure_leaves_the_older_value(store: ResultStore) -> None:
    store.put("transcripts", "a1", transcript("x"), cache_key="c", code_version="1")
    store.fail(failure("a1"))
    assert store.get("transcripts", "a1", Transcript) is not None


def test_keys_are_those_of_values_only(store: ResultStore) -> None:
    store.put("raw_audio", "a1", Region(start=0, end=1), cache_key="c", code_version="1")
    for name in ("a1.mp3", "a2.failure.json", "a3.json.corrupt", ".a4.json.1.ffffff00000000.tmp", "a5.wav"):
        (store.root / "raw_audio" / name).write_bytes(b"")
    assert store.keys("raw_audio") == {"a1"}


@pytest.mark.parametrize("key", ["../etc", "a/b", "", ".hidden", "a.failure", "a\0b", "ä"])
def test_a_key_cannot_lead_out_of_the_store(store: ResultStore, key: str) -> None:
    with pytest.raises(UsageError):
        store.path("transcripts", key)
    with pytest.raises(UsageError):
        store.try_lock(key)


def test_every_result_is_readable_after_any_number_of_kills(store: ResultStore, start: Start) -> None:
    for _ in range(8):
        writer = start(WRITER, store.root)
        assert writer.stdout is not None
        writer.stdout.readline()
        before = store.header("detections", "a3")
        while store.header("detections", "a3") == before:
            assert writer.poll() is None
        writer.kill()
        writer.wait()
        for key in store.keys("detections"):
            got = store.get("detections", key, Region)
            assert got is not None
            assert got.value.start == int(got.cache_key)
    assert not list(store.root.rglob("*.corrupt"))


def test_removing_takes_value_and_failure(store: ResultStore) -> None:
    store.put("transcripts", "a1", transcript("x"), cache_key="c", code_version="1")
    store.fail(failure("a1"))
    store.remove("transcripts", "a1")
    store.remove("transcripts", "a1")
    assert not list((store.root / "transcripts").iterdir())


def test_values_of_any_model_can_be_stored(store: ResultStore) -> None:
    class Answer(BaseModel):
        by_name: dict[str, float]

    store.put("answers", "a1", Answer(by_name={"b": 1.0, "a": 2.0}), cache_key="c", code_version="1")
    got = store.get("answers", "a1", Answer)
    assert got is not None
    assert got.value.by_name == {"a": 2.0, "b": 1.0}
