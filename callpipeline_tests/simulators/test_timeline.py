"""Any piece of a long recording is known by its sound, and its words come with the piece's own times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from bench.long_recordings import make
from callpipeline.audio.decode import Samples, read
from callpipeline_tests.simulators import OpenAISimulator, SpokenTurn
from callpipeline_tests.simulators.answers import NotAudioError
from callpipeline_tests.simulators.conftest import MakeWav, openai_client
from callpipeline_tests.simulators.timeline import Timeline
from callpipeline_tests.simulators.words import words_of

SECONDS = 240.0
RATE = 16_000
NEAR = 0.03
CODECS = {
    "opus": ("libopus", "ogg", 24_000),
    "mp3": ("libmp3lame", "mp3", 32_000),
    "flac": ("flac", "flac", None),
}


class Timed(NamedTuple):
    text: str
    start: float
    end: float


class Recording(NamedTuple):
    path: Path
    timeline: Path
    turns: Sequence[SpokenTurn]
    samples: Samples


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    path = tmp_path_factory.mktemp("long") / "hearing.mp3"
    turns = make(path, SECONDS, bit_rate=64_000, layout="mono")
    timeline = path.with_suffix(".npz")
    Timeline.of(path, turns).save(timeline)
    return Recording(path, timeline, turns, read(path, rate=RATE)[0])


@pytest.fixture(scope="module")
def timeline(recording: Recording) -> Timeline:
    return Timeline.load(recording.timeline)


def piece(recording: Recording, kept: Sequence[tuple[float, float]], codec: str, target: Path) -> Path:
    """Write stretches of the recording end to end."""
    import av

    samples = np.concatenate([recording.samples[round(a * RATE) : round(b * RATE)] for a, b in kept])
    encoder, container, bits = CODECS[codec]
    with av.open(str(target), "w", format=container) as file:
        stream = file.add_stream(encoder, rate=RATE, layout="mono")
        if bits:
            stream.bit_rate = bits
        whole = (samples.clip(-1, 1) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
        frame.sample_rate = RATE
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return target


def said(turns: Sequence[SpokenTurn]) -> list[Timed]:
    return [Timed(w.text, w.start / 1000, w.end / 1000) for turn in turns for w in words_of(turn)]


def truth(recording: Recording, kept: Sequence[tuple[float, float]], slack: float = 0.0) -> list[Timed]:
    """Return the words that lie in the stretches, give or take ``slack`` seconds, with the times of the piece."""
    found, before = [], 0.0
    for a, b in kept:
        moved = [Timed(w.text, w.start - a + before, w.end - a + before) for w in said(recording.turns)]
        found += [w for w in moved if w.start >= before - slack and w.end <= before + b - a + slack]
        before += b - a
    return found


def without_silences(
    recording: Recording, start: float, end: float, longest: float
) -> list[tuple[float, float]]:
    """Return what is left of a stretch when of long pauses only 0.3 s stay on either side."""
    kept, since = [], start
    for turn, following in pairwise(recording.turns):
        if start < turn.end + 0.3 and following.start - 0.3 < end and following.start - turn.end > longest:
            kept.append((since, turn.end + 0.3))
            since = following.start - 0.3
    return [*kept, (since, end)]


def check(heard: Sequence[Timed], recording: Recording, kept: Sequence[tuple[float, float]]) -> None:
    """The words that are surely in it are heard, once, at their times, and no others but at its very edges."""
    possible = truth(recording, kept, slack=NEAR)
    sure = truth(recording, kept, slack=-NEAR)
    rest = iter(heard)
    for word in sure:
        match = next((w for w in rest if w.text == word.text and abs(w.start - word.start) <= NEAR), None)
        assert match is not None, word
        assert abs(match.end - word.end) <= NEAR
    assert len(heard) <= len(possible)
    assert {word.text for word in heard} <= {word.text for word in possible}


def starts() -> Iterator[tuple[float, float]]:
    rng = np.random.default_rng(7)
    for seconds in (4.0, 13.0, 37.0, 90.0):
        start = float(rng.uniform(0, SECONDS - seconds))
        yield start, start + seconds


@pytest.mark.parametrize("codec", CODECS)
def test_words_of_a_piece_cut_anywhere(
    recording: Recording, timeline: Timeline, codec: str, tmp_path: Path
) -> None:
    for start, end in [*starts(), (0.0, 20.0), (SECONDS - 20.0, SECONDS)]:
        found = timeline.heard(piece(recording, [(start, end)], codec, tmp_path / "piece"))
        assert found is not None
        assert found.duration == pytest.approx(end - start, abs=0.1)
        check(said(found.turns), recording, [(start, end)])


@pytest.mark.parametrize("codec", CODECS)
def test_words_of_a_piece_without_its_silences(
    recording: Recording, timeline: Timeline, codec: str, tmp_path: Path
) -> None:
    for start, end in ((12.345, 101.0), (100.0, 228.5)):
        kept = without_silences(recording, start, end, longest=1.0)
        assert len(kept) > 5
        found = timeline.heard(piece(recording, kept, codec, tmp_path / "piece"))
        assert found is not None
        check(said(found.turns), recording, kept)


def test_the_whole_recording_is_a_piece_of_itself(recording: Recording, timeline: Timeline) -> None:
    found = timeline.heard(recording.path)
    assert found is not None
    assert len(said(found.turns)) == len(said(recording.turns))
    check(said(found.turns), recording, [(0.0, SECONDS)])


def test_other_sound_is_no_piece(timeline: Timeline, make_wav: MakeWav, tmp_path: Path) -> None:
    noise = tmp_path / "noise.wav"
    noise.write_bytes(make_wav(10.0))
    assert timeline.heard(noise) is None
    with pytest.raises(NotAudioError):
        timeline.heard(tmp_path / "missing.wav")


def test_the_official_client_gets_the_words_of_a_piece(recording: Recording, tmp_path: Path) -> None:
    kept = [(30.0, 75.0)]
    sent = piece(recording, kept, "opus", tmp_path / "piece.ogg")
    with OpenAISimulator(timeline=recording.timeline) as sim:
        answer = openai_client(sim).audio.transcriptions.create(
            file=("audio.ogg", sent.read_bytes()),
            model="whisper-1",
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
        )
    want = [word.text.strip(".,?!") for word in truth(recording, kept)]
    assert [word.word for word in answer.words] == want
    assert all(0 <= segment.start < segment.end <= answer.duration for segment in answer.segments)


def test_no_two_passages_are_equal_and_the_size_is_what_was_asked_for(recording: Recording) -> None:
    lengths = [(turn.text, round(turn.end - turn.start, 4)) for turn in recording.turns]
    assert len(set(lengths)) == len(lengths)
    pauses = [after.start - before.end for before, after in pairwise(recording.turns)]
    assert min(pauses) >= 0.29
    assert max(pauses) > 5.0
    assert recording.path.stat().st_size == pytest.approx(SECONDS * 64_000 / 8, rel=0.01)
