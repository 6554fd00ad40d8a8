"""``/embeddings``: the same text has the same vector, and texts that share words lie near each other.

A word's vector is drawn from a generator that its hash seeds; a text is the normalised sum of its words.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from callpipeline_tests.simulators.openai_api.language import check_model
from callpipeline_tests.simulators.openai_api.pricing import Computed, request_key
from callpipeline_tests.simulators.openai_api.tokens import text_tokens
from callpipeline_tests.simulators.server import Refusal

if TYPE_CHECKING:
    import numpy as np

_MODEL = re.compile(r"^text-embedding-")
_DIMENSIONS = {"text-embedding-3-large": 3072}
_DEFAULT_DIMENSIONS = 1536
_MOST_INPUTS = 2048
_MOST_TOKENS = 8192


def embeddings(body: dict[str, Any]) -> Computed:
    """Compute ``/embeddings``.

    Raises:
        Refusal: the request is wrong or an input is too long.
    """
    model = check_model(body, _MODEL)
    texts = _inputs(body.get("input"))
    dimensions = body.get("dimensions") or _DIMENSIONS.get(model, _DEFAULT_DIMENSIONS)
    counts = [_tokens(text) for text in texts]
    if max(counts) > _MOST_TOKENS:
        raise Refusal(
            400,
            f"This model's maximum context length is {_MOST_TOKENS} tokens, got {max(counts)}.",
            param="input",
        )
    as_base64 = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(str(text), dimensions, as_base64)}
        for index, text in enumerate(texts)
    ]
    used = sum(counts)
    payload = {
        "object": "list",
        "model": model,
        "data": data,
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }
    return Computed(payload, request_key("embeddings", body), input_tokens=used, reserve=used)


def _inputs(given: object) -> list[Any]:
    if isinstance(given, str) or (isinstance(given, list) and given and isinstance(given[0], int)):
        given = [given]
    if not isinstance(given, list) or not given or "" in given:
        raise Refusal(400, "'input' must be a text that is not empty, or a list of them", param="input")
    if len(given) > _MOST_INPUTS:
        raise Refusal(400, f"'input' may have {_MOST_INPUTS} items at most, got {len(given)}", param="input")
    return given


def _tokens(text: object) -> int:
    return text_tokens(text) if isinstance(text, str) else len(text) if isinstance(text, list) else 1


def _encoded(text: str, dimensions: int, as_base64: bool) -> str | list[float]:
    vector = _text_vector(text, dimensions)
    return base64.b64encode(vector.tobytes()).decode() if as_base64 else [float(value) for value in vector]


def _text_vector(text: str, dimensions: int) -> np.ndarray:
    import numpy as np

    words = re.findall(r"\w+", text.lower()) or [text]
    total: np.ndarray = np.sum([_word_vector(word, dimensions) for word in words], axis=0)
    unit: np.ndarray = (total / np.linalg.norm(total)).astype("<f4")
    return unit


@lru_cache(maxsize=5000)
def _word_vector(word: str, dimensions: int) -> np.ndarray:
    import numpy as np

    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(dimensions, dtype="float32")
