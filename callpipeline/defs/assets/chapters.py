"""``chapters``: the parts of a hearing, as they were announced or as topics changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callpipeline.defs.assets.base import AssetFace, View, no_checks, table
from callpipeline.model import Chapters
from callpipeline.pipeline.case import timestamp


def _metadata(view: View) -> Mapping[str, Any]:
    found = view.value(Chapters).chapters
    rows: list[tuple[object, ...]] = [
        (timestamp(chapter.start), chapter.title, "yes" if chapter.announced else "no") for chapter in found
    ]
    return {
        "chapters": len(found),
        "announced": sum(chapter.announced for chapter in found),
        "table": table(("from", "title", "announced"), rows),
        "file": str(view.stored.path),
    }


FACE = AssetFace(
    asset="chapters",
    group="speech",
    kinds=frozenset({"text"}),
    description=(
        "The parts of a hearing with their titles: where somebody announces the next item, and where the topic changes "
        "without a word about it. Calls have none."
    ),
    metadata=_metadata,
    check_descriptions={},
    checks=no_checks,
)
