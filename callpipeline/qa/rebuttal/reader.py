"""The second opinion: a small language model that has read labelled dialogues, on the whole call at once.

What belongs here: from turns to probabilities, through ONNX Runtime. What does not: the verdict (``detector``) and the
training (``data/rebuttal/train_reader.py``).

A six-layer MiniLM, int8. Its input is the call's text with a marker token before each turn that says who speaks; its
output is a probability of each verdict, and of each turn being the objection or the attempt to turn it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from callpipeline.model import Role, Verdict

VERDICTS = (Verdict.ATTEMPTED, Verdict.NO_ATTEMPT, Verdict.NO_OBJECTION, Verdict.UNUSABLE)
"""The order of the model's output."""

MAX_TOKENS = 384
"""Longer calls keep all turns; their longest turns lose the middle."""

_LONGEST_TURN = 60
_SHORTEST_CUT = 8
_MARKERS = {Role.AGENT: "[unused1]", Role.CUSTOMER: "[unused2]", Role.UNKNOWN: "[unused3]"}
_OBJECTION, _REBUTTAL = 1, 2


@dataclass(frozen=True)
class Reading:
    """What the model makes of a call: a probability of each verdict; of each turn, to be the deciding one."""

    verdicts: dict[Verdict, float]
    objection: tuple[float, ...]
    rebuttal: tuple[float, ...]


def read(turns: Sequence[tuple[Role, str]]) -> Reading:
    """Return the model's opinion about a call; one probability of each kind for each turn."""
    session, tokenizer = _model()
    ids, markers = _encoded(turns, tokenizer)
    size = len(ids)
    at_marker = np.zeros((1, size), dtype=np.bool_)
    at_marker[0, markers] = True
    inputs = {
        "ids": np.asarray([ids], dtype=np.int64),
        "mask": np.ones((1, size), dtype=np.int64),
        "turns": at_marker,
    }
    verdicts, tags = session.run(None, inputs)
    of_turns: npt.NDArray[np.float32] = tags[0, markers]
    missing = (0.0,) * (len(turns) - len(markers))
    return Reading(
        {verdict: float(p) for verdict, p in zip(VERDICTS, verdicts[0], strict=True)},
        (*map(float, of_turns[:, _OBJECTION]), *missing),
        (*map(float, of_turns[:, _REBUTTAL]), *missing),
    )


def _encoded(turns: Sequence[tuple[Role, str]], tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return token ids and the positions of the turns' markers; turns beyond the model's length are left out."""
    words = [tokenizer.encode(text, add_special_tokens=False).ids for _, text in turns]
    longest = _LONGEST_TURN
    while _size(words, longest) > MAX_TOKENS and longest > _SHORTEST_CUT:
        longest -= 4
    ids = [tokenizer.token_to_id("[CLS]")]
    markers: list[int] = []
    for (role, _), pieces in zip(turns, words, strict=True):
        if len(ids) >= MAX_TOKENS:
            break
        markers.append(len(ids))
        ids.append(tokenizer.token_to_id(_MARKERS[role]))
        ids += _shortened(pieces, longest)
    return ids[:MAX_TOKENS], markers


def _size(words: Sequence[Sequence[int]], longest: int) -> int:
    return sum(min(len(pieces), longest) for pieces in words) + len(words) + 2


def _shortened(pieces: list[int], longest: int) -> list[int]:
    if len(pieces) <= longest:
        return pieces
    head = longest * 2 // 3
    return pieces[:head] + pieces[len(pieces) - (longest - head) :]


@lru_cache(maxsize=1)
def _model() -> tuple[Any, Any]:
    import onnxruntime
    from tokenizers import Tokenizer

    folder = resources.files("callpipeline.qa.rebuttal")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # calls run side by side
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        folder.joinpath("reader.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    tokenizer = Tokenizer.from_str(folder.joinpath("reader_tokenizer.json").read_text("utf-8"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return session, tokenizer
