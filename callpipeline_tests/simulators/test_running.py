"""Starting, stopping, resetting; the process of its own; the command line; the samples' dialogues."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import assemblyai as aai
import pytest

from callpipeline_tests.simulators import AssemblyAISimulator, OpenAISimulator
from callpipeline_tests.simulators.conftest import MakeWav, openai_client, transcriber
from callpipeline_tests.simulators.latency import Latency, LatencySampler
from callpipeline_tests.simulators.openai_api.responder import ChatRequest
from callpipeline_tests.simulators.running import SimulatorError

ROOT = Path(__file__).resolve().parents[2]


def shouting(request: ChatRequest) -> str:
    return request.text.upper()


def test_a_child_process_answers_counts_and_ends_with_its_block(make_wav: MakeWav) -> None:
    with AssemblyAISimulator(child=True, concurrency=2) as sim:
        transcript = transcriber(sim).transcribe(make_wav(0.5))
        assert transcript.status == aai.TranscriptStatus.completed
        assert sim.stats.paid.calls == 1
        process = sim._process
    assert process is not None
    assert process.returncode == 0


def test_a_child_process_imports_its_responder() -> None:
    with OpenAISimulator(child=True, responder=f"{__name__}:shouting") as sim:
        assert openai_client(sim).responses.create(model="gpt-5.4", input="hey").output_text == "HEY"
    with pytest.raises(SimulatorError, match="module:function"):
        OpenAISimulator(child=True, responder=shouting)


def test_a_child_that_cannot_start_says_so(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match="ended with status"):
        AssemblyAISimulator(child=True, dialogues=tmp_path / "nowhere").start()


def test_reset_forgets_figures_and_jobs_but_not_answers(
    assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav
) -> None:
    audio = make_wav(0.5)
    assemblyai_sim.answers.register(hashlib.sha256(audio).hexdigest(), [])
    client = transcriber(assemblyai_sim)
    client.transcribe(audio)
    assemblyai_sim.faults.script("upload", "500")
    assemblyai_sim.reset()
    stats = assemblyai_sim.stats
    assert (stats.all.requests, stats.paid.calls, stats.jobs.submitted, stats.routes) == (0, 0, 0, {})
    assert client.transcribe(audio).text == ""


def test_a_reset_drops_the_work_in_progress(make_wav: MakeWav) -> None:
    with AssemblyAISimulator(concurrency=1, latency="fixed:30") as sim:
        for seed in range(3):
            transcriber(sim).submit(make_wav(0.2, seed=seed))
        sim.reset()
        assert sim.jobs() == []
        assert sim.stats.jobs.processing == 0


def test_control_needs_no_key_and_is_not_counted(openai_sim: OpenAISimulator) -> None:
    url = openai_sim.base_url.removesuffix("/v1")
    with urllib.request.urlopen(f"{url}/_sim/stats") as response:
        assert json.load(response)["all"]["requests"] == 0
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{url}/_sim/answers", b"{}")
    with caught.value as answer:
        assert answer.code == 400


def test_every_request_can_take_its_time_whether_it_has_a_body_or_not() -> None:
    with OpenAISimulator(http_latency="fixed:0.1") as sim:
        client = openai_client(sim)
        assert client.models.list().data
        assert client.responses.create(model="gpt-5.4", input="x").status == "completed"
        assert sim.stats.cancelled == 0


def test_an_endpoint_that_is_not_there_is_404(assemblyai_sim: AssemblyAISimulator) -> None:
    request = urllib.request.Request(
        f"{assemblyai_sim.base_url}/v2/realtime", headers={"authorization": assemblyai_sim.api_key}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    with caught.value as answer:
        assert answer.code == 404
    assert assemblyai_sim.stats.routes["unknown"].requests == 1


def write_sample(folder: Path, audio: bytes, **changes: object) -> None:
    truth = {
        "sha256": hashlib.sha256(audio).hexdigest(),
        "duration": 3.0,
        "channels": 2,
        "metadata": {},
        "dialogue": [
            {"speaker": "customer", "start": 0.3, "end": 1.0, "text": "Hello?"},
            {"speaker": "agent", "start": 1.2, "end": 2.5, "text": "This is Owen."},
        ],
        **changes,
    }
    (folder / "expected").mkdir(exist_ok=True)
    (folder / "expected" / f"{truth['sha256'][:8]}.json").write_text(json.dumps(truth), encoding="utf-8")


def test_sample_recordings_get_their_dialogue_on_the_right_channels(
    tmp_path: Path, make_wav: MakeWav
) -> None:
    normal, swapped, mono, broken = (make_wav(0.2, seed=seed) for seed in range(4))
    write_sample(tmp_path, normal)
    write_sample(tmp_path, swapped, metadata={"channel_roles": {"0": "customer", "1": "agent"}})
    write_sample(tmp_path, mono, channels=1)
    write_sample(tmp_path, broken, channels=None, duration=None, dialogue=[])
    heard = []
    with AssemblyAISimulator(dialogues=tmp_path) as sim:
        for audio in (normal, swapped, mono):
            transcript = transcriber(sim).transcribe(audio, aai.TranscriptionConfig(multichannel=True))
            heard.append([(u.channel, u.text) for u in transcript.utterances])
            assert transcript.audio_duration == 3
    assert heard == [
        [("2", "Hello?"), ("1", "This is Owen.")],
        [("1", "Hello?"), ("2", "This is Owen.")],
        [("1", "Hello?"), ("1", "This is Owen.")],
    ]


def test_a_shipped_sample_gets_the_dialogue_that_it_was_made_from() -> None:
    source = ROOT / "data" / "samples_src"
    truth = json.loads((source / "expected" / "homes-sold-full-intro.json").read_text(encoding="utf-8"))
    recording = ROOT / "data" / "samples" / truth["file"]
    with AssemblyAISimulator(dialogues=source) as sim:
        config = aai.TranscriptionConfig(multichannel=True)
        transcript = transcriber(sim).transcribe(str(recording), config)
    assert [u.text for u in transcript.utterances] == [line["text"] for line in truth["dialogue"]]
    assert [u.channel == "1" for u in transcript.utterances] == [
        line["speaker"] == "agent" for line in truth["dialogue"]
    ]


@pytest.mark.parametrize("text", ["soon", "fixed", "lognormal:1,2,3,4", "audio:"])
def test_a_latency_that_nobody_understands_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no latency"):
        Latency.parse(text)


def test_long_answers_take_longer_and_no_two_the_same() -> None:
    sampler = LatencySampler(Latency.parse("tokens:0.001,1,0.4"))
    short, long = ([sampler.draw(tokens=tokens) for _ in range(2000)] for tokens in (100, 4000))
    assert sum(short) / 2000 == pytest.approx(1.1, rel=0.05)
    assert sum(long) / 2000 == pytest.approx(5.0, rel=0.05)
    assert len(set(long)) == 2000
    assert LatencySampler(Latency.parse("tokens:0.001,1")).draw(tokens=500) == pytest.approx(1.5)


def test_the_command_line_prints_what_to_export_and_serves_until_it_is_stopped() -> None:
    command = [sys.executable, "-m", "callpipeline_tests.simulators", "both", "--latency", "fixed:0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(4)]
        environment = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines)
        program = "import openai; print(openai.OpenAI().models.list().data[0].id)"
        asked = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        process.terminate()
        assert process.wait(20) == 0
    assert asked.stdout.strip() == "whisper-1"
    assert environment["ASSEMBLYAI_BASE_URL"].startswith("http://127.0.0.1:")
    assert environment["ASSEMBLYAI_API_KEY"]


def test_the_command_line_says_what_is_wrong() -> None:
    command = [sys.executable, "-m", "callpipeline_tests.simulators", "openai", "--faults", "fire=0.1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'fire' is no fault" in done.stderr
