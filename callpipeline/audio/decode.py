"""Samples of a recording, streamed: whatever the container and codec, bounded memory, honest about damage.

What belongs here: opening a file, walking its packets, turning frames into float32 arrays. What does not:
judging what was found (``probe``) and listening to it (``vad``).

PyAV brings its own FFmpeg, so no system ffmpeg is needed. Headers are never trusted here: packets that do not
decode are counted and passed over, and the length of a recording is the number of samples that came out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from callpipeline.failures import CorruptAudio, EmptyFile, NotAudio, SourceUnavailable, TooLong

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.layout import AudioLayout
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

Samples = npt.NDArray[np.float32]
"""Shape (channels, samples), full scale is -1..1 (lossy codecs may go a little beyond)."""

CONTAINERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dss,eac3,flac,flv,g722,gsm,latm,loas,matroska,mov,mp2,mp3,"
    "mpeg,mpegts,mxf,nistsphere,nut,ogg,qcp,rm,sln,sox,spx,tak,tta,voc,w64,wav,webm,wv"
)
"""Demuxers that may open a recording. Left out on purpose: those that read other files or addresses (hls,
concat, dash, sdp ...) and those that take any text or picture (tty, image2 ...)."""

MAX_CHANNELS = 64
_MAX_PLANES = 7
"""PyAV 18.1 reads past the end of a frame's list of planes once all its 8 places are taken, and the process dies."""

MAX_SAMPLE_RATE = 768_000
LARGEST = 16.0
"""Samples beyond this (24 dB over full scale) are broken numbers, not loud sound."""


@dataclass
class Recording:
    """An open recording. ``packets`` and ``errors`` count up while its frames are taken."""

    name: str
    bytes: int
    file: BinaryIO
    container: InputContainer
    stream: AudioStream
    has_video: bool
    packets: int = 0
    errors: int = 0

    @property
    def sample_rate(self) -> int:
        """Samples per second of the audio stream as its decoder states it."""
        return int(self.stream.codec_context.sample_rate)

    @property
    def channels(self) -> int:
        """Channels of the audio stream as its decoder states them."""
        return int(self.stream.codec_context.channels)

    def frames(self, rate: int | None = None) -> Iterator[AudioFrame]:
        """Yield float frames of one layout and rate: the first frame's, or the given ``rate``.

        A stream may change its rate or layout on the way (joined mp3 files do): it is converted to the first.
        """
        conversion = _Conversion(rate)
        for frame in self._decoded():
            yield from conversion.take(frame)
        yield from conversion.rest()

    def _decoded(self) -> Iterator[AudioFrame]:
        from av.error import FFmpegError

        for packet in self._packets():
            try:
                yield from packet.decode()
            except FFmpegError:
                self.errors += 1

    def _packets(self) -> Iterator[Packet[AudioStream]]:
        """Yield packets up to the end, or up to where the container itself is broken (one more error)."""
        from av.error import FFmpegError

        try:
            for packet in self.container.demux(self.stream):
                self.packets += 1 if packet.size else 0
                yield packet
        except FFmpegError:
            self.errors += 1


class _Conversion:
    """Any frames to float of one rate and layout; starts anew when the input changes its kind."""

    def __init__(self, rate: int | None) -> None:
        self._rate = rate
        self._layout: AudioLayout | None = None
        self._kind: tuple[str, str, int] | None = None
        self._resampler: Any = None

    def take(self, frame: AudioFrame) -> Iterator[AudioFrame]:
        from av.audio.resampler import AudioResampler

        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._kind:
            yield from self.rest()
            self._rate = self._rate or frame.sample_rate
            self._layout = self._layout or frame.layout
            form = "fltp" if self._layout.nb_channels <= _MAX_PLANES else "flt"
            self._resampler = AudioResampler(format=form, layout=self._layout, rate=self._rate)
            self._kind = kind
        frame.pts = None
        yield from self._resampler.resample(frame)

    def rest(self) -> Iterator[AudioFrame]:
        if self._resampler is not None:
            yield from (frame for frame in self._resampler.resample(None) if frame is not None)


def display_name(path: str | os.PathLike[str]) -> str:
    """Return the file's name, safe to log and to store: line breaks and undecodable bytes become escapes."""
    name = os.fsdecode(Path(path).name)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)


@contextmanager
def open_recording(
    path: str | os.PathLike[str], *, max_bytes: int | None = None, name: str | None = None
) -> Iterator[Recording]:
    """Open ``path`` and find its audio stream; failures to read on inside the ``with`` block are named too.

    Failures call the file ``name``, for a copy that a person knows under another one.

    Raises:
        SourceUnavailable: The file is missing, may not be read, or reading it fails.
        EmptyFile: It has no bytes.
        NotAudio: No known container, or no audio stream with a sample rate in it.
        CorruptAudio: The decoder gave up inside the ``with`` block.
        TooLong: It has more than ``max_bytes``.
    """
    import av
    from av.error import FFmpegError

    name = display_name(name or path)
    try:
        size = _size_of(path, name, max_bytes)
        with Path(path).open("rb") as file:
            options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
            try:
                container = av.open(file, "r", container_options=options, metadata_errors="replace")
            except FFmpegError as error:
                raise NotAudio(
                    f"{name} is not a recording that can be opened ({_reason(error)}).",
                    hint="Check that the file is complete and is audio, or convert it to wav or mp3.",
                ) from error
            with container:
                yield _recording(container, name, size, file)
    except FFmpegError as error:
        raise CorruptAudio(
            f"{name} opened, but cannot be decoded ({_reason(error)}).",
            hint="Fetch or export the file again.",
        ) from error
    except OSError as error:
        raise SourceUnavailable(
            f"{name} cannot be read now: {error.strerror or type(error).__name__}.",
            hint="Check that the file is still there and may be read, then try again.",
        ) from error


def _size_of(path: str | os.PathLike[str], name: str, max_bytes: int | None) -> int:
    status = Path(path).stat()
    if not stat.S_ISREG(status.st_mode):
        raise NotAudio(f"{name} is not a regular file.", hint="Point at the recording itself.")
    if status.st_size == 0:
        raise EmptyFile(f"{name} is empty (0 bytes).", hint="Fetch or export it again.")
    if max_bytes is not None and status.st_size > max_bytes:
        raise TooLong(
            f"{name} has {status.st_size:,} bytes; the limit is {max_bytes:,}.",
            hint="Compress it, or raise CALLPIPELINE_MAX_BYTES.",
        )
    return status.st_size


def _recording(container: InputContainer, name: str, size: int, file: BinaryIO) -> Recording:
    from av.stream import Disposition

    stream = container.streams.best("audio")
    if stream is None:
        kinds = sorted({s.type for s in container.streams})
        raise NotAudio(
            f"{name} has no audio stream ({container.format.name}: {', '.join(kinds) or 'no streams'}).",
            hint="Remove it from the folder, or export it with its sound.",
        )
    audio: AudioStream = stream  # type: ignore[assignment] # best("audio") gives an audio stream
    context = audio.codec_context
    if not 0 < context.sample_rate <= MAX_SAMPLE_RATE or not 0 < context.channels <= MAX_CHANNELS:
        raise NotAudio(
            f"{name} has no usable audio: sample rate {context.sample_rate}, {context.channels} channels.",
            hint="The file is probably not audio, or is damaged at its start.",
        )
    context.thread_count = 1
    has_video = any(not s.disposition & Disposition.attached_pic for s in container.streams.video)
    return Recording(name, size, file, container, audio, has_video)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or type(error).__name__)


def samples_of(frame: AudioFrame) -> Samples:
    """Return the samples of a float frame; what float formats may hold beyond sound becomes sound."""
    samples = np.asarray(frame.to_ndarray(), dtype=np.float32)
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.size and not max(samples.max(), -samples.min()) <= LARGEST:
        samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0).clip(-LARGEST, LARGEST)
    return samples


def gather(frames: Iterator[AudioFrame], block_samples: int) -> Iterator[tuple[list[AudioFrame], Samples]]:
    """Yield frames in groups with their joined samples, ``block_samples`` long or a little more."""
    group: list[AudioFrame] = []
    held = 0
    for frame in frames:
        group.append(frame)
        held += frame.samples
        if held >= block_samples:
            yield group, np.concatenate([samples_of(f) for f in group], axis=1)
            group, held = [], 0
    if group:
        yield group, np.concatenate([samples_of(f) for f in group], axis=1)


def blocks(
    path: str | os.PathLike[str], *, rate: int | None = None, block_seconds: float = 30.0
) -> Iterator[Samples]:
    """Yield a recording as float32 arrays (channels, samples), each about ``block_seconds`` long.

    Joined together, the blocks are exactly the whole decode: the resampler runs on over their borders.
    Memory is a few blocks, whatever the length of the recording.

    Args:
        path: Any container with audio that FFmpeg reads.
        rate: Samples per second to convert to; ``None`` keeps the recording's own.
        block_seconds: Length of a block; the last may be shorter.

    Raises:
        SourceUnavailable, EmptyFile, NotAudio, CorruptAudio: See ``open_recording``.
    """
    with open_recording(path) as recording:
        block_samples = max(1, round(block_seconds * (rate or recording.sample_rate)))
        for _, samples in gather(recording.frames(rate), block_samples):
            yield samples


def read(
    path: str | os.PathLike[str], *, rate: int = 16_000, start: float = 0.0, end: float | None = None
) -> Samples:
    """Return ``start``..``end`` (seconds) of a recording as float32 (channels, samples) at ``rate``.

    The result is the exact slice of the whole decode, so it decodes from the beginning: for short recordings
    or single stretches. To walk many stretches of a long recording, use ``blocks``.

    Raises:
        SourceUnavailable, EmptyFile, NotAudio, CorruptAudio: See ``open_recording``.
    """
    first = round(start * rate)
    last = None if end is None else round(end * rate)
    kept: list[Samples] = []
    position = 0
    for block in blocks(path, rate=rate, block_seconds=10.0):
        stop = block.shape[1] if last is None else last - position
        kept.append(block[:, max(0, first - position) : max(0, stop)])
        position += block.shape[1]
        if last is not None and position >= last:
            break
    if not kept:
        raise EmptyFile(f"{display_name(path)} has no samples.", hint="Fetch or export it again.")
    return np.concatenate(kept, axis=1)
