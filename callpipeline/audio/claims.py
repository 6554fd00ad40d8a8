"""How long a file says it is, from what is written in it: only a claim, to compare with what decodes.

FFmpeg's own figure cannot be compared: for a cut-off wav or mp3 it quietly falls back to an estimate from
the file's size (which always agrees with what is there), and for mp3 without a header it guesses from the
first bit rate (9 % off with a variable one). So wav and mp3 headers are read here, estimates count as no
claim, and the containers that keep a real index (mp4, flac, ogg, matroska ...) are taken at their word.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

MEASURED_BY_SIZE = frozenset(
    ("aac", "ac3", "amr", "amrnb", "amrwb", "eac3", "g722", "gsm", "latm", "loas", "mpeg", "sln")
)
"""Formats without a stated length, for which FFmpeg divides the size by the bit rate."""

_STREAMED = 0x7FFF_0000
"""Data sizes from here on are placeholders of programs that wrote a wav to a pipe."""

_MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""Sample rates by MPEG version bits (3 = MPEG-1, 2 = MPEG-2, 0 = MPEG-2.5), ISO 11172-3 and 13818-3."""


def claimed_duration(file: BinaryIO, container_format: str, container_seconds: float | None) -> float | None:
    """Return the length in seconds that the file's header states, ``None`` where it states none.

    Args:
        file: The open file; its position is moved.
        container_format: FFmpeg's name of the demuxer.
        container_seconds: The length that FFmpeg gives for the container.
    """
    if container_format == "wav":
        return _wav(file)
    if container_format in ("mp3", "mp2"):
        return _mp3(file)
    if container_format in MEASURED_BY_SIZE:
        return None
    return container_seconds


def _wav(file: BinaryIO) -> float | None:
    """Read the size of the data chunk and the byte rate (RIFF; RF64 states its size elsewhere: no claim)."""
    file.seek(0)
    if file.read(12)[:4] != b"RIFF":
        return None
    byte_rate = 0
    while len(head := file.read(8)) == 8:
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name == b"data":
            stated = 0 < size < _STREAMED and byte_rate > 0
            return size / byte_rate if stated else None
        body_start = file.tell()
        if name == b"fmt ":
            byte_rate = int.from_bytes(file.read(12)[8:], "little")
        file.seek(body_start + size + size % 2)
    return None


def _mp3(file: BinaryIO) -> float | None:
    """Read the frame count of the Xing / Info / VBRI header in the first frame."""
    file.seek(0)
    tag = file.read(10)
    start = 0
    if tag[:3] == b"ID3" and len(tag) == 10:
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
    file.seek(start)
    head = file.read(4096)
    sync = next((i for i in range(len(head) - 4) if head[i] == 0xFF and head[i + 1] & 0xE6 == 0xE2), None)
    if sync is None:
        return None
    version, rate_index, mono = head[sync + 1] >> 3 & 3, head[sync + 2] >> 2 & 3, head[sync + 3] >> 6 == 3
    if version == 1 or rate_index == 3:
        return None
    frames = _frame_count(head[sync:], side_info=_side_info(version, mono))
    samples_per_frame = 1152 if version == 3 else 576
    return frames * samples_per_frame / _MPEG_RATES[version][rate_index] if frames else None


def _side_info(version: int, mono: bool) -> int:
    if version == 3:
        return 17 if mono else 32
    return 9 if mono else 17


def _frame_count(frame: bytes, *, side_info: int) -> int:
    xing = frame[4 + side_info : 4 + side_info + 12]
    if len(xing) == 12 and xing[:4] in (b"Xing", b"Info"):
        flags, count = struct.unpack(">II", xing[4:])
        return int(count) if flags & 1 else 0
    vbri = frame[36 : 36 + 18]
    if len(vbri) == 18 and vbri[:4] == b"VBRI":
        return int.from_bytes(vbri[14:], "big")
    return 0
