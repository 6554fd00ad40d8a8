"""Which chunks go into one request, and what it is taken to need."""

from __future__ import annotations

from dataclasses import replace

import pytest

from callpipeline.graph.extractors.openai.batches import Block, Wording
from callpipeline.graph.extractors.openai.packing import Heap, Meter, most_prompt_tokens
from callpipeline.graph.extractors.openai.routing import Route
from callpipeline.graph.ontology import load
from callpipeline.providers.openai_language import ChatReply

ROUTE = Route("gpt-5.4", "openai_chat")


def block(number: int, characters: int = 2000) -> Block:
    return Block(f"k{number}", "f", "r", "text", f"s{number}", "S1: " + "x" * (characters - 4), ROUTE)


def test_requests_are_filled_by_count_and_by_tokens_with_the_best_first() -> None:
    heap = Heap(most_blocks=4, most_tokens=1600)
    for number, priority in enumerate((0.1, 0.9, 0.5, 0.9, 0.2, 0.0)):
        heap.add(block(number), priority)
    assert heap.full
    assert [one.key for one in heap.take()] == ["k1", "k3", "k2"]
    assert [one.key for one in heap.take()] == ["k4", "k0", "k5"]
    assert not heap.full
    heap.add(block(9, characters=50_000), 1.0)
    assert [one.key for one in heap.take()] == ["k9"]
    assert not heap


def test_a_recording_is_done_before_the_next_one_begins() -> None:
    """Else all that are walked at once end together, and the provider waits for the next ones to be made ready."""
    heap = Heap(most_blocks=2)
    for number, (whose, priority) in enumerate([("a", 0.1), ("b", 0.9), ("a", 0.8), ("b", 0.2)]):
        heap.add(replace(block(number), recording=whose), priority)
    assert [one.key for one in heap.take()] == ["k2", "k0"]
    assert [one.key for one in heap.take()] == ["k1", "k3"]


def test_a_small_account_gets_small_requests() -> None:
    assert most_prompt_tokens(None) == most_prompt_tokens(1_000_000)
    assert most_prompt_tokens(16_000) < 16_000 / 4


@pytest.mark.parametrize(("tokens_a_byte", "output"), [(0.25, 300), (0.6, 900)])
def test_estimates_follow_what_comes_back(tokens_a_byte: float, output: int) -> None:
    """After a few answers what is reserved is enough, and not much more than is used."""
    wording = Wording(load())
    meter = Meter(wording.fixed_bytes)
    blocks = [block(number) for number in range(12)]
    size = sum(len(one.spoken) + 6 for one in blocks)
    prompt = round((wording.fixed_bytes + size) * tokens_a_byte)
    for number in range(10):
        used = 12 * output + (50 if number % 2 else -50)
        meter.learn(size, 12, ChatReply("{}", tokens_in=prompt, tokens_out=used))
    assert prompt <= meter.prompt(blocks) <= 1.05 * prompt
    assert 12 * output + 50 <= meter.most_output(12) <= 1.25 * 12 * output


def test_answers_that_are_cut_off_make_room_for_longer_ones() -> None:
    meter = Meter(10_000)
    before = meter.most_output(12)
    for _ in range(3):
        most = meter.most_output(12)
        meter.learn(24_000, 12, ChatReply("{", finish="length", tokens_in=8_500, tokens_out=most))
    assert meter.most_output(12) > 1.3 * before
