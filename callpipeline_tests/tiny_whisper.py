"""A Whisper model of a few hundred kilobytes, made from random numbers, that says what it is told to.

The whole real path runs on it (weights on disk, CTranslate2, mel spectrum, beam search, word alignment); only
what it "hears" is known beforehand: the attention blocks add nothing to the decoder's stream, and the
position encoding of step i points at the embedding of the i-th token of the text, which is therefore the most
probable one.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers
from ctranslate2.specs import whisper_spec
from faster_whisper.tokenizer import _LANGUAGE_CODES
from tokenizers import decoders, models, pre_tokenizers, trainers

WIDTH = 64
HEADS = 2
LAYERS = 2
MELS = 80
POSITIONS = 448
EMPTY = "<empty>"
"""Becomes "" in the vocabulary: by that token CTranslate2 tells a multilingual model."""

Weights = npt.NDArray[np.float32]


def tiny_whisper(folder: Path, text: str, *, multilingual: bool = False) -> Path:
    """Write a CTranslate2 model into ``folder`` that answers every window of sound with ``text``."""
    folder.mkdir(parents=True)
    tokenizer = _tokenizer(text, multilingual=multilingual)
    spec = _Builder().spec(tokenizer, _script(tokenizer, text, multilingual=multilingual))
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

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)

    def spec(self, tokenizer: tokenizers.Tokenizer, script: list[int]) -> whisper_spec.WhisperSpec:
        vocabulary = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
        spec = whisper_spec.WhisperSpec(LAYERS, HEADS, LAYERS, HEADS)
        self._encoder(spec.encoder)
        self._decoder(spec.decoder, vocabulary, script, silence=tokenizer.token_to_id("<|endoftext|>"))
        spec.register_vocabulary(["" if token == EMPTY else token for token in vocabulary])
        spec.config.suppress_ids = []
        spec.config.suppress_ids_begin = [tokenizer.token_to_id("<|endoftext|>")]
        spec.config.lang_ids = [tokenizer.token_to_id(f"<|{code}|>") for code in _LANGUAGE_CODES]
        spec.config.alignment_heads = list(itertools.product(range(LAYERS // 2, LAYERS), range(HEADS)))
        spec.validate()
        spec.optimize(quantization="int8")
        return spec

    def _encoder(self, encoder: Any) -> None:
        encoder.conv1.weight, encoder.conv1.bias = self._weights(WIDTH, MELS, 3), _zeros(WIDTH)
        encoder.conv2.weight, encoder.conv2.bias = self._weights(WIDTH, WIDTH, 3), _zeros(WIDTH)
        encoder.position_encodings.encodings = self._weights(1500, WIDTH)
        _normal(encoder.layer_norm)
        for layer in encoder.layer:
            self._attention(layer.self_attention, (3 * WIDTH,), output=0.1)
            self._feed_forward(layer.ffn, output=0.1)

    def _decoder(self, decoder: Any, vocabulary: list[str], script: list[int], *, silence: int) -> None:
        embeddings = self._weights(len(vocabulary), WIDTH, scale=1.0)
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        embeddings *= np.array([[token != EMPTY] for token in vocabulary], np.float32)
        said = np.array(script + [silence] * (POSITIONS - len(script)))
        decoder.embeddings.weight = decoder.projection.weight = embeddings
        decoder.position_encodings.encodings = (embeddings[said] * 10).astype(np.float32)
        _normal(decoder.layer_norm)
        decoder.layer_norm.gamma *= 4
        for layer in decoder.layer:
            self._attention(layer.self_attention, (3 * WIDTH,), output=0.0)
            self._attention(layer.attention, (WIDTH, 2 * WIDTH), output=0.0)
            self._feed_forward(layer.ffn, output=0.0)

    def _attention(self, attention: Any, widths: tuple[int, ...], *, output: float) -> None:
        _normal(attention.layer_norm)
        *inputs, last = attention.linear
        for linear, width in zip(inputs, widths, strict=True):
            self._linear(linear, width, WIDTH, scale=0.3)
        self._linear(last, WIDTH, WIDTH, scale=output)

    def _feed_forward(self, ffn: Any, *, output: float) -> None:
        _normal(ffn.layer_norm)
        self._linear(ffn.linear_0, 2 * WIDTH, WIDTH)
        self._linear(ffn.linear_1, WIDTH, 2 * WIDTH, scale=output)

    def _linear(self, linear: Any, rows: int, columns: int, *, scale: float = 0.1) -> None:
        linear.weight, linear.bias = self._weights(rows, columns, scale=scale), _zeros(rows)

    def _weights(self, *shape: int, scale: float = 0.1) -> Weights:
        return (self._random.standard_normal(shape) * scale).astype(np.float32)


def _normal(norm: Any) -> None:
    norm.gamma, norm.beta = np.ones(WIDTH, np.float32), _zeros(WIDTH)


def _zeros(size: int) -> Weights:
    return np.zeros(size, np.float32)
