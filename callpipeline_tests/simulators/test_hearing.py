"""Simulators that hear what is said in any piece of tone speech, whoever cut it, and through any codec."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from callpipeline_tests.audio.conftest import write_audio
from callpipeline_tests.simulators import AssemblyAISimulator, OpenAISimulator
from callpipeline_tests.simulators.conftest import openai_client, transcriber
from callpipeline_tests.tone_speech import ToneWord, listen, script, spoken

SECONDS = 12.0
RATE = 8000
FILES = [("cut.wav", "pcm_s16le"), ("cut.flac", "flac"), ("cut.mp3", "libmp3lame"), ("cut.ogg", "libopus")]


def cut_out(first: float, last: float, words: tuple[ToneWord, ...]) -> np.ndarray:
    return spoken(words, SECONDS, RATE)[None, round(first * RATE) : round(last * RATE)]


@pytest.mark.parametrize(("name", "codec"), FILES)
def test_openai_hears_each_piece_by_itself(tmp_path: Path, name: str, codec: str) -> None:
    words = script(3, SECONDS)
    with OpenAISimulator(hearing="tones") as sim:
        client = openai_client(sim)
        for first, last in ((0.0, 5.0), (5.0, 12.0)):
            path = write_audio(tmp_path / name, cut_out(first, last, words), RATE, codec)
            with path.open("rb") as file:
                said = client.audio.transcriptions.create(
                    file=file,
                    model="whisper-1",
                    response_format="verbose_json",
                    timestamp_granularities=["word", "segment"],
                )
            inside = [w for w in words if w.start >= first and w.end <= last]
            heard = {w.word.lower(): (w.start + first, w.end + first) for w in said.words or []}
            for word in inside:
                assert heard[word.text] == (
                    pytest.approx(word.start, abs=0.03),
                    pytest.approx(word.end, abs=0.03),
                )
            assert said.text.lower().replace(".", "").split() == [w.word.lower() for w in said.words or []]
            assert len(inside) <= len(heard) <= len(inside) + 2
            assert said.segments
            assert all(segment.text.strip()[0].isupper() for segment in said.segments)


def test_assemblyai_hears_both_channels(tmp_path: Path) -> None:
    import assemblyai as aai

    left, right = script(1, SECONDS), script(2, SECONDS)
    sound = np.stack([spoken(words, SECONDS, RATE) for words in (left, right)])
    path = write_audio(tmp_path / "call.mp3", sound, RATE, "libmp3lame")
    with AssemblyAISimulator(hearing="tones") as sim:
        said = transcriber(sim).transcribe(str(path), aai.TranscriptionConfig(multichannel=True))
    for channel, words in (("1", left), ("2", right)):
        heard = [w for u in said.utterances or [] if str(u.channel) == channel for w in u.words]
        assert [w.text.lower().strip(".") for w in heard] == [w.text for w in words]
        assert [w.start / 1000 for w in heard] == pytest.approx([w.start for w in words], abs=0.03)


def test_a_piece_without_words_is_silent(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "hush.flac", spoken((), SECONDS, RATE)[None], RATE, "flac")
    with OpenAISimulator(hearing="tones") as sim, path.open("rb") as file:
        said = openai_client(sim).audio.transcriptions.create(file=file, model="whisper-1")
    assert said.text == ""


@pytest.mark.parametrize(
    ("missing", "heard"), [(0.04, "whole"), (0.09, "most"), (0.15, "some"), (0.23, "nothing")]
)
@pytest.mark.parametrize("at_start", [True, False])
def test_of_a_word_that_is_cut_off_only_a_part_is_heard(missing: float, heard: str, at_start: bool) -> None:
    word = ToneWord("bafegiko", 1.0, 1.25)
    sound = spoken([word], 2.0, RATE)
    piece = sound[round((1.0 + missing) * RATE) :] if at_start else sound[: round((1.25 - missing) * RATE)]
    expected = {
        ("whole", True): ["bafegiko"], ("most", True): ["giko"], ("some", True): ["ko"], ("nothing", True): [],
        ("whole", False): ["bafegiko"], ("most", False): ["bafe"], ("some", False): ["ba"], ("nothing", False): [],
    }  # fmt: skip
    assert [w.text for w in listen(piece)] == expected[heard, at_start]
