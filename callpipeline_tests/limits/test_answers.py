from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from callpipeline.limits.answers import Allowance, allowances, failure_of, retry_after


def openai(code: str | None, message: str = "It went wrong.") -> dict[str, Any]:
    return {"error": {"message": message, "type": "some_error", "code": code}}


@pytest.mark.parametrize(
    ("status", "body", "error_class", "permanent"),
    [
        (429, openai("rate_limit_exceeded", "Rate limit reached for gpt-5.4"), "rate_limit", False),
        (429, openai("insufficient_quota", "You exceeded your current quota"), "quota", True),
        (429, {"error": "Too Many Requests"}, "rate_limit", False),
        (402, {"error": "Payment Required"}, "quota", True),
        (400, {"error": "Your current account balance is negative."}, "quota", True),
        (401, openai("invalid_api_key", "Incorrect API key provided: sk-..."), "authentication", True),
        (401, {"error": "Authentication error, API token missing/invalid"}, "authentication", True),
        (403, openai("unsupported_country", "Country not supported"), "authentication", True),
        (400, openai(None, "Invalid value for 'temperature'"), "bad_request", True),
        (404, openai("model_not_found", "The model does not exist"), "bad_request", True),
        (413, openai(None, "Maximum content size limit exceeded"), "bad_request", True),
        (
            400,
            openai(None, "The audio file could not be decoded or its format is not supported"),
            "corrupt_chunk",
            False,
        ),
        (400, openai(None, "Audio file might be corrupted or unsupported"), "corrupt_chunk", False),
        (500, openai(None, "The server had an error"), "api", False),
        (503, "<html>overloaded</html>", "api", False),
        (409, None, "api", False),
        (200, '{"text": "half of', "api", False),
        (408, None, "network", False),
        (None, "connection reset", "network", False),
    ],
)
def test_an_answer_is_put_into_its_class(
    status: int | None, body: Any, error_class: str, permanent: bool
) -> None:
    for form in (body, json.dumps(body), json.dumps(body).encode()) if isinstance(body, dict) else (body,):
        failure = failure_of("openai", status, form)
        assert (failure.error_class, failure.permanent) == (error_class, permanent)


def test_the_message_says_who_answered_what() -> None:
    failure = failure_of("openai", 500, openai(None, "The server had an error."))
    assert str(failure) == "openai answered 500: The server had an error."


@pytest.mark.parametrize(
    "body",
    ['{"text": "I have insufficient funds', b"an invalid api key", {"error": {"message": "my funds"}}, None],
)
def test_of_an_answer_that_ought_to_be_a_success_only_the_size_is_told(body: Any) -> None:
    failure = failure_of("openai", 200, body, {"Content-Type": "application/json; charset=utf-8"})
    assert failure.error_class == "api"
    assert "bytes of application/json." in str(failure)
    assert "funds" not in str(failure)
    assert "key" not in str(failure)


def test_what_a_server_sends_back_of_a_request_is_not_told() -> None:
    complaint = {"loc": ["body", "prompt"], "msg": "String is too long", "input": "my card is 5558675309"}
    failure = failure_of("openai", 422, {"detail": [complaint]})
    assert str(failure) == "openai answered 422: String is too long."
    assert "5558675309" not in str(failure_of("openai", 500, {"text": "my card is 5558675309"}))
    assert str(failure_of("openai", 404, {"detail": "Not Found"})) == "openai answered 404: Not Found."


def test_a_long_page_of_html_is_cut() -> None:
    assert len(str(failure_of("openai", 502, "<p>" * 5000))) < 400


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "20"}, 20.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"Retry-After": "Sun, 01 Nov 2026 10:00:30 GMT"}, 30.0),
        ({"Retry-After": "Sun, 01 Nov 2026 09:00:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=datetime(2026, 11, 1, 10, 0, 0, tzinfo=UTC)) == seconds
    assert (
        failure_of("p", 429, None, headers, now=datetime(2026, 11, 1, 10, tzinfo=UTC)).retry_after == seconds
    )


def test_rate_limit_headers_are_read() -> None:
    headers = {
        "X-RateLimit-Limit-Requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": "120ms",
        "x-ratelimit-limit-tokens": "1000000",
        "x-ratelimit-remaining-tokens": "12",
        "x-ratelimit-reset-tokens": "6m0.5s",
    }
    assert allowances(headers) == {
        "requests": Allowance(500, 499, 0.12),
        "tokens": Allowance(1_000_000, 12, 360.5),
    }


def test_rate_limit_headers_without_a_metric_count_requests_of_an_unknown_period() -> None:
    headers = {"X-RateLimit-Limit": "20000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "42"}
    assert allowances(headers) == {"requests": Allowance(None, 0, 42)}
    assert allowances({"content-type": "application/json"}) == {}
