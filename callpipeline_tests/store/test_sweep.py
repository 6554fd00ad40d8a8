from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from callpipeline.failures import UsageError
from callpipeline.intake.catalog import Catalog
from callpipeline.intake.scan import scan
from callpipeline.model import Region
from callpipeline.settings import Settings
from callpipeline.store.results import ResultStore
from callpipeline.store.sweep import sweep


def test_the_progress_of_a_recording_that_nobody_works_on_goes(
    known: tuple[ResultStore, Catalog, str],
) -> None:
    store, catalog, key = known
    (store.root / "progress").mkdir(parents=True)
    of_nobody, at_work = (store.root / "progress" / f"{name}.json" for name in ("killed", key))
    for path in (of_nobody, at_work):
        path.write_text("{}")
    with store.lock(key):
        assert sweep(store.root, catalog).temporaries == (of_nobody,)
    assert not of_nobody.exists()
    assert at_work.exists()


@pytest.fixture
def known(tmp_path: Path) -> tuple[ResultStore, Catalog, str]:
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    (uploads / "a.mp3").write_bytes(b"a")
    catalog = Catalog(tmp_path / "store" / "catalog.sqlite")
    (key,) = scan(catalog, uploads, Settings()).new
    return ResultStore(tmp_path / "store"), catalog, key


def put(store: ResultStore, asset: str, key: str) -> Path:
    return store.put(asset, key, Region(start=0, end=1), cache_key="c", code_version="1").path


def test_rubbish_goes_and_everything_in_use_stays(known: tuple[ResultStore, Catalog, str]) -> None:
    store, catalog, key = known
    kept = put(store, "transcripts", key)
    dead = subprocess.Popen(["true"])
    dead.wait()
    old = time.time() - 40 * 86_400
    stale = store.root / "transcripts" / f".x.json.{dead.pid}.ffffff01234567.tmp"
    ancient = store.root / "transcripts" / "a1.json.corrupt"
    recent = store.root / "transcripts" / "a2.json.corrupt"
    for path in (stale, ancient, recent):
        path.write_bytes(b"12345")
    for path in (stale, ancient):
        os.utime(path, (old, old))
    (store.root / ".locks").mkdir(exist_ok=True)
    left = store.root / ".locks" / "killed.lock"
    left.touch()
    with store.lock("held"):
        looked = sweep(store.root, catalog, dry_run=True)
        assert stale.exists()
        assert left.exists()
        swept = sweep(store.root, catalog)
        assert store.try_lock("held") is None
    for report in (looked, swept):
        assert (report.temporaries, report.corrupt, report.locks) == ((stale,), (ancient,), (left,))
        assert report.bytes == 10
    assert not stale.exists()
    assert not ancient.exists()
    assert not left.exists()
    assert recent.exists()
    assert kept.exists()


def test_orphans_are_listed_and_go_only_on_demand(known: tuple[ResultStore, Catalog, str]) -> None:
    store, catalog, key = known
    own = [put(store, asset, key) for asset in ("raw_audio", "transcripts")]
    original = store.root / "raw_audio" / "dead00000000beef.mp3"
    original.write_bytes(b"x")
    foreign = (original, put(store, "transcripts", "dead00000000beef"))
    other = store.root / "reports" / "summary.json"
    other.parent.mkdir()
    other.write_text("{}")
    assert sweep(store.root, catalog).orphans == foreign
    assert all(path.exists() for path in foreign)
    assert sweep(store.root, catalog, remove_orphans=True).orphans_removed
    assert not any(path.exists() for path in foreign)
    assert all(path.exists() for path in (*own, other))


def test_an_empty_catalogue_makes_nothing_an_orphan_that_is_removed(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "store")
    path = put(store, "transcripts", "a1")
    with pytest.raises(UsageError, match="Scan"):
        sweep(store.root, Catalog(store.root / "catalog.sqlite"), remove_orphans=True)
    assert path.exists()
