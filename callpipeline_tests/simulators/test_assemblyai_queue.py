"""How simulated jobs wait, run, end and are charged."""

from __future__ import annotations

import time
from collections.abc import Callable

import assemblyai as aai
import httpx
import pytest

from callpipeline_tests.simulators import AssemblyAISimulator, RateLimit
from callpipeline_tests.simulators.conftest import MakeWav, transcriber

DEADLINE = 20.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that must become true."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_no_more_than_the_limit_is_processed_and_the_rest_waits_in_order(make_wav: MakeWav) -> None:
    with AssemblyAISimulator(concurrency=3, latency="fixed:0.05") as sim:
        client = transcriber(sim)
        ids = [client.submit(make_wav(0.2, seed=seed)).id for seed in range(10)]
        until(lambda: sim.stats.jobs.completed == 10)
        jobs, stats = sim.jobs(), sim.stats.jobs
    assert [job.id for job in jobs] == ids
    assert [job.id for job in sorted(jobs, key=lambda job: job.started)] == ids
    assert stats.processing_max == 3
    assert stats.queued == stats.processing == 0
    for job in jobs:
        running = [other for other in jobs if other.started <= job.started < other.finished]
        assert len(running) <= 3


def test_a_waiting_job_says_queued_then_processing_then_completed(make_wav: MakeWav) -> None:
    with AssemblyAISimulator(concurrency=1, latency="fixed:0.4") as sim:
        client = transcriber(sim)
        client.submit(make_wav(0.2))
        second = client.submit(make_wav(0.2, seed=1))
        seen: list[str] = []

        def look() -> bool:
            status = next(job.status for job in sim.jobs() if job.id == second.id)
            if status not in seen:
                seen.append(status)
            return status == "completed"

        until(look)
    assert seen == ["queued", "processing", "completed"]


def test_jobs_in_flight_count_those_that_wait_too(make_wav: MakeWav) -> None:
    with AssemblyAISimulator(concurrency=2, latency="fixed:30") as sim:
        client = transcriber(sim)
        for seed in range(4):
            client.submit(make_wav(0.2, seed=seed))
        until(lambda: sim.stats.jobs.processing == 2)
        stats = sim.stats.jobs
    assert (stats.in_flight_max, stats.processing, stats.queued) == (4, 2, 2)


def test_same_audio_and_options_twice_is_a_duplicate_and_other_options_are_not(
    assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav
) -> None:
    client = transcriber(assemblyai_sim)
    audio = make_wav(1.0)
    client.transcribe(audio, aai.TranscriptionConfig(multichannel=True))
    client.transcribe(audio, aai.TranscriptionConfig(speaker_labels=True))
    assert assemblyai_sim.stats.paid.duplicates == 0
    client.transcribe(audio, aai.TranscriptionConfig(speaker_labels=True))
    paid = assemblyai_sim.stats.paid
    assert (paid.calls, paid.distinct, paid.duplicates, paid.audio_seconds) == (3, 2, 1, 3.0)


def test_another_webhook_does_not_make_it_another_purchase(
    assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav
) -> None:
    client = transcriber(assemblyai_sim)
    for port in (1, 2):
        config = aai.TranscriptionConfig().set_webhook(f"http://127.0.0.1:{port}/")
        client.transcribe(make_wav(0.2), config)
    assert assemblyai_sim.stats.paid.duplicates == 1


def test_a_job_that_failed_is_not_charged_and_its_repetition_is_no_duplicate(
    assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav
) -> None:
    assemblyai_sim.faults.script("submit", "job_error")
    client = transcriber(assemblyai_sim)
    failed, done = (client.transcribe(make_wav(0.5)) for _ in range(2))
    assert failed.status == aai.TranscriptStatus.error
    assert failed.error
    assert done.status == aai.TranscriptStatus.completed
    paid = assemblyai_sim.stats.paid
    assert (paid.calls, paid.duplicates) == (1, 0)


def test_a_submission_whose_answer_was_lost_is_charged_and_found_in_the_list(
    assemblyai_sim: AssemblyAISimulator, make_wav: MakeWav
) -> None:
    client = transcriber(assemblyai_sim)
    url = client.upload_file(make_wav(0.5))
    assemblyai_sim.faults.script("submit", "reset@after")
    with pytest.raises(httpx.TransportError):
        client.submit(url)
    assert assemblyai_sim.stats.paid.calls == 1
    assert [item.audio_url for item in client.list_transcripts().transcripts] == [url]
    client.transcribe(url)
    assert assemblyai_sim.stats.paid.duplicates == 1


def test_length_by_audio_and_lognormal_lengths_are_what_the_profile_says(make_wav: MakeWav) -> None:
    with AssemblyAISimulator(latency="audio:0.02,0.01") as sim:
        transcriber(sim).transcribe(make_wav(2.0))
        assert sim.jobs()[0].seconds == pytest.approx(0.05)
    with AssemblyAISimulator(concurrency=50, latency="lognormal:0.05,0.5,7") as sim:
        client = transcriber(sim)
        for seed in range(50):
            client.submit(make_wav(0.2, seed=seed))
        until(lambda: sim.stats.jobs.completed == 50)
        lengths = [job.seconds for job in sim.jobs()]
        assert sim.stats.jobs.work_seconds == pytest.approx(sum(lengths))
    assert 0.03 < sum(lengths) / len(lengths) < 0.08
    assert len(set(lengths)) == 50


def test_jobs_in_a_window_can_be_limited(make_wav: MakeWav) -> None:
    limits = {"jobs": RateLimit(requests=2)}
    with AssemblyAISimulator(limits=limits) as sim:
        client = transcriber(sim)
        for seed in range(2):
            client.submit(make_wav(0.2, seed=seed))
        with pytest.raises(aai.TranscriptError) as caught:
            client.submit(make_wav(0.2, seed=2))
        window = sim.stats.windows["jobs"]
    assert caught.value.status_code == 429
    assert (window.requests_max, window.rejected) == (2, 1)


def test_deleting_a_running_job_cancels_it_frees_its_place_and_costs_nothing(make_wav: MakeWav) -> None:
    with AssemblyAISimulator(concurrency=1, latency="fixed:30") as sim:
        client = transcriber(sim)
        first, second = (client.submit(make_wav(0.2, seed=seed)) for seed in range(2))
        until(lambda: sim.stats.jobs.processing == 1)
        httpx.delete(
            f"{sim.base_url}/v2/transcript/{first.id}", headers={"authorization": sim.api_key}
        ).raise_for_status()
        until(lambda: [job.status for job in sim.jobs() if job.id == second.id] == ["processing"])
        stats = sim.stats
    assert stats.jobs.cancelled == 1
    assert stats.paid.calls == 1
