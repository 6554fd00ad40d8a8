"""Ready-made transcripts: JSON with turns, JSONL with one such object a line, SubRip and WebVTT.

Each becomes a ``model.Transcript`` of the engine ``provided`` whose segments name their speaker. What belongs
here: reading these formats and saying precisely what is wrong with one. Captions have a parser of their own
because the libraries for them (pysubs2, webvtt-py) drop speakers or line numbers, which are the point here.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeGuard

from callpipeline.failures import BadTranscript, SourceUnavailable
from callpipeline.intake.captions import read_captions
from callpipeline.intake.formats import decode_text
from callpipeline.model import Segment, Transcript

ENGINE = "provided"
READER_VERSION = "1"
"""Goes up when the same file would give another transcript."""

_LINE_MARK = ".jsonl#"


@dataclass(frozen=True, slots=True)
class TranscriptLine:
    """One line of a JSONL file that is a recording of its own.

    ``sha256`` is the hash of the line in canonical form (sorted keys, no spaces): reformatting the file
    changes no identity. ``offset`` and ``length`` are bytes in the file; ``number`` counts lines from 1.
    """

    id: str
    number: int
    sha256: str
    offset: int
    length: int
    content: dict[str, Any]


def read_transcript(path: Path, *, sha256: str | None = None) -> Transcript:
    """Read a ready-made transcript; ``calls.jsonl#ID`` names one line of a JSONL file.

    Args:
        path: the file, as the catalogue names it.
        sha256: what the bytes (of the line in canonical form, for a JSONL line) must hash to.

    Raises:
        BadTranscript: what is in it cannot be used; the message names the line or turn.
        SourceUnavailable: it cannot be read, or holds something else by now.
    """
    file, line_id = split_line(path)
    if line_id is not None:
        line = _line(file, line_id)
        _check_hash(path, line.sha256, sha256)
        return _from_object(line.content, f"{file.name}, line {line.number}")
    data = _bytes(file)
    _check_hash(path, hashlib.sha256(data).hexdigest(), sha256)
    extension = file.suffix.lower()
    if extension in (".srt", ".vtt"):
        segments = read_captions(decode_text(data), file.name, webvtt=extension == ".vtt")
        return _transcript(segments, duration=0.0, language=None)
    if extension == ".jsonl":
        return _only_line(file, data)
    return _from_object(_json(decode_text(data), file.name), file.name)


def split_line(path: Path) -> tuple[Path, str | None]:
    """Split ``folder/calls.jsonl#ID`` into file and ID; the ID is ``None`` when the path is a file."""
    text = str(path)
    position = text.lower().find(_LINE_MARK)
    if position < 0 or path.is_file():
        return path, None
    end = position + len(_LINE_MARK)
    return Path(text[: end - 1]), text[end:]


def transcript_lines(data: bytes) -> tuple[list[TranscriptLine], str | None]:
    """Return the recordings in a JSONL file, and what is wrong with the other lines, if anything.

    A file in which no line holds ``turns`` is no collection of transcripts: it gives nothing, and no problem.
    """
    found: dict[str, TranscriptLine] = {}
    bad: list[int] = []
    for number, offset, raw in _raw_lines(data):
        try:
            content = json.loads(raw)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict) or "turns" not in content:
            bad.append(number)
            continue
        line_id = _line_id(content, number, found)
        found[line_id] = TranscriptLine(line_id, number, _canonical_hash(content), offset, len(raw), content)
    problem = f"no transcript in line {', '.join(map(str, bad[:10]))}" if bad and found else None
    return list(found.values()), problem


def holds_turns(content: object) -> bool:
    """Tell whether a parsed JSON file is a transcript and not only metadata."""
    return isinstance(content, dict) and "turns" in content


def _line_id(content: dict[str, Any], number: int, taken: dict[str, TranscriptLine]) -> str:
    given = content.get("id")
    plain = str(given).strip()[:200] if isinstance(given, str | int) and str(given).strip() else str(number)
    plain = plain.encode("utf-8", "replace").decode()
    while plain in taken:
        plain += f" (line {number})"
    return plain


def _canonical_hash(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def _raw_lines(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (line number, offset, bytes) of the lines that are not blank."""
    offset = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    for number, line in enumerate(data[offset:].split(b"\n"), start=1):
        if line.strip():
            yield number, offset, line
        offset += len(line) + 1


def _line(file: Path, line_id: str) -> TranscriptLine:
    try:
        state = file.stat()
        place = _places(os.fspath(file), state.st_size, state.st_mtime_ns).get(line_id)
        if place is None:
            raise SourceUnavailable(
                f"{file} has no line {line_id!r} any more.", hint="Scan the folder again."
            )
        number, offset, length = place
        with file.open("rb") as stream:
            stream.seek(offset)
            raw = stream.read(length)
    except OSError as error:
        raise _unavailable(file, error) from error
    content = _json(raw.decode("utf-8", "replace"), f"{file.name}, line {number}")
    if not isinstance(content, dict):
        raise SourceUnavailable(f"{file} was changed while it was read.", hint="Scan the folder again.")
    return TranscriptLine(line_id, number, _canonical_hash(content), offset, length, content)


@lru_cache(maxsize=8)
def _places(file: str, size: int, mtime_ns: int) -> dict[str, tuple[int, int, int]]:
    """Return (number, offset, length) of each line of this state of the file: N lines cost one parse."""
    lines, _ = transcript_lines(_bytes(Path(file)))
    return {line.id: (line.number, line.offset, line.length) for line in lines}


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _unavailable(file, error) from error


def _unavailable(file: Path, error: OSError) -> SourceUnavailable:
    return SourceUnavailable(
        f"{file} cannot be read ({error.strerror}).", hint="Put it back, or scan the folder again."
    )


def _check_hash(path: Path, actual: str, expected: str | None) -> None:
    if expected is not None and actual != expected:
        raise SourceUnavailable(
            f"{path} was changed after it had been taken in.", hint="Scan the folder again."
        )


def _json(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadTranscript(f"{where} is not JSON: {error.msg} in line {error.lineno}.") from error
    except (ValueError, RecursionError) as error:
        raise BadTranscript(f"{where} is not JSON that can be read: {error}.") from error


def _only_line(file: Path, data: bytes) -> Transcript:
    lines, problem = transcript_lines(data)
    if len(lines) != 1 or problem:
        raise BadTranscript(
            f"{file.name} belongs to the recording beside it but holds {len(lines)} transcripts.",
            hint="Keep one line, or give the file another name.",
        )
    return _from_object(lines[0].content, f"{file.name}, line {lines[0].number}")


def _from_object(content: object, where: str) -> Transcript:
    if not isinstance(content, dict) or not isinstance(content.get("turns"), list):
        raise BadTranscript(f'{where} holds no list "turns".')
    segments = [_segment(turn, f"{where}, turn {n}") for n, turn in enumerate(content["turns"])]
    duration = content.get("duration_s")
    if duration is not None and not _is_time(duration):
        raise BadTranscript(f"{where}: duration_s must be seconds, got {duration!r:.40}.")
    language = content.get("language")
    return _transcript(
        segments, duration=float(duration or 0.0), language=language if isinstance(language, str) else None
    )


def _segment(turn: object, where: str) -> Segment:
    if not isinstance(turn, dict):
        raise BadTranscript(f"{where} is not an object.")
    start, end, text, speaker = (turn.get(name) for name in ("start", "end", "text", "speaker"))
    if not (_is_time(start) and _is_time(end) and start <= end):
        raise BadTranscript(
            f"{where}: start and end must be seconds with start <= end, got {start!r}, {end!r}."
        )
    if not isinstance(text, str):
        raise BadTranscript(f"{where} has no text.")
    return Segment(
        start=start,
        end=end,
        text=text.encode("utf-8", "replace").decode().strip(),
        speaker=None if speaker is None else str(speaker).encode("utf-8", "replace").decode(),
    )


def _is_time(value: object) -> TypeGuard[float]:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    )


def _transcript(segments: list[Segment], *, duration: float, language: str | None) -> Transcript:
    return Transcript(
        engine=ENGINE,
        engine_version=READER_VERSION,
        language=language,
        duration=max([duration, *(s.end for s in segments)]),
        segments=tuple(sorted(segments, key=lambda s: s.start)),
    )
