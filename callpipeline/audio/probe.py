"""The truth about a recording, from one full streaming decode; and the checks a person would make of it.

What belongs here: deciding whether a file is usable audio, with failures that name the figures. What does
not: who speaks when (``vad``). Headers lie (a truncated mp3 still claims its full length, a damaged flac
decodes short without an error, random bytes open as mp3), so nothing is believed that the decoder did not
give.
"""

from __future__ import annotations

import os

from callpipeline.audio.claims import claimed_duration
from callpipeline.audio.decode import Recording, gather, open_recording
from callpipeline.audio.levels import LevelMeter, LoudnessMeter
from callpipeline.failures import CorruptAudio, EmptyFile, TooLong
from callpipeline.model import AudioInfo, Finding

MIN_DECODED_SHARE = 0.5
"""Less than this share of the claimed duration is no basis for a verdict; more is, with a failed check."""

MAX_BROKEN_SHARE = 0.2
"""More broken packets than this, and what is left is not the call."""

CLIPPED_SHARE = 0.001
QUIET_PEAK_DB = -50.0
SILENT_SHARE = 0.99

_BLOCK_SAMPLES = 500_000
"""Samples of all channels together that are measured at once (2 MB)."""


def probe(
    path: str | os.PathLike[str], *, max_duration: float, max_bytes: int, name: str | None = None
) -> AudioInfo:
    """Decode a recording once, from beginning to end, and return what it is.

    Args:
        path: The file.
        name: What failures call it; default: its own name.
        max_duration: Longest accepted recording in seconds; decoding stops there.
        max_bytes: Largest accepted file, looked at before anything is decoded.

    Raises:
        SourceUnavailable: Missing, not readable, or reading fails. EmptyFile: 0 bytes or no samples.
        NotAudio: Not a recording at all. CorruptAudio: Less than half of the claimed duration decodes, or
        over a fifth of the packets is broken. TooLong: Over ``max_duration`` or ``max_bytes``.
    """
    with open_recording(path, max_bytes=max_bytes, name=name) as recording:
        claimed = _claim(recording)
        meter, loudness, rate = _decode(recording, max_duration, claimed)
        duration = meter.samples / rate
        _refuse_damage(recording, duration, claimed)
        levels = meter.levels()
        return AudioInfo(
            format=recording.container.format.name,
            codec=recording.stream.codec_context.name,
            sample_rate=rate,
            channels=len(levels),
            duration=round(duration, 6),
            claimed_duration=None if claimed is None else round(claimed, 6),
            bytes=recording.bytes,
            bit_rate=recording.stream.bit_rate or recording.container.bit_rate or None,
            levels=levels,
            loudness_lufs=loudness.integrated(),
            silences=meter.silences(duration),
            decode_errors=recording.errors,
            has_video=recording.has_video,
            dual_mono=meter.channels_are_copies(),
            peaks=meter.peaks(),
        )


def findings(info: AudioInfo) -> tuple[Finding, ...]:
    """Return the checks of a usable recording: length as claimed, not clipped, not silent."""
    return _duration_matches_claim(info), _not_clipped(info), _not_silent(info)


def _claim(recording: Recording) -> float | None:
    position = recording.file.tell()
    duration = recording.container.duration
    seconds = duration / 1_000_000 if duration is not None and duration > 0 else None
    claimed = claimed_duration(recording.file, recording.container.format.name, seconds)
    recording.file.seek(position)
    return claimed


def _decode(
    recording: Recording, max_duration: float, claimed: float | None
) -> tuple[LevelMeter, LoudnessMeter, int]:
    meter: LevelMeter | None = None
    loudness = LoudnessMeter()
    rate = recording.sample_rate
    block_samples = max(1, _BLOCK_SAMPLES // recording.channels)
    for frames, samples in gather(recording.frames(), block_samples):
        if meter is None:
            rate = frames[0].sample_rate
            meter = LevelMeter(samples.shape[0], rate)
        meter.add(samples)
        for frame in frames:
            loudness.add(frame)
        if meter.samples > max_duration * rate:
            claim = f" (its header claims {claimed:.1f} s)" if claimed else ""
            raise TooLong(
                f"{recording.name} is longer than the limit of {max_duration:g} s{claim}.",
                hint="Cut it into parts, or raise CALLPIPELINE_MAX_DURATION.",
            )
    if meter is None:
        raise _nothing_decoded(recording)
    meter.finish()
    return meter, loudness, rate


def _nothing_decoded(recording: Recording) -> CorruptAudio | EmptyFile:
    if recording.errors:
        return CorruptAudio(
            f"{recording.name}: none of {recording.packets} packets decodes.",
            hint="Fetch or export the file again.",
        )
    return EmptyFile(f"{recording.name} holds no samples, only a header.", hint="Fetch or export it again.")


def _refuse_damage(recording: Recording, duration: float, claimed: float | None) -> None:
    again = "Fetch or export the file again."
    if recording.errors > MAX_BROKEN_SHARE * max(1, recording.packets):
        raise CorruptAudio(
            f"{recording.name}: {recording.errors} of {recording.packets} packets do not decode; "
            f"only {duration:.1f} s came out.",
            hint=again,
        )
    if claimed and duration < MIN_DECODED_SHARE * claimed:
        raise CorruptAudio(
            f"{recording.name}: only {duration:.1f} s of the claimed {claimed:.1f} s decode "
            f"({duration / claimed:.0%}); the file is cut off or damaged.",
            hint=again,
        )


def _duration_matches_claim(info: AudioInfo) -> Finding:
    name = "duration_matches_claim"
    if info.claimed_duration is None:
        return Finding(
            name=name, passed=True, message=f"{info.duration:.1f} s decoded; the file states no length."
        )
    difference = info.duration - info.claimed_duration
    passed = abs(difference) <= max(0.5, 0.02 * info.claimed_duration)
    message = f"{info.duration:.1f} s decoded, {info.claimed_duration:.1f} s claimed ({difference:+.1f} s)."
    if not passed:
        message += " The file is cut off or damaged." if difference < 0 else " The header is wrong."
    return Finding(name=name, passed=passed, message=message, value=round(difference, 3))


def _not_clipped(info: AudioInfo) -> Finding:
    worst = max(level.clipped_ratio for level in info.levels)
    passed = worst <= CLIPPED_SHARE
    message = f"{worst:.2%} of the samples of the worst channel are at full scale"
    message += "." if passed else ": the recording level was too high, so words may be misheard."
    return Finding(name="not_clipped", passed=passed, message=message, value=worst)


def _not_silent(info: AudioInfo) -> Finding:
    peak = max(level.peak_db for level in info.levels)
    silent = min(1.0, sum(r.duration for r in info.silences) / info.duration)
    passed = peak > QUIET_PEAK_DB and silent < SILENT_SHARE
    message = f"{silent:.0%} of the time is quiet on all channels; the loudest peak is {peak:.1f} dBFS."
    if not passed:
        message += " There is nothing to hear."
    return Finding(name="not_silent", passed=passed, message=message, value=round(silent, 4))
