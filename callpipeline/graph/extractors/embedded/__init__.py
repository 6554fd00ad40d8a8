"""The extractor that needs no model, no download and no key: rules and statistics, for English.

What belongs here: the extractor as others see it. What does not: the steps, which stand in the modules of this folder:
``tokens`` -> ``names``, ``figures``, ``phrases`` -> ``causes`` -> ``found``.

It finds who and what is named, what a recording keeps coming back to, and the relations that are said in so many words.
It does not understand: what only follows from a text is beyond it, and a word that was recognised wrongly stays wrong.
"""

from __future__ import annotations

from callpipeline.graph.extractors.base import GraphTools, filtered
from callpipeline.graph.extractors.embedded.found import extractions
from callpipeline.graph.ontology import load
from callpipeline.knowledge import ChunkExtraction, ChunkState, KgExtraction, TextChunk, TextChunks
from callpipeline.model import Finding
from callpipeline.settings import Settings

NAME = "embedded"

RULE_VERSION = "embedded-1"
"""Of the rules and the lexicon together."""

INLINE_CHARACTERS = 20_000
"""Longer texts are read in a worker process: up to here it takes less than 30 ms."""

NOT_ENGLISH = "not English: the embedded extractor knows no other language"


class EmbeddedExtractor:
    """Finds entities and relations by rules; see the module. It never fails on a text, and nothing leaves the machine."""

    name = NAME
    remote = False

    def __init__(self, settings: Settings, tools: GraphTools) -> None:
        """Read the ontology.

        Raises:
            UsageError: the ontology file cannot be used.
        """
        self._ontology = load(settings.ontology_file)
        self._least = settings.graph_min_confidence
        self._tools = tools

    @property
    def version(self) -> str:
        """The revision of the rules."""
        return RULE_VERSION

    @property
    def ontology(self) -> str:
        """The hash of the ontology."""
        return self._ontology.sha256

    async def extract(self, chunks: TextChunks) -> KgExtraction:
        """Return what is found in a recording, one result for each chunk; see ``GraphExtractor``."""
        worth_it = chunks.worth_it if _is_english(chunks.language) else ()
        long = sum(len(chunk.text) for chunk in worth_it) > INLINE_CHARACTERS
        if long:
            found = await self._tools.cpu(extractions, worth_it, self._ontology, self._least)
        else:
            found = extractions(worth_it, self._ontology, self._least)
        results = {one.chunk: one for one in found}
        return KgExtraction(
            recording=chunks.recording,
            extractor=NAME,
            version=RULE_VERSION,
            ontology=self._ontology.sha256,
            chunks=tuple(results.get(chunk.id) or _left_out(chunk) for chunk in chunks.chunks),
        )

    async def probe(self) -> tuple[Finding, ...]:
        """Return nothing: there is nobody to ask."""
        return ()

    async def disconnect(self) -> None:
        """Do nothing: there is no connection."""


def _left_out(chunk: TextChunk) -> ChunkExtraction:
    if chunk.low_value is not None:
        return filtered(chunk)
    return ChunkExtraction(chunk=chunk.id, state=ChunkState.FILTERED, message=NOT_ENGLISH)


def _is_english(language: str) -> bool:
    """Tell whether a transcript is taken for English: one whose language nobody knows is."""
    return language.strip().lower().replace("_", "-").split("-")[0] in {
        "",
        "auto",
        "und",
        "unknown",
        "en",
        "english",
    }
