"""The official AssemblyAI SDK against every simulated endpoint."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue
from typing import Any

import assemblyai as aai
import pytest

from callpipeline_tests.simulators import AssemblyAISimulator
from callpipeline_tests.simulators.conftest import TURNS, MakeWav, transcriber

Hook = tuple[dict[str, str], dict[str, str]]


def register(sim: AssemblyAISimulator, audio: bytes, **about: Any) -> None:
    sim.answers.register(hashlib.sha256(audio).hexdigest(), TURNS, **about)


def with_async_client(
    sim: AssemblyAISimulator, action: Callable[[aai.AsyncTranscriber], Awaitable[aai.AsyncTranscript]]
) -> aai.AsyncTranscript:
    """Do one thing with the official asyncio client."""

    async def act() -> aai.AsyncTranscript:
        settings = aai.Settings(api_key=sim.api_key, base_url=sim.base_url, polling_interval=0.02)
        async with aai.AsyncClient(settings=settings) as client:
            return await action(aai.AsyncTranscriber(client=client))

    return asyncio.run(act())


def test_stereo_transcript_has_channels_as_strings_and_millisecond_times(
    assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav
) -> None:
    audio = make_wav()
    register(assemblyai_sim, audio, duration=3.0)
    transcript = transcriber(assemblyai_sim).transcribe(audio, aai.TranscriptionConfig(multichannel=True))
    assert transcript.status == aai.TranscriptStatus.completed
    assert transcript.text == "Hello, this is Maria. Is it a good time? Not now, thank you."
    assert [(u.channel, u.speaker, u.start) for u in transcript.utterances] == [
        ("1", "1", 200),
        ("2", "2", 1600),
    ]
    assert all(isinstance(word.start, int) and word.start < word.end for word in transcript.words)
    assert all(0.8 < word.confidence < 1 for word in transcript.words)
    assert transcript.audio_duration == 3
    assert transcript.json_response["audio_channels"] == 2


def test_speaker_labels_are_letters_in_order_of_speaking(
    assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav
) -> None:
    audio = make_wav(channels=1)
    register(assemblyai_sim, audio)
    transcript = transcriber(assemblyai_sim).transcribe(audio, aai.TranscriptionConfig(speaker_labels=True))
    assert [(u.channel, u.speaker) for u in transcript.utterances] == [(None, "A"), (None, "B")]


def test_without_channels_or_labels_there_are_words_but_no_utterances(
    assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav
) -> None:
    transcript = transcriber(assemblyai_sim).transcribe(make_wav())
    assert transcript.utterances is None
    assert transcript.words[0].speaker is None


def test_unknown_audio_gets_the_same_words_each_time_within_its_duration(
    assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav
) -> None:
    first, again = (transcriber(assemblyai_sim).transcribe(make_wav(4.0)) for _ in range(2))
    other = transcriber(assemblyai_sim).transcribe(make_wav(4.0, seed=1))
    assert first.text == again.text != other.text
    assert first.audio_duration == 4
    assert first.words[-1].end <= 4000


def test_the_samples_of_another_container_are_recognised(
    assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav
) -> None:
    audio = make_wav()
    pcm = audio[44:]
    assemblyai_sim.answers.register(hashlib.sha256(pcm).hexdigest(), TURNS)
    assert transcriber(assemblyai_sim).transcribe(audio).words[-1].text == "you."


def test_bytes_that_are_no_audio_end_with_status_error_and_are_not_charged(
    assemblyai_sim: AssemblyAISimulator,
) -> None:
    transcript = transcriber(assemblyai_sim).transcribe(b"no sound in here" * 50)
    assert transcript.status == aai.TranscriptStatus.error
    assert "does not appear to contain audio" in transcript.error
    assert assemblyai_sim.stats.paid.calls == 0


def test_a_foreign_url_ends_with_status_error(assemblyai_sim: AssemblyAISimulator) -> None:
    transcript = transcriber(assemblyai_sim).transcribe("http://127.0.0.1:9/a.wav")
    assert transcript.status == aai.TranscriptStatus.error
    assert "Download error" in transcript.error


def test_exports_agree_with_the_words(assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav) -> None:
    audio = make_wav()
    register(assemblyai_sim, audio)
    transcript = transcriber(assemblyai_sim).transcribe(audio, aai.TranscriptionConfig(multichannel=True))
    assert [s.text for s in transcript.get_sentences()] == [
        "Hello, this is Maria.",
        "Is it a good time?",
        "Not now, thank you.",
    ]
    assert [p.text for p in transcript.get_paragraphs()] == [u.text for u in transcript.utterances]
    assert transcript.export_subtitles_srt().startswith("1\n00:00:00,200 --> ")
    short = transcript.export_subtitles_vtt(chars_per_caption=12)
    assert short.startswith("WEBVTT\n\n00:00:00.200 --> ")
    assert all(len(line) <= 12 for line in short.splitlines()[1:] if "-->" not in line)


def test_list_is_newest_first_and_pages(assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav) -> None:
    client = transcriber(assemblyai_sim)
    ids = [client.transcribe(make_wav(0.5, seed=seed)).id for seed in range(5)]
    params = aai.ListTranscriptParameters(limit=2)
    seen: list[str] = []
    while True:
        page = client.list_transcripts(params)
        seen += [item.id for item in page.transcripts]
        if page.page_details.before_id_of_prev_url is None:
            break
        params.before_id = page.page_details.before_id_of_prev_url
    assert seen == ids[::-1]


def test_deleted_transcript_loses_its_text(assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav) -> None:
    done = transcriber(assemblyai_sim).transcribe(make_wav())
    deleted = with_async_client(assemblyai_sim, lambda client: client.delete_by_id(done.id))
    assert deleted.text == "Deleted by user."
    assert deleted.words is None


def test_wrong_key_is_401_and_counts_as_such(assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav) -> None:
    with pytest.raises(aai.TranscriptError) as caught:
        transcriber(assemblyai_sim, api_key="wrong").transcribe(make_wav())
    assert caught.value.status_code == 401
    assert assemblyai_sim.stats.routes["upload"].statuses == {"401": 1}


def test_unknown_id_is_404(assemblyai_sim: AssemblyAISimulator) -> None:
    with pytest.raises(aai.TranscriptError) as caught:
        with_async_client(assemblyai_sim, lambda client: client.get_by_id("nobody"))
    assert caught.value.status_code == 404


def test_async_client_submits_and_fetches_later_by_id(
    assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav
) -> None:
    config = aai.TranscriptionConfig(multichannel=True)
    submitted = with_async_client(assemblyai_sim, lambda client: client.submit(make_wav(), config))
    fetched = with_async_client(assemblyai_sim, lambda client: client.get_by_id(submitted.id))
    assert submitted.status in (aai.TranscriptStatus.queued, aai.TranscriptStatus.processing)
    assert fetched.status == aai.TranscriptStatus.completed
    assert fetched.id == submitted.id


@pytest.fixture
def hook() -> Iterator[tuple[str, Queue[Hook], list[int]]]:
    """A server for webhooks: its URL, what arrived, and the statuses with which it answers next."""
    arrived: Queue[Hook] = Queue()
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            arrived.put((dict(self.headers), body))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", arrived, statuses
    server.shutdown()
    server.server_close()


def test_webhook_arrives_with_its_header_and_again_after_a_500(
    assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav, hook: tuple[str, Queue[Hook], list[int]]
) -> None:
    url, arrived, statuses = hook
    statuses.append(500)
    config = aai.TranscriptionConfig().set_webhook(url, "X-Secret", "for us")
    submitted = transcriber(assemblyai_sim).submit(make_wav(), config)
    for _ in range(2):
        headers, body = arrived.get(timeout=10)
        assert headers["X-Secret"] == "for us"
        assert body == {"transcript_id": submitted.id, "status": "completed"}


def test_a_lost_webhook_is_lost_and_the_transcript_is_there(
    assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav, hook: tuple[str, Queue[Hook], list[int]]
) -> None:
    url, arrived, _ = hook
    assemblyai_sim.faults.script("webhook", "reset")
    client = transcriber(assemblyai_sim)
    lost = client.transcribe(make_wav(), aai.TranscriptionConfig().set_webhook(url))
    kept = client.transcribe(make_wav(seed=1), aai.TranscriptionConfig().set_webhook(url))
    assert lost.status == aai.TranscriptStatus.completed
    assert arrived.get(timeout=10)[1]["transcript_id"] == kept.id
