"""Which file names mean what, and how text of unknown encoding is read."""

from __future__ import annotations

import os
from pathlib import Path

AUDIO_EXTENSIONS = (
    *(".mp3", ".wav", ".m4a", ".mp4", ".flac", ".ogg", ".opus", ".oga", ".webm", ".wma", ".aac", ".amr"),
    *(".gsm", ".aiff", ".aif", ".mka", ".mkv", ".mov", ".avi", ".au", ".3gp", ".mp2"),
)
"""Lower-case extensions of sound and film, the commonest first."""

TRANSCRIPT_EXTENSIONS = (".json", ".vtt", ".srt", ".jsonl")
"""Ready-made transcripts; of several beside one recording the first of these counts."""

MANIFEST = "manifest.csv"

_UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", "~")


def is_ignored(name: str) -> bool:
    """Tell whether a file or folder is hidden, or a half-finished download or copy by its name."""
    return name.startswith(".") or name.lower().endswith(_UNFINISHED)


def display(path: Path | str | bytes) -> str:
    """Return a path as text to show and store: bytes that are not UTF-8 become replacement signs."""
    return os.fsencode(path).decode("utf-8", "replace")


def decode_text(data: bytes) -> str:
    """Decode text of unknown making: UTF-16 by its mark, else UTF-8, else Windows-1252."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")
