"""Who speaks when: edges that the rules can rely on, and nothing heard where nobody speaks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from callpipeline.audio.channels import channels_differ
from callpipeline.audio.decode import Samples, read
from callpipeline.audio.silero import SileroStream
from callpipeline.audio.vad import DETECTOR, speech_activity
from callpipeline.failures import SourceUnavailable
from callpipeline.model import ChannelSpeech, Role, SpeechActivity
from callpipeline_tests.audio.conftest import Write, clip, examine, place

CALL = [
    (0, "agent_intro", 1.0),
    (1, "customer_objection", 4.5),
    (0, "agent_rebuttal", 7.2),
    (1, "customer_goodbye", 10.6),
]
CALL_SECONDS = 13.0


def listen(path: Path, roles: dict[int, Role] | None = None) -> SpeechActivity:
    return speech_activity(path, examine(path), channel_roles=roles)


def truth(channel: int) -> list[tuple[float, float]]:
    """First and last sound of each utterance (clips have 20 ms of lead and tail)."""
    return [(at, at + clip(name).size / 8000 - 0.04) for c, name, at in CALL if c == channel]


def overlap(found: ChannelSpeech, spoken: list[tuple[float, float]]) -> float:
    return sum(max(0.0, min(r.end, e) - max(r.start, s)) for r in found.speech for s, e in spoken)


@pytest.mark.parametrize(
    ("name", "rate", "codec"),
    [("call.mp3", 8000, "libmp3lame"), ("call.wav", 8000, "pcm_mulaw"), ("call.flac", 16_000, "flac")],
)
@pytest.mark.parametrize("noise", [0.0003, 0.005])
def test_speech_is_found_where_it_is_on_each_channel(
    write: Write, name: str, rate: int, codec: str, noise: float
) -> None:
    activity = listen(write(name, place(CALL, CALL_SECONDS, rate=rate, noise=noise), rate, codec))
    assert activity.detector == DETECTOR
    assert [(c.channel, c.role) for c in activity.channels] == [(0, Role.AGENT), (1, Role.CUSTOMER)]
    for found in activity.channels:
        expected = truth(found.channel)
        assert not found.dropped
        assert len(found.speech) == len(expected)
        for region, (start, end) in zip(found.speech, expected, strict=True):
            assert region.start == pytest.approx(start, abs=0.1)
            assert region.end == pytest.approx(end, abs=0.15)


@pytest.mark.parametrize("voice", ["hello_rms", "hello_slt", "hello_awb"])
@pytest.mark.parametrize("second", [4.8, 4.9, 5.1, 5.2])
def test_the_first_word_falls_on_the_right_side_of_five_seconds(
    write: Write, voice: str, second: float
) -> None:
    agent = listen(write("a.mp3", place([(0, voice, second)], 9.0), 8000, "libmp3lame")).channels[0]
    assert len(agent.speech) == 1
    assert (agent.speech[0].start > 5.0) == (second > 5.0)
    assert agent.speech[0].start == pytest.approx(second, abs=0.08)


@pytest.mark.parametrize("voice", ["hello_rms", "hello_slt", "hello_awb"])
@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_a_short_real_hello_counts_as_speech(write: Write, voice: str, gain: float) -> None:
    samples = place([(0, voice, 3.0)], 8.0, noise=0.0)
    samples = samples * gain + np.random.default_rng(1).normal(0, 0.0005, samples.shape)
    agent = listen(write("a.wav", samples)).channels[0]
    assert agent.seconds >= 0.30


@pytest.mark.parametrize("voice", ["agent_intro", "hello_slt", "hello_awb"])
@pytest.mark.parametrize("silence", [25.3, 61.7, 92.1])
def test_a_long_wait_does_not_dull_the_ear_for_the_first_word(
    write: Write, voice: str, silence: float
) -> None:
    """The network forgets what speech sounds like while it hears nothing but the line for half a minute."""
    samples = place([(0, voice, silence)], silence + 4.0, channels=1)
    found = listen(write("a.wav", samples)).channels[0]
    assert found.speech[0].start == pytest.approx(silence, abs=0.1)


def seconds(duration: float) -> npt.NDArray[np.float64]:
    return np.arange(int(duration * 8000)) / 8000


def noise_blips(length: float) -> npt.NDArray[np.float64]:
    time, rng = seconds(12.0), np.random.default_rng(2)
    return rng.normal(0, 0.001, time.size) + (time % 2.0 < length) * rng.normal(0, 0.15, time.size)


def beats(*pitches: float, every: float, length: float) -> npt.NDArray[np.float64]:
    time = seconds(12.0)
    return np.asarray((time % every < length) * sum(0.12 * np.sin(2 * np.pi * p * time) for p in pitches))


def melody() -> npt.NDArray[np.float64]:
    time = seconds(12.0)
    notes = [262, 330, 392, 523, 440, 349, 294, 392, 330, 262, 294, 330, 392, 440, 523, 494]
    pitch = np.array(notes)[(time / 0.5).astype(int) % len(notes)]
    fade = np.exp(-3 * (time % 0.5))
    return np.asarray(sum(0.15 * fade * np.sin(2 * np.pi * pitch * h * time) / h for h in range(1, 5)))


def thumps() -> npt.NDArray[np.float64]:
    time, rng = seconds(12.0), np.random.default_rng(2)
    return np.asarray(0.5 * np.exp(-(time % 1.5) * 40) * rng.standard_normal(time.size))


NOT_SPEECH = {
    "blips of 0.1 s": noise_blips(0.1),
    "blips of 0.2 s": noise_blips(0.2),
    "blips of 0.3 s": noise_blips(0.3),
    "hiss": np.random.default_rng(2).normal(0, 0.05, 96_000),
    "hum": 0.1 * np.sign(np.sin(2 * np.pi * 60 * seconds(12.0))),
    "ringback": beats(440, 480, every=6.0, length=2.0),
    "busy": beats(480, 620, every=1.0, length=0.5),
    "keys": beats(770, 1336, every=0.5, length=0.2),
    "beep": beats(1000, every=6.0, length=0.6),
    "melody": melody(),
    "thumps": thumps(),
    "clicks": 0.8 * (np.arange(96_000) % 4000 == 0),
    "nothing": np.zeros(96_000),
}


@pytest.mark.parametrize("name", NOT_SPEECH)
def test_what_is_not_speech_does_not_clear_an_agent_who_never_spoke(write: Write, name: str) -> None:
    samples = place([(1, "customer_objection", 4.0)], 12.0)
    samples[0] += NOT_SPEECH[name].astype(np.float32)
    agent, customer = listen(write("a.mp3", samples, 8000, "libmp3lame")).channels
    assert agent.seconds < 0.30
    assert customer.seconds > 1.5


# --- cross-talk ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leak_db", [-30, -20, -12])
@pytest.mark.parametrize("delay", [0.0, 0.05])
def test_a_leak_of_the_other_side_is_not_speech(write: Write, leak_db: int, delay: float) -> None:
    clean = place(CALL, CALL_SECONDS, noise=0.0003)
    leak = np.roll(clean[::-1], int(delay * 8000), axis=1) * 10 ** (leak_db / 20)
    activity = listen(write("a.mp3", clean + leak, 8000, "libmp3lame"))
    for found in activity.channels:
        own, other = truth(found.channel), truth(1 - found.channel)
        assert overlap(found, own) > 0.95 * sum(e - s for s, e in own)
        assert overlap(found, other) < 0.1
        assert found.dropped


def test_a_leak_does_not_clear_an_agent_who_never_spoke(write: Write) -> None:
    samples = place([(1, "customer_objection", 2.0), (1, "customer_goodbye", 6.0)], 10.0, noise=0.0003)
    samples[0] += 0.03 * samples[1]
    activity = listen(write("a.wav", samples))
    assert activity.channels[0].seconds == 0.0
    assert activity.channels[0].dropped
    assert activity.channels[1].seconds > 3.0


def test_an_answer_right_after_a_leak_is_kept(write: Write) -> None:
    ends = 1.0 + clip("customer_objection").size / 8000 - 0.04
    samples = place([(1, "customer_objection", 1.0), (0, "agent_rebuttal", ends + 0.1)], 8.0)
    samples += 0.05 * samples[::-1]
    agent = listen(write("a.wav", samples)).channels[0]
    assert [r.start for r in agent.speech] == [pytest.approx(ends + 0.1, abs=0.15)]
    assert agent.speech[0].duration > 2.6


@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_talking_over_each_other_is_not_taken_for_a_leak(write: Write, gain: float) -> None:
    samples = place([(0, "agent_intro", 1.0), (1, "customer_objection", 1.5)], 6.0)
    samples[0] *= gain
    agent, customer = listen(write("a.wav", samples)).channels
    assert agent.seconds == pytest.approx(3.1, abs=0.4)
    assert customer.seconds == pytest.approx(2.3, abs=0.3)


# --- channels and roles -------------------------------------------------------------------------------------


def test_mono_and_repeated_stereo_are_one_voice_stream_of_nobody_known(write: Write) -> None:
    mono = place(CALL, CALL_SECONDS).sum(axis=0, keepdims=True)
    for name, samples in (("mono.wav", mono), ("twice.wav", np.concatenate([mono, mono]))):
        path = write(name, samples)
        activity = listen(path)
        assert [(c.channel, c.role) for c in activity.channels] == [(0, Role.UNKNOWN)]
        assert len(activity.channels[0].speech) == 4
        assert not channels_differ(examine(path))


def test_given_roles_override_the_usual_ones(write: Write) -> None:
    path = write("a.wav", place(CALL, CALL_SECONDS))
    turned = listen(path, {0: Role.CUSTOMER, 1: Role.AGENT})
    assert [c.role for c in turned.channels] == [Role.CUSTOMER, Role.AGENT]


def test_further_channels_are_heard_without_a_role(write: Write) -> None:
    path = write(
        "hearing.wav", place([(5, "agent_intro", 1.0), (0, "customer_goodbye", 5.0)], 8.0, channels=7)
    )
    activity = listen(path)
    assert [c.role for c in activity.channels] == [Role.AGENT, Role.CUSTOMER, *[Role.UNKNOWN] * 5]
    assert [len(c.speech) for c in activity.channels] == [1, 0, 0, 0, 0, 1, 0]


def test_a_file_that_was_replaced_meanwhile_is_not_mixed_up(write: Write) -> None:
    info = examine(write("a.wav", place(CALL, CALL_SECONDS)))
    path = write("a.wav", place([(0, "hello_rms", 1.0)], 3.0, channels=1))
    with pytest.raises(SourceUnavailable, match="1 channels, not 2"):
        speech_activity(path, info)
    path = write("a.wav", place([(0, "hello_rms", 1.0)], 3.0))
    with pytest.raises(SourceUnavailable, match=r"3\.0 s, not 13\.0 s"):
        speech_activity(path, info)


# --- streaming ----------------------------------------------------------------------------------------------


def probabilities(samples: npt.NDArray[np.float32], piece: int) -> npt.NDArray[np.float32]:
    stream = SileroStream()
    parts = [stream.add(samples[i : i + piece]) for i in range(0, samples.size, piece)]
    return np.concatenate([*parts, stream.finish()])


@pytest.mark.parametrize("piece", [160, 511, 7_777, 48_000])
def test_any_division_into_blocks_is_heard_alike(write: Write, piece: int) -> None:
    call = place(CALL, CALL_SECONDS)
    call[:, 30_000:34_000] = 0.0
    samples = read(write("a.wav", call))[0]
    whole = probabilities(samples, samples.size)
    assert whole.size == -(-samples.size // 512)
    np.testing.assert_allclose(probabilities(samples, piece), whole, atol=1e-4)


def test_speech_over_a_block_border_is_one_region(write: Write) -> None:
    """Blocks are 30 s long: the words here lie across their borders."""
    words = [(0, "agent_intro", 28.5), (0, "agent_rebuttal", 58.6), (0, "agent_intro", 88.0)]
    agent = listen(write("a.mp3", place(words, 95.0), 8000, "libmp3lame")).channels[0]
    assert [r.start for r in agent.speech] == [pytest.approx(at, abs=0.1) for _, _, at in words]
    assert [r.duration for r in agent.speech] == [
        pytest.approx(clip(n).size / 8000, abs=0.2) for _, n, _ in words
    ]


def test_times_stay_inside_the_recording(write: Write) -> None:
    samples = place([(0, "agent_intro", 0.02)], 4.0, noise=0.0)
    path = write("a.wav", samples[:, :12_345])
    activity = listen(path)
    region = activity.channels[0].speech[-1]
    assert region.start >= 0.0
    assert region.end <= activity.duration
    assert activity.duration == pytest.approx(12_345 / 8000)


def test_a_recording_shorter_than_one_window_has_no_speech(write: Write) -> None:
    short: Samples = np.full((1, 7), 0.1, np.float32)
    assert listen(write("a.wav", short)).channels[0].speech == ()


def test_recordings_side_by_side_are_heard_as_alone(write: Write) -> None:
    paths = [
        write(f"{n}.wav", place([(n % 2, name, 1.0 + n * 0.3)], 6.0))
        for n, name in enumerate(["agent_intro", "customer_objection", "agent_rebuttal", "hello_slt"])
    ]
    alone = [listen(path) for path in paths]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(listen, paths * 2)) == alone * 2
