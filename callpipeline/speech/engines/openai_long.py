"""Long recordings through OpenAI's API: cut into chunks, several of them away at once, put together again.

What belongs here: which chunks are still to be bought, sending them while they are being cut, and what becomes of
one that fails. What does not: where it is cut (``speech.chunks``), files of chunks (``speech.chunk_files``), seams
(``speech.merging``), one request (``openai_requests``).

Each chunk is a request with a name of its own, made of its place in the recording. Another codec or another cut of
silences is no reason to pay for it again; other places of the cuts are.

A chunk that fails for good becomes a gap, and the next run tries it again. What ends the whole recording (the
account is refused, a budget or the deadline is reached) ends it after those that are under way; what was paid stays.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import cached_property
from pathlib import Path
from typing import ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from callpipeline.audio.channels import apart, channels_differ
from callpipeline.failures import AccountRefused, CallFailed, describe
from callpipeline.model import ChunkPlan, ChunkState, Gap, Transcript
from callpipeline.speech.chunk_files import CODECS, ChunkFile, ChunkFiles
from callpipeline.speech.chunks import cut_of
from callpipeline.speech.engines.base import PlannedCall, SpeechJob
from callpipeline.speech.engines.openai_requests import (
    FOLDER,
    NAME,
    POOL,
    Piece,
    Requests,
    joined,
    language_of,
)
from callpipeline.speech.merging import ChunkText, merge
from callpipeline.speech.trimming import PAD, Cut, cut, lone_sounds, voice

P = ParamSpec("P")
T = TypeVar("T")

BEING_CUT = 2
"""Recordings whose chunks are cut at the same time, in one process: while the last chunks of one are away, those of
the next are made. More of them would only mean more files."""

IN_A_ROW = 3
"""So many chunks, one after another, that the provider did not answer: the others are not tried now."""

CONTEXT_WORDS = 150
"""Words of the chunk before that the model is told: about the 224 tokens that it reads."""


class Together:
    """What the recordings of one engine share: how many chunks are away, and how many recordings are being cut."""

    def __init__(self) -> None:
        self.cutting = asyncio.Semaphore(BEING_CUT)
        self._away = 0
        self._returned = asyncio.Event()

    async def leave(self, most: int) -> None:
        """Wait until fewer than ``most`` files are given out, and count one more."""
        while self._away >= most:
            self._returned.clear()
            await self._returned.wait()
        self._away += 1

    def back(self) -> None:
        """Count one file less."""
        self._away -= 1
        self._returned.set()


class LongRecordings:
    """The long recordings of one engine."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._shared: WeakKeyDictionary[asyncio.AbstractEventLoop, Together] = WeakKeyDictionary()

    def planned(self, job: SpeechJob, plan: ChunkPlan) -> tuple[PlannedCall, ...]:
        """Return the requests of a recording, chunk by chunk.

        Raises:
            NotConfigured: the model has no price.
        """
        per_second = CODECS[plan.codec].bytes_per_second(plan.rate)
        return tuple(
            self._requests.planned(piece, per_second)
            for track in self._tracks(job, plan)
            for piece in track.pieces.values()
        )

    async def transcribe(self, job: SpeechJob, plan: ChunkPlan) -> Transcript:
        """Return what the model heard in all chunks; those that failed for good are gaps.

        Raises:
            CallPipelineError: as of a short recording, or the failure of the first chunk when none succeeded.
        """
        together = self._shared.setdefault(asyncio.get_running_loop(), Together())
        tracks = self._tracks(job, plan)
        for track in tracks:
            track.announce()
        found = [await track.transcript(together) for track in tracks if track.pieces]
        return joined(self._requests, job, found)

    def _tracks(self, job: SpeechJob, plan: ChunkPlan) -> list[_Track]:
        channels: Sequence[int | None] = [None]
        if channels_differ(job.info) and apart(job.activity):
            channels = [channel.channel for channel in job.activity.channels if channel.speech]
        of = len(plan.chunks) * len(channels)
        return [
            _Track(self._requests, job, plan, channel, first=number * len(plan.chunks), of=of)
            for number, channel in enumerate(channels)
        ]


class _Track:
    """The chunks of a recording, or of one channel of it.

    ``first`` and ``of`` number its chunks among those of all channels.
    """

    def __init__(
        self, requests: Requests, job: SpeechJob, plan: ChunkPlan, channel: int | None, *, first: int, of: int
    ) -> None:
        self._requests = requests
        self._settings = requests.settings
        self._job = job
        self._plan = plan
        self._channel = channel
        self._first = first
        self._of = of
        self._said: dict[int, Transcript | Gap] = {}
        self._failures: list[CallFailed] = []
        self._in_a_row = 0
        self._broken: Exception | None = None
        self._states: dict[int, ChunkState] = {}

    @cached_property
    def pieces(self) -> dict[int, Piece]:
        """The requests by index of their chunk; chunks with nothing to hear have none."""
        found = {}
        for chunk in self._plan.chunks:
            part = cut_of(chunk, self._plan, self._whole)
            if part.kept:
                number = self._first + chunk.index + 1
                order = self._requests.order(
                    self._job,
                    self._channel,
                    part=f"chunk {number}/{self._of}",
                    chunk=[round(chunk.start * part.rate), round(chunk.end * part.rate), part.rate],
                    context=self._settings.chunk_context,
                )
                found[chunk.index] = Piece(order, self._channel, part, chunk)
        return found

    @cached_property
    def _whole(self) -> Cut:
        """What is sent of the recording."""
        longest = self._settings.longest_silence if self._settings.cut_silences else None
        if longest is not None and self._channel is not None:
            longest = min(longest, 2 * PAD)
        regions = voice(self._job.activity, None if self._channel is None else [self._channel])
        if self._channel is None:
            regions = (*regions, *lone_sounds(self._job.info, regions))
        return cut(self._job.info, regions, longest_silence=longest)

    async def transcript(self, together: Together) -> Transcript:
        """Return its transcript; buy what is missing.

        Raises:
            CallPipelineError: see ``LongRecordings.transcribe``.
        """
        for index, piece in self.pieces.items():
            kept = await self._requests.kept(self._job, piece)
            if kept is not None:
                self._said[index] = kept
                self._note(index, state="reused")
        if self._missing:
            await self._buy(together)
        if self._broken is not None:
            raise self._broken
        if not any(isinstance(said, Transcript) for said in self._said.values()):
            raise self._failures[0]
        parts = [ChunkText(chunk, self._said.get(chunk.index, self._silent)) for chunk in self._plan.chunks]
        return merge(parts, self._plan, duration=self._job.info.duration)

    @property
    def _missing(self) -> list[int]:
        return [index for index in self.pieces if index not in self._said]

    @property
    def _silent(self) -> Transcript:
        return Transcript(
            engine=NAME,
            engine_version=self._requests.version,
            language=language_of(self._job),
            duration=self._job.info.duration,
            segments=(),
            skipped_reason="nobody speaks",
        )

    # --- sending ------------------------------------------------------------------------------------------

    def files(self, wanted: Sequence[int]) -> ChunkFiles:
        """Return what makes the files of these chunks, in order."""
        coming = iter(sorted(wanted))

        async def thread(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
            index = next(coming, None)  # each call makes one file; one more says that there are no others
            if index is not None:
                self._note(index, state="cutting")
            made = await self._requests.tools.thread(fn, *args, **kwargs)
            if isinstance(made, ChunkFile):
                self._note(made.chunk.index, state="waiting", bytes=made.bytes)
            return made

        return ChunkFiles(
            self._job.path,
            self._plan,
            self._whole,
            self._settings.store / FOLDER,
            thread=thread,
            ahead=self._requests.tools.look_ahead(),
            skip={chunk.index for chunk in self._plan.chunks} - set(wanted),
            channel=self._channel,
        )

    async def _buy(self, together: Together) -> None:
        async with AsyncExitStack() as cutting:
            await cutting.enter_async_context(together.cutting)
            async with self.files(self._missing) as files, asyncio.TaskGroup() as group:
                try:
                    await self._send_all(files, together, group)
                except Exception as error:  # a task group would put it into a group
                    self._broken = error
                await cutting.aclose()
        for index in self._missing if self._broken is None else ():
            last = self._failures[-1]
            self._give_up(index, type(last)(f"not tried, for the chunks before failed: {last}"))

    async def _send_all(self, files: ChunkFiles, together: Together, group: asyncio.TaskGroup) -> None:
        """Give each file out as soon as there is one and a chunk may leave."""
        slots = self._requests.tools.supplies().slots
        while await files.waiting():
            most = await slots.size(POOL)
            await together.leave(self._settings.openai_audio_slots if most is None else max(1, most))
            if self._broken is not None or self._in_a_row >= IN_A_ROW:
                together.back()
                return
            try:
                file = await anext(files)
            except BaseException:
                together.back()
                raise
            files.ahead = self._requests.tools.look_ahead()
            sent = group.create_task(self._send(file, together))
            if self._settings.chunk_context:
                await sent

    async def _send(self, file: ChunkFile, together: Together) -> None:
        index = file.chunk.index
        try:
            async with _ChunkAudio(self, file) as audio:
                found = await self._requests.bought(
                    self._job, self.pieces[index], audio, prompt=self._prompt(index)
                )
            self._said[index] = found
            self._in_a_row = 0
            self._note(index, state="done" if audio.left else "reused", finished=time.time())
        except CallFailed as error:
            if isinstance(error, AccountRefused):
                self._broken = error
            else:
                self._in_a_row += 1
                self._give_up(index, error)
        except Exception as error:
            self._broken = error
        finally:
            file.release()
            together.back()

    def _prompt(self, index: int) -> str:
        """Return the last words that are known from before a chunk."""
        if not self._settings.chunk_context or self._requests.model.format == "diarized_json":
            return ""
        before = (self._said.get(number) for number in range(index - 1, -1, -1))
        text = next((said.text for said in before if isinstance(said, Transcript) and said.text), "")
        return " ".join(text.split()[-CONTEXT_WORDS:])

    def _give_up(self, index: int, error: CallFailed) -> None:
        error_class, message, _ = describe(error)
        chunk = self._plan.chunks[index]
        self._failures.append(error)
        self._said[index] = Gap(
            start=chunk.start, end=chunk.end, error_class=error_class, message=message, chunk=index
        )
        self._note(index, state="failed", finished=time.time(), error_class=error_class)

    # --- telling ------------------------------------------------------------------------------------------

    def announce(self) -> None:
        """Tell which chunks there are."""
        for chunk in self._plan.chunks:
            if chunk.index in self.pieces:
                self._note(chunk.index, state="waiting")

    def sending(self, index: int) -> None:
        """Hear that a chunk goes out now, for the first time or again."""
        self._note(index, state="sending", started=self._states[index].started or time.time())

    def _note(self, index: int, **changes: object) -> None:
        chunk = self._plan.chunks[index]
        state = self._states.get(index) or ChunkState(
            recording=self._job.key,
            index=self._first + index,
            of=self._of,
            start=chunk.start,
            end=chunk.end,
            state="waiting",
        )
        self._states[index] = state.model_copy(update=changes)
        self._requests.tools.progress(self._states[index])


class _ChunkAudio:
    """The file of a chunk, for one request. ``left``: it was sent."""

    def __init__(self, track: _Track, file: ChunkFile) -> None:
        self.path: Path = file.path
        self.name = file.name
        self.left = False
        self._track = track
        self._file = file
        self._held = AsyncExitStack()

    async def prepare(self) -> None:
        """It is there."""

    async def renew(self) -> None:
        """Cut it out of the recording once more."""
        self._file.release()
        files = await self._held.enter_async_context(self._track.files([self._file.chunk.index]))
        self._file = await anext(files)
        self.path = self._file.path

    def leaves(self) -> None:
        """Tell that it goes out."""
        self.left = True
        self._track.sending(self._file.chunk.index)

    async def __aenter__(self) -> _ChunkAudio:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._held.aclose()
