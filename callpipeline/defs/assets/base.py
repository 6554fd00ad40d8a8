"""What every asset module gives: an ``AssetFace``, the Dagster side of one stage."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import dagster as dg

from callpipeline.defs.partitions import recordings
from callpipeline.model import CallMetadata, Record
from callpipeline.pipeline.stages import BY_ASSET
from callpipeline.pipeline.workbench import Workbench
from callpipeline.store.results import Stored

T = TypeVar("T", bound=Record)
PREVIEW_CHARACTERS = 4000
"""Longer metadata values freeze Dagster's pages (https://github.com/dagster-io/dagster/issues/17189)."""


@dataclass(frozen=True)
class View:
    """One finished result with its surroundings, for metadata and checks."""

    bench: Workbench
    stored: Stored[Any]

    @property
    def key(self) -> str:
        """The recording's partition key."""
        return self.stored.partition

    @property
    def call(self) -> CallMetadata:
        """What is known of the recording by name."""
        return self.bench.catalog.metadata(self.key)

    def value(self, kind: type[T]) -> T:
        """The result itself."""
        assert isinstance(self.stored.value, kind)  # noqa: S101 - narrows for the type checker
        return self.stored.value

    def other(self, asset: str, kind: type[T]) -> T | None:
        """The result of another stage of the same recording."""
        stored = self.bench.store.get(asset, self.key, kind)
        return stored.value if stored else None


@dataclass(frozen=True)
class Check:
    """Verdict of an asset check on one recording."""

    name: str
    passed: bool
    description: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class AssetFace:
    """A stage as Dagster and its users see it."""

    asset: str
    group: str
    kinds: frozenset[str]
    description: str
    metadata: Callable[[View], Mapping[str, Any]]
    check_descriptions: Mapping[str, str]
    checks: Callable[[View], Iterator[Check]]

    def spec(self) -> dg.AssetSpec:
        """The asset's spec; dependencies and version come from the stage."""
        stage = BY_ASSET[self.asset]
        return dg.AssetSpec(
            self.asset,
            deps=list(stage.inputs),
            description=self.description,
            group_name=self.group,
            code_version=stage.code_version,
            kinds=set(self.kinds),
            partitions_def=recordings,
            skippable=True,
        )

    def check_specs(self) -> list[dg.AssetCheckSpec]:
        """The asset's checks, one verdict for each recording."""
        return [
            dg.AssetCheckSpec(name, asset=self.asset, description=text, partitions_def=recordings)
            for name, text in self.check_descriptions.items()
        ]


def no_checks(view: View) -> Iterator[Check]:
    """For assets without checks."""
    return iter(())


def picture(svg: str, alt: str) -> dg.MarkdownMetadataValue | dg.TextMetadataValue:
    """Show an SVG inline in the UI."""
    data = base64.b64encode(svg.encode()).decode()
    text = f"![{alt}](data:image/svg+xml;base64,{data})"
    if len(text) > PREVIEW_CHARACTERS:
        return dg.MetadataValue.text(f"{alt}: the picture is too large to show here ({len(text)} characters)")
    return dg.MetadataValue.md(text)


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> dg.MarkdownMetadataValue:
    """Show rows as a Markdown table, as many as fit."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    left = PREVIEW_CHARACTERS - sum(map(len, lines)) - 40
    for number, row in enumerate(rows):
        line = "| " + " | ".join(_cell(value) for value in row) + " |"
        left -= len(line) + 1
        if left < 0:
            lines += ["", f"and {len(rows) - number} more"]
            break
        lines.append(line)
    return dg.MetadataValue.md("\n".join(lines))


def _cell(value: object) -> str:
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")[:200]


def over_all_recordings(*assets: str) -> list[dg.AssetDep]:
    """Dependencies of an unpartitioned asset on the results of every recording."""
    return [dg.AssetDep(asset, partition_mapping=dg.AllPartitionMapping()) for asset in assets]
