"""Files of one sample: the recording, what lies beside it, what must come out of it, and the manifest of all.

Belongs here: paths and file formats of the samples folder. Does not: sound.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sample_maker.encoding import damaged, encode, stored_rate
from sample_maker.mixing import Mix, SpokenLine, mix, seeded
from sample_maker.script import Script

_MANIFEST_COLUMNS = ("file", "agent", "campaign", "dialer", "phone", "timestamp", "disposition")


@dataclass(frozen=True)
class MadeSample:
    """What one dialogue file became."""

    name: str
    kind: str
    sample_rate: int | None
    channels: int | None
    duration: float
    speech_seconds: float
    bytes: int
    verdicts: str


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _stamp(seconds: float) -> str:
    """Return ``seconds`` as an SRT time, hours:minutes:seconds,milliseconds."""
    whole, ms = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02},{ms:03}"


def _srt(lines: Iterable[SpokenLine]) -> str:
    """Return the lines as SRT with the speaker before each text."""
    blocks = [
        f"{number}\n{_stamp(line.start)} --> {_stamp(line.end)}\n{line.speaker.capitalize()}: {line.text}\n"
        for number, line in enumerate(lines, 1)
    ]
    return "\n".join(blocks)


def _turns_json(script: Script, mixed: Mix) -> str:
    """Return a ready-made transcript without audio: metadata, duration and timed turns."""
    turns = [asdict(line) for line in mixed.lines]
    return _json({**script.metadata, "duration_s": round(mixed.duration, 3), "turns": turns})


def _content(script: Script, scripts: Mapping[str, Script], mixed: Mix, samples: Path) -> bytes:
    """Return the bytes of the sample's main file."""
    if script.duplicate_of:
        return (samples / scripts[script.duplicate_of].file).read_bytes()
    if script.kind == "transcript":
        return _turns_json(script, mixed).encode()
    extension = Path(script.file).suffix
    data = encode(mixed.sound, extension, sample_rate=script.sample_rate, bit_rate=script.bit_rate)
    return damaged(data, script.damage, seeded(script.name)) if script.damage else data


def _sidecar(script: Script) -> dict[str, Any]:
    return {name: script.metadata[name] for name in script.in_sidecar}


def make_sample(
    script: Script, scripts: Mapping[str, Script], *, samples: Path, expected: Path
) -> MadeSample:
    """Make the recording of ``script`` below ``samples`` and its truth in ``expected``/NAME.json.

    A duplicate needs its original to be there already.

    Raises:
        FliteMissingError: flite is not installed.
        ScriptError: the script cannot be spoken or written.
    """
    spoken = scripts[script.duplicate_of] if script.duplicate_of else script
    mixed = mix(spoken)
    target = samples / script.file
    target.parent.mkdir(parents=True, exist_ok=True)
    data = _content(script, scripts, mixed, samples)
    target.write_bytes(data)
    if script.in_sidecar:
        target.with_suffix(".json").write_text(_json(_sidecar(script)), encoding="utf-8")
    if script.srt:
        target.with_suffix(".srt").write_text(_srt(mixed.lines), encoding="utf-8")
    has_audio = script.kind in ("call", "duplicate")
    truth = {
        "name": script.name,
        "about": script.about,
        "kind": script.kind,
        "file": script.file,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "duration": round(mixed.duration, 3) if script.kind != "broken" else None,
        "sample_rate": stored_rate(data) if has_audio else None,
        "channels": mixed.sound.shape[0] if has_audio else None,
        "duplicate_of": scripts[script.duplicate_of].file if script.duplicate_of else None,
        "metadata": dict(script.metadata),
        "expected": dict(spoken.expected),
        "dialogue": [asdict(line) for line in mixed.lines] if script.kind != "broken" else [],
    }
    expected.mkdir(parents=True, exist_ok=True)
    (expected / f"{script.name}.json").write_text(_json(truth), encoding="utf-8")
    return MadeSample(
        name=script.name,
        kind=script.kind if script.kind != "call" else f"call {target.suffix[1:]}",
        sample_rate=truth["sample_rate"],
        channels=truth["channels"],
        duration=mixed.duration if has_audio else 0.0,
        speech_seconds=sum(line.end - line.start for line in mixed.lines) if script.kind == "call" else 0.0,
        bytes=len(data),
        verdicts=" ".join(f"{k}={v}" for k, v in spoken.expected.items() if isinstance(v, str)),
    )


def write_manifest(scripts: Iterable[Script], path: Path) -> None:
    """Write ``manifest.csv``: a row for each sample that has something to add, blank = nobody says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, _MANIFEST_COLUMNS, lineterminator="\n")
        writer.writeheader()
        for script in sorted(scripts, key=lambda s: s.file):
            fields = {name: script.metadata[name] for name in script.in_manifest if name in script.metadata}
            if fields:
                writer.writerow({"file": script.file, **fields})


def strangers(scripts: Iterable[Script], samples: Path) -> list[Path]:
    """Return the files below ``samples`` that no script makes: left-overs of renamed samples."""
    known = {samples / "manifest.csv"}
    for script in scripts:
        target = samples / script.file
        known.add(target)
        if script.in_sidecar:
            known.add(target.with_suffix(".json"))
        if script.srt:
            known.add(target.with_suffix(".srt"))
    return sorted(path for path in samples.rglob("*") if path.is_file() and path not in known)
