"""Train the reader of the rebuttal rule and export it: ``reader.onnx`` and ``reader_tokenizer.json``.

    python data/rebuttal/train_reader.py BASE_MODEL_FOLDER [--epochs 9] [--seed 2] [--evaluate CASES.jsonl ...]

BASE_MODEL_FOLDER holds all-MiniLM-L6-v2 (config.json, model.safetensors, tokenizer.json). This needs what the
product does not: torch, transformers, safetensors, onnx, onnxscript. About 15 minutes on two cores.

It learns from ``dialogues.jsonl`` beside this file and from ``callpipeline/qa/rebuttal/corpus/dialogues.tsv``: dialogues
written for this purpose. Each epoch sees them damaged in another way: no punctuation, wrong and missing words, split and
merged turns, wrong or unknown speakers, bleed. ``--evaluate`` cases are only looked at, never learned from.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import re
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGE = ROOT / "callpipeline" / "qa" / "rebuttal"
LABELS = ("attempted", "no_attempt", "no_objection", "unusable")
NOTHING, OBJECTION, REBUTTAL = 0, 1, 2
MARKERS = {"agent": "[unused1]", "customer": "[unused2]", "unknown": "[unused3]"}
MAX_TOKENS = 224
LONGEST_TURN = 60
IGNORED = -100
FILLERS = ("uh", "um", "yeah", "okay", "the", "you know", "i mean", "and", "so")


@dataclass(frozen=True)
class Said:
    """One turn; ``tag`` says whether it is the objection or the attempt."""

    speaker: str
    text: str
    tag: int


@dataclass(frozen=True)
class Dialogue:
    """A labelled call."""

    turns: tuple[Said, ...]
    label: int


# --- reading ------------------------------------------------------------------------------------------


def written_dialogues() -> list[Dialogue]:
    """Return everything there is to learn from."""
    lines = (HERE / "dialogues.jsonl").read_text("utf-8").splitlines()
    return [*map(from_line, lines), *corpus_dialogues()]


def from_line(line: str) -> Dialogue:
    """Read one JSON line; turns are [speaker, text] pairs or objects."""
    case = json.loads(line)
    pairs = [(t["speaker"], t["text"]) if isinstance(t, dict) else (t[0], t[1]) for t in case["turns"]]
    decisive = {case.get("objection_turn"): OBJECTION, case.get("rebuttal_turn"): REBUTTAL}
    turns = tuple(Said(s, text, decisive.get(number, NOTHING)) for number, (s, text) in enumerate(pairs))
    return Dialogue(turns, LABELS.index(case["label"]))


def corpus_dialogues() -> list[Dialogue]:
    """Read the dialogues whose turns carry acts; the first refusal and the first push after it are decisive."""
    with (PACKAGE / "corpus" / "dialogues.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    grouped: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        grouped.setdefault(row["dialogue"], []).append(row)
    return [from_acts(turns) for turns in grouped.values()]


def from_acts(rows: Sequence[dict[str, str]]) -> Dialogue:
    """Turn rows with acts into a dialogue with decisive turns."""
    label = rows[0]["label"]
    objection = rebuttal = None
    if label in ("attempted", "no_attempt"):
        objection = next(
            (n for n, r in enumerate(rows) if r["speaker"] == "customer" and "refuse" in r["act"]), None
        )
    if label == "attempted" and objection is not None:
        after = enumerate(rows[objection + 1 :], objection + 1)
        rebuttal = next((n for n, r in after if r["speaker"] == "agent" and r["act"] == "push"), None)
    tags = {objection: OBJECTION, rebuttal: REBUTTAL}
    turns = tuple(Said(r["speaker"], r["text"], tags.get(n, NOTHING)) for n, r in enumerate(rows))
    return Dialogue(turns, LABELS.index(label))


# --- damage -------------------------------------------------------------------------------------------


def damaged(dialogue: Dialogue, chance: random.Random) -> list[Said]:
    """Return the turns as a worse transcript might have them."""
    turns = list(dialogue.turns)
    known = [word for turn in turns for word in turn.text.split()]
    share = chance.choice((0.0, 0.0, 0.03, 0.06, 0.12))
    if chance.random() < 0.6:
        turns = [Said(t.speaker, re.sub(r"[^\w' ]", " ", t.text), t.tag) for t in turns]
    if share:
        turns = [Said(t.speaker, misheard(t.text, share, known, chance), t.tag) for t in turns]
    turns = misattributed(turns, chance)
    if chance.random() < 0.15:
        turns = [part for turn in turns for part in split(turn, chance)]
    if chance.random() < 0.15:
        turns = merged(turns)
    if chance.random() < 0.06 and len(turns) > 4:
        turns = bled(turns, chance)
    return turns


def misheard(text: str, share: float, known: Sequence[str], chance: random.Random) -> str:
    """Lose, replace or add words."""
    words: list[str] = []
    for word in text.split():
        luck = chance.random()
        if luck < share * 0.5:
            continue
        if luck < share * 0.8:
            words.append(chance.choice(known))
        elif luck < share:
            words += [word, chance.choice(FILLERS)]
        else:
            words.append(word)
    return " ".join(words) or text


def misattributed(turns: Sequence[Said], chance: random.Random) -> list[Said]:
    """Give some turns to the wrong or to no speaker; rarely swap everybody."""
    flip, unknown, swap = chance.random() < 0.12, chance.random() < 0.08, chance.random() < 0.04
    other = {"agent": "customer", "customer": "agent"}
    result = []
    for turn in turns:
        speaker = turn.speaker
        if flip and chance.random() < 0.12:
            speaker = other.get(speaker, speaker)
        if unknown and chance.random() < 0.3:
            speaker = "unknown"
        if swap:
            speaker = other.get(speaker, speaker)
        result.append(Said(speaker, turn.text, turn.tag))
    return result


def split(turn: Said, chance: random.Random) -> list[Said]:
    """Cut a longer turn in two, now and then."""
    words = turn.text.split()
    if len(words) <= 6 or chance.random() >= 0.3:
        return [turn]
    at = chance.randint(2, len(words) - 2)
    halves = (" ".join(words[:at]), " ".join(words[at:]))
    return [Said(turn.speaker, half, turn.tag) for half in halves]


def merged(turns: Sequence[Said]) -> list[Said]:
    """Join neighbouring turns of one speaker."""
    result: list[Said] = []
    for turn in turns:
        if result and result[-1].speaker == turn.speaker:
            last = result[-1]
            result[-1] = Said(turn.speaker, f"{last.text} {turn.text}", max(last.tag, turn.tag))
        else:
            result.append(turn)
    return result


def bled(turns: Sequence[Said], chance: random.Random) -> list[Said]:
    """Let the end of one turn be heard in the next."""
    result = list(turns)
    at = chance.randrange(len(result) - 1)
    words = result[at].text.split()
    heard = " ".join(words[-max(1, len(words) // 3) :])
    following = result[at + 1]
    result[at + 1] = Said(following.speaker, f"{heard} {following.text}", following.tag)
    return result


# --- the model ----------------------------------------------------------------------------------------


class Encoder:
    """Turns into token ids with a marker before each, and a tag at each marker."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.markers = {name: self.tokenizer.token_to_id(token) for name, token in MARKERS.items()}
        self.start = self.tokenizer.token_to_id("[CLS]")

    def __call__(self, turns: Iterable[Said]) -> tuple[list[int], list[int]]:
        """Return token ids and tags."""
        turns = list(turns)
        pieces = [self.tokenizer.encode(t.text, add_special_tokens=False).ids for t in turns]
        longest = LONGEST_TURN
        while sum(min(len(p), longest) for p in pieces) + len(pieces) + 2 > MAX_TOKENS and longest > 8:
            longest -= 4
        ids, tags = [self.start], [IGNORED]
        for turn, words in zip(turns, pieces, strict=True):
            head = longest * 2 // 3
            kept = words if len(words) <= longest else words[:head] + words[-(longest - head) :]
            ids += [self.markers.get(turn.speaker, self.markers["unknown"]), *kept]
            tags += [turn.tag, *[IGNORED] * len(kept)]
        return ids[:MAX_TOKENS], tags[:MAX_TOKENS]


class Reader(nn.Module):
    """MiniLM with two heads: the verdict from the start token and the mean of the markers, a tag at each marker."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from safetensors.torch import load_file
        from transformers import BertConfig, BertModel

        config = BertConfig.from_json_file(folder / "config.json")
        self.body = BertModel(config, add_pooling_layer=False)
        weights = load_file(folder / "model.safetensors")
        missing = self.body.load_state_dict(weights, strict=False).missing_keys
        if missing:
            sys.exit(f"{folder} is not all-MiniLM-L6-v2: {missing[:3]} are missing")
        self.verdict = nn.Linear(config.hidden_size * 2, len(LABELS))
        self.tag = nn.Linear(config.hidden_size, 3)

    def forward(self, ids: Tensor, mask: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of the verdict (batch, 4) and of the tags (batch, tokens, 3)."""
        hidden = self.body(ids, attention_mask=mask).last_hidden_state
        weight = turns.unsqueeze(-1).float()
        mean = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
        return self.verdict(torch.cat([hidden[:, 0], mean], -1)), self.tag(hidden)


class Exported(nn.Module):
    """The same with probabilities."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, ids: Tensor, mask: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities instead of logits."""
        verdict, tags = self.reader(ids, mask, turns)
        return verdict.softmax(-1), tags.softmax(-1)


def padded(items: Sequence[tuple[list[int], list[int]]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return ids, mask, markers and tags of a batch."""
    size = max(len(ids) for ids, _ in items)
    ids = torch.zeros(len(items), size, dtype=torch.long)
    mask = torch.zeros(len(items), size, dtype=torch.long)
    tags = torch.full((len(items), size), IGNORED)
    for row, (its_ids, its_tags) in enumerate(items):
        ids[row, : len(its_ids)] = torch.tensor(its_ids)
        mask[row, : len(its_ids)] = 1
        tags[row, : len(its_tags)] = torch.tensor(its_tags)
    return ids, mask, tags != IGNORED, tags


# --- learning -----------------------------------------------------------------------------------------


def train(reader: Reader, encode: Encoder, dialogues: list[Dialogue], *, epochs: int, seed: int) -> None:
    """Learn in place: AdamW, warm-up, linear decay, both heads at once."""
    chance, rate, size = random.Random(seed), 1.2e-4, 16
    embeddings = [p for name, p in reader.named_parameters() if "embeddings" in name]
    others = [p for name, p in reader.named_parameters() if "embeddings" not in name]
    optimizer = torch.optim.AdamW(
        [{"params": others, "lr": rate}, {"params": embeddings, "lr": rate * 0.3}], weight_decay=0.01
    )
    steps = epochs * math.ceil(len(dialogues) / size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, step / (0.08 * steps)) * max(0.02, 1 - step / steps)
    )
    for epoch in range(epochs):
        started, total = time.monotonic(), 0.0
        reader.train()
        for batch in batches(dialogues, encode, chance, size):
            loss = loss_of(reader, batch)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * size
        print(
            f"epoch {epoch + 1}: loss {total / len(dialogues):.3f}, {time.monotonic() - started:.0f} s",
            flush=True,
        )


Batch = list[tuple[tuple[list[int], list[int]], int]]


def batches(dialogues: list[Dialogue], encode: Encoder, chance: random.Random, size: int) -> list[Batch]:
    """Return an epoch's batches, each of dialogues of about the same length."""
    items = [(encode(damaged(dialogue, chance)), dialogue.label) for dialogue in dialogues]
    items.sort(key=lambda item: len(item[0][0]) + chance.random() * 40)
    found = [items[at : at + size] for at in range(0, len(items), size)]
    chance.shuffle(found)
    return found


def loss_of(reader: Reader, batch: Batch) -> Tensor:
    """Return the loss of both heads."""
    ids, mask, turns, tags = padded([item for item, _ in batch])
    verdict, tag = reader(ids, mask, turns)
    labels = torch.tensor([label for _, label in batch])
    weights = torch.tensor([0.4, 1.0, 1.0])
    return nn.functional.cross_entropy(
        verdict, labels, label_smoothing=0.05
    ) + 0.7 * nn.functional.cross_entropy(
        tag.reshape(-1, 3), tags.reshape(-1), ignore_index=IGNORED, weight=weights
    )


def evaluate(reader: Reader, encode: Encoder, path: Path) -> None:
    """Print how the reader alone does on labelled cases."""
    cases = [from_line(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    reader.eval()
    with torch.no_grad():
        got = [int(reader(*padded([encode(case.turns)])[:3])[0].argmax()) for case in cases]
    right = sum(g == case.label for g, case in zip(got, cases, strict=True))
    flagged = [case.label for g, case in zip(got, cases, strict=True) if LABELS[g] == "no_attempt"]
    fair = sum(LABELS[label] == "no_attempt" for label in flagged)
    true = sum(LABELS[case.label] == "no_attempt" for case in cases)
    wrong = len(flagged) - fair
    print(
        f"{path.name}: accuracy {right / len(cases):.3f}, wrong {wrong} of {len(flagged)}, kept {fair} of {true}"
    )


def export(reader: Reader, base: Path) -> None:
    """Write the model with int8 weights, and its tokenizer, into the package."""
    import onnx

    reader.eval()
    reader.body.config._attn_implementation = "eager"
    ids, mask, turns, _ = padded([([101, 2, 2000, 3, 2001], [IGNORED, 0, IGNORED, 0, IGNORED])])
    full = HERE / "reader.float32.onnx"
    axes: dict[str, Any] = {name: {1: "tokens"} for name in ("ids", "mask", "turns", "tags")}
    with torch.no_grad():
        torch.onnx.export(
            Exported(reader), (ids, mask, turns), full, dynamo=False, opset_version=17, dynamic_axes=axes,
            input_names=["ids", "mask", "turns"], output_names=["verdicts", "tags"],
        )  # fmt: skip
    target = PACKAGE / "reader.onnx"
    onnx.save(with_small_weights(onnx.load(full)), target)
    full.unlink()
    (PACKAGE / "reader_tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    print(f"{target}: {target.stat().st_size:,} bytes")


def with_small_weights(model: Any) -> Any:
    """Store matrices as int8 with a scale for each row or column; ONNX Runtime restores them when it loads.

    Only the weights: quantized activations cost 2-4 points of accuracy here.
    """
    import numpy as np
    from onnx import helper, numpy_helper

    graph, nodes = model.graph, []
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim != 2 or values.size < 4096:
            continue
        axis = 0 if values.shape[0] > 4 * values.shape[1] else 1  # embeddings by token, matrices by output
        scale = np.abs(values).max(axis=1 - axis) / 127.0 + 1e-12
        small = np.round(values / np.expand_dims(scale, 1 - axis)).astype(np.int8)
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(small, f"{tensor.name}.int8"))
        graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{tensor.name}.scale"))
        inputs = [f"{tensor.name}.int8", f"{tensor.name}.scale"]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [tensor.name], axis=axis))
    for node in reversed(nodes):
        graph.node.insert(0, node)
    return model


def main() -> None:
    """Train, evaluate, export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", type=Path)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--export-only", action="store_true", help="export reader.pt of an earlier training")
    parser.add_argument("--evaluate", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    encode, reader = Encoder(arguments.base), Reader(arguments.base)
    if arguments.export_only:
        reader.load_state_dict(torch.load(HERE / "reader.pt"))
    else:
        dialogues = written_dialogues()
        print(f"{len(dialogues)} dialogues", flush=True)
        train(reader, encode, dialogues, epochs=arguments.epochs, seed=arguments.seed)
        torch.save(reader.state_dict(), HERE / "reader.pt")
    for path in arguments.evaluate:
        evaluate(reader, encode, path)
    export(reader, arguments.base)


if __name__ == "__main__":
    main()
