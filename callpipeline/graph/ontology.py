"""The types of the knowledge graph: which things are looked for, and how they may hang together.

What belongs here: the table of types, read from ``ontology.yaml`` or a file of the user's own, and how a name that a
model gives is understood. What does not: finding anything, and how a type is put to a model.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from callpipeline.failures import UsageError
from callpipeline.model import Record

if TYPE_CHECKING:
    import yaml

QUOTE = "Quote"
EPISODE = "Episode"
SAID = "SAID"
ABOUT = "ABOUT"
MENTIONED_IN = "MENTIONED_IN"
CROSS_EPISODE = "CROSS_EPISODE"

STRUCTURAL_NODES: Mapping[str, str] = {
    QUOTE: "What somebody said, word for word.",
    EPISODE: "A recording.",
}
"""Nodes that follow from where things are said. Every ontology has them; no extractor is asked for them."""

STRUCTURAL_RELATIONS: Mapping[str, str] = {
    SAID: "A person said a quote.",
    ABOUT: "A quote is about a thing.",
    MENTIONED_IN: "A thing is named in a recording.",
    CROSS_EPISODE: "Two recordings talk about the same thing.",
}
"""Edges that follow from where things are said; as above."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")
_EXAMPLE = "See callpipeline/graph/ontology.yaml for the shape."


class NodeType(Record):
    """One type of thing. ``aliases`` are other names under which models report it."""

    name: str
    description: str
    aliases: tuple[str, ...] = ()
    structural: bool = False


class RelationType(Record):
    """One type of edge. ``sources`` and ``targets`` name the node types at its ends; empty = any."""

    name: str
    description: str
    aliases: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    structural: bool = False

    def joins(self, source: str, target: str) -> bool:
        """Tell whether it may lead from a node of type ``source`` to one of type ``target``."""
        return (not self.sources or source in self.sources) and (not self.targets or target in self.targets)


Type = TypeVar("Type", bound=NodeType | RelationType)


class Ontology(Record):
    """All types. ``fallback_node``/``fallback_relation``: what unknown types become, ``None`` = left out."""

    nodes: tuple[NodeType, ...]
    relations: tuple[RelationType, ...]
    fallback_node: str | None = None
    fallback_relation: str | None = None

    @cached_property
    def sha256(self) -> str:
        """Names all that an extractor is told: two files with the same types have the same hash."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def extracted_nodes(self) -> tuple[NodeType, ...]:
        """Types of things that are looked for in texts."""
        return tuple(one for one in self.nodes if not one.structural)

    @property
    def extracted_relations(self) -> tuple[RelationType, ...]:
        """Types of edges that are looked for in texts."""
        return tuple(one for one in self.relations if not one.structural)

    def node(self, name: str) -> NodeType | None:
        """Return the type that ``name`` means, whatever its case, underscores and plural; ``None``: unknown."""
        return _named(name, self._node_names)

    def relation(self, name: str) -> RelationType | None:
        """Return the edge type that ``name`` means; as ``node``."""
        return _named(name, self._relation_names)

    @cached_property
    def _node_names(self) -> dict[str, NodeType]:
        return _index(self.nodes)

    @cached_property
    def _relation_names(self) -> dict[str, RelationType]:
        return _index(self.relations)


def load(path: Path | None = None) -> Ontology:
    """Return the ontology in a YAML (or JSON) file, the one that comes with the package without ``path``.

    Raises:
        UsageError: the file cannot be read or is no ontology; the message names the line.
    """
    if path is None:
        return _shipped()
    try:
        text = path.expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The ontology {path} cannot be read: {error}.", hint=_EXAMPLE) from error
    return parse(text, str(path))


@cache
def _shipped() -> Ontology:
    return parse(
        resources.files("callpipeline.graph").joinpath("ontology.yaml").read_text("utf-8"), "ontology.yaml"
    )


def parse(text: str, name: str = "the ontology") -> Ontology:
    """Return the ontology that ``text`` describes. ``name`` is what messages call it.

    Raises:
        UsageError: as ``load``.
    """
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _wrong(name, line, str(error.problem or error.context or "no YAML")) from error
    except yaml.YAMLError as error:
        raise _wrong(name, 1, str(error)) from error
    return _Reader(name).ontology(root)


class _Reader:
    """Reads the tree of a file, and knows the line of everything that is wrong with it."""

    def __init__(self, name: str) -> None:
        self._file = name

    def ontology(self, root: Any) -> Ontology:
        parts = self._fields(
            root, "the file", ("nodes", "relations", "fallback"), needed=("nodes", "relations")
        )
        nodes = self._nodes(parts["nodes"])
        relations = self._relations(parts["relations"], {one.name for one in nodes})
        fallback = (
            self._fields(parts["fallback"], "fallback", ("node", "relation")) if "fallback" in parts else {}
        )
        return Ontology(
            nodes=nodes,
            relations=relations,
            fallback_node=self._fallback(fallback.get("node"), nodes),
            fallback_relation=self._fallback(fallback.get("relation"), relations),
        )

    def _nodes(self, tree: Any) -> tuple[NodeType, ...]:
        found = []
        for name, body in self._types(tree, "nodes", STRUCTURAL_NODES):
            fields = self._body(body, name, ("description", "aliases"))
            aliases = self._names(fields.get("aliases"))
            found.append(
                NodeType(name=name, description=self._description(fields, name, body), aliases=aliases)
            )
        made = (
            NodeType(name=name, description=text, structural=True) for name, text in STRUCTURAL_NODES.items()
        )
        return self._distinct((*found, *made), tree)

    def _relations(self, tree: Any, nodes: set[str]) -> tuple[RelationType, ...]:
        found = []
        for name, body in self._types(tree, "relations", STRUCTURAL_RELATIONS):
            fields = self._body(body, name, ("description", "aliases", "sources", "targets"))
            found.append(
                RelationType(
                    name=name,
                    description=self._description(fields, name, body),
                    aliases=self._names(fields.get("aliases")),
                    sources=self._names(fields.get("sources"), among=nodes),
                    targets=self._names(fields.get("targets"), among=nodes),
                )
            )
        made = (
            RelationType(name=n, description=text, structural=True)
            for n, text in STRUCTURAL_RELATIONS.items()
        )
        return self._distinct((*found, *made), tree)

    def _types(self, tree: Any, what: str, structural: Mapping[str, str]) -> list[tuple[str, Any]]:
        found = [(self._text(key), value) for key, value in self._pairs(tree, what)]
        if not found:
            raise self._wrong(tree, f"{what} lists no type")
        for (name, _), (key, _) in zip(found, tree.value, strict=True):
            if not _NAME.fullmatch(name):
                raise self._wrong(
                    key, f'"{name}" is no name: letters, digits and underscores, a letter first'
                )
            if name in structural:
                raise self._wrong(key, f"{name} is made by the graph itself and cannot be described here")
        return found

    def _body(self, node: Any, name: str, allowed: Sequence[str]) -> dict[str, Any]:
        import yaml

        if isinstance(node, yaml.ScalarNode):
            return {"description": node}
        return self._fields(node, name, allowed, needed=("description",))

    def _description(self, fields: Mapping[str, Any], name: str, body: Any) -> str:
        text = self._text(fields["description"]).strip()
        if not text:
            raise self._wrong(body, f"{name} has no description: an extractor must be told what it means")
        return text

    def _names(self, node: Any, among: Iterable[str] | None = None) -> tuple[str, ...]:
        import yaml

        if node is None:
            return ()
        if not isinstance(node, yaml.SequenceNode):
            raise self._wrong(node, "a list in brackets is expected")
        for one in node.value:
            if among is not None and self._text(one) not in among:
                raise self._wrong(one, f'"{self._text(one)}" is none of the nodes')
        return tuple(self._text(one) for one in node.value)

    def _fallback(self, node: Any, types: Sequence[NodeType | RelationType]) -> str | None:
        if node is None:
            return None
        name = self._text(node)
        if name not in {one.name for one in types if not one.structural}:
            raise self._wrong(node, f'the fallback "{name}" is not listed above')
        return name

    def _distinct(self, types: tuple[Type, ...], tree: Any) -> tuple[Type, ...]:
        owners: dict[str, str] = {}
        for one in types:
            for name in (one.name, *one.aliases):
                for key in _keys(name):
                    if owners.setdefault(key, one.name) != one.name:
                        raise self._wrong(tree, f'"{name}" names both {owners[key]} and {one.name}')
        return types

    def _fields(
        self, node: Any, what: str, allowed: Sequence[str], *, needed: Sequence[str] = ()
    ) -> dict[str, Any]:
        found = {}
        for key, value in self._pairs(node, what):
            if self._text(key) not in allowed:
                raise self._wrong(key, f'{what} has no "{self._text(key)}": {", ".join(allowed)}')
            found[self._text(key)] = value
        if missing := [key for key in needed if key not in found]:
            raise self._wrong(node, f'{what} lacks "{missing[0]}"')
        return found

    def _pairs(self, node: Any, what: str) -> list[tuple[Any, Any]]:
        import yaml

        if not isinstance(node, yaml.MappingNode):
            raise self._wrong(node, f"{what} must be a mapping of names")
        seen: set[str] = set()
        for key, _ in node.value:
            if self._text(key) in seen:
                raise self._wrong(key, f'"{self._text(key)}" stands there twice')
            seen.add(self._text(key))
        return list(node.value)

    def _text(self, node: Any) -> str:
        import yaml

        if not isinstance(node, yaml.ScalarNode):
            raise self._wrong(node, "a text is expected")
        return str(node.value)

    def _wrong(self, node: yaml.Node | None, problem: str) -> UsageError:
        return _wrong(self._file, node.start_mark.line + 1 if node is not None else 1, problem)


def _wrong(name: str, line: int, problem: str) -> UsageError:
    return UsageError(f"The ontology {name} is wrong in line {line}: {problem}.", hint=_EXAMPLE)


def _index(types: Sequence[Type]) -> dict[str, Type]:
    return {key: one for one in types for name in (one.name, *one.aliases) for key in _keys(name)}


def _named(name: str, index: Mapping[str, Type]) -> Type | None:
    return next((index[key] for key in _keys(name) if key in index), None)


def _keys(name: str) -> tuple[str, ...]:
    """Return the forms under which a name is known: run together, and with every word in the singular."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower())
    return "".join(words), "".join(map(_singular, words))


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
