"""Who may do what: keys, scopes, rates, sizes, names; and what is written down about it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from bench.recordings import InstantTranscriber
from callpipeline.service import results, uploads
from callpipeline.service.keys import Keys, Scope
from callpipeline.service.tables import FILE, open_service_tables
from callpipeline.settings import Settings
from callpipeline_tests.service.conftest import PARALLEL, Running, serving

Make = Callable[[int], list[Path]]
SAID = "sam about your house"


@pytest.fixture
def keys(settings: Settings) -> Iterator[Keys]:
    database = open_service_tables(settings)
    yield Keys(database)
    database.close()


@pytest.fixture
def guarded(settings: Settings, keys: Keys) -> Iterator[tuple[Running, dict[str, str]]]:
    """A service with a key for each scope, and another one for all that clients do."""
    made = {scope.value: keys.add(scope.value, (scope,)) for scope in Scope}
    made["other"] = keys.add("other", (Scope.TRANSCRIBE, Scope.READ))
    made["both"] = keys.add("both", (Scope.TRANSCRIBE, Scope.READ))
    with serving(settings, InstantTranscriber()) as running:
        yield running, made


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_keys_open_what_their_scopes_say_and_nothing_of_others(
    guarded: tuple[Running, dict[str, str]], recordings: Make, settings: Settings
) -> None:
    running, made = guarded
    (file,) = recordings(1)
    client = running.client
    assert client.get("/health").status_code == 200
    for wrong in (
        {},
        bearer("cp_00000000_" + "x" * 43),
        bearer("nonsense"),
        {"X-API-Key": made["both"][:-1] + "x"},
    ):
        refused = running.send("transcribe", file, headers=wrong)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert running.send("transcribe", file, headers=bearer(made["read"])).status_code == 403
    assert client.get("/metrics", headers=bearer(made["both"])).status_code == 403
    assert client.get("/metrics", headers=bearer(made["metrics"])).status_code == 200
    task = running.send("transcribe", file, headers=bearer(made["both"])).json()["task_id"]
    for owner, status in (("both", 200), ("other", 404), ("admin", 200), ("transcribe", 403)):
        assert client.get(f"{PARALLEL}/result/{task}", headers=bearer(made[owner])).status_code == status
    assert client.get(f"{PARALLEL}/status/{task}", headers={"X-API-Key": made["both"]}).status_code == 200
    stored = (settings.store / FILE).read_bytes()
    assert all(key.rpartition("_")[2].encode() not in stored for key in made.values())


def test_a_ticket_opens_one_stream_for_a_page_without_headers(
    guarded: tuple[Running, dict[str, str]], recordings: Make
) -> None:
    running, made = guarded
    task = running.send("transcribe", recordings(1)[0], headers=bearer(made["both"])).json()["task_id"]
    ticket = running.client.post("/api/v1/jobs/tickets", headers=bearer(made["both"])).json()["ticket"]
    address = f"/api/v1/jobs/{task}/events?ticket={ticket}"
    assert "event: end" in running.client.get(address).text
    assert running.client.get(address).status_code == 401
    ticket = running.client.post("/api/v1/jobs/tickets", headers=bearer(made["both"])).json()["ticket"]
    with connect(f"{running.url.replace('http', 'ws')}/api/v1/jobs/{task}/ws?ticket={ticket}") as socket:
        assert '"done"' in str(socket.recv())


def test_a_revoked_key_opens_nothing_and_does_not_open_the_service(settings: Settings, keys: Keys) -> None:
    key = keys.add("one", (Scope.READ,))
    assert keys.check(key) is not None
    keys.revoke("one")
    assert keys.check(key) is None
    assert keys.needed()


def test_who_asks_too_often_is_told_when_to_come_again(settings: Settings, keys: Keys) -> None:
    key = keys.add("busy", (Scope.READ,))
    slow = settings.model_copy(update={"service_requests_per_minute": 3})
    with serving(slow, InstantTranscriber()) as running:
        answers = [running.client.get(f"{PARALLEL}/stats", headers=bearer(key)) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 20


def test_what_is_too_large_long_or_no_recording_is_refused_and_not_kept(
    settings: Settings, recordings: Make, tmp_path: Path
) -> None:
    (call,) = recordings(1)
    (text := tmp_path / "x.mp3").write_bytes(b"not a recording" * 99)
    (empty := tmp_path / "empty.wav").touch()
    small = settings.model_copy(update={"service_max_bytes": 100_000, "max_duration": 1.0})
    with serving(small, InstantTranscriber()) as running:
        assert running.send("transcribe", call).status_code == 413  # 2 s of sound
        assert running.send("transcribe", text).status_code == 415
        assert running.send("transcribe/async", text).status_code == 415
        assert running.send("transcribe", empty).status_code == 422
        assert running.send("transcribe", call, verbose="1").status_code == 422
        assert running.send("transcribe", call, priority="10").status_code == 422
        assert running.send("transcribe", call, whisper_model="/etc").status_code == 422
        assert running.send("transcribe", call, whisper_model="large-v3").status_code == 422
        large = {"file": ("large.wav", bytes(2_000_000))}
        assert running.client.post(f"{PARALLEL}/transcribe", files=large).status_code == 413

        def pieces() -> Iterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
            yield from (bytes(65536) for _ in range(30))

        kind = {"Content-Type": "multipart/form-data; boundary=x"}  # and no length
        answer = httpx.post(f"{running.url}{PARALLEL}/transcribe", content=pieces(), headers=kind)
        assert answer.status_code == 413
    kept = [path for path in (settings.data_dir / uploads.FOLDER).rglob("*") if path.is_file()]
    assert [path.name for path in kept] == [call.name]


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd.wav",
        "..\\\\..\\\\x.wav",
        "a/b/../c.wav",
        ".hidden.wav",
        "x\x00y\n.wav",
        "",
        "ä" * 300 + ".wav",
    ],
)
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    safe = uploads.safe_name(name)
    assert safe
    assert Path(safe).name == safe
    assert not safe.startswith(".")
    assert len(safe.encode()) <= 150


def test_the_audit_log_says_who_did_what_and_no_word_of_it(
    guarded: tuple[Running, dict[str, str]], recordings: Make, caplog: pytest.LogCaptureFixture
) -> None:
    running, made = guarded
    (file,) = recordings(1)
    with caplog.at_level(logging.DEBUG):
        task = running.send("transcribe", file, headers=bearer(made["both"])).json()["task_id"]
        running.send("transcribe", file)
        running.client.get(f"{PARALLEL}/result/{task}", headers=bearer(made["both"]))
    running.client.get(
        "/metrics", headers=bearer(made["metrics"])
    )  # its figures are read after what was noted
    found = [(e.who, e.method, e.status, e.about) for e in reversed(running.service.audit.last())]
    assert found == [("both", "POST", 200, task), ("", "POST", 401, ""), ("both", "GET", 200, task)]
    assert SAID not in caplog.text
    assert not any(key in caplog.text for key in made.values())


def test_what_is_kept_long_enough_is_gone_with_its_recording(settings: Settings, recordings: Make) -> None:
    (file,) = recordings(1)
    with serving(settings, InstantTranscriber()) as running:
        result = running.send("transcribe", file).json()
        service = running.service
        service.settings = settings.model_copy(update={"service_retention_days": 1e-9})
        service.sweep()
        assert running.client.get(f"{PARALLEL}/status/{result['task_id']}").status_code == 404
    assert not results.path(settings, result["task_id"], "json").exists()
    left = [path.name for path in settings.data_dir.rglob(f"*{result['recording'][:16]}*")]
    assert left == []
    assert not list((settings.data_dir / uploads.FOLDER).rglob("*.wav"))


def test_beyond_this_machine_it_listens_only_with_keys() -> None:
    def callpipeline(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "callpipeline", *arguments]
        return subprocess.run(command, env=os.environ.copy(), capture_output=True, text=True, check=False)

    refused = callpipeline("serve", "--host", "0.0.0.0")
    assert refused.returncode == 2
    assert "callpipeline keys add" in refused.stderr
    made = callpipeline("keys", "add", "phone team", "--scopes", "transcribe,read")
    assert made.stdout.startswith("cp_")
    listed = callpipeline("keys", "list", "--json").stdout
    assert "phone team" in listed
    assert made.stdout.strip().rpartition("_")[2] not in listed
    assert callpipeline("keys", "add", "x", "--scopes", "all").returncode == 2


def test_without_an_engine_it_says_so_and_what_to_do(settings: Settings, recordings: Make) -> None:
    (file,) = recordings(1)
    none = settings.model_copy(update={"transcriber": "whisper", "whisper_model": "/no/such/model"})
    with serving(none) as running:
        health = running.client.get("/health")
        assert health.status_code == 200
        assert not health.json()["ready"]
        assert "CALLPIPELINE_WHISPER_MODEL" in health.json()["detail"]
        refused = running.send("transcribe", file)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.json()["error"]["message"] == health.json()["detail"]


def test_pages_are_let_in_by_name_only(settings: Settings) -> None:
    page = "https://calls.example"
    with serving(settings.model_copy(update={"service_cors_origins": page})) as running:
        let_in = running.client.get("/health", headers={"Origin": page})
        assert let_in.headers["access-control-allow-origin"] == page
        assert running.client.get("/health", headers={"Origin": f"{page}.evil"}).status_code == 403
        asked = {"Origin": page, "Access-Control-Request-Method": "POST"}
        assert running.client.options(f"{PARALLEL}/transcribe", headers=asked).is_success
