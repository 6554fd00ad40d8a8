"""What is sent in place of a recording: all speech, sample for sample, and times that find their way back."""

from __future__ import annotations

import json
import threading
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callpipeline import cancellation
from callpipeline.audio.decode import Samples, read
from callpipeline.audio.probe import probe
from callpipeline.audio.vad import speech_activity
from callpipeline.failures import NotAudio, NotFit, SourceUnavailable
from callpipeline.model import (
    AudioInfo,
    ChannelSpeech,
    Region,
    Role,
    Segment,
    SpeechActivity,
    Transcript,
    Word,
)
from callpipeline.speech.trimming import PAD, Cut, cut, lone_sounds, restored, voice, write_audio
from callpipeline_tests.audio.conftest import examine
from callpipeline_tests.audio.conftest import write_audio as encode
from callpipeline_tests.simulators.audio import inspect
from callpipeline_tests.speech.conftest import DATA, write_wav

SAMPLE = 1 / 16_000


def regions(*pairs: tuple[float, float]) -> tuple[Region, ...]:
    return tuple(Region(start=a, end=b) for a, b in pairs)


def plain(found: Cut) -> list[tuple[float, float]]:
    return [(round(r.start, 3), round(r.end, 3)) for r in found.kept]


def recording(seconds: float, rate: int = 8000) -> AudioInfo:
    """What is known of a mono recording of this length."""
    return AudioInfo(
        format="wav", codec="pcm_s16le", sample_rate=rate, channels=1, duration=seconds, claimed_duration=None,
        bytes=1, bit_rate=None, levels=(), loudness_lufs=None, silences=(), decode_errors=0,
    )  # fmt: skip


def noise(seconds: float, rate: int, channels: int) -> Samples:
    """No two stretches of it are alike."""
    sound = np.random.default_rng(rate + channels).normal(0, 0.1, (channels, round(seconds * rate)))
    return sound.astype(np.float32)


def sent(path: Path, made: Cut, folder: Path, channels: list[int] | None = None) -> Samples:
    target = folder / "sent" / "audio.flac"
    assert write_audio(path, made, target, channels=channels) == target.stat().st_size
    assert [p.name for p in target.parent.iterdir()] == ["audio.flac"]
    return read(target, rate=made.rate)


# --- what is kept ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("speech", "kept"),
    [
        ([(5, 6)], [(4.5, 6.5)]),
        ([(2, 18)], [(0, 20)]),
        ([(3, 17)], [(0, 20)]),
        ([(3.1, 16.9)], [(2.6, 17.4)]),
        ([(0, 20)], [(0, 20)]),
        ([(0, 1), (4, 20)], [(0, 20)]),
        ([(0, 1), (4.1, 20)], [(0, 1.5), (3.6, 20)]),
        ([(10, 20), (0, 1)], [(0, 1.5), (9.5, 20)]),
        ([(0, 12), (1, 2), (18, 20)], [(0, 12.5), (17.5, 20)]),
        ([(18, 25)], [(17.5, 20)]),
        ([(25, 30), (5, 5)], []),
        ([], []),
    ],
)
def test_silences_longer_than_allowed_are_cut_short(
    speech: list[tuple[float, float]], kept: list[tuple[float, float]]
) -> None:
    made = cut(recording(20), regions(*speech), longest_silence=3.0)
    assert plain(made) == kept
    assert made.seconds == pytest.approx(sum(b - a for a, b in kept))
    assert made.whole == (kept == [(0, 20)])


def test_a_short_sound_in_a_silence_is_kept_though_no_voice_was_found_in_it() -> None:
    silences = regions((2, 10), (10.6, 20), (30, 40), (40.4, 50))
    info = recording(60).model_copy(update={"silences": silences})
    # From 20 to 30 there is music; the sound at 40 is known to be a voice.
    speech = regions((0, 2), (40, 40.4), (50, 60))
    assert lone_sounds(info, speech) == regions((10, 10.6))
    kept = cut(info, (*speech, *lone_sounds(info, speech)), longest_silence=3.0)
    assert plain(kept) == [(0, 2.5), (9.5, 11.1), (39.5, 40.9), (49.5, 60)]


def test_nothing_is_cut_when_nobody_asks_for_it() -> None:
    made = cut(recording(20), (), longest_silence=None)
    assert (plain(made), made.whole, made.seconds) == ([(0, 20)], True, 20)


def test_a_silence_that_the_padding_fills_is_not_cut() -> None:
    made = cut(recording(20), regions((0, 5), (5.9, 20)), longest_silence=0.5)
    assert made.whole


@pytest.mark.parametrize(
    ("native", "rate"), [(8000, 8000), (11_025, 11_025), (16_000, 16_000), (44_100, 16_000)]
)
def test_nothing_is_sent_faster_than_16_khz(native: int, rate: int) -> None:
    assert cut(recording(20, native), (), longest_silence=None).rate == rate


speech_strategy = st.lists(st.tuples(st.floats(0, 130), st.floats(0, 8)), max_size=20).map(
    lambda pairs: regions(*((a, a + length) for a, length in pairs))
)
cuts = st.builds(
    lambda seconds, rate, speech, longest, pad: cut(
        recording(seconds, rate), speech, longest_silence=longest, pad=pad
    ),
    st.floats(0.5, 120),
    st.sampled_from([8000, 11_025, 16_000, 44_100]),
    speech_strategy,
    st.one_of(st.none(), st.floats(0.5, 6)),
    st.sampled_from([0.0, 0.25, PAD]),
)


@settings(deadline=None)
@given(st.floats(1, 120), speech_strategy, st.floats(0.5, 6))
def test_all_speech_is_kept_and_no_silence_stays_too_long(
    seconds: float, speech: tuple[Region, ...], longest: float
) -> None:
    made = cut(recording(seconds, 16_000), speech, longest_silence=longest)
    kept, inside = made.kept, [r for r in speech if r.start < seconds - SAMPLE and r.duration > SAMPLE]

    assert all(0 <= r.start < r.end <= seconds + SAMPLE for r in kept)
    assert all(a.end < b.start for a, b in pairwise(kept))
    for region in inside:
        assert any(
            k.start <= max(0, region.start - PAD) + 2 * SAMPLE
            and k.end >= min(seconds, region.end + PAD) - 2 * SAMPLE
            for k in kept
        )
    edges = sorted({0.0, seconds, *(t for r in speech for t in (r.start, r.end))})
    for a, b in pairwise(edges):
        silent = not any(r.start < b and r.end > a for r in speech)
        if silent and b - a > max(longest, 2 * PAD) + 4 * SAMPLE:
            heard = sum(max(0.0, min(b, k.end) - max(a, k.start)) for k in kept)
            assert heard <= 2 * PAD + 4 * SAMPLE


# --- the way back ------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(cuts, st.data())
def test_every_sample_finds_its_way_back(made: Cut, data: st.DataObject) -> None:
    sources = np.concatenate(
        [np.zeros(0, np.int64)]
        + [np.arange(round(r.start * made.rate), round(r.end * made.rate)) for r in made.kept]
    )
    assert made.seconds == pytest.approx(sources.size / made.rate)
    if not sources.size:
        return
    seams = [int(i) for i in np.flatnonzero(np.diff(sources) != 1)]
    anywhere = data.draw(st.lists(st.integers(0, sources.size - 1), max_size=20))
    for k in {0, sources.size - 1, *seams, *(s + 1 for s in seams), *anywhere}:
        assert made.original(k / made.rate) * made.rate == pytest.approx(sources[k], abs=0.01)
        if k + 1 < sources.size and sources[k + 1] == sources[k] + 1:
            start, end = made.span(k / made.rate, (k + 1) / made.rate)
            assert (start * made.rate, end * made.rate) == (
                pytest.approx(sources[k], abs=0.01),
                pytest.approx(sources[k] + 1, abs=0.01),
            )


@settings(deadline=None)
@given(cuts, st.floats(-1, 130), st.floats(-1, 130))
def test_a_word_never_reaches_over_a_cut(made: Cut, start: float, end: float) -> None:
    if not made.kept:
        return
    first, last = made.span(start, end)
    assert first <= last
    assert any(k.start - 1e-6 <= first and last <= k.end + 1e-6 for k in made.kept)
    stretch = made.stretch(start, end)
    assert made.kept[0].start - 1e-6 <= stretch[0] <= stretch[1] <= made.kept[-1].end + 1e-6


@settings(deadline=None)
@given(cuts)
def test_a_stored_cut_is_the_same_cut(made: Cut) -> None:
    again = Cut.from_json(made.to_json())
    assert (again.rate, again.duration, again.seconds, again.whole) == (
        made.rate,
        made.duration,
        made.seconds,
        made.whole,
    )
    assert again == made


def test_milliseconds_stay_milliseconds() -> None:
    made = cut(recording(60), regions((1.234, 2.345), (30.111, 31.222)), longest_silence=3.0)
    assert plain(made) == [(0.0, 2.845), (29.611, 31.722)]
    assert made.span(1.5, 1.501) == (1.5, 1.501)
    assert made.span(3.345, 3.4) == (30.111, 30.166)


def test_a_word_over_a_seam_belongs_to_its_middle() -> None:
    made = cut(recording(60), regions((0, 2), (30, 31)), longest_silence=3.0)  # seam at 2.5
    assert made.span(2.3, 2.6) == (2.3, 2.5)
    assert made.span(2.4, 2.9) == (29.5, 29.9)
    assert made.original(2.5) == 29.5
    assert made.original(-1) == 0
    assert made.original(99) == 31.5


def test_a_cut_that_sends_nothing_has_no_times() -> None:
    made = cut(recording(60), (), longest_silence=3.0)
    assert (made.kept, made.seconds, made.whole) == ((), 0, False)
    assert Cut.from_json(made.to_json()) == made
    with pytest.raises(ValueError, match="nothing was sent"):
        made.span(0, 1)


def test_a_stored_cut_is_short() -> None:
    speech = regions(*((a, a + 5) for a in range(10, 36_000, 60)))
    made = cut(recording(36_000, 16_000), speech, longest_silence=3.0)
    assert len(made.kept) == 600
    assert len(made.to_json()) < 10_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "nonsense",
        '{"rate":0,"duration":1,"runs":[0,1]}',
        '{"rate":8000,"duration":1,"runs":[1]}',
    ],
)
def test_a_text_that_is_no_cut_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a stored cut"):
        Cut.from_json(text)


# --- what is written ---------------------------------------------------------------------------------------

CONTAINERS = [
    ("mono-8k.wav", "pcm_s16le", 8000, 1),
    ("mono-11k.wav", "pcm_s16le", 11_025, 1),
    ("stereo-16k.wav", "pcm_s16le", 16_000, 2),
    ("stereo-44k.wav", "pcm_s16le", 44_100, 2),
    ("stereo-8k.flac", "flac", 8000, 2),
    ("mono-44k.flac", "flac", 44_100, 1),
    ("stereo-8k.mp3", "libmp3lame", 8000, 2),
    ("mono-16k.mp3", "libmp3lame", 16_000, 1),
    ("stereo-44k.mp3", "libmp3lame", 44_100, 2),
    ("stereo-48k.ogg", "libopus", 48_000, 2),
]
CUTS = {
    "start": [(6.0, 14.0)],
    "end": [(0.0, 5.0)],
    "middle": [(0.0, 2.0), (11.0, 14.0)],
    "several": [(3.001, 4.017), (7.5, 7.9), (12.9, 13.1)],
    "none": [(0.0, 14.0)],
}


@pytest.mark.parametrize(("name", "codec", "rate", "channels"), CONTAINERS)
def test_the_samples_sent_are_those_of_the_recording(
    tmp_path: Path, name: str, codec: str, rate: int, channels: int
) -> None:
    path = encode(tmp_path / name, noise(14, rate, channels), rate, codec)
    for where, speech in CUTS.items():
        made = cut(examine(path), regions(*speech), longest_silence=2.0)
        whole, found = read(path, rate=made.rate), sent(path, made, tmp_path)
        assert made.whole == (where == "none")
        assert found.shape == (channels, pytest.approx(made.seconds * made.rate, abs=1))

        pieces = [whole[:, round(r.start * made.rate) : round(r.end * made.rate)] for r in made.kept]
        np.testing.assert_allclose(found, np.concatenate(pieces, axis=1), atol=0.51 / 32768)
        some = range(0, found.shape[1], 101)
        sources = [round(made.original(k / made.rate) * made.rate) for k in some]
        np.testing.assert_allclose(found[:, some], whole[:, sources], atol=0.51 / 32768)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 65_535), min_size=2, max_size=12, unique=True).map(sorted),
    st.sampled_from([8000, 16_000]),
)
def test_a_sample_is_found_where_it_was(tmp_path: Path, edges: list[int], rate: int) -> None:
    """Each sample of this recording has a value of its own, which says where it stood."""
    values = np.random.default_rng(1).permutation(65_536) - 32_768
    path = tmp_path / f"unique-{rate}.wav"
    if not path.exists():
        encode(path, (values[None] / 32_768).astype(np.float32), rate)
    pieces = list(zip(edges[::2], edges[1::2], strict=False))
    made = Cut(tuple(Region(start=a / rate, end=b / rate) for a, b in pieces), rate, 65_536 / rate)

    found = np.rint(sent(path, made, tmp_path)[0] * 32_768).astype(np.int64)
    place = np.argsort(values)
    for k in range(0, found.size, 97):
        assert made.original(k / rate) * rate == pytest.approx(place[found[k] + 32_768], abs=0.01)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_resampling_moves_no_sound_by_a_sample(tmp_path: Path, rate: int) -> None:
    clicks = [round(second * rate) for second in (1.0, 3.3333, 57.77, 113.1313)]
    sound = np.zeros((1, 120 * rate), np.float32)
    sound[0, clicks] = 0.9
    path = write_wav(tmp_path / "clicks.wav", sound, rate)
    speech = regions(*((c / rate - 0.01, c / rate + 0.01) for c in clicks))
    made = cut(examine(path), speech, longest_silence=1.0)
    found = sent(path, made, tmp_path)[0]

    for click in clicks:
        near = [
            k for k in np.argsort(-np.abs(found))[:40] if abs(made.original(k / 16_000) - click / rate) < 0.1
        ]
        assert abs(made.original(near[0] / 16_000) - click / rate) < SAMPLE


@pytest.mark.parametrize("name", ["stereo.wav", "stereo.flac", "stereo.mp3"])
def test_an_uncut_recording_is_sent_bit_for_bit(tmp_path: Path, name: str) -> None:
    codec = {"wav": "pcm_s16le", "flac": "flac", "mp3": "libmp3lame"}[name[-4:].strip(".")]
    path = encode(tmp_path / name, noise(11, 16_000, 2) * 4, 16_000, codec)
    write_audio(path, cut(examine(path), (), longest_silence=None), tmp_path / "sent.flac", channels=None)
    assert inspect(tmp_path / "sent.flac") == inspect(path)


def test_the_same_cut_gives_the_same_bytes(tmp_path: Path) -> None:
    path = encode(tmp_path / "call.mp3", noise(14, 8000, 2), 8000, "libmp3lame")
    made = cut(examine(path), regions(*CUTS["several"]), longest_silence=2.0)
    copy = tmp_path / "other name.mp3"
    copy.write_bytes(path.read_bytes())
    for source, target in ((path, "a.flac"), (copy, "b.flac")):
        write_audio(source, made, tmp_path / target, channels=[0, 1])
    first, second = (tmp_path / "a.flac").read_bytes(), (tmp_path / "b.flac").read_bytes()
    assert first == second
    assert b"Lavf" not in first  # no version of a library: an update of it gives the same bytes
    assert b"Lavc" not in first


def test_the_file_says_how_long_it_is(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "call.wav", noise(14, 16_000, 2))
    made = cut(examine(path), regions(*CUTS["middle"]), longest_silence=2.0)
    write_audio(path, made, tmp_path / "sent.flac", channels=None)
    info = examine(tmp_path / "sent.flac")
    assert (info.format, info.codec, info.sample_rate, info.channels) == ("flac", "flac", 16_000, 2)
    assert info.claimed_duration == pytest.approx(made.seconds)
    assert info.duration == pytest.approx(made.seconds)


@pytest.mark.parametrize("channels", [[0], [1], [1, 0], None])
def test_channels_are_chosen(tmp_path: Path, channels: list[int] | None) -> None:
    sound = noise(4, 8000, 2)
    path = write_wav(tmp_path / "call.wav", sound, 8000)
    found = sent(path, cut(examine(path), (), longest_silence=None), tmp_path, channels)
    np.testing.assert_allclose(found, sound[channels or [0, 1]], atol=2 / 32768)


def test_eight_channels_are_sent_and_more_are_not(tmp_path: Path) -> None:
    sound = noise(2, 8000, 9)
    path = write_wav(tmp_path / "room.wav", sound, 8000)
    made = cut(examine(path), (), longest_silence=None)
    np.testing.assert_allclose(sent(path, made, tmp_path, list(range(8))), sound[:8], atol=2 / 32768)
    with pytest.raises(NotFit, match="9 channels"):
        write_audio(path, made, tmp_path / "sent.flac", channels=None)


def test_a_recording_that_was_replaced_is_not_sent(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "call.wav", noise(14, 8000, 2), 8000)
    made = cut(examine(path), regions(*CUTS["middle"]), longest_silence=2.0)
    for seconds, channels in ((9, 2), (14, 1)):
        write_wav(path, noise(seconds, 8000, channels), 8000)
        with pytest.raises(SourceUnavailable, match="not the file that was examined"):
            write_audio(path, made, tmp_path / "sent" / "audio.flac", channels=[0, 1])
    assert list((tmp_path / "sent").iterdir()) == []


def test_nothing_cannot_be_written(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "call.wav", noise(2, 8000, 1), 8000)
    with pytest.raises(ValueError, match="nothing of the recording is kept"):
        write_audio(path, cut(examine(path), (), longest_silence=1.0), tmp_path / "sent.flac", channels=None)


def test_writing_ends_when_nobody_waits_for_it(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "call.wav", noise(14, 8000, 1), 8000)
    made = cut(examine(path), (), longest_silence=None)
    ended = threading.Event()
    ended.set()
    token = cancellation.stop.set(ended)
    try:
        with pytest.raises(cancellation.Stopped):
            write_audio(path, made, tmp_path / "sent" / "audio.flac", channels=None)
    finally:
        cancellation.stop.reset(token)
    assert list((tmp_path / "sent").iterdir()) == []


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    peaks = []
    for minutes in (1, 10):
        path = write_wav(tmp_path / "long.wav", np.full((1, minutes * 60 * 8000), 0.1), 8000)
        made = cut(examine(path), (), longest_silence=None)
        tracemalloc.start()
        write_audio(path, made, tmp_path / "sent.flac", channels=None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] < 5_000_000


@pytest.mark.parametrize(
    "name", ["Henry Clarke _ 2026-03-04 10-05-00*", "Peter Haddad _ 2026-03-06 12-48-31*"]
)
def test_a_shipped_call_says_the_same_without_its_silences(tmp_path: Path, name: str) -> None:
    (path,) = (DATA / "samples").glob(name)
    info = examine(path)
    before = voice(speech_activity(path, info), None)
    made = cut(info, before, longest_silence=3.0)
    assert made.seconds < 0.8 * info.duration

    write_audio(path, made, tmp_path / "sent.flac", channels=None)
    sent_info = probe(tmp_path / "sent.flac", max_duration=100, max_bytes=2**30)
    after = voice(speech_activity(tmp_path / "sent.flac", sent_info), None)
    back = [made.span(r.start, r.end) for r in after]
    assert len(back) == len(before)
    for region, (start, end) in zip(before, back, strict=True):
        assert (start, end) == (pytest.approx(region.start, abs=0.1), pytest.approx(region.end, abs=0.1))


# --- whose speech counts -----------------------------------------------------------------------------------


def test_speech_of_all_channels_is_kept_and_soft_voices_too() -> None:
    activity = SpeechActivity(
        duration=60,
        channels=(
            ChannelSpeech(
                channel=0, role=Role.AGENT, speech=regions((1, 2), (20, 21)), dropped=regions((40, 41))
            ),
            ChannelSpeech(channel=1, role=Role.CUSTOMER, speech=regions((3, 4), (39, 42))),
        ),
        source="vad",
        detector="test",
    )
    everybody = [(1, 2), (3, 4), (20, 21), (39, 42), (40, 41)]
    assert [(r.start, r.end) for r in voice(activity, None)] == everybody
    assert [(r.start, r.end) for r in voice(activity, [0, 1])] == everybody
    assert [(r.start, r.end) for r in voice(activity, [0])] == [(1, 2), (20, 21)]
    assert voice(activity, [7]) == ()


# --- transcripts -------------------------------------------------------------------------------------------

HOLD = cut(recording(60), regions((0, 4), (30, 34)), longest_silence=3.0)
"""Sent: 0-4.5 and 29.5-34.5, the seam at 4.5."""


def transcript(*segments: Segment) -> Transcript:
    return Transcript(engine="assemblyai", engine_version="1", language="en", duration=9.5, segments=segments)


def back(*segments: Segment, channel: int | None = None) -> list[Segment]:
    found = restored(transcript(*segments), HOLD, duration=60.0, channel=channel)
    assert found.duration == 60
    return list(found.segments)


def timed(*words: tuple[str, float, float]) -> tuple[Word, ...]:
    return tuple(Word(text=text, start=start, end=end, confidence=0.9) for text, start, end in words)


def test_a_segment_and_its_words_are_put_back() -> None:
    words = timed(("Thank", 5.0, 5.3), ("you.", 5.3, 5.6))
    (found,) = back(Segment(start=5, end=5.7, text="Thank you.", words=words, channel=1, speaker="B"))
    assert (found.start, found.end, found.text, found.channel, found.speaker) == (
        30,
        30.7,
        "Thank you.",
        1,
        "B",
    )
    assert [(w.text, w.start, w.end, w.confidence) for w in found.words] == [
        ("Thank", 30.0, 30.3, 0.9),
        ("you.", 30.3, 30.6, 0.9),
    ]


def test_a_segment_over_a_cut_becomes_two() -> None:
    words = timed(("please", 3.0, 3.4), ("hold", 3.4, 3.8), ("im", 5.0, 5.2), ("back", 5.2, 5.6))
    spoken = Segment(
        start=2.9, end=5.7, text="Please hold. “Im back.”", words=words, speaker="A", confidence=0.8
    )
    first, second = back(spoken)
    assert (first.start, first.end, first.text) == (2.9, 3.8, "Please hold.")
    assert (second.start, second.end, second.text) == (30.0, 30.7, "“Im back.”")
    assert [w.text for w in (*first.words, *second.words)] == ["please", "hold", "im", "back"]
    assert (second.speaker, second.confidence) == ("A", 0.8)


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("a that a", ("a", "that", "a"), ["a that", "a"]),
        ("No, no!No.", ("no", "no", "no"), ["No, no!", "No."]),
        ("¿Sí? - ¡Sí! $5", ("sí", "sí", "$5"), ["¿Sí? - ¡Sí!", "$5"]),
        ("もしもし、はい。どうぞ", ("もしもし", "はい", "どうぞ"), ["もしもし、はい。", "どうぞ"]),
        ("twenty-one 21", ("twenty", "one", "21"), ["twenty-one", "21"]),
        ("İstanbul'da mı? Evet", ("istanbul'da", "mı", "evet"), ["İstanbul'da mı?", "Evet"]),
        ("quite another text", ("one", "two", "three"), ["one two", "three"]),
    ],
)
def test_the_text_is_divided_with_its_punctuation(
    text: str, words: tuple[str, str, str], expected: list[str]
) -> None:
    spoken = timed((words[0], 1, 2), (words[1], 2, 3), (words[2], 5, 6))
    assert [s.text for s in back(Segment(start=1, end=6, text=text, words=spoken))] == expected


def test_words_without_times_go_with_those_before() -> None:
    words = (
        Word(text="so"),
        Word(text="one", start=3.0, end=3.5),
        Word(text="two"),
        Word(text="three", start=5.0),
        Word(text="four"),
    )
    first, second = back(Segment(start=2.5, end=6, text="so one two three four", words=words))
    assert (first.text, first.start, first.end) == ("so one two", 2.5, 3.5)
    assert (second.text, second.start, second.end) == ("three four", 30.0, 31.0)
    assert [(w.start, w.end) for w in second.words] == [(30.0, None), (None, None)]


def test_a_segment_without_timed_words_reaches_over_the_cut() -> None:
    (found,) = back(Segment(start=1, end=9, text="one two", words=(Word(text="one"), Word(text="two"))))
    assert (found.start, found.end, found.text, len(found.words)) == (1, 34, "one two", 2)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (4.4, 7, (29.5, 32)),
        (1, 4.6, (1, 4.5)),
        (1, 4.5, (1, 4.5)),
        (4.5, 7, (29.5, 32)),
        (4.4, 4.7, (29.5, 29.7)),
    ],
)
def test_an_edge_just_over_the_seam_was_meant_to_be_at_it(
    start: float, end: float, expected: tuple[float, float]
) -> None:
    (found,) = back(Segment(start=start, end=end, text="hello"))
    assert (found.start, found.end) == expected


def test_a_channel_that_was_sent_by_itself_is_named() -> None:
    assert [s.channel for s in back(Segment(start=0, end=1, text="a"), channel=1)] == [1]
    assert [s.channel for s in back(Segment(start=0, end=1, text="a", channel=1))] == [1]


def test_segments_are_in_order_of_start() -> None:
    """One speaker's sentence goes on after the cut, another's lies before it."""
    across = Segment(start=1, end=6, text="a b", words=timed(("a", 1, 2), ("b", 5, 6)), channel=0)
    other = Segment(start=3, end=4, text="c", words=timed(("c", 3, 4)), channel=1)
    assert [s.text for s in back(across, other)] == ["a", "c", "b"]


def test_nothing_said_is_nothing_to_put_back() -> None:
    nothing = cut(recording(60), (), longest_silence=3.0)
    assert restored(transcript(), nothing, duration=60.0) == transcript().model_copy(
        update={"duration": 60.0}
    )


def test_an_uncut_transcript_stays_as_it_is() -> None:
    whole = cut(recording(60), (), longest_silence=None)
    heard = transcript(
        Segment(start=1.234, end=5.678, text="a b", words=timed(("a", 1.234, 2), ("b", 2, 5.678)))
    )
    assert restored(heard, whole, duration=9.5) == heard


def test_a_stored_cut_is_plain_json() -> None:
    assert json.loads(HOLD.to_json()) == {
        "rate": 8000,
        "duration": 60.0,
        "runs": [0, 36_000, 200_000, 40_000],
    }


def test_a_broken_recording_is_said_to_be_broken(tmp_path: Path) -> None:
    path = tmp_path / "broken.mp3"
    path.write_bytes(b"ID3" + bytes(5000))
    with pytest.raises(NotAudio):
        write_audio(path, HOLD, tmp_path / "sent.flac", channels=None)
