"""Chunks as files: the right sound, made in order in one decode, and never more of them than are needed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pytest

from callpipeline import cancellation
from callpipeline.audio.decode import Samples, read
from callpipeline.failures import SourceUnavailable
from callpipeline.model import AudioInfo, ChunkPlan, Region
from callpipeline.pipeline.workers import Workers
from callpipeline.speech.chunk_files import CODECS, ChunkFile, ChunkFiles
from callpipeline.speech.chunks import cut_of, plan_chunks
from callpipeline.speech.engines.base import CpuRunner
from callpipeline.speech.trimming import Cut, cut
from callpipeline_tests.audio.conftest import examine
from callpipeline_tests.audio.conftest import write_audio as encode
from callpipeline_tests.speech.chunking import known, regions, voices
from callpipeline_tests.speech.conftest import write_wav
from callpipeline_tests.tone_speech import script, spoken

P = ParamSpec("P")
T = TypeVar("T")

pytestmark = pytest.mark.anyio
HOUR, TEN_MINUTES = 3600, 600


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def thread() -> Iterator[CpuRunner]:
    workers = Workers(2)
    yield workers.thread
    workers.close()


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_long(tmp_path_factory.mktemp("hour") / "hour.wav", HOUR)


@pytest.fixture(scope="module")
def minutes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_long(tmp_path_factory.mktemp("minutes") / "minutes.wav", TEN_MINUTES)


def write_long(path: Path, seconds: int) -> Path:
    """Write tone speech at 8 kHz, the same ten seconds again and again."""
    sound = (spoken(script(1, 10.0), 10.0, 8000) * 32767).astype("<i2").tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        for _ in range(seconds // 10):
            file.writeframes(sound)
    return path


def planned(info: AudioInfo, seconds: float, codec: str = "flac") -> tuple[ChunkPlan, Cut]:
    """Plan chunks of at most so many seconds that overlap, and a cut that leaves nothing out."""
    plan = plan_chunks(
        info, voices(info.duration, [(0.0, info.duration)]), target_seconds=seconds, longest_seconds=seconds,
        longest_bytes=10**9, bytes_per_second=1.0, codec=codec, overlap=1.0,
    )  # fmt: skip
    return plan, cut(info, (), longest_silence=None)


def noise(seconds: float, rate: int, channels: int) -> Samples:
    """No two stretches of it are alike."""
    sound = np.random.default_rng(rate + channels).normal(0, 0.1, (channels, round(seconds * rate)))
    return sound.astype(np.float32)


def on_disk(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []


async def taken(files: ChunkFiles) -> list[tuple[ChunkFile, bytes]]:
    """Take all files, one after another, and release them."""
    found = []
    async with files:
        async for file in files:
            found.append((file, file.path.read_bytes()))
            file.release()
            assert not file.path.exists()
    return found


# --- what is in them ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "rate", "channels"),
    [
        ("mono-8k.wav", "pcm_s16le", 8000, 1),
        ("stereo-44k.mp3", "libmp3lame", 44_100, 2),
        ("mono-11k.flac", "flac", 11_025, 1),
        ("stereo-48k.ogg", "libopus", 48_000, 2),
    ],
)
async def test_each_file_has_the_samples_of_its_chunk(
    tmp_path: Path, thread: CpuRunner, name: str, codec: str, rate: int, channels: int
) -> None:
    path = encode(tmp_path / name, noise(31, rate, channels), rate, codec)
    plan, _ = planned(examine(path), 7.0)
    kept = regions((0, 4), (5.5, 12.25), (14, 14.5), (20, 31))
    whole = Cut(
        tuple(Region(start=r.start, end=min(r.end, plan.duration)) for r in kept), plan.rate, plan.duration
    )
    sound = read(path, rate=plan.rate)
    for channel in (None, *range(channels)):
        found = await taken(
            ChunkFiles(path, plan, whole, tmp_path / "sending", thread=thread, channel=channel)
        )
        assert [file.chunk for file, _ in found] == list(plan.chunks)
        expected = sound.mean(axis=0) if channel is None else sound[channel]
        for file, data in found:
            (tmp_path / "sent.flac").write_bytes(data)
            pieces = [
                expected[round(r.start * plan.rate) : round(r.end * plan.rate)]
                for r in cut_of(file.chunk, plan, whole).kept
            ]
            assert (file.cut, file.bytes, file.name) == (
                cut_of(file.chunk, plan, whole),
                len(data),
                "audio.flac",
            )
            sent = read(tmp_path / "sent.flac", rate=plan.rate)
            np.testing.assert_allclose(sent[0], np.concatenate(pieces), atol=0.51 / 32768)
            assert sent.shape[0] == 1
    assert on_disk(tmp_path / "sending") == []


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 44_100])
async def test_every_codec_keeps_the_length_and_its_promise_of_size(
    tmp_path: Path, thread: CpuRunner, codec: str, rate: int
) -> None:
    loud = (noise(25, rate, 1) * 10).clip(-1, 1)
    path = write_wav(tmp_path / "call.wav", loud, rate)
    plan, whole = planned(examine(path), 14.0, codec)
    files = await taken(ChunkFiles(path, plan, whole, tmp_path / "sending", thread=thread))
    assert len(files) == 2
    for file, data in files:
        target = tmp_path / file.name
        target.write_bytes(data)
        info = examine(target)
        assert info.duration == pytest.approx(file.cut.seconds, abs=0.001)
        assert (info.channels, info.codec.removesuffix("float")) == (1, codec)
        assert file.bytes <= CODECS[codec].bytes_per_second(plan.rate) * file.cut.seconds + 10_000


@pytest.mark.parametrize("codec", CODECS)
async def test_a_chunk_has_the_same_bytes_whichever_others_are_made(
    tmp_path: Path, thread: CpuRunner, codec: str
) -> None:
    path = encode(tmp_path / "call.mp3", noise(31, 16_000, 2), 16_000, "libmp3lame")
    plan, whole = planned(examine(path), 7.0, codec)
    every = {c.index for c in plan.chunks}
    made = {
        file.chunk.index: data
        for file, data in await taken(ChunkFiles(path, plan, whole, tmp_path / "a", thread=thread))
    }
    assert set(made) == every
    assert not any(b"Lavf6" in data or b"Lavc6" in data for data in made.values())
    for skip in (every - {2}, {0, 1}, {1, 3}, every):
        files = ChunkFiles(path, plan, whole, tmp_path / "b", thread=thread, skip=skip)
        assert {file.chunk.index: data for file, data in await taken(files)} == {
            index: made[index] for index in every - skip
        }


async def test_a_chunk_of_which_nothing_is_sent_has_no_file(tmp_path: Path, thread: CpuRunner) -> None:
    path = write_wav(tmp_path / "call.wav", noise(31, 8000, 1), 8000)
    plan, _ = planned(examine(path), 7.0)
    whole = Cut(regions((0, 3), (25, 31)), 8000, 31.0)
    found = await taken(ChunkFiles(path, plan, whole, tmp_path / "sending", thread=thread))
    assert [file.chunk.index for file, _ in found] == [0, *(c.index for c in plan.chunks if c.end > 25.1)]


# --- how many there are -------------------------------------------------------------------------------------


@dataclass
class Count:
    """How many files were begun and finished, and the most that were there whenever one was."""

    begun: int = 0
    finished: int = 0
    most: int = 0


@asynccontextmanager
async def counted(
    path: Path, seconds: int, folder: Path, thread: CpuRunner, **options: Any
) -> AsyncIterator[tuple[ChunkFiles, Count]]:
    count = Count()
    plan, whole = planned(known(seconds), seconds / 24)

    async def counting(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        count.begun += 1

        def called() -> T:
            before = len(on_disk(folder))
            found = fn(*args, **kwargs)
            # The file was there from the beginning of its writing on.
            count.most = max(count.most, before + (found is not None), len(on_disk(folder)))
            return found

        made = await thread(called)
        count.finished += 1
        return made

    async with ChunkFiles(path, plan, whole, folder, thread=counting, **options) as files:
        yield files, count


@pytest.mark.parametrize(
    ("seconds", "ahead", "senders"),
    [(HOUR, 2, 3), (TEN_MINUTES, 1, 1), (TEN_MINUTES, 3, 2), (TEN_MINUTES, 0, 1), (TEN_MINUTES, 0, 3)],
)
async def test_there_are_no_more_files_than_are_needed(
    tmp_path: Path, request: pytest.FixtureRequest, thread: CpuRunner, seconds: int, ahead: int, senders: int
) -> None:
    path = request.getfixturevalue("hour" if seconds == HOUR else "minutes")
    folder, sent, away, in_use = tmp_path / "sending", [], 0, 0
    async with counted(path, seconds, folder, thread, ahead=ahead) as (files, count):

        async def send() -> None:
            nonlocal away, in_use
            async for file in files:
                away += 1
                in_use = max(in_use, away)
                for _ in range(20):
                    await asyncio.sleep(0)
                    # With none ahead, a file is made for each sender that waits for one.
                    assert len(on_disk(folder)) <= (away + ahead if ahead else senders)
                sent.append(file.chunk.index)
                away -= 1
                file.release()

        await asyncio.gather(*(send() for _ in range(senders)))
        assert on_disk(folder) == []
    assert sorted(sent) == [chunk.index for chunk in planned(known(seconds), seconds / 24)[0].chunks]
    assert len(sent) >= 24
    assert count.most <= (ahead + in_use if ahead else senders)
    assert in_use <= senders


async def test_nothing_is_made_while_nobody_takes_it(
    tmp_path: Path, minutes: Path, thread: CpuRunner
) -> None:
    folder = tmp_path / "sending"
    async with counted(minutes, TEN_MINUTES, folder, thread, ahead=2) as (files, count):
        first = await anext(files)
        while count.finished < 3:
            await asyncio.sleep(0.001)
        for _ in range(500):
            await asyncio.sleep(0)
        assert (count.begun, len(on_disk(folder))) == (3, 3)
        first.release()
        first.release()
        assert len(on_disk(folder)) == 2
        assert [(await anext(files)).chunk.index for _ in range(2)] == [1, 2]
    assert on_disk(folder) == []
    assert count.most <= 3 + 2


@pytest.mark.parametrize("ahead", [0, 2])
async def test_waiting_takes_nothing_and_tells_whether_there_is_more(
    tmp_path: Path, minutes: Path, thread: CpuRunner, ahead: int
) -> None:
    plan, whole = planned(known(TEN_MINUTES), 300.0)
    found = []
    async with ChunkFiles(minutes, plan, whole, tmp_path / "sending", thread=thread, ahead=ahead) as files:
        while await files.waiting():
            assert await files.waiting()
            found.append((await anext(files)).chunk)
        assert not await files.waiting()
    assert found == list(plan.chunks)


async def test_the_look_ahead_can_be_made_shorter_on_the_way(
    tmp_path: Path, minutes: Path, thread: CpuRunner
) -> None:
    folder = tmp_path / "sending"
    async with counted(minutes, TEN_MINUTES, folder, thread, ahead=4) as (files, _):
        (await anext(files)).release()
        while len(on_disk(folder)) < 4:
            await asyncio.sleep(0.001)
        files.ahead = 0
        for _ in range(6):
            (await anext(files)).release()
        for _ in range(200):
            await asyncio.sleep(0)
        assert on_disk(folder) == []


# --- when it ends early -------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["at once", "while one is written", "while some wait"])
async def test_a_cancelled_run_leaves_no_files(tmp_path: Path, hour: Path, where: str) -> None:
    workers = Workers(1)
    folder = tmp_path / "sending"
    plan, whole = planned(known(HOUR), 1800.0 if where == "while one is written" else 30.0, "opus")
    began = asyncio.Event()

    async def use() -> None:
        async with ChunkFiles(hour, plan, whole, folder, thread=workers.thread, ahead=3) as files:
            began.set()
            if where == "while some wait":
                await anext(files)
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    await began.wait()
    wanted = {"at once": 0, "while one is written": 1, "while some wait": 3}[where]
    while len(on_disk(folder)) < wanted:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert on_disk(folder) == []
    workers.close()  # waits for the thread
    assert on_disk(folder) == []


async def test_a_failure_of_the_sender_leaves_no_files(
    tmp_path: Path, minutes: Path, thread: CpuRunner
) -> None:
    plan, whole = planned(known(TEN_MINUTES), 60.0)

    async def use() -> None:
        async with ChunkFiles(minutes, plan, whole, tmp_path / "sending", thread=thread) as files:
            await anext(files)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await use()
    assert on_disk(tmp_path / "sending") == []


async def test_a_recording_that_was_replaced_fails_after_what_was_made(
    tmp_path: Path, thread: CpuRunner
) -> None:
    path = write_wav(tmp_path / "call.wav", noise(31, 8000, 2), 8000)
    plan, whole = planned(examine(path), 7.0)
    write_wav(path, noise(20, 8000, 2), 8000)
    found = []

    async def take(files: ChunkFiles) -> None:
        async for file in files:
            found.append(file.chunk.index)  # noqa: PERF401

    async with ChunkFiles(path, plan, whole, tmp_path / "sending", thread=thread) as files:
        for _ in range(2):  # it stays so, for whoever asks
            with pytest.raises(SourceUnavailable, match="not the file that was examined"):
                await take(files)
    assert found == [c.index for c in plan.chunks if c.end < 20]
    with pytest.raises(SourceUnavailable, match="2 channels, not 3"):
        await taken(ChunkFiles(path, plan, whole, tmp_path / "sending", thread=thread, channel=2))
    path.unlink()
    with pytest.raises(SourceUnavailable):
        await taken(ChunkFiles(path, plan, whole, tmp_path / "sending", thread=thread))
    assert on_disk(tmp_path / "sending") == []


async def test_files_do_not_just_end_when_the_threads_are_stopped(tmp_path: Path, minutes: Path) -> None:
    workers = Workers(1)
    plan, whole = planned(known(TEN_MINUTES), 20.0)

    async def use() -> None:
        files = ChunkFiles(minutes, plan, whole, tmp_path / "sending", thread=workers.thread)
        async with files:
            async for file in files:
                file.release()
                if file.chunk.index == 2:
                    workers.close(kill=True)

    with pytest.raises((cancellation.Stopped, asyncio.CancelledError)):
        await use()
    assert on_disk(tmp_path / "sending") == []


def test_what_cannot_be_made_is_refused(tmp_path: Path, thread: CpuRunner) -> None:
    path = write_wav(tmp_path / "call.wav", noise(31, 8000, 1), 8000)
    plan, whole = planned(examine(path), 7.0, "speex")
    with pytest.raises(ValueError, match="no codec 'speex'"):
        ChunkFiles(path, plan, whole, tmp_path, thread=thread)


MEMORY = """
import asyncio, resource, sys
from pathlib import Path
from callpipeline.audio.decode import blocks
from callpipeline.pipeline.workers import Workers
from callpipeline.speech.trimming import BLOCK_SECONDS
from callpipeline.speech.chunk_files import ChunkFiles
from callpipeline_tests.speech.chunking import known
from callpipeline_tests.speech.test_chunk_files import planned

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

async def main(path, folder):
    plan, whole = planned(known(3600.0), 1000.0)
    for _ in blocks(path, rate=plan.rate, block_seconds=BLOCK_SECONDS):
        pass
    before = peak()
    workers = Workers(2)
    async with ChunkFiles(path, plan, whole, folder, thread=workers.thread) as files:
        async for file in files:
            file.release()
    workers.close()
    print(peak() - before)

asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
"""


def test_memory_stays_near_that_of_the_decode(tmp_path: Path, hour: Path) -> None:
    command = [sys.executable, "-c", MEMORY, str(hour), str(tmp_path / "sending")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert int(done.stdout) < 60_000_000
