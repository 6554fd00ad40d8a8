"""What a turn does in the talk (refuses, asks for a price, says goodbye ...): the trained act classifiers at run time.

What belongs here: reading ``acts.npz`` and scoring turns with numpy. What does not: training, or what the acts mean
for the call.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from callpipeline.qa.rebuttal.features import turn_features

MODEL_FILE = Path(str(resources.files("callpipeline.qa.rebuttal"))) / "acts.npz"
SCALE = 6.0
"""Length that every feature vector is scaled to, so that long and short turns weigh alike."""

_CORPUS_FILES = ("agent.tsv", "customer.tsv", "dialogues.tsv", "concepts.tsv", "word_classes.tsv")


def corpus_fingerprint() -> str:
    """Return the hash of the corpus files: tells whether ``acts.npz`` was made from the corpus as it is."""
    folder = resources.files("callpipeline.qa.rebuttal") / "corpus"
    digest = hashlib.sha256()
    for name in _CORPUS_FILES:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]


class Classifier:
    """One multinomial logistic regression; a feature that training never saw weighs nothing."""

    def __init__(
        self, classes: Sequence[str], known: Sequence[int], weights: np.ndarray, bias: np.ndarray
    ) -> None:
        self.classes = tuple(classes)
        self._row = {feature: row for row, feature in enumerate(known)}
        self._weights = weights
        """Shape (known features, classes), float32."""
        self._bias = bias

    def scores(self, features: Sequence[int]) -> np.ndarray:
        """Return the log-odds-like score of each class for one turn."""
        scale = SCALE / math.sqrt(max(len(features), 1))
        rows = [row for feature in features if (row := self._row.get(feature)) is not None]
        total = self._weights[rows].sum(axis=0) * scale + self._bias
        return np.asarray(total, dtype=np.float32)

    def probabilities(self, features: Sequence[int]) -> dict[str, float]:
        """Return the probability of each class for one turn."""
        scores = self.scores(features)
        odds = np.exp(scores - scores.max())
        return dict(zip(self.classes, (odds / odds.sum()).tolist(), strict=True))


class Follows:
    """Which act tends to answer which: log of how much more often than by chance, from the corpus dialogues."""

    def __init__(
        self, acts: dict[str, tuple[str, ...]], after_agent: np.ndarray, after_customer: np.ndarray
    ) -> None:
        self.acts = acts
        """The acts of each role, in the order of the rows and columns."""
        self._after = {"agent": after_agent, "customer": after_customer}

    def after(self, role: str) -> np.ndarray:
        """Return the table (acts of ``role``, acts of the other side that follow)."""
        return self._after[role]


class ActModel:
    """The three classifiers: acts of agents, acts of customers, and who a turn sounds like."""

    def __init__(self, path: Path = MODEL_FILE) -> None:
        with np.load(path, allow_pickle=False) as data:
            self.fingerprint = str(data["fingerprint"])
            self._parts = {name: _classifier(data, name) for name in ("agent", "customer", "role")}
            acts = {role: self._parts[role].classes for role in ("agent", "customer")}
            self.follows = Follows(acts, data["after_agent"], data["after_customer"])

    def act(
        self, role: str, words: Sequence[str], before: Sequence[str] = (), before_act: str = ""
    ) -> dict[str, float]:
        """Return the probabilities of the acts of ``role`` (``agent`` or ``customer``) for one turn."""
        return self._parts[role].probabilities(turn_features(words, before, before_act))

    def agent_likeness(self, words: Sequence[str]) -> float:
        """Return the log-odds that an agent, not a customer, says this."""
        part = self._parts["role"]
        scores = part.scores(turn_features(words))
        return float(scores[part.classes.index("agent")] - scores[part.classes.index("customer")])


def _classifier(data: np.lib.npyio.NpzFile, name: str) -> Classifier:
    weights = data[f"{name}_weights"].astype(np.float32) * data[f"{name}_step"]
    classes = [str(c) for c in data[f"{name}_classes"]]
    return Classifier(classes, data[f"{name}_features"].tolist(), weights, data[f"{name}_bias"])


@lru_cache(maxsize=1)
def act_model() -> ActModel:
    """Return the shipped model, read once per process."""
    return ActModel()
