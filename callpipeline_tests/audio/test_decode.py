"""Streaming: nothing lost or doubled at the seams, the same samples whatever the way they are asked for."""

from __future__ import annotations

import os
import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from callpipeline.audio.decode import blocks, display_name, read
from callpipeline.failures import EmptyFile, NotAudio, SourceUnavailable
from callpipeline_tests.audio.conftest import Write, examine, tone


@pytest.mark.parametrize("rate", [None, 16_000, 11_025])
@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp3", "libmp3lame"), ("a.wav", "pcm_s16le"), ("a.ogg", "libopus")]
)
def test_blocks_joined_are_the_whole_decode(write: Write, name: str, codec: str, rate: int | None) -> None:
    path = write(name, tone(12.3, 8000, channels=2), 8000, codec)
    whole = np.concatenate(list(blocks(path, rate=rate, block_seconds=1000.0)), axis=1)
    pieces = list(blocks(path, rate=rate, block_seconds=0.7))
    assert len(pieces) > 10
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)


def test_wav_samples_come_out_as_they_went_in(write: Write) -> None:
    samples = tone(2.0, 8000, channels=2)
    out = np.concatenate(list(blocks(write("a.wav", samples))), axis=1)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, samples, atol=1 / 32768)


def test_a_stretch_is_the_slice_of_the_whole(write: Write) -> None:
    path = write("a.mp3", tone(25.0, 8000, channels=2), 8000, "libmp3lame")
    whole = read(path)
    assert whole.shape == (2, 25 * 16_000)
    np.testing.assert_array_equal(read(path, start=9.5, end=21.25), whole[:, 152_000:340_000])
    assert read(path, start=30.0, end=31.0).shape == (2, 0)
    assert read(path, start=24.5).shape == (2, 8_000)


def test_resampling_keeps_time_and_pitch(write: Write) -> None:
    out = read(write("a.wav", tone(3.0, 44_100), 44_100), rate=16_000)
    assert out.shape[1] == pytest.approx(48_000, abs=2)
    spectrum = np.abs(np.fft.rfft(out[0] * np.hanning(out.shape[1])))
    assert np.argmax(spectrum) / 3.0 == pytest.approx(200.0, abs=1.0)


def test_joined_files_of_different_kinds_decode_as_the_first(write: Write, tmp_path: Path) -> None:
    first = write("1.mp3", tone(2.0, 8000, channels=2), 8000, "libmp3lame")
    second = write("2.mp3", tone(2.0, 16_000, channels=1), 16_000, "libmp3lame")
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    out = np.concatenate(list(blocks(joined)), axis=1)
    assert out.shape[0] == 2
    assert out.shape[1] / 8000 == pytest.approx(4.0, abs=0.3)


def test_broken_numbers_in_float_files_become_silence(tmp_path: Path) -> None:
    values = np.full(8000, 0.25, np.float32)
    values[100], values[200], values[300] = np.nan, np.inf, 1e30
    path = tmp_path / "float.wav"
    data = values.tobytes()
    form = struct.pack("<HHIIHH", 3, 1, 8000, 32_000, 4, 32)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    out = np.concatenate(list(blocks(path)), axis=1)
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 16.0
    assert out[0, 0] == pytest.approx(0.25)


@pytest.mark.parametrize(
    "name", ["two\nlines.wav", "Mc:Donald.wav", "file:x.wav", "é ü 漢.wav", "-i.wav", "%d.wav"]
)
def test_any_file_name_can_be_read(write: Write, tmp_path: Path, name: str) -> None:
    path = write("plain.wav", tone(1.0)).rename(tmp_path / name)
    assert read(path, rate=8000).shape == (1, 8000)


def test_a_name_with_undecodable_bytes_can_be_read_and_shown(write: Write, tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    write("plain.wav", tone(1.0)).rename(odd)
    assert read(odd, rate=8000).shape == (1, 8000)
    shown = display_name(odd)
    assert shown == "caf\\udce9.wav"
    assert shown.encode()


def test_a_line_break_in_a_name_is_shown_as_an_escape() -> None:
    assert display_name("/x/two\nlines.wav") == "two\\nlines.wav"


def test_a_missing_file_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match=r"gone\.wav cannot be read now") as caught:
        next(blocks(tmp_path / "gone.wav"))
    assert not caught.value.permanent


def test_a_folder_a_pipe_and_an_empty_file_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "empty.wav").touch()
    with pytest.raises(NotAudio, match="not a regular file"):
        next(blocks(tmp_path / "pipe.wav"))
    with pytest.raises(NotAudio, match="not a regular file"):
        next(blocks(tmp_path))
    with pytest.raises(EmptyFile, match="0 bytes"):
        next(blocks(tmp_path / "empty.wav"))


def test_a_playlist_cannot_make_us_read_other_files(write: Write, tmp_path: Path) -> None:
    secret = write("secret.wav", tone(1.0))
    concat = tmp_path / "list.mp3"
    concat.write_text(f"ffconcat version 1.0\nfile {secret.name}\n")
    hls = tmp_path / "list.m3u8"
    hls.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{secret.name}\n#EXT-X-ENDLIST\n")
    for path in (concat, hls):
        with pytest.raises(NotAudio):
            next(blocks(path))


@pytest.mark.parametrize("channels", [7, 8, 9, 16])
def test_many_channels_are_read(tmp_path: Path, channels: int) -> None:
    samples = tone(1.0, 8000, channels)
    path = tmp_path / "room.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((samples.T * 32_768).astype("<i2").tobytes())

    np.testing.assert_allclose(read(path, rate=8000), samples, atol=1.01 / 32_768)
    info = examine(path)
    assert (info.channels, info.duration, len(info.levels)) == (channels, 1.0, channels)
