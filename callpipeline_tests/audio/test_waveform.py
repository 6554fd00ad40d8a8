"""The picture: small enough for an event, well-formed, and it shows what it should."""

from __future__ import annotations

import base64
from xml.etree import ElementTree as ET

import pytest

from callpipeline.audio.waveform import COLOURS, waveform_svg
from callpipeline.model import AudioInfo, ChannelLevel, ChannelSpeech, Region, Role, SpeechActivity

SVG = "{http://www.w3.org/2000/svg}"


def recording(duration: float, channels: int) -> AudioInfo:
    wave = tuple((-(i * 37 % 97) / 97, (i * 53 % 89) / 89) for i in range(600))
    return AudioInfo(
        format="wav",
        codec="pcm_s16le",
        sample_rate=8000,
        channels=channels,
        duration=duration,
        claimed_duration=None,
        bytes=1,
        bit_rate=None,
        levels=(ChannelLevel(rms_db=-20, peak_db=-1, clipped_ratio=0),) * channels,
        loudness_lufs=None,
        silences=(),
        decode_errors=0,
        peaks=(wave,) * channels,
    )


def talk(duration: float, channels: int, regions: int) -> SpeechActivity:
    step = duration / max(1, regions)
    speech = tuple(Region(start=i * step, end=(i + 0.6) * step) for i in range(regions))
    roles = [Role.AGENT, Role.CUSTOMER, *[Role.UNKNOWN] * channels][:channels]
    return SpeechActivity(
        duration=duration,
        channels=tuple(ChannelSpeech(channel=c, role=role, speech=speech) for c, role in enumerate(roles)),
        source="vad",
        detector="test",
    )


@pytest.mark.parametrize("channels", [1, 2, 7])
@pytest.mark.parametrize(("duration", "regions"), [(0.5, 0), (3.0, 1), (180.0, 60), (36_000.0, 9_000)])
@pytest.mark.parametrize("marks", [0, 1, 30])
def test_the_picture_always_fits_an_event(channels: int, duration: float, regions: int, marks: int) -> None:
    points = [(duration * i / 30, f"<ünreadable & long label {i}>" * 3, "#dc2626") for i in range(marks)]
    svg = waveform_svg(recording(duration, channels), talk(duration, channels, regions), points)
    assert len(svg.encode()) <= 2_600
    assert len(base64.b64encode(svg.encode())) < 4_000
    assert ET.fromstring(svg).tag == f"{SVG}svg"


def test_it_shows_roles_marks_and_times() -> None:
    svg = waveform_svg(recording(28.0, 2), talk(28.0, 2, 3), [(14.0, "objection", "#dc2626")])
    texts = [t.text for t in ET.fromstring(svg).iter(f"{SVG}text")]
    assert {"agent", "customer", "objection", "0 s", "20 s"} <= set(texts)
    assert COLOURS[Role.AGENT] in svg
    assert COLOURS[Role.CUSTOMER] in svg
    assert 'd="M300 2V' in svg


def test_it_needs_no_activity() -> None:
    svg = waveform_svg(recording(5400.0, 2))
    assert "agent" not in svg
    assert "1:00:00" in svg


def test_a_mark_cannot_break_out_of_the_picture() -> None:
    svg = waveform_svg(recording(10.0, 1), None, [(5.0, "<b>", '"/><script>alert(1)</script>')])
    assert "<script>" not in svg
    assert ET.fromstring(svg) is not None


def test_silence_is_drawn_too() -> None:
    silent = recording(10.0, 1).model_copy(update={"peaks": (((0.0, 0.0),) * 500,)})
    assert ET.fromstring(waveform_svg(silent)) is not None
