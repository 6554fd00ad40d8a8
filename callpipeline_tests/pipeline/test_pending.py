"""What a run takes up again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.recordings import InstantTranscriber
from callpipeline.intake.scan import scan
from callpipeline.pipeline.batch import walk_batch
from callpipeline.pipeline.pending import done, pending
from callpipeline.pipeline.stages import ASSETS
from callpipeline.pipeline.workbench import Workbench
from callpipeline.settings import Settings


@pytest.mark.parametrize("asset", ["raw_audio", "transcripts", "call_metrics"])
def test_a_recording_whose_result_was_removed_is_done_again(
    asset: str, settings: Settings, calls: Callable[[int], Path]
) -> None:
    folder = calls(3)
    with Workbench(settings, engine=InstantTranscriber()) as bench:
        scan(bench.catalog, folder, settings)
        keys = pending(bench, folder)
        assert len(keys) == 3
        assert done(bench) == frozenset()

        asyncio.run(walk_batch(keys, ASSETS, bench, lambda outcome: None))
        assert pending(bench, folder) == []
        assert done(bench) == frozenset(keys)

        bench.store.path(asset, keys[1]).unlink()
        assert pending(bench, folder) == [keys[1]]
        asyncio.run(walk_batch([keys[1]], ASSETS, bench, lambda outcome: None))
        assert bench.store.path(asset, keys[1]).exists()
        assert pending(bench, folder) == []
