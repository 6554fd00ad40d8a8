"""The truth about files, honest and dishonest ones."""

from __future__ import annotations

import struct
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from callpipeline.audio.decode import Samples
from callpipeline.audio.probe import findings, probe
from callpipeline.failures import BadInput, CorruptAudio, EmptyFile, NotAudio, SourceUnavailable, TooLong
from callpipeline.model import AudioInfo, Finding
from callpipeline_tests.audio.conftest import TEN_HOURS, Write, examine, place, tone


def finding(info: AudioInfo, name: str) -> Finding:
    return next(f for f in findings(info) if f.name == name)


@pytest.mark.parametrize(
    ("name", "rate", "channels", "codec"),
    [
        ("a.wav", 8000, 2, "pcm_s16le"),
        ("a.wav", 8000, 2, "pcm_mulaw"),
        ("a.wav", 8000, 1, "pcm_u8"),
        ("a.wav", 192_000, 2, "pcm_s24le"),
        ("a.wav", 16_000, 7, "pcm_s16le"),
        ("a.mp3", 8000, 2, "libmp3lame"),
        ("a.mp3", 44_100, 2, "libmp3lame"),
        ("a.m4a", 16_000, 2, "aac"),
        ("a.mp4", 44_100, 1, "aac"),
        ("a.flac", 8000, 2, "flac"),
        ("a.ogg", 48_000, 2, "libopus"),
        ("a.opus", 48_000, 1, "libopus"),
        ("a.webm", 48_000, 1, "libopus"),
        ("a.aiff", 8000, 1, "pcm_s16be"),
    ],
)
def test_every_usual_format_is_measured(
    write: Write, name: str, rate: int, channels: int, codec: str
) -> None:
    info = examine(write(name, tone(3.0, rate, channels), rate, codec))
    assert (info.sample_rate, info.channels) == (rate, channels)
    assert info.duration == pytest.approx(3.0, abs=0.1)
    assert info.decode_errors == 0
    assert not info.has_video
    for level in info.levels:
        assert level.rms_db == pytest.approx(-13.5, abs=1.0)
        assert -12.0 < level.peak_db < -6.0
    assert all(f.passed for f in findings(info)), findings(info)


def test_the_content_counts_not_the_ending(write: Write, tmp_path: Path) -> None:
    path = write("a.flac", tone(1.0), 8000, "flac").rename(tmp_path / "a.mp3")
    assert examine(path).format == "flac"


def test_a_video_is_measured_by_its_sound(write: Write) -> None:
    info = examine(write("hearing.mp4", tone(4.0, 16_000), 16_000, "aac", video=True))
    assert info.has_video
    assert info.duration == pytest.approx(4.0, abs=0.1)


def test_a_video_without_sound_is_not_audio(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "silent.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    with pytest.raises(NotAudio, match="no audio stream"):
        examine(tmp_path / "silent.mp4")


def test_levels_belong_to_their_channel(write: Write) -> None:
    samples = tone(3.0, 8000, channels=2)
    samples[1] *= 0.1
    first, second = examine(write("a.wav", samples)).levels
    assert first.rms_db - second.rms_db == pytest.approx(20.0, abs=0.2)


def test_loudness_is_that_of_ebu_r128(write: Write) -> None:
    """The standard's own calibration (EBU Tech 3341): a stereo 1 kHz sine of -23 dBFS is -23 LUFS."""
    time = np.arange(48_000 * 5) / 48_000
    sine = (10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)
    info = examine(write("a.wav", np.stack([sine, sine]), 48_000))
    assert info.loudness_lufs == pytest.approx(-23.0, abs=0.1)


def test_too_short_for_a_loudness_is_said_as_none(write: Write) -> None:
    assert examine(write("a.wav", tone(0.2))).loudness_lufs is None


def test_clipping_is_found_on_the_channel_that_has_it(write: Write) -> None:
    samples = tone(3.0, 8000, channels=2)
    samples[1] = np.clip(samples[1] * 10, -1, 1)
    info = examine(write("a.wav", samples))
    assert info.levels[0].clipped_ratio == 0.0
    assert info.levels[1].clipped_ratio > 0.5
    assert not finding(info, "not_clipped").passed
    assert finding(info, "not_clipped").value == info.levels[1].clipped_ratio


@pytest.mark.parametrize("codec", ["pcm_mulaw", "pcm_u8"])
def test_clipping_is_found_in_8_bit_codecs(write: Write, codec: str) -> None:
    info = examine(write("a.wav", np.clip(tone(1.0) * 10, -1, 1), 8000, codec))
    assert not finding(info, "not_clipped").passed


def test_silences_are_where_all_channels_are_quiet(write: Write) -> None:
    samples = np.random.default_rng(1).normal(0, 0.001, (2, 8000 * 12)).astype(np.float32)
    samples[0, : 8000 * 3] += tone(3.0)[0]
    samples[1, 8000 * 2 : 8000 * 5] += tone(3.0)[0]
    samples[0, 8000 * 7 : 8000 * 10] += tone(3.0)[0]
    silences = examine(write("a.wav", samples)).silences
    assert [(r.start, r.end) for r in silences] == [
        (pytest.approx(5.0, abs=0.05), pytest.approx(7.0, abs=0.05)),
        (pytest.approx(10.0, abs=0.05), pytest.approx(12.0, abs=0.05)),
    ]


@pytest.mark.parametrize("noise", [0.0, 0.0003, 0.003])
def test_dead_air_is_found_whatever_the_line_noise(write: Write, noise: float) -> None:
    quiet = np.random.default_rng(1).normal(0, noise, (2, 8000 * 10)).astype(np.float32)
    info = examine(write("a.wav", quiet))
    assert not finding(info, "not_silent").passed
    assert sum(r.duration for r in info.silences) == pytest.approx(10.0, abs=0.3)


def test_one_hello_in_a_long_pause_is_not_silent(write: Write) -> None:
    assert finding(examine(write("a.wav", place([(0, "hello_rms", 20.0)], 40.0))), "not_silent").passed


def test_peaks_outline_the_sound(write: Write) -> None:
    samples = tone(60.0, 8000, channels=2)
    samples[1, : 8000 * 30] = 0
    info = examine(write("a.wav", samples))
    assert [len(channel) for channel in info.peaks] == [600, 600]
    assert info.peaks[0][100] == (pytest.approx(-0.3, abs=0.01), pytest.approx(0.3, abs=0.01))
    assert info.peaks[1][290] == (0.0, 0.0)
    assert info.peaks[1][310][1] == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("codec", ["pcm_s16le", "libmp3lame"])
def test_stereo_that_repeats_one_sound_is_known(write: Write, codec: str) -> None:
    name = "a.mp3" if codec == "libmp3lame" else "a.wav"
    voices = place([(0, "agent_intro", 0.5), (1, "customer_objection", 4.0)], 7.0)
    mixed = voices.sum(axis=0)
    copies = np.stack([mixed, 0.9 * mixed])
    assert examine(write(name, copies, 8000, codec)).dual_mono
    assert not examine(write(name, voices, 8000, codec)).dual_mono


@pytest.mark.parametrize("leak", [1.0, 0.0])
def test_a_leak_or_silence_on_the_other_side_is_no_copy(write: Write, leak: float) -> None:
    voice = place([(0, "agent_intro", 0.5)], 4.0, channels=1, noise=0.0)[0]
    info = examine(write("a.wav", np.stack([voice, 0.03 * leak * voice])))
    assert not info.dual_mono
    assert not examine(write("b.wav", np.zeros((2, 8000), np.float32))).dual_mono


# --- files that lie, or are none ----------------------------------------------------------------------------


def truncated(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


FORMATS = [("a.mp3", "libmp3lame"), ("a.wav", "pcm_s16le"), ("a.flac", "flac")]


@pytest.mark.parametrize(("name", "codec"), FORMATS)
def test_a_file_cut_to_a_third_is_corrupt_with_figures(write: Write, name: str, codec: str) -> None:
    path = truncated(write(name, place([(0, "agent_intro", 1.0)] * 1, 30.0), 8000, codec), 0.33)
    with pytest.raises(CorruptAudio, match=r"only \d+\.\d s of the claimed 30\.\d s decode"):
        examine(path)


@pytest.mark.parametrize(("name", "codec"), FORMATS)
def test_a_file_cut_by_a_fifth_is_usable_with_a_failed_check(write: Write, name: str, codec: str) -> None:
    noise = np.random.default_rng(3).normal(0, 0.1, (2, 8000 * 30)).astype(np.float32)
    info = examine(truncated(write(name, noise, 8000, codec), 0.8))
    assert info.duration == pytest.approx(24.0, abs=1.0)
    assert info.claimed_duration == pytest.approx(30.0, abs=0.3)
    check = finding(info, "duration_matches_claim")
    assert not check.passed
    assert check.value == pytest.approx(-6.0, abs=1.0)
    assert f"{info.duration:.1f} s decoded, 30." in check.message


def test_an_mp4_without_its_index_is_not_audio(write: Write) -> None:
    path = truncated(write("a.m4a", tone(10.0, 16_000), 16_000, "aac"), 0.5)
    with pytest.raises(BadInput) as caught:
        examine(path)
    assert "a.m4a" in str(caught.value)


def test_a_variable_rate_mp3_without_a_length_makes_no_claim(write: Write) -> None:
    noisy = place([(0, "agent_intro", 1.0)], 40.0, noise=0.0)
    noisy[:, 8000 * 20 :] = np.random.default_rng(2).normal(0, 0.2, (2, 8000 * 20))
    path = write("a.mp3", noisy, 8000, "libmp3lame", options={"abr": "1", "write_xing": "0"}, bit_rate=24_000)
    data = path.read_bytes()
    tag = data.find(b"Info") if b"Info" in data else data.find(b"Xing")
    if tag >= 0:
        path.write_bytes(data[:tag] + b"none" + data[tag + 4 :])
    info = examine(path)
    assert info.claimed_duration is None
    assert finding(info, "duration_matches_claim").passed


def test_a_wav_written_to_a_pipe_makes_no_claim(write: Write) -> None:
    path = write("a.wav", tone(2.0))
    data = bytearray(path.read_bytes())
    at = data.find(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 0xFFFF_FFFF)
    path.write_bytes(data)
    info = examine(path)
    assert info.claimed_duration is None
    assert info.duration == pytest.approx(2.0, abs=0.01)


def test_a_damaged_stretch_is_counted_and_the_rest_used(write: Write) -> None:
    noise = np.random.default_rng(3).normal(0, 0.1, (1, 16_000 * 30)).astype(np.float32)
    path = write("a.m4a", noise, 16_000, "aac", bit_rate=48_000)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 6000] = np.random.default_rng(4).bytes(6000)
    path.write_bytes(data)
    info = examine(path)
    assert info.decode_errors > 0
    assert info.duration > 25.0


def test_a_file_with_most_packets_damaged_is_corrupt(write: Write) -> None:
    noise = np.random.default_rng(3).normal(0, 0.1, (1, 16_000 * 30)).astype(np.float32)
    path = write("a.m4a", noise, 16_000, "aac", bit_rate=48_000)
    data = bytearray(path.read_bytes())
    start, end = len(data) // 20, len(data) * 17 // 20
    data[start:end] = np.random.default_rng(4).bytes(end - start)
    path.write_bytes(data)
    with pytest.raises(CorruptAudio, match=r"a\.m4a.*Fetch or export the file again"):
        examine(path)


def test_zero_bytes_and_a_header_alone_are_empty(tmp_path: Path) -> None:
    (tmp_path / "zero.mp3").touch()
    with pytest.raises(EmptyFile, match="0 bytes"):
        examine(tmp_path / "zero.mp3")
    with wave.open(str(tmp_path / "header.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
    with pytest.raises(EmptyFile, match="no samples"):
        examine(tmp_path / "header.wav")


PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
    b"\x00\x00\x00\rIDATx\x9cc\xf8\xff\xff?\x00\x05\xfe\x02\xfe\xa7\x9a\xa0\xa0\x00\x00\x00\x00IEND\xaeB`\x82"
)


@pytest.mark.parametrize("ending", ["mp3", "wav", "m4a", "ogg", "flac"])
@pytest.mark.parametrize(
    "content",
    [
        PNG,
        b"Dear team,\nplease find the calls attached.\n" * 200,
        b"\x00" * 50_000,
        b"RIFF",
        b"ID3\x04" + b"\x00" * 40,
    ],
    ids=["picture", "text", "zeros", "riff", "id3"],
)
def test_what_is_no_recording_is_refused_by_name(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"strange.{ending}"
    path.write_bytes(content)
    with pytest.raises((NotAudio, EmptyFile, CorruptAudio)) as caught:
        examine(path)
    assert str(caught.value).startswith(f"strange.{ending}")
    assert caught.value.hint


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("ending", ["mp3", "wav", "bin"])
def test_random_bytes_are_refused(tmp_path: Path, ending: str, seed: int) -> None:
    path = tmp_path / f"noise.{ending}"
    path.write_bytes(np.random.default_rng(seed).bytes(20_000 + 7_000 * seed))
    with pytest.raises((NotAudio, CorruptAudio)):
        examine(path)


def test_limits_are_kept_before_work_is_done(write: Write) -> None:
    path = write("a.wav", tone(20.0))
    with pytest.raises(TooLong, match=r"a\.wav has 320,\d+ bytes; the limit is 100,000"):
        probe(path, max_duration=TEN_HOURS, max_bytes=100_000)
    with pytest.raises(TooLong, match=r"longer than the limit of 10 s \(its header claims 20\.0 s\)"):
        probe(path, max_duration=10.0, max_bytes=10**9)
    assert probe(path, max_duration=20.0, max_bytes=10**9).duration == 20.0


def test_a_missing_file_is_no_verdict_on_the_recording(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable):
        examine(tmp_path / "gone.wav")


def test_info_can_be_stored_and_read_back(write: Write) -> None:
    silent: Samples = np.zeros((2, 8000), np.float32)
    info = examine(write("a.wav", silent))
    stored: Any = info.model_dump_json()
    assert AudioInfo.model_validate_json(stored) == info
    assert info.levels[0].rms_db == -120.0
