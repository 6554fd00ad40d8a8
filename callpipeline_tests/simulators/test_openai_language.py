"""The official OpenAI SDK against simulated chats, responses and embeddings."""

from __future__ import annotations

import asyncio
from typing import Literal

import openai
import pytest
from pydantic import BaseModel, Field

from callpipeline_tests.simulators import OpenAISimulator
from callpipeline_tests.simulators.conftest import openai_client
from callpipeline_tests.simulators.openai_api.responder import ChatAnswer, ChatRequest

MODEL = "gpt-5.4-mini"


class Person(BaseModel):
    name: str
    role: Literal["agent", "customer"]


class Claim(BaseModel):
    summary: str
    score: float = Field(ge=0.5, le=1.0)
    count: int
    sure: bool
    people: list[Person] = Field(min_length=2)
    note: str | None


def test_default_answers_keep_the_json_schema_in_both_endpoints(openai_sim: OpenAISimulator) -> None:
    client = openai_client(openai_sim)
    messages = [{"role": "user", "content": "The owner was not interested in an offer."}]
    chat = client.chat.completions.parse(model=MODEL, messages=messages, response_format=Claim)
    claim = chat.choices[0].message.parsed
    assert len(claim.people) == 2
    assert claim.summary in messages[0]["content"]
    again = client.chat.completions.parse(model=MODEL, messages=messages, response_format=Claim)
    assert again.choices[0].message.parsed == claim
    response = client.responses.parse(model=MODEL, input="Who called?", text_format=Claim)
    assert isinstance(response.output_parsed, Claim)


def test_own_responder_sees_the_request_and_decides() -> None:
    def responder(request: ChatRequest) -> dict[str, str]:
        assert request.schema_name == "Person"
        return {"name": request.text.split()[-1], "role": "agent"}

    with OpenAISimulator(responder=responder) as sim:
        chat = openai_client(sim).chat.completions.parse(
            model=MODEL,
            messages=[{"role": "system", "content": "x"}, {"role": "user", "content": "I am Maria"}],
            response_format=Person,
        )
    assert chat.choices[0].message.parsed == Person(name="Maria", role="agent")


def test_refusals_and_cut_answers_surface_as_the_sdk_says() -> None:
    def responder(request: ChatRequest) -> ChatAnswer:
        return ChatAnswer(refusal="I will not.") if "bad" in request.text else ChatAnswer("word " * 400)

    with OpenAISimulator(responder=responder) as sim:
        client = openai_client(sim)
        refused = client.chat.completions.parse(
            model=MODEL, messages=[{"role": "user", "content": "bad"}], response_format=Person
        )
        assert refused.choices[0].message.refusal == "I will not."
        with pytest.raises(openai.LengthFinishReasonError):
            client.chat.completions.parse(
                model=MODEL,
                messages=[{"role": "user", "content": "long"}],
                response_format=Person,
                max_completion_tokens=10,
            )
        cut = client.responses.create(model=MODEL, input="long", max_output_tokens=20)
    assert (cut.status, cut.incomplete_details.reason, cut.usage.output_tokens) == (
        "incomplete",
        "max_output_tokens",
        20,
    )


def test_usage_follows_the_documented_rule(openai_sim: OpenAISimulator) -> None:
    chat = openai_client(openai_sim).chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "x" * 41}]
    )
    assert chat.usage.prompt_tokens == 3 + 4 + 11
    assert chat.usage.total_tokens == chat.usage.prompt_tokens + chat.usage.completion_tokens
    assert openai_sim.stats.windows["chat"].tokens_max == chat.usage.total_tokens
    assert openai_sim.stats.paid.tokens == chat.usage.total_tokens


def test_the_same_body_twice_is_a_duplicate(openai_sim: OpenAISimulator) -> None:
    client = openai_client(openai_sim)
    for text in ("one", "two", "one"):
        client.responses.create(model=MODEL, input=text)
    paid = openai_sim.stats.paid
    assert (paid.calls, paid.duplicates) == (3, 1)


@pytest.mark.parametrize(("honoured", "calls"), [(True, 1), (False, 2)])
def test_an_idempotency_key_saves_money_only_where_it_is_honoured(honoured: bool, calls: int) -> None:
    with OpenAISimulator(honour_idempotency=honoured) as sim:
        for _ in range(2):
            openai_client(sim).responses.create(
                model=MODEL, input="same", extra_headers={"Idempotency-Key": "k1"}
            )
        assert sim.stats.paid.calls == calls


def test_embeddings_are_the_same_for_the_same_text_and_near_for_a_similar_one(
    openai_sim: OpenAISimulator,
) -> None:
    client = openai_client(openai_sim)
    texts = ["Maple Street 12", "maple street", "interest rates"]
    a, b, c = (
        item.embedding for item in client.embeddings.create(model="text-embedding-3-small", input=texts).data
    )
    as_floats = client.embeddings.create(
        model="text-embedding-3-small", input=texts[0], encoding_format="float"
    )
    assert len(a) == 1536
    assert as_floats.data[0].embedding == pytest.approx(a, abs=1e-6)

    def dot(left: list[float], right: list[float]) -> float:
        return sum(x * y for x, y in zip(left, right, strict=True))

    assert dot(a, a) == pytest.approx(1, abs=1e-5)
    assert dot(a, b) > 0.5 > 0.2 > dot(a, c)
    assert len(client.embeddings.create(model="text-embedding-3-large", input="x").data[0].embedding) == 3072
    small = client.embeddings.create(model="text-embedding-3-small", input="x", dimensions=32)
    assert len(small.data[0].embedding) == 32


def test_wrong_key_wrong_model_and_unsimulated_options_are_refused(openai_sim: OpenAISimulator) -> None:
    with pytest.raises(openai.AuthenticationError):
        openai_client(openai_sim, api_key="sk-other").models.list()
    client = openai_client(openai_sim)
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model="gpt-5.4", input="x")
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="stream"):
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x"}], stream=True)
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        client.embeddings.create(model="text-embedding-3-small", input="x" * 40_000)
    assert openai_sim.stats.paid.calls == 0
    assert {"whisper-1", MODEL} <= {model.id for model in client.models.list()}


def test_request_ids_reach_the_sdk(openai_sim: OpenAISimulator) -> None:
    raw = openai_client(openai_sim).responses.with_raw_response.create(model=MODEL, input="x")
    assert raw.request_id.startswith("req_")


def test_async_client_parses_too_and_a_hung_up_call_is_counted() -> None:
    async def act(sim: OpenAISimulator) -> Person:
        async with openai.AsyncOpenAI(api_key=sim.api_key, base_url=sim.base_url, max_retries=0) as client:
            with pytest.raises(openai.APITimeoutError):
                await client.responses.create(model=MODEL, input="x", timeout=0.2)
            sim.reset()
            parsed = await client.with_options(timeout=20).responses.parse(
                model=MODEL, input="who", text_format=Person
            )
            return parsed.output_parsed

    with OpenAISimulator(latency="fixed:0.5") as sim:
        assert isinstance(asyncio.run(act(sim)), Person)


def test_a_client_that_hangs_up_while_it_waits_is_counted_as_cancelled_and_charged() -> None:
    with OpenAISimulator(latency="fixed:30") as sim:
        with pytest.raises(openai.APITimeoutError):
            openai_client(sim, timeout=0.2).responses.create(model=MODEL, input="x")
        while sim.stats.all.in_flight:
            pass
        stats = sim.stats
    assert stats.cancelled == 1
    assert stats.paid.calls == 1
