"""Training of the act classifiers from the readable corpus: ``python -m callpipeline.qa.rebuttal.train``.

What belongs here: making examples from the corpus (context, composition, transcript errors), fitting, and writing
``acts.npz``. What does not: anything that runs on a call. scikit-learn is only needed here.

The corpus is written by hand; no recorded or labelled call went into it. After a change of a TSV file run this
module and keep the new ``acts.npz``; the file remembers the corpus it came from.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callpipeline.qa.rebuttal.acts import MODEL_FILE, SCALE, corpus_fingerprint
from callpipeline.qa.rebuttal.features import turn_features
from callpipeline.qa.rebuttal.words import concept, corpus_rows, tokens

if TYPE_CHECKING:
    import numpy as np

SEEDS = (20, 21, 22)
"""The weights of as many fits are averaged: each draws its own contexts, compositions and errors."""
_REGULARISATION = 0.15
_NOISY_COPIES = 2
_MIN_COUNT = 4
_MIN_WEIGHT = 0.02
_COMPOSED = 4_000
_FOLLOW_PRIOR = 10.0
_COPIES_AFTER_ANY = 4
_OTHER = {"agent": "customer", "customer": "agent"}
_SWAPPED_WORDS = 0.5
"""Chance that a word of an exchangeable class (a pet, a place, a number ...) is replaced by another of its class."""

_CONTEXT_OF = {
    "refuse": ("pitch", "pitch", "pitch", "push"),
    "dnc_refuse": ("pitch",),
    "interest": ("pitch", "pitch", "push", "deal"),
    "notowner": ("open", "open", "pitch"),
    "dnc": ("open", "pitch", "push", "close"),
    "question": ("open", "pitch"),
    "answer": ("open", "deal", "admin"),
    "small": ("close", "small", "deal", "push"),
    "machine": ("",),
    "foreign": ("open", "pitch", ""),
}
"""Acts of the agent that a customer's line without written context may follow."""

_COMPOSITIONS = {
    "agent": (
        ("close", "push", "push"), ("small", "push", "push"), ("admin", "push", "push"), ("push", "push", "push"),
        ("push", "close", "push"), ("open", "pitch", "pitch"), ("open", "pitch", "pitch"), ("close", "close", "close"),
        ("close", "close", "close"), ("close", "admin", "admin"), ("close", "small", "small"), ("small", "close", "close"),
        ("small", "small", "small"), ("admin", "admin", "admin"), ("admin", "close", "close"),
        ("close", "deal", "deal"), ("deal", "deal", "deal"), ("open", "message", "message"),
    ),
    "customer": (
        ("refuse", "refuse", "refuse"), ("answer", "refuse", "refuse"), ("question", "refuse", "refuse"),
        ("refuse", "small", "refuse"), ("small", "refuse", "refuse"), ("refuse", "question", "refuse"),
        ("answer", "interest", "interest"), ("interest", "interest", "interest"), ("small", "interest", "interest"),
        ("notowner", "notowner", "notowner"), ("notowner", "small", "notowner"), ("answer", "question", "question"),
        ("dnc", "dnc", "dnc"), ("refuse", "dnc", "dnc_refuse"), ("small", "small", "small"),
        ("machine", "machine", "machine"), ("foreign", "foreign", "foreign"), ("answer", "answer", "answer"),
    ),
}  # fmt: skip
"""(first line, second line, act of both together): turns hold more than one sentence."""


@dataclass(frozen=True)
class Example:
    """One turn with its act and what was said before it."""

    act: str
    words: tuple[str, ...]
    before: tuple[str, ...] = ()
    before_act: str = ""


def examples(role: str, seed: int) -> list[Example]:
    """Return the training examples of one role, in a fixed order that only depends on the corpus and the seed."""
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    lines = [line for row in corpus_rows(f"{role}.tsv") for line in _lines(row)]
    contexts = _by_act(corpus_rows("agent.tsv" if role == "customer" else "customer.tsv"))
    single = [_with_context(line, contexts, rng) if role == "customer" else line for line in lines]
    pools: dict[str, list[Example]] = {}
    for example in single:
        pools.setdefault(example.act, []).append(example)
    composed = [_composed(pools, rng.choice(_COMPOSITIONS[role]), rng) for _ in range(_COMPOSED)]
    clean = [*single, *_dialogue_examples(role) * 2, *composed]
    vocabulary = sorted({word for example in clean for word in example.words})
    classes = _exchangeable_words()
    noisy = [_noisy(example, vocabulary, classes, rng) for example in clean for _ in range(_NOISY_COPIES)]
    return clean + noisy


def _lines(row: dict[str, str]) -> list[Example]:
    """One line of the corpus; ``before`` = ``@act`` means: after any line of the other side with that act."""
    words, before = tuple(tokens(row["text"])), row["before"]
    if before.startswith("@"):
        return [Example(row["act"], words, (), before[1:])] * _COPIES_AFTER_ANY
    return [Example(row["act"], words, tuple(tokens(before)))]


def _by_act(rows: list[dict[str, str]]) -> dict[str, list[tuple[str, ...]]]:
    found: dict[str, list[tuple[str, ...]]] = {}
    for row in rows:
        found.setdefault(row["act"], []).append(tuple(tokens(row["text"])))
    return found


def _with_context(line: Example, contexts: dict[str, list[tuple[str, ...]]], rng: random.Random) -> Example:
    if line.before and not line.before_act:
        return line
    act = line.before_act or rng.choice(_CONTEXT_OF[line.act])
    before = rng.choice(contexts[act]) if act else ()
    return Example(line.act, line.words, before, act)


def _composed(pools: dict[str, list[Example]], recipe: tuple[str, str, str], rng: random.Random) -> Example:
    first, second = rng.choice(pools[recipe[0]]), rng.choice(pools[recipe[1]])
    context = second if second.act == recipe[2] else first
    return Example(recipe[2], first.words + second.words, context.before, context.before_act)


def _dialogue_examples(role: str) -> list[Example]:
    found: list[Example] = []
    current = ""
    last: dict[str, tuple[tuple[str, ...], str]] = {}
    for row in corpus_rows("dialogues.tsv"):
        if row["dialogue"] != current:
            current, last = row["dialogue"], {}
        words = tuple(tokens(row["text"]))
        if row["speaker"] == role:
            before, before_act = last.get("customer" if role == "agent" else "agent", ((), ""))
            found.append(Example(row["act"], words, before, before_act))
        last[row["speaker"]] = (words, row["act"])
    return found


def _exchangeable_words() -> dict[str, list[str]]:
    return {
        row["concept"]: row["words"].split() for row in corpus_rows("concepts.tsv") if row["exchangeable"]
    }


def _varied(words: tuple[str, ...], classes: dict[str, list[str]], rng: random.Random) -> Iterator[str]:
    for word in words:
        others = classes.get(concept(word) or "")
        yield rng.choice(others) if others and rng.random() < _SWAPPED_WORDS else word


def _noisy(
    example: Example, vocabulary: list[str], classes: dict[str, list[str]], rng: random.Random
) -> Example:
    """Copy with other things talked about, and with transcript errors: lost, wrong and misspelt words, a missing end."""
    words: list[str] = []
    for word in _varied(example.words, classes, rng):
        luck = rng.random()
        if luck < 0.05:
            continue
        if luck < 0.10:
            words.append(rng.choice(vocabulary))
        elif luck < 0.15 and len(word) > 3:
            words.append(_misspelt(word, rng))
        else:
            words.append(word)
    if len(words) > 6 and rng.random() < 0.08:
        words = words[: rng.randrange(4, len(words))]
    known = rng.random() < 0.8
    return Example(
        example.act,
        tuple(words) or example.words,
        example.before if known else (),
        example.before_act if known else "",
    )


def _misspelt(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word))
    change = rng.choice(("drop", "swap", "replace"))
    if change == "drop":
        return word[:at] + word[at + 1 :]
    if change == "swap" and at + 1 < len(word):
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + rng.choice("aeiourstnlbdpz") + word[at + 1 :]


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier: ``weights`` has the shape (features, classes)."""

    classes: list[str]
    features: np.ndarray
    weights: np.ndarray
    bias: np.ndarray


def fit(rows: list[list[int]], labels: list[str]) -> Fitted:
    """Fit a multinomial logistic regression on the features that are not too rare to mean anything."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    counts = Counter(feature for row in rows for feature in row)
    known = sorted(feature for feature, n in counts.items() if n >= _MIN_COUNT)
    model = LogisticRegression(C=_REGULARISATION, max_iter=120, tol=1e-3)
    model.fit(_matrix(rows, {feature: i for i, feature in enumerate(known)}), labels)
    weights, bias = model.coef_.T, model.intercept_
    if len(model.classes_) == 2:
        weights, bias = np.hstack([-weights / 2, weights / 2]), np.hstack([-bias / 2, bias / 2])
    return Fitted([str(c) for c in model.classes_], np.asarray(known, dtype=np.uint32), weights, bias)


def averaged(fits: list[Fitted]) -> Fitted:
    """Return the mean of several fits of the same classes, without the features that hardly weigh."""
    import numpy as np

    features = np.unique(np.concatenate([f.features for f in fits]))
    weights = np.zeros((len(features), len(fits[0].classes)))
    for one in fits:
        weights[np.searchsorted(features, one.features)] += one.weights / len(fits)
    matters = np.abs(weights).max(axis=1) > _MIN_WEIGHT
    bias = np.mean([f.bias for f in fits], axis=0)
    return Fitted(fits[0].classes, features[matters], weights[matters], bias)


def _matrix(rows: list[list[int]], column: dict[int, int]) -> Any:
    import numpy as np
    from scipy.sparse import csr_matrix

    kept = [[column[f] for f in row if f in column] for row in rows]
    ends = np.cumsum([0, *map(len, kept)])
    values = np.repeat([SCALE / max(len(row), 1) ** 0.5 for row in rows], [len(k) for k in kept])
    return csr_matrix((values, np.concatenate([np.asarray(k, dtype=np.int32) for k in kept]), ends),
                      shape=(len(rows), len(column)))  # fmt: skip


def train(target: Path = MODEL_FILE) -> None:
    """Fit all classifiers from the corpus and write ``acts.npz``."""
    import numpy as np

    fits: dict[str, list[Fitted]] = {"agent": [], "customer": [], "role": []}
    for seed in SEEDS:
        spoken: list[tuple[str, list[int]]] = []
        for role in ("agent", "customer"):
            rows = examples(role, seed)
            features = [turn_features(e.words, e.before, e.before_act) for e in rows]
            fits[role].append(fit(features, [e.act for e in rows]))
            spoken += [(role, turn_features(e.words)) for e in rows if e.act not in ("foreign", "message")]
        fits["role"].append(fit([f for _, f in spoken], [r for r, _ in spoken]))
    arrays: dict[str, Any] = {"fingerprint": np.array(corpus_fingerprint())}
    for name, several in fits.items():
        arrays |= _packed(name, averaged(several))
    acts = {role: fits[role][0].classes for role in ("agent", "customer")}
    arrays |= {f"after_{role}": table for role, table in follow_tables(acts).items()}
    np.savez_compressed(target, **arrays)


def follow_tables(acts: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """Count in the corpus dialogues which act answers which; return log ratios to chance, smoothed."""
    import numpy as np

    counts = {role: np.zeros((len(acts[role]), len(acts[_OTHER[role]]))) for role in acts}
    for first, second in _neighbours(corpus_rows("dialogues.tsv")):
        role = first["speaker"]
        counts[role][acts[role].index(first["act"]), acts[_OTHER[role]].index(second["act"])] += 1
    tables = {}
    for role, count in counts.items():
        chance = (count.sum(axis=0) + 1.0) / (count.sum() + count.shape[1])
        given = (count + _FOLLOW_PRIOR * chance) / (count.sum(axis=1, keepdims=True) + _FOLLOW_PRIOR)
        tables[role] = np.log(given / chance).astype(np.float32)
    return tables


def _neighbours(rows: list[dict[str, str]]) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    for first, second in pairwise(rows):
        if first["dialogue"] == second["dialogue"] and first["speaker"] != second["speaker"]:
            yield first, second


def _packed(name: str, fitted: Fitted) -> dict[str, Any]:
    """Weights as 8-bit integers with one step size per class."""
    import numpy as np

    step = np.abs(fitted.weights).max(axis=0) / 127.0
    return {
        f"{name}_classes": np.array(fitted.classes),
        f"{name}_features": fitted.features,
        f"{name}_weights": np.round(fitted.weights / step).astype(np.int8),
        f"{name}_step": step.astype(np.float32),
        f"{name}_bias": fitted.bias.astype(np.float32),
    }


if __name__ == "__main__":
    train()
