"""The graph's exports in the store, made anew when the graph is another one.

What belongs here: deciding whether they are up to date. What does not: the formats (``graph.exports``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from callpipeline.graph import store as graphs
from callpipeline.graph.exports import FILES, GraphFormat, write_exports
from callpipeline.model import Record
from callpipeline.settings import Settings
from callpipeline.store.files import write_text

FOLDER = "kg_exports"
"""Below the store."""

EXPORTS_VERSION = "1"
"""Goes up when the same graph would give other files."""

_MADE = "made_from.json"


class _MadeFrom(Record):
    graph: str
    exports: str


@dataclass(frozen=True)
class Exports:
    """The files (or folders) by format, whether they were written now, and the graph they show."""

    paths: dict[GraphFormat, Path]
    written: bool
    graph: graphs.Current


def export_paths(settings: Settings) -> dict[GraphFormat, Path]:
    """Return where each format lies, or would lie."""
    return {name: settings.store / FOLDER / file for name, file in FILES.items()}


def refresh_exports(settings: Settings) -> Exports | None:
    """Bring the exports up to date with the graph in the store; ``None`` when there is no graph.

    Raises:
        OSError: the store cannot be written.
    """
    now = graphs.current(settings.store)
    if now is None:
        return None
    paths = export_paths(settings)
    made = settings.store / FOLDER / _MADE
    wanted = _MadeFrom(graph=now.version, exports=EXPORTS_VERSION)
    if _read(made) == wanted and all(path.exists() for path in paths.values()):
        return Exports(paths, written=False, graph=now)
    write_exports(graphs.load(settings.store), settings.store / FOLDER)
    write_text(made, wanted.model_dump_json())
    return Exports(paths, written=True, graph=now)


def _read(path: Path) -> _MadeFrom | None:
    try:
        return _MadeFrom.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
