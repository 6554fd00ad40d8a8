"""Who spoke when: on calls with known speakers, and on sound that is hard to divide."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from callpipeline.audio.decode import read
from callpipeline.model import ChannelSpeech, Diarization, Region, Role, SpeechActivity
from callpipeline.settings import Settings
from callpipeline.speech.diarizers import clustering, diarizer, spectral
from callpipeline.speech.engines.base import CpuRunner, SpeechJob
from callpipeline_tests.speech.conftest import DATA, Call, job_of, write_wav

FRAME = 0.01
COLLAR = 0.25


def diarize(job: SpeechJob, cpu: CpuRunner, **settings: object) -> Diarization:
    return asyncio.run(diarizer(Settings.model_validate(settings), cpu, job).diarize(job))


def error_rate(call: Call, found: Diarization) -> float:
    """Return the diarization error rate: wrong frames by spoken frames, 0.25 s around each border left
    out."""
    frames = int(call.job.info.duration / FRAME) + 1
    truth, judged = np.full(frames, "", object), np.ones(frames, bool)
    for line in call.dialogue:
        truth[int(line["start"] / FRAME) : int(line["end"] / FRAME)] = line["speaker"]
        for border in (line["start"], line["end"]):
            judged[max(0, int((border - COLLAR) / FRAME)) : int((border + COLLAR) / FRAME)] = False
    heard = np.full(frames, "", object)
    for span in found.spans:
        heard[int(span.start / FRAME) : int(span.end / FRAME)] = span.speaker
    names = sorted({s.speaker for s in found.spans})
    wrong = [
        np.count_nonzero(judged & (_renamed(heard, dict(zip(names, people, strict=False))) != truth))
        for people in itertools.permutations(["agent", "customer", "nobody"], len(names))
    ]
    return min(wrong) / np.count_nonzero(judged & (truth != ""))


def _renamed(heard: np.ndarray, names: dict[str, str]) -> np.ndarray:
    return np.array([names.get(name, "") for name in heard], object)


# --- channels -----------------------------------------------------------------------------------------


def activity(*channels: ChannelSpeech) -> SpeechActivity:
    return SpeechActivity(duration=10.0, channels=channels, source="vad", detector="test")


def on_channel(number: int, role: Role, *speech: tuple[float, float]) -> ChannelSpeech:
    return ChannelSpeech(channel=number, role=role, speech=tuple(Region(start=a, end=b) for a, b in speech))


def by_channel(job: SpeechJob, speech: SpeechActivity, here: CpuRunner) -> Diarization:
    return diarize(replace(job, activity=speech), here, diarizer="channels")


def test_channels_give_speakers_and_sure_roles(stereo_call: Call, here: CpuRunner) -> None:
    found = diarize(stereo_call.job, here)
    assert found.engine == "channels"
    assert found.roles == {"agent": Role.AGENT, "customer": Role.CUSTOMER}
    assert found.role_confidence == 1.0
    assert error_rate(stereo_call, found) < 0.05


def test_swapped_channels_keep_the_roles_of_the_activity(stereo_call: Call, here: CpuRunner) -> None:
    speech = activity(on_channel(0, Role.CUSTOMER, (0, 1)), on_channel(1, Role.AGENT, (2, 3)))
    found = by_channel(stereo_call.job, speech, here)
    assert [(s.speaker, s.channel, s.start) for s in found.spans] == [("customer", 0, 0), ("agent", 1, 2)]


def test_channels_without_roles_are_numbered_and_unsure(stereo_call: Call, here: CpuRunner) -> None:
    speech = activity(on_channel(0, Role.UNKNOWN, (0, 1)), on_channel(1, Role.UNKNOWN, (1, 2)))
    found = by_channel(stereo_call.job, speech, here)
    assert found.roles == {"channel_0": Role.UNKNOWN, "channel_1": Role.UNKNOWN}
    assert found.role_confidence == 0.0


def test_two_channels_of_one_role_stay_two_speakers(stereo_call: Call, here: CpuRunner) -> None:
    speech = activity(on_channel(0, Role.AGENT, (0, 1)), on_channel(1, Role.AGENT, (1, 2)))
    assert set(by_channel(stereo_call.job, speech, here).roles) == {"channel_0", "channel_1"}


def test_a_silent_channel_still_has_its_speaker(stereo_call: Call, here: CpuRunner) -> None:
    speech = activity(on_channel(0, Role.AGENT), on_channel(1, Role.CUSTOMER, (1, 2)))
    found = by_channel(stereo_call.job, speech, here)
    assert found.roles["agent"] is Role.AGENT
    assert {s.speaker for s in found.spans} == {"customer"}


# --- spectral -----------------------------------------------------------------------------------------


def test_two_voices_on_one_channel_are_told_apart(mono_call: Call, cpu: CpuRunner) -> None:
    found = diarize(mono_call.job, cpu)
    assert found.engine == "spectral"
    assert error_rate(mono_call, found) < 0.10
    assert set(found.roles.values()) == {Role.UNKNOWN}
    assert found.role_confidence == 0.0


def test_the_same_sound_on_both_channels_is_divided_by_voice(dual_mono_call: Call, here: CpuRunner) -> None:
    found = diarize(dual_mono_call.job, here)
    assert found.engine == "spectral"
    assert error_rate(dual_mono_call, found) < 0.10


def test_one_voice_is_one_speaker_and_the_note_says_so(one_voice_call: Call, here: CpuRunner) -> None:
    found = diarize(one_voice_call.job, here)
    assert {s.speaker for s in found.spans} == {"speaker_0"}
    assert any("sound like one" in note for note in found.notes)


def test_one_expected_speaker_is_not_doubted(mono_call: Call, here: CpuRunner) -> None:
    found = diarize(mono_call.job, here, speakers=1)
    assert set(found.roles) == {"speaker_0"}
    assert found.notes == ()


def test_more_voices_than_there_are_do_no_harm(mono_call: Call, here: CpuRunner) -> None:
    found = diarize(mono_call.job, here, speakers=4)
    assert 1 <= len(found.roles) <= 4


SLT_CALLS_RMS = ("homes-do-not-call", "homes-hello-late", "homes-owner-names-price", "homes-sold-full-intro")
RMS_CALLS_SLT = ("homes-other-property", "homes-surrender", "homes-with-subtitles")


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """The two voices of seven calls for minutes, on two channels that are microphones in one room."""
    sound: list[np.ndarray] = []
    dialogue, begin = [], 0.0
    for name in (*SLT_CALLS_RMS, *RMS_CALLS_SLT):
        truth = json.loads((DATA / "samples_src" / "expected" / f"{name}.json").read_text("utf-8"))
        sound.append(read(DATA / "samples" / truth["file"]).mean(axis=0))
        for line in truth["dialogue"]:
            is_slt = (line["speaker"] == "agent") == (name in SLT_CALLS_RMS)
            times = {"start": begin + line["start"], "end": begin + line["end"]}
            dialogue.append({"speaker": "agent" if is_slt else "customer", **times})
        begin += sound[-1].size / 16_000
    mono = np.concatenate(sound)
    room = np.stack([mono, 0.7 * mono]) + np.random.default_rng(1).standard_normal((2, mono.size)) * 0.0005
    path = write_wav(tmp_path_factory.mktemp("hearing") / "room.wav", room)
    job = job_with_regions(path, [(line["start"], line["end"]) for line in dialogue])
    [one] = job.activity.channels
    both = (one, one.model_copy(update={"channel": 1}))
    return Call(
        replace(job, activity=job.activity.model_copy(update={"channels": both}), hearing=True), dialogue
    )


def test_the_voices_of_a_hearing_are_counted_and_microphones_do_not_divide_them(
    hearing: Call, here: CpuRunner
) -> None:
    assert (hearing.job.info.channels, hearing.job.info.dual_mono) == (2, False)
    found = diarize(hearing.job, here)
    assert list(found.roles) == ["speaker_0", "speaker_1"]
    assert {span.channel for span in found.spans} == {None}
    assert error_rate(hearing, found) < 0.10
    assert found.notes == (
        "2 voices were counted by their sound; the metadata field speakers says how many there are",
    )
    assert diarize(replace(hearing.job, hearing=False), here).engine == "channels"


def test_one_voice_of_a_hearing_is_not_divided(one_voice_call: Call, here: CpuRunner) -> None:
    assert set(diarize(replace(one_voice_call.job, hearing=True), here).roles) == {"speaker_0"}


@pytest.mark.parametrize("hearing", [True, False])
def test_the_number_that_the_metadata_says_counts_most(
    mono_call: Call, here: CpuRunner, hearing: bool
) -> None:
    found = diarize(replace(mono_call.job, hearing=hearing, speakers=1), here, speakers=2)
    assert (set(found.roles), found.notes) == ({"speaker_0"}, ())


def test_spans_cover_exactly_the_speech(mono_call: Call, here: CpuRunner) -> None:
    found = diarize(mono_call.job, here)
    speech = mono_call.job.activity.channels[0].speech
    for region in speech:
        inside = [s for s in found.spans if region.start <= s.start and s.end <= region.end]
        assert inside[0].start == region.start
        assert inside[-1].end == region.end
        assert all(a.end == b.start for a, b in itertools.pairwise(inside))
    assert sum(s.end - s.start for s in found.spans) == pytest.approx(sum(r.duration for r in speech))


def test_speakers_are_numbered_as_they_appear(mono_call: Call, here: CpuRunner) -> None:
    found = diarize(mono_call.job, here)
    assert list(dict.fromkeys(s.speaker for s in found.spans)) == ["speaker_0", "speaker_1"]


def job_with_regions(path: Path, regions: Sequence[tuple[float, float]]) -> SpeechJob:
    job = job_of(path)
    speech = activity(on_channel(0, Role.UNKNOWN, *regions))
    return replace(job, activity=speech.model_copy(update={"duration": job.info.duration}))


@pytest.mark.parametrize(
    "regions",
    [[], [(0.5, 0.5)], [(0.5, 0.51)], [(0.0, 0.3)], [(0.0, 0.9)], [(0.0, 1.6)], [(0.0, 0.2), (2.9, 3.0)]],
)
@pytest.mark.parametrize("sound", ["noise", "digital silence"])
def test_very_little_speech_is_one_speaker(
    regions: list[tuple[float, float]], sound: str, here: CpuRunner, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).standard_normal((1, 48_000)) * (0.1 if sound == "noise" else 0.0)
    found = diarize(job_with_regions(write_wav(tmp_path / "short.wav", noise), regions), here)
    assert {s.speaker for s in found.spans} <= {"speaker_0"}
    assert len(found.spans) == sum(a < b for a, b in regions)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("sound", ["tone", "digital silence"])
def test_sound_without_any_change_is_no_problem(sound: str, here: CpuRunner, tmp_path: Path) -> None:
    time = np.arange(20 * 16_000) / 16_000
    samples = 0.3 * np.sin(2 * np.pi * 440 * time) if sound == "tone" else np.zeros_like(time)
    found = diarize(job_with_regions(write_wav(tmp_path / "flat.wav", samples[None]), [(0.0, 20.0)]), here)
    assert found.spans[0].start == 0.0
    assert found.spans[-1].end == 20.0


def test_a_long_recording_is_divided_by_a_sample_of_its_windows(
    mono_call: Call, here: CpuRunner, tmp_path: Path
) -> None:
    once = read(mono_call.job.path)
    seconds = once.shape[1] / 16_000
    copies = 20
    path = write_wav(tmp_path / "long.wav", np.tile(once, copies))
    speech = mono_call.job.activity.channels[0].speech
    regions = [(r.start + n * seconds, r.end + n * seconds) for n in range(copies) for r in speech]
    dialogue = [
        {**line, "start": line["start"] + n * seconds, "end": line["end"] + n * seconds}
        for n in range(copies)
        for line in mono_call.dialogue
    ]
    call = Call(job_with_regions(path, regions), dialogue)

    found = diarize(call.job, here)

    assert sum(b - a for a, b in regions) / spectral.OF_TWO.seconds > clustering.SAMPLE
    assert error_rate(call, found) < 0.10
