"""Chunks of a long recording as files, made while they are needed.

What belongs here: one streaming decode of the recording, encoding its chunks one after another, and how many
files there are at a time. What does not: where it is cut (``chunks``), sending files.

The decode stands still while enough files wait: no thread is kept busy by waiting.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self, cast

import numpy as np

from callpipeline.audio.decode import blocks
from callpipeline.cancellation import Stopped, checkpoint
from callpipeline.model import Chunk, ChunkPlan
from callpipeline.speech.chunks import cut_of
from callpipeline.speech.engines.base import CpuRunner
from callpipeline.speech.trimming import BLOCK_SECONDS, MAX_MISSING, Cut, Pcm, pcm, replaced
from callpipeline.store.files import scratch

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

AHEAD = 2
"""Chunks that wait, ready to be sent, while others are away."""

_LOSSLESS_BITS = 16.5
"""Bits of a sample of which nothing can be saved."""

_EFFORT = 3
"""How hard Opus tries, 0-10. At 10, its default, cutting takes longer than three answers at a time; recognisers
hear no difference to 3, but some to 0 (``bench codecs``)."""

_OVER = 1.3
"""Room for the container, and for Opus, which takes more where it must and less elsewhere."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How FFmpeg makes a kind of file.

    ``name``: what a file is called at the provider. ``rates``: samples per second that it takes, in order; none =
    any. ``bits``: bits per second, ``None`` where that follows from the sound.
    """

    name: str
    encoder: str
    container: str
    rates: tuple[int, ...] = ()
    bits: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def rate_for(self, rate: int) -> int:
        """Return the lowest rate that it takes and that loses nothing of sound of this rate."""
        return next((r for r in self.rates if r >= rate), rate)

    def bytes_per_second(self, rate: int) -> float:
        """Return the most that a second of mono sound of this rate takes in a file of minutes."""
        return (_LOSSLESS_BITS * rate if self.bits is None else _OVER * self.bits) / 8


CODECS: Mapping[str, Codec] = {
    "flac": Codec("audio.flac", "flac", "flac"),
    "opus": Codec(
        "audio.ogg",
        "libopus",
        "ogg",
        rates=(8000, 12_000, 16_000),
        bits=24_000,
        options={"application": "voip", "vbr": "constrained", "compression_level": str(_EFFORT)},
    ),
    "mp3": Codec(
        "audio.mp3", "libmp3lame", "mp3", rates=(8000, 11_025, 12_000, 16_000), bits=32_000
    ),
}  # fmt: skip
"""By the names that ``ChunkPlan.codec`` has. FLAC keeps every sample; the others take about a tenth of it."""


@dataclass(frozen=True, slots=True)
class ChunkFile:
    """A chunk on the disk, as mono, until it is released.

    ``cut`` leads back from its times to the recording. ``name`` is what a provider is told: the path says
    nothing about the kind of file, and the name nothing about the recording.
    """

    chunk: Chunk
    cut: Cut
    path: Path
    bytes: int
    name: str
    _kept: ExitStack

    def release(self) -> None:
        """Remove the file; a second time does nothing."""
        self._kept.close()


class ChunkFiles:
    """The files of a recording's chunks in their order, for ``async with`` and ``async for``.

    Several tasks may take files from it at the same time; each file goes to one of them. A file is removed when it
    is released, and all are when the block ends, however it ends.

        async with ChunkFiles(path, plan, whole, folder, thread=tools.thread) as files:
            async for file in files:
                await send(file.path)
                file.release()

    At no time are there more files than those given out and not released, and ``ahead`` others, the one that is
    being written among them. ``ahead`` may be set anew on the way; with none ahead a file is made when somebody waits
    for it.
    """

    def __init__(
        self,
        path: Path,
        plan: ChunkPlan,
        whole: Cut,
        folder: Path,
        *,
        thread: CpuRunner,
        ahead: int = AHEAD,
        skip: Collection[int] = (),
        channel: int | None = None,
    ) -> None:
        """Set it up; nothing is read yet.

        Args:
            path: The recording.
            plan: Where it is cut.
            whole: What is sent of the recording. Chunks of which nothing is sent get no file.
            folder: Where the files are; it is made when it is missing. What a killed process leaves there is
                swept by ``store.files``.
            thread: Runs the decode, for a chunk at a time.
            ahead: Files that may wait to be taken.
            skip: Indexes of chunks that are not needed. Their audio is decoded, since what follows is found by
                counting samples, and not encoded. With all indexes but one, a chunk can be made anew.
            channel: The channel that is sent by itself, 0-based; ``None`` mixes all of them.

        Raises:
            ValueError: the plan's codec is unknown, or the cut is on another grid.
        """
        if plan.codec not in CODECS:
            raise ValueError(f"no codec {plan.codec!r}: there are {', '.join(CODECS)}")
        cuts = ((chunk, cut_of(chunk, plan, whole)) for chunk in plan.chunks if chunk.index not in skip)
        wanted = [(chunk, cut) for chunk, cut in cuts if cut.kept]
        self.ahead = ahead
        self._thread = thread
        self._stopped = threading.Event()
        self._at_work = threading.Lock()
        sound = _Sound(path, plan.rate, channel, self._stopped)
        self._writing = _written(sound, wanted, CODECS[plan.codec], folder)
        self._made: list[ChunkFile] = []
        self._ready: deque[ChunkFile] = deque()
        self._left = len(wanted)
        self._wanting = 0
        self._changed = asyncio.Condition()
        self._ended = False
        self._failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._produce())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._task.cancel()
        # Nothing is awaited here, because the block may end by being cancelled. The thread looks whether it is
        # stopped at each block of a few seconds of sound, which takes it a tenth of a second at most.
        with self._at_work:
            self._writing.close()
        for file in self._made:
            file.release()

    async def waiting(self) -> bool:
        """Wait until a file is ready, without taking it; return whether there will be one, or a failure, to take.

        With none ahead there is nothing to wait for: a file is only made for who takes it.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._ready or self._ended or self.ahead < 1)
        return bool(self._ready) or self._failure is not None or (self._left > 0 and not self._ended)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChunkFile:
        """Return the next file, as soon as there is one.

        Raises:
            SourceUnavailable: the recording is gone, or is not the one that was examined.
            EmptyFile, NotAudio, CorruptAudio: see ``audio.decode.open_recording``.
            OSError: a file cannot be written.
        """
        async with self._changed:
            self._wanting += 1
            self._changed.notify_all()
            try:
                await self._changed.wait_for(lambda: self._ready or self._ended)
            finally:
                self._wanting -= 1
            if self._ready:
                self._changed.notify_all()
                return self._ready.popleft()
        if self._failure is not None:
            raise self._failure
        raise StopAsyncIteration

    async def _produce(self) -> None:
        try:
            while True:
                async with self._changed:
                    await self._changed.wait_for(lambda: len(self._ready) < max(self.ahead, self._wanting))
                file = await self._thread(self._write_next)
                if file is None:
                    return
                async with self._changed:
                    self._ready.append(file)
                    self._left -= 1
                    self._changed.notify_all()
        except BaseException as error:
            # Of any kind: whoever takes the files must not think that these are all.
            self._failure = error
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._ended = True
            async with self._changed:
                self._changed.notify_all()

    def _write_next(self) -> ChunkFile | None:
        """Write the next file, in a thread; ``None`` after the last, and when nobody wants more."""
        with self._at_work:
            if self._stopped.is_set():
                return None
            file = next(self._writing, None)
            if file is not None:
                self._made.append(file)
            return file


# --- decoding and encoding ---------------------------------------------------------------------------------


class _Sound:
    """The recording as one channel of 16 bits, decoded once, as far as it is asked for."""

    def __init__(self, path: Path, rate: int, channel: int | None, stopped: threading.Event) -> None:
        self._path = path
        self._rate = rate
        self._channel = channel
        self._stopped = stopped
        self._blocks = self._decoded()
        self._held: deque[tuple[int, Pcm]] = deque()
        self._end = 0

    def close(self) -> None:
        """Close the recording."""
        self._blocks.close()

    def between(self, first: int, last: int, keep: int) -> Iterator[Pcm]:
        """Yield samples ``first`` to ``last``; of those before, forget all before ``keep``.

        Raises:
            SourceUnavailable: the recording ends before.
        """
        position = first
        while position < last:
            found = self._block_at(position, min(keep, position))
            if found is None:
                if self._end < last - MAX_MISSING * self._rate:
                    raise replaced(
                        self._path, f"{self._end / self._rate:.1f} s, not {last / self._rate:.1f} s"
                    )
                return
            start, block = found
            yield block[position - start : last - start]
            position = start + block.size

    def _block_at(self, position: int, keep: int) -> tuple[int, Pcm] | None:
        while self._end <= position:
            block = next(self._blocks, None)
            if block is None:
                return None
            self._held.append((self._end, block))
            self._end += block.size
            while self._held and self._held[0][0] + self._held[0][1].size <= keep:
                self._held.popleft()
        return next((start, block) for start, block in self._held if start + block.size > position)

    def _decoded(self) -> Generator[Pcm]:
        for block in blocks(self._path, rate=self._rate, block_seconds=BLOCK_SECONDS):
            checkpoint()
            if self._stopped.is_set():
                raise Stopped
            if self._channel is None:
                yield pcm(block.mean(axis=0))
            elif self._channel < block.shape[0]:
                yield pcm(block[self._channel])
            else:
                raise replaced(self._path, f"{block.shape[0]} channels, not {self._channel + 1}")


def _written(
    sound: _Sound, wanted: Sequence[tuple[Chunk, Cut]], codec: Codec, folder: Path
) -> Generator[ChunkFile]:
    """Yield the files of chunks, each as soon as it is whole."""
    following = [round(cut.kept[0].start * cut.rate) for _, cut in wanted[1:]]
    with closing(sound):
        for (chunk, cut), keep in zip_longest(wanted, following):
            with ExitStack() as stack:
                target = stack.enter_context(scratch(folder / f"chunk-{chunk.index}"))
                folder.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:
                    _encode(_kept(sound, cut, keep), cut.rate, codec, file)
                size = target.stat().st_size
                yield ChunkFile(chunk, cut, target, size, codec.name, stack.pop_all())


def _kept(sound: _Sound, cut: Cut, keep: int | None) -> Iterator[Pcm]:
    for region in cut.kept:
        first, last = round(region.start * cut.rate), round(region.end * cut.rate)
        yield from sound.between(first, last, last if keep is None else keep)


def _encode(stretches: Iterable[Pcm], rate: int, codec: Codec, file: BinaryIO) -> None:
    import av
    from av.audio.frame import AudioFrame

    # "bitexact": the same bytes each time, with no versions of libraries and no random numbers in them.
    with av.open(file, "w", format=codec.container, container_options={"fflags": "+bitexact"}) as container:
        options = {"flags": "+bitexact", **codec.options}
        made = container.add_stream(codec.encoder, rate=codec.rate_for(rate), options=options, layout="mono")
        stream = cast("AudioStream", made)
        if codec.bits is not None:
            stream.bit_rate = codec.bits
        for samples in stretches:
            frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="s16", layout="mono")
            frame.sample_rate = rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
