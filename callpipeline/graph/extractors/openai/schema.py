"""The shape of answers: the models that they are read with, and the JSON schema that a provider keeps them to.

Reading is more lenient than the schema: a server of one's own may keep to none. Type names are read as they come; the
ontology decides later what they mean, so that one unknown name costs no more than itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

if TYPE_CHECKING:
    from callpipeline.graph.ontology import Ontology

SCHEMA_VERSION = "1"
"""Goes up with the shape of answers or of what is kept of them; as ``prompt.PROMPT_VERSION``."""

SCHEMA_NAME = "knowledge"


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", str_strip_whitespace=True)


class SaidEntity(_Said):
    """An entity as a model tells it. ``key`` names it within its chunk."""

    key: str = Field(min_length=1)
    name: str = Field(min_length=1)
    type: str
    description: str = ""
    confidence: float
    quote: str

    @field_validator("confidence")
    @classmethod
    def _share(cls, value: float) -> float:
        return _within(value)


class SaidRelation(_Said):
    """A relation as a model tells it. ``source`` and ``target`` are keys, or names, of entities of its chunk."""

    type: str
    source: str
    target: str
    description: str = ""
    confidence: float
    quote: str

    @field_validator("confidence")
    @classmethod
    def _share(cls, value: float) -> float:
        return _within(value)


class SaidChunk(_Said):
    """All that a model tells of one block: what the chunk cache keeps. ``malformed`` items could not be read."""

    entities: tuple[SaidEntity, ...] = ()
    relations: tuple[SaidRelation, ...] = ()
    malformed: int = 0


def answer_schema(ontology: Ontology) -> dict[str, Any]:
    """Return the JSON schema of an answer, in the part of JSON Schema that OpenAI calls strict."""
    entity = _object(SaidEntity, type=[one.name for one in ontology.extracted_nodes])
    relation = _object(SaidRelation, type=[one.name for one in ontology.extracted_relations])
    block = {
        "n": {"type": "integer"},
        "entities": {"type": "array", "items": entity},
        "relations": {"type": "array", "items": relation},
    }
    return _closed({"chunks": {"type": "array", "items": _closed(block)}})


def _object(model: type[BaseModel], **names: list[str]) -> dict[str, Any]:
    properties = {
        name: {"type": field["type"], **({"enum": names[name]} if name in names else {})}
        for name, field in model.model_json_schema()["properties"].items()
    }
    return _closed(properties)


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _within(value: float) -> float:
    if value != value:  # NaN, which some servers write
        raise ValueError("no number")
    return min(max(value, 0.0), 1.0)
