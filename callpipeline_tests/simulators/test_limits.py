"""Requests and tokens in sliding windows: enforced, counted, told."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callpipeline_tests.simulators import OpenAISimulator, RateLimit
from callpipeline_tests.simulators.conftest import openai_client
from callpipeline_tests.simulators.options import RateLimit as Limit
from callpipeline_tests.simulators.windows import Entry, Window

MODEL = "text-embedding-3-small"


def embed(client: openai.OpenAI, text: str = "x") -> openai.types.CreateEmbeddingResponse:
    return client.embeddings.create(model=MODEL, input=text, dimensions=8)


def test_requests_over_the_limit_are_429_with_a_retry_after_that_is_true() -> None:
    with OpenAISimulator(limits={"embeddings": RateLimit(requests=3)}, window_seconds=1.0) as sim:
        client = openai_client(sim)
        for _ in range(3):
            embed(client)
        with pytest.raises(openai.RateLimitError) as caught:
            embed(client)
        headers = caught.value.response.headers
        wait = float(headers["retry-after"])
        assert caught.value.code == "rate_limit_exceeded"
        assert 0 < wait <= 1.0
        assert float(headers["retry-after-ms"]) == pytest.approx(wait * 1000, abs=1)
        time.sleep(wait + 0.01)
        embed(client)
        window = sim.stats.windows["embeddings"]
    assert (window.requests_max, window.rejected) == (3, 1)


def test_retry_after_can_be_left_out() -> None:
    limits = {"embeddings": RateLimit(requests=1)}
    with OpenAISimulator(limits=limits, retry_after=False) as sim:
        client = openai_client(sim)
        embed(client)
        with pytest.raises(openai.RateLimitError) as caught:
            embed(client)
    assert "retry-after" not in caught.value.response.headers


def test_tokens_over_the_limit_are_429_though_requests_are_left() -> None:
    with OpenAISimulator(limits={"embeddings": RateLimit(requests=100, tokens=25)}) as sim:
        client = openai_client(sim)
        embed(client, "x" * 80)
        with pytest.raises(openai.RateLimitError):
            embed(client, "y" * 24)
        embed(client, "y" * 20)
        assert sim.stats.windows["embeddings"].tokens_max == 25


def test_a_reserved_answer_counts_fully_until_its_usage_is_known() -> None:
    limits = {"chat": RateLimit(tokens=1000)}
    with OpenAISimulator(limits=limits) as sim:
        client = openai_client(sim)
        messages = [{"role": "user", "content": "hi"}]
        for _ in range(3):
            client.chat.completions.create(model="gpt-5.4", messages=messages, max_completion_tokens=900)
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model="gpt-5.4", messages=messages, max_completion_tokens=1000)
        assert sim.stats.windows["chat"].tokens_max < 100


def test_headers_tell_what_is_left() -> None:
    with OpenAISimulator(limits={"embeddings": RateLimit(requests=10, tokens=1000)}) as sim:
        client = openai_client(sim)
        embed(client)
        headers = client.embeddings.with_raw_response.create(model=MODEL, input="x" * 40).headers
    assert headers["x-ratelimit-limit-requests"] == "10"
    assert headers["x-ratelimit-remaining-requests"] == "8"
    assert headers["x-ratelimit-limit-tokens"] == "1000"
    assert headers["x-ratelimit-remaining-tokens"] == "989"
    assert re.fullmatch(r"\d+m\d+s|\d+\.\d+s", headers["x-ratelimit-reset-requests"])


def test_groups_have_limits_of_their_own_and_many_threads_cannot_pass_one() -> None:
    with OpenAISimulator(limits={"embeddings": RateLimit(requests=20)}) as sim:
        client = openai_client(sim)

        def attempt(_: int) -> bool:
            try:
                embed(client)
            except openai.RateLimitError:
                return False
            return True

        with ThreadPoolExecutor(16) as pool:
            passed = sum(pool.map(attempt, range(60)))
        client.responses.create(model="gpt-5.4", input="chat has no limit")
        window = sim.stats.windows["embeddings"]
    assert passed == 20
    assert (window.requests_max, window.rejected) == (20, 40)


@given(
    gaps=st.lists(st.floats(0, 5), max_size=40),
    tokens=st.lists(st.integers(0, 100), min_size=40, max_size=40),
)
def test_the_fullest_window_is_found_wherever_it_lies(gaps: list[float], tokens: list[int]) -> None:
    window, at = Window(10.0), 0.0
    for gap, used in zip(gaps, tokens, strict=False):
        at += gap
        window._entries.append(Entry(at, used))
    entries = window._entries
    spans = [[e for e in entries if last.at - 10.0 < e.at <= last.at] for last in entries]
    worst = window.worst()
    assert worst.tokens == max((sum(e.tokens for e in span) for span in spans), default=0)
    assert worst.requests <= max((len(span) for span in spans), default=0)


def test_a_request_larger_than_the_limit_never_fits() -> None:
    assert Window(60.0, Limit(tokens=10)).admit(11) == 60.0
