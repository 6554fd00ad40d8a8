"""What people decided about merges: a log that outlives every graph.

``store/knowledge_graph/decisions.jsonl`` is only ever added to; the last word about two names counts. A decision names
the two things and not only the merge, so that it holds however the graph is built next. What does not belong here:
carrying decisions out (``resolution``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from callpipeline.failures import UsageError
from callpipeline.graph.store import FOLDER
from callpipeline.knowledge import KnowledgeGraph, Merge
from callpipeline.model import Record

FILE = "decisions.jsonl"


class Decision(Record):
    """One word about one merge. ``apart``: the two stay two; ``False`` takes an earlier decision back.

    ``name``, ``other`` and ``type`` repeat what the merge said, for people who read the file.
    """

    merge: str
    apart: bool
    at: str
    """ISO time, UTC."""
    name: str = ""
    other: str = ""
    type: str = ""


def read(root: Path) -> tuple[Decision, ...]:
    """Return all decisions of the store ``root``, oldest first.

    Raises:
        UsageError: a line is none; nothing is guessed about what somebody decided.
    """
    path = root / FOLDER / FILE
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return ()
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(Decision.model_validate_json(line))
        except ValidationError as error:
            raise UsageError(
                f"Line {number} of {path} is no decision.", hint="Correct or remove that line."
            ) from error
    return tuple(found)


def apart(decisions: Iterable[Decision]) -> frozenset[str]:
    """Return the ids of merges that are not to be made."""
    last = {decision.merge: decision.apart for decision in decisions}
    return frozenset(merge for merge, undone in last.items() if undone)


def undo(root: Path, graph: KnowledgeGraph, merge: str) -> Merge:
    """Note that a merge is to be undone, and return it. The next build of the graph keeps the two apart.

    Raises:
        UsageError: the graph has no such merge.
    """
    found = next((one for one in graph.merges if one.id == merge), None)
    if found is None:
        raise UsageError(f"There is no merge {merge}.", hint="callpipeline graph merges lists them.")
    _note(root, _decision(found.id, apart=True, of=found))
    return found


def redo(root: Path, merge: str) -> Decision:
    """Take back that a merge was undone, and return what is noted. The next build may make it again.

    Raises:
        UsageError: it was not undone.
    """
    last = next((one for one in reversed(read(root)) if one.merge == merge), None)
    if last is None or not last.apart:
        raise UsageError(f"The merge {merge} was not undone.", hint="callpipeline graph merges lists them.")
    again = last.model_copy(update={"apart": False, "at": _now()})
    _note(root, again)
    return again


def _decision(merge: str, *, apart: bool, of: Merge) -> Decision:
    return Decision(merge=merge, apart=apart, at=_now(), name=of.name, other=of.other, type=of.type)


def _note(root: Path, decision: Decision) -> None:
    path = root / FOLDER / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(decision.model_dump_json() + "\n")
        file.flush()
        os.fsync(file.fileno())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
