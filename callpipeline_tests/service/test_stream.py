"""Sound over a WebSocket, text as it is understood: a real client, a real server, the engine that is always there."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from bench.recordings import InstantTranscriber
from callpipeline.audio.decode import blocks
from callpipeline.service.keys import Keys, Scope
from callpipeline.service.tables import open_service_tables
from callpipeline.settings import Settings
from callpipeline_tests.conftest import INSTANCE
from callpipeline_tests.samples.conftest import SAMPLES
from callpipeline_tests.service.conftest import Running, serving, until

SAMPLE = SAMPLES / "Henry Clarke _ 2026-03-06 13-15-20 _ 555-0137 _ Sold.mp3"
RATE = 8000
SECONDS = 11.0
PIECE = RATE // 5 * 2
"""Bytes of a message: 0.2 s."""


@pytest.fixture(scope="module")
def pcm() -> bytes:
    sound = np.concatenate(list(blocks(SAMPLE, rate=RATE)), axis=1)[0, : round(SECONDS * RATE)]
    return bytes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("stream")
    (home / "dagster.yaml").write_text(INSTANCE)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSTER_HOME", str(home))
        patched.delenv("CALLPIPELINE_POSTGRES_URL", raising=False)
        patched.setenv("MAX_WORKERS", "1")
        with serving(Settings(data_dir=home / "data", transcriber="sphinx")) as running:
            yield running


def opened(running: Running, query: str = "", **how: Any) -> ClientConnection:
    return connect(running.url.replace("http", "ws") + "/api/v1/stream" + query, **how)


def told(stream: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stream.recv(timeout=60))
    return found


def test_text_comes_while_somebody_speaks_and_for_good_when_they_pause(embedded: Running, pcm: bytes) -> None:
    pieces = [pcm[at : at + PIECE] for at in range(0, len(pcm), PIECE)]
    with opened(embedded) as stream:
        stream.send(json.dumps({"rate": RATE, "language": "en"}))
        assert told(stream) == {"type": "ready", "engine": "sphinx", "demo": True}
        sent, said = 0, []
        while not any(message["type"] == "partial" for message in said):
            stream.send(pieces[sent])
            sent += 1
            if sent % 5 == 0 and sent > 10:
                with_text = _next(stream)
                said += [with_text] if with_text else []
        for piece in pieces[sent:]:
            stream.send(piece)
        stream.send('{"type": "end"}')
        while not said or said[-1]["type"] != "end":
            said.append(told(stream))
    finals = [message for message in said if message["type"] == "final"]
    partial = next(message for message in said if message["type"] == "partial")
    assert said[-1] == {"type": "end", "duration": SECONDS}
    assert len(finals) >= 2
    assert all(0 <= one["start"] < one["end"] <= SECONDS for one in finals)
    assert all(one["end"] <= next_one["start"] for one, next_one in itertools.pairwise(finals))
    assert partial["text"]
    assert any(one["start"] - 0.5 <= partial["start"] < one["end"] for one in finals)
    words = " ".join(one["text"] for one in finals).split()
    assert len(words) > 10


def _next(stream: ClientConnection) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(stream.recv(timeout=1))
    except TimeoutError:
        return None
    return found


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        (["hello"], "The first message must be JSON"),
        ([b"\0\0"], "The first message must be JSON"),
        (['{"rate": 1}'], "greater than or equal to 8000"),
        (['{"rate": 8000}', "more"], "binary messages"),
        (['{"rate": 8000}', bytes((1 << 20) + 2)], "A message may have"),
    ],
)
def test_what_is_no_stream_is_told_so(embedded: Running, messages: list[str | bytes], says: str) -> None:
    with opened(embedded) as stream:
        for message in messages:
            stream.send(message)
        found = told(stream)
        while found["type"] == "ready":
            found = told(stream)
        assert found["type"] == "error"
        assert says in found["error"]["message"]
        with pytest.raises(ConnectionClosedError):
            stream.recv(timeout=60)


def test_a_language_that_the_engine_does_not_know_is_told(embedded: Running, pcm: bytes) -> None:
    with opened(embedded) as stream:
        stream.send('{"rate": 8000, "language": "de"}')
        assert told(stream)["type"] == "ready"
        stream.send(pcm)
        assert "knows only English" in told(stream)["error"]["message"]


def test_a_stream_takes_a_place_and_gives_it_back(embedded: Running) -> None:
    with opened(embedded) as stream:
        stream.send('{"rate": 16000}')
        assert told(stream)["type"] == "ready"
        with pytest.raises(InvalidStatus) as refused:
            opened(embedded)
        assert refused.value.response.status_code == 429
        assert refused.value.response.headers["Retry-After"]
    assert until(lambda: _empty_stream(embedded)) == {"type": "end", "duration": 0.0}


def _empty_stream(running: Running) -> dict[str, Any] | None:
    try:
        with opened(running) as stream:
            stream.send('{"rate": 16000}')
            assert told(stream)["type"] == "ready"
            stream.send('{"type":"end"}')
            return told(stream)
    except InvalidStatus:
        return None


def test_a_stream_needs_the_key_of_one_who_may_transcribe(settings: Settings) -> None:
    database = open_service_tables(settings)
    keys = Keys(database)
    reader, transcriber = (keys.add(s.value, (s, Scope.READ)) for s in (Scope.READ, Scope.TRANSCRIBE))
    database.close()
    with serving(settings, InstantTranscriber()) as running:
        for headers, status in (({}, 401), ({"X-API-Key": reader}, 403)):
            with pytest.raises(InvalidStatus) as refused:
                opened(running, additional_headers=headers)
            assert refused.value.response.status_code == status
        bearer = {"Authorization": f"Bearer {transcriber}"}
        ticket = running.client.post("/api/v1/jobs/tickets", headers=bearer).json()["ticket"]
        with opened(running, f"?ticket={ticket}") as stream:
            stream.send('{"rate": 48000}')
            assert told(stream)["engine"] == "instant"
        entries = until(lambda: [one for one in running.service.audit.last() if one.method == "WS"])
        assert entries[0].who == Scope.TRANSCRIBE.value
