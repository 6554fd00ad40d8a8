"""What goes wrong on purpose, as it surfaces in the official SDKs."""

from __future__ import annotations

import json

import assemblyai as aai
import httpx
import openai
import pytest

from callpipeline_tests.simulators import AssemblyAISimulator, OpenAISimulator
from callpipeline_tests.simulators.conftest import MakeWav, openai_client, transcriber
from callpipeline_tests.simulators.faults import Fault, FaultPlan, parse_rates
from callpipeline_tests.simulators.running import SimulatorError

MODEL = "gpt-5.4-mini"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_assemblyai_statuses_are_transcript_errors_on_each_step(
    assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav, status: int
) -> None:
    client = transcriber(assemblyai_sim)
    for route in ("upload", "submit", "poll"):
        assemblyai_sim.faults.script(route, str(status))
        with pytest.raises(aai.TranscriptError) as caught:
            client.transcribe(make_wav(0.2))
        assert caught.value.status_code == status


def test_assemblyai_network_faults_are_raw_httpx_errors(
    assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav
) -> None:
    for route in ("upload", "submit", "poll"):
        assemblyai_sim.faults.script(route, "reset")
        with pytest.raises(httpx.TransportError):
            transcriber(assemblyai_sim).transcribe(make_wav(0.2))
    assemblyai_sim.faults.script("poll", "stall")
    with pytest.raises(httpx.ReadTimeout):
        transcriber(assemblyai_sim, http_timeout=0.3).transcribe(make_wav(0.2))


@pytest.mark.parametrize("fault", ["truncated", "wrong_type"])
def test_assemblyai_spoilt_bodies_are_json_errors(
    assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav, fault: str
) -> None:
    assemblyai_sim.faults.script("submit", fault)
    with pytest.raises(json.JSONDecodeError):
        transcriber(assemblyai_sim).submit(make_wav(0.2))
    assert assemblyai_sim.stats.jobs.submitted == 1


def test_an_expired_job_is_404_from_then_on(assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav) -> None:
    client = transcriber(assemblyai_sim)
    submitted = client.submit(make_wav(0.2))
    assemblyai_sim.faults.script("poll", "expired")
    for _ in range(2):
        with pytest.raises(aai.TranscriptError) as caught:
            submitted.wait_for_completion()
        assert caught.value.status_code == 404


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        ("429", openai.RateLimitError, "rate_limit_exceeded"),
        ("quota", openai.RateLimitError, "insufficient_quota"),
        ("500", openai.InternalServerError, None),
        ("503", openai.InternalServerError, None),
        ("401", openai.AuthenticationError, None),
        ("reset", openai.APIConnectionError, None),
        ("truncated", json.JSONDecodeError, None),
    ],
)
def test_openai_faults_surface_as_their_classes(
    openai_sim: OpenAISimulator, fault: str, error: type[Exception], code: str | None
) -> None:
    openai_sim.faults.script("responses", fault)
    with pytest.raises(error) as caught:
        openai_client(openai_sim).responses.create(model=MODEL, input="x")
    if code:
        assert caught.value.code == code
    assert openai_client(openai_sim).responses.create(model=MODEL, input="y").status == "completed"


def test_openai_stalled_body_is_a_timeout(openai_sim: OpenAISimulator) -> None:
    openai_sim.faults.script("chat", "stall")
    with pytest.raises(openai.APITimeoutError):
        openai_client(openai_sim, timeout=0.3).chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "x"}]
        )


def test_openai_html_with_status_200_comes_back_as_text(openai_sim: OpenAISimulator) -> None:
    openai_sim.faults.script("responses", "wrong_type")
    answer = openai_client(openai_sim).responses.create(model=MODEL, input="x")
    assert isinstance(answer, str)
    assert "<html" in answer or "<!doctype html>" in answer


def test_retry_after_is_sent_when_the_fault_says_so(openai_sim: OpenAISimulator) -> None:
    openai_sim.faults.script("responses", "429:2", "429")
    told = []
    for _ in range(2):
        with pytest.raises(openai.RateLimitError) as caught:
            openai_client(openai_sim).responses.create(model=MODEL, input="x")
        told.append(caught.value.response.headers.get("retry-after"))
    assert told == ["2", None]


def test_the_sdks_own_retries_get_through(openai_sim: OpenAISimulator) -> None:
    openai_sim.faults.script("responses", "429:0.01", "500", "reset")
    answer = openai_client(openai_sim, max_retries=3).responses.create(model=MODEL, input="x")
    assert answer.status == "completed"
    assert openai_sim.stats.routes["responses"].statuses == {"429": 1, "500": 1, "reset": 1, "200": 1}


@pytest.mark.parametrize(
    ("fault", "charged"), [("500", 0), ("500@after", 1), ("reset", 0), ("reset@after", 1)]
)
def test_only_a_fault_after_the_work_costs_money(
    openai_sim: OpenAISimulator, fault: str, charged: int
) -> None:
    openai_sim.faults.script("responses", fault)
    with pytest.raises(openai.APIError):
        openai_client(openai_sim).responses.create(model=MODEL, input="x")
    assert openai_sim.stats.paid.calls == charged


def test_scripts_are_met_in_order_and_a_star_hits_any_route(openai_sim: OpenAISimulator) -> None:
    openai_sim.faults.script("responses", "ok", "500")
    openai_sim.faults.script("*", "503")
    client = openai_client(openai_sim)
    client.responses.create(model=MODEL, input="x")
    with pytest.raises(openai.InternalServerError):
        client.responses.create(model=MODEL, input="x")
    with pytest.raises(openai.InternalServerError):
        client.models.list()
    assert openai_sim.faults.waiting() == {}
    assert openai_sim.stats.faults == {"500": 1, "503": 1}


def test_rates_can_be_changed_and_cleared_while_it_runs(openai_sim: OpenAISimulator) -> None:
    client = openai_client(openai_sim)
    openai_sim.faults.rate("responses/500=1.0")
    with pytest.raises(openai.InternalServerError):
        client.responses.create(model=MODEL, input="x")
    client.models.list()
    openai_sim.faults.clear()
    client.responses.create(model=MODEL, input="x")


def test_an_order_that_nobody_understands_is_refused(openai_sim: OpenAISimulator) -> None:
    with pytest.raises(SimulatorError, match="no fault"):
        openai_sim.faults.script("responses", "explosion")
    with pytest.raises(SimulatorError, match="no rate"):
        openai_sim.faults.rate("500")


def test_rates_are_kept_and_the_same_seed_gives_the_same_faults() -> None:
    def fired(seed: int) -> list[str]:
        plan = FaultPlan(parse_rates(["storm=0.2", "submit/job_error=0.1"]), seed=seed)
        return [str(plan.next("submit")) for _ in range(2000)]

    assert fired(3) == fired(3) != fired(4)
    hits = [fault for fault in fired(3) if fault != "None"]
    assert 0.26 < len(hits) / 2000 < 0.34
    assert {"429", "reset@after", "truncated", "job_error"} <= set(hits)


@pytest.mark.parametrize("text", ["429", "429:2", "reset@after", "stall:0.5", "quota", "job_error"])
def test_faults_are_written_as_they_are_read(text: str) -> None:
    assert str(Fault.parse(text)) == text
