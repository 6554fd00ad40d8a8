"""The table of extractors. What does not belong here: how any of them works. Importing this loads none."""

from __future__ import annotations

from collections.abc import Callable

from callpipeline.graph.extractors.base import GraphExtractor, GraphTools
from callpipeline.knowledge import Extractor
from callpipeline.settings import Settings

Factory = Callable[[Settings, GraphTools], GraphExtractor]


def _embedded(settings: Settings, tools: GraphTools) -> GraphExtractor:
    from callpipeline.graph.extractors.embedded import EmbeddedExtractor

    return EmbeddedExtractor(settings, tools)


def _openai(settings: Settings, tools: GraphTools) -> GraphExtractor:
    from callpipeline.graph.extractors.openai import OpenAIExtractor

    return OpenAIExtractor(settings, tools)


EXTRACTORS: dict[Extractor, Factory] = {"embedded": _embedded, "openai": _openai}

REMOTE: frozenset[Extractor] = frozenset({"openai"})
"""Extractors that send text away."""


def extractor(settings: Settings, tools: GraphTools) -> GraphExtractor:
    """Return the extractor of these settings.

    Raises:
        NotConfigured: it cannot work here: its key or package is missing.
        UsageError: the ontology file cannot be used.
    """
    return EXTRACTORS[settings.extractor](settings, tools)
