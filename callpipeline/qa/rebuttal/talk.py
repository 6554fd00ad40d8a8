"""The call as the rule sees it: who says what, turns joined that a transcript split, each with the odds of its acts.

What belongs here: preparing and scoring turns. What does not: deciding what the call amounts to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from callpipeline.model import Role, Turn
from callpipeline.qa.rebuttal.acts import ActModel, Follows
from callpipeline.qa.rebuttal.phrases import answered_no, boosted
from callpipeline.qa.rebuttal.words import tokens

_FROM_BEFORE = 0.5
_FROM_AFTER = 0.7
"""Weight of the neighbouring moves' word about a move; found by cross-validation on the corpus dialogues."""
_SMOOTHED_FROM = 2


@dataclass(frozen=True)
class Move:
    """One or more neighbouring turns of one side. ``acts`` maps each act to its probability."""

    role: Role
    start: float
    end: float
    turn: int
    """Index of the first turn in the transcript."""
    text: str
    words: tuple[str, ...]
    acts: dict[str, float] = field(default_factory=dict)

    def odds(self, *names: str) -> float:
        """Return the summed probability of some acts."""
        return sum(self.acts.get(name, 0.0) for name in names)


def joined(turns: Sequence[Turn], roles: Sequence[Role]) -> list[Move]:
    """Join neighbouring turns of one side into moves; turns without words are dropped."""
    moves: list[Move] = []
    for turn, role in zip(turns, roles, strict=True):
        words = tuple(tokens(turn.text))
        if not words:
            continue
        last = moves[-1] if moves else None
        if last is not None and last.role == role:
            moves[-1] = Move(role, last.start, max(last.end, turn.end), last.turn,
                             f"{last.text} {turn.text}", last.words + words)  # fmt: skip
        else:
            moves.append(Move(role, turn.start, turn.end, turn.index, turn.text, words))
    return moves


def scored(moves: Sequence[Move], model: ActModel) -> list[Move]:
    """Return the moves with the probabilities of their acts, each seen in its place in the talk."""
    plain = [boosted(m.role, m.words, model.act(m.role.value, m.words)) for m in moves]
    result: list[Move] = []
    for i, move in enumerate(moves):
        before, heard = (moves[i - 1].words, plain[i - 1]) if i else ((), {})
        likely = max(heard, key=heard.__getitem__) if heard else ""
        acts = boosted(move.role, move.words, model.act(move.role.value, move.words, before, likely))
        if move.role == Role.CUSTOMER:
            acts = answered_no(move.words, before, heard, acts)
        result.append(replace(move, acts=acts))
    return smoothed(result, model.follows)


def smoothed(moves: Sequence[Move], follows: Follows) -> list[Move]:
    """Let each move be judged by its neighbours too: what the other side answers tells what was meant.

    Forward-backward over the row of moves with the corpus' own habits of which act follows which.
    """
    if len(moves) < _SMOOTHED_FROM:
        return list(moves)
    seen = [np.array([m.acts[a] for a in follows.acts[m.role.value]]) + 1e-6 for m in moves]
    ahead: list[np.ndarray] = [np.ones(len(seen[0]))]
    for i in range(1, len(moves)):
        message = (seen[i - 1] * ahead[i - 1]) @ np.exp(_FROM_BEFORE * follows.after(moves[i - 1].role.value))
        ahead.append(message / message.max())
    back = [np.ones(len(seen[-1]))]
    for i in range(len(moves) - 2, -1, -1):
        message = np.exp(_FROM_AFTER * follows.after(moves[i].role.value)) @ (seen[i + 1] * back[0])
        back.insert(0, message / message.max())
    result = []
    for move, own, before, after in zip(moves, seen, ahead, back, strict=True):
        odds = own * before * after
        acts = dict(zip(follows.acts[move.role.value], (odds / odds.sum()).tolist(), strict=True))
        result.append(replace(move, acts=acts))
    return result
