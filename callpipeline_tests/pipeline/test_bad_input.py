"""Everything that people put into an upload folder by mistake: an error on that file, the others done."""

from __future__ import annotations

import asyncio
import os
import shutil
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from bench.recordings import InstantTranscriber, tiny_calls
from callpipeline.intake.scan import scan
from callpipeline.pipeline.batch import walk_batch
from callpipeline.pipeline.stages import ASSETS
from callpipeline.pipeline.workbench import Workbench
from callpipeline.settings import Settings

RATE = 8000


def _wav(path: Path, seconds: float, *, channels: int = 1, rate: int = RATE) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        noise = np.random.default_rng(len(path.name)).integers(-3000, 3000, int(seconds * rate) * channels)
        file.writeframes(noise.astype("<i2").tobytes())
    return path


def _video(path: Path, *, sound: bool) -> Path:
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 64
        audio = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number * 10, np.uint8), format="rgb24")
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        if audio is not None:
            tone = np.sin(np.arange(32000) / 10).astype(np.float32).reshape(1, -1)
            for start in range(0, 32000, 1024):
                part = av.AudioFrame.from_ndarray(tone[:, start : start + 1024], format="fltp", layout="mono")
                part.sample_rate, part.pts, part.time_base = 16000, start, Fraction(1, 16000)
                container.mux(audio.encode(part))
            container.mux(audio.encode(None))
    return path


def _walk(folder: Path, settings: Settings) -> dict[str, str]:
    """Take in and process a folder; return file name -> ``ok`` or the class of its failure."""
    with Workbench(settings, engine=InstantTranscriber()) as bench:
        scan(bench.catalog, folder, settings)
        outcomes = asyncio.run(walk_batch(bench.catalog.order(folder), ASSETS, bench, lambda outcome: None))
        return {
            bench.catalog.sources(o.key)[0].path.name: o.failure.error_class if o.failure else "ok"
            for o in outcomes
        }


def test_each_bad_file_fails_for_itself_and_the_good_ones_are_done(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    tiny_calls(folder, 2)
    good = {path.name for path in folder.iterdir()}
    expected = dict.fromkeys(good, "ok")
    (folder / "zero.mp3").touch()
    expected["zero.mp3"] = "empty_file"
    (folder / "text.mp3").write_text("no sound in here\n" * 99)
    expected["text.mp3"] = "not_audio"
    whole = _wav(folder / "whole.wav", 20).read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 4])
    expected |= {"whole.wav": "ok", "cut.wav": "corrupt_audio"}
    shutil.copy(_wav(tmp_path / "really.wav", 3), folder / "wrong extension.mp3")
    expected["wrong extension.mp3"] = "ok"
    _video(folder / "film.mp4", sound=True)
    _video(folder / "silent film.mp4", sound=False)
    expected |= {"film.mp4": "ok", "silent film.mp4": "not_audio"}
    _wav(folder / "seven.wav", 2, channels=7)
    _wav(folder / "high.wav", 1, rate=192_000)
    expected |= {"seven.wav": "ok", "high.wav": "ok"}
    _wav(folder / "long.wav", 31)
    expected["long.wav"] = "too_long"
    assert _walk(folder, settings.model_copy(update={"max_duration": 30.0})) == expected


def test_odd_names_and_links_are_taken_as_they_are(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    names = ["línea ñ 电话.wav", "new\nline.wav", "x" * 240 + ".wav", " spaces .wav", "=cmd.wav"]
    for number, name in enumerate(names):
        _wav(folder / name, 1 + number / 10)
    _wav(tmp_path / "elsewhere.wav", 2)
    (folder / "link.wav").symlink_to(tmp_path / "elsewhere.wav")
    (folder / "broken link.wav").symlink_to(tmp_path / "nowhere.wav")
    (folder / "round").symlink_to(folder)
    raw = os.fsencode(folder) + b"/bytes \xff.wav"
    shutil.copyfile(_wav(tmp_path / "b.wav", 3), raw)
    results = _walk(folder, settings)
    assert set(results.values()) == {"ok"}
    assert len(results) == len(names) + 2
    with Workbench(settings) as bench:
        assert [problem.path.name for problem in bench.catalog.problems(folder)] == ["broken link.wav"]


def test_a_failure_calls_the_file_by_the_name_that_people_know(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "Maria's call.mp3").write_bytes(b"nothing" * 100)
    _walk(folder, settings)
    with Workbench(settings) as bench:
        [key] = bench.catalog.order()
        failure = bench.store.failure("raw_audio", key)
    assert failure is not None
    assert failure.message.startswith("Maria's call.mp3 is not a recording")


def test_a_folder_that_vanishes_after_the_scan_loses_nothing_that_was_done(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    tiny_calls(folder, 2)
    assert set(_walk(folder, settings).values()) == {"ok"}
    tiny_calls(folder, 1, seed=9)
    with Workbench(settings, engine=InstantTranscriber()) as bench:
        scan(bench.catalog, folder, settings)
        keys = bench.catalog.order()
        folder.rename(tmp_path / "gone")
        outcomes = asyncio.run(walk_batch(keys, ASSETS, bench, lambda outcome: None))
        failed = {o.key: o.failure.error_class for o in outcomes if o.failure}
        assert len(outcomes) == 3
        assert list(failed.values()) == ["source_unavailable"]
        [key] = failed
        (tmp_path / "gone").rename(folder)
        scan(bench.catalog, folder, settings)
        [again] = asyncio.run(walk_batch([key], ASSETS, bench, lambda outcome: None))
        assert again.failure is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_problem_that_is_shown(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    tiny_calls(folder, 1)
    _wav(folder / "locked.wav", 1).chmod(0)
    assert set(_walk(folder, settings).values()) == {"ok"}
    with Workbench(settings) as bench:
        assert [problem.path.name for problem in bench.catalog.problems(folder)] == ["locked.wav"]
