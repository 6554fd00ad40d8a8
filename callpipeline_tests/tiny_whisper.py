"""A Whisper model of a few hundred kilobytes, made from random numbers, that says what it is told to.

The whole real path runs on it (weights on disk, CTranslate2, mel spectrum, beam search, word alignment); only
what it "hears" is known beforehand: the attention blocks add nothing to the decoder's stream, and the
position encoding of step i points at the embedding of the i-th token of the text, which is therefore the most
probable one.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers
from ctranslate2.specs import whisper_spec
from faster_whisper.tokenizer import _LANGUAGE_CODES
from tokenizers import decoders, models, pre_tokenizers, trainers

MELS = 80
POSITIONS = 448
EMPTY = "<empty>"
"""Becomes "" in the vocabulary: by that token CTranslate2 tells a multilingual model."""

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Size:
    """How large a model is, encoder and decoder each. ``vocabulary``: rows of it, at least; the rest means nothing."""

    width: int
    heads: int
    layers: int
    inner: int
    vocabulary: int = 0


TINY = Size(64, 2, 2, 128)


def tiny_whisper(folder: Path, text: str, *, multilingual: bool = False, size: Size = TINY) -> Path:
    """Write a CTranslate2 model into ``folder`` that answers every window of sound with ``text``.

    With the ``size`` of a published model it costs what that one would, and is no longer tiny.
    """
    folder.mkdir(parents=True)
    tokenizer = _tokenizer(text, multilingual=multilingual)
    spec = _Builder(size).spec(tokenizer, _script(tokenizer, text, multilingual=multilingual))
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    features = {
        "feature_size": MELS,
        "sampling_rate": 16000,
        "hop_length": 160,
        "chunk_length": 30,
        "n_fft": 400,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(features))
    return folder


def _tokenizer(text: str, *, multilingual: bool) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=600, min_frequency=1, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([text], trainer)
    if multilingual:
        tokenizer.add_tokens([EMPTY])
    tokenizer.add_special_tokens(
        ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{c}|>" for c in _LANGUAGE_CODES)]
    )
    tokenizer.add_special_tokens(["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>"])
    tokenizer.add_special_tokens(["<|nospeech|>", "<|notimestamps|>"])
    tokenizer.add_special_tokens([f"<|{n * 0.02:.2f}|>" for n in range(1501)])
    return tokenizer


def _script(tokenizer: tokenizers.Tokenizer, text: str, *, multilingual: bool) -> list[int]:
    """Return the token to say after each position of the prompt and of the text."""
    prompt = ["<|en|>", "<|transcribe|>"] if multilingual else []
    return [
        *(tokenizer.token_to_id(name) for name in (*prompt, "<|notimestamps|>")),
        *tokenizer.encode(text).ids,
    ]


class _Builder:
    """Fills a model specification with random weights, always the same."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self._random = np.random.default_rng(0)

    def spec(self, tokenizer: tokenizers.Tokenizer, script: list[int]) -> whisper_spec.WhisperSpec:
        vocabulary = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
        vocabulary += [f"<unused {n}>" for n in range(len(vocabulary), self._size.vocabulary)]
        layers, heads = self._size.layers, self._size.heads
        spec = whisper_spec.WhisperSpec(layers, heads, layers, heads)
        self._encoder(spec.encoder)
        self._decoder(spec.decoder, vocabulary, script, silence=tokenizer.token_to_id("<|endoftext|>"))
        spec.register_vocabulary(["" if token == EMPTY else token for token in vocabulary])
        spec.config.suppress_ids = []
        spec.config.suppress_ids_begin = [tokenizer.token_to_id("<|endoftext|>")]
        spec.config.lang_ids = [tokenizer.token_to_id(f"<|{code}|>") for code in _LANGUAGE_CODES]
        spec.config.alignment_heads = list(itertools.product(range(layers // 2, layers), range(heads)))
        spec.validate()
        spec.optimize(quantization="int8")
        return spec

    def _encoder(self, encoder: Any) -> None:
        width = self._size.width
        encoder.conv1.weight, encoder.conv1.bias = self._weights(width, MELS, 3), _zeros(width)
        encoder.conv2.weight, encoder.conv2.bias = self._weights(width, width, 3), _zeros(width)
        encoder.position_encodings.encodings = self._weights(1500, width)
        _normal(encoder.layer_norm, width)
        for layer in encoder.layer:
            self._attention(layer.self_attention, (3 * width,), output=0.1)
            self._feed_forward(layer.ffn, output=0.1)

    def _decoder(self, decoder: Any, vocabulary: list[str], script: list[int], *, silence: int) -> None:
        width = self._size.width
        embeddings = self._weights(len(vocabulary), width, scale=1.0)
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        embeddings *= np.array([[token != EMPTY] for token in vocabulary], np.float32)
        said = np.array(script + [silence] * (POSITIONS - len(script)))
        decoder.embeddings.weight = decoder.projection.weight = embeddings
        decoder.position_encodings.encodings = (embeddings[said] * 10).astype(np.float32)
        _normal(decoder.layer_norm, width)
        decoder.layer_norm.gamma *= 4
        for layer in decoder.layer:
            self._attention(layer.self_attention, (3 * width,), output=0.0)
            self._attention(layer.attention, (width, 2 * width), output=0.0)
            self._feed_forward(layer.ffn, output=0.0)

    def _attention(self, attention: Any, widths: tuple[int, ...], *, output: float) -> None:
        width = self._size.width
        _normal(attention.layer_norm, width)
        *inputs, last = attention.linear
        for linear, rows in zip(inputs, widths, strict=True):
            self._linear(linear, rows, width, scale=0.3)
        self._linear(last, width, width, scale=output)

    def _feed_forward(self, ffn: Any, *, output: float) -> None:
        width, inner = self._size.width, self._size.inner
        _normal(ffn.layer_norm, width)
        self._linear(ffn.linear_0, inner, width)
        self._linear(ffn.linear_1, width, inner, scale=output)

    def _linear(self, linear: Any, rows: int, columns: int, *, scale: float = 0.1) -> None:
        linear.weight, linear.bias = self._weights(rows, columns, scale=scale), _zeros(rows)

    def _weights(self, *shape: int, scale: float = 0.1) -> Weights:
        return self._random.standard_normal(shape, dtype=np.float32) * np.float32(scale)


def _normal(norm: Any, width: int) -> None:
    norm.gamma, norm.beta = np.ones(width, np.float32), _zeros(width)


def _zeros(size: int) -> Weights:
    return np.zeros(size, np.float32)
