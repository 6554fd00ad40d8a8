"""The types of the graph: the shipped ones, files of one's own, and names as models give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from callpipeline.failures import UsageError
from callpipeline.graph.ontology import load, parse

SMALL = """\
nodes:
  Animal: A beast.
  Food:
    description: What is eaten.
    aliases: [Meal]
relations:
  EATS:
    description: The source eats the target.
    sources: [Animal]
    targets: [Food, Animal]
fallback:
  node: Animal
"""


def test_shipped_types_are_those_of_a_research_archive() -> None:
    ontology = load()
    assert {"Concept", "Practice", "CognitiveState", "Person", "Place", "Organization", "Event"} <= {
        one.name for one in ontology.extracted_nodes
    }
    assert {"CAUSES", "REDUCES", "LEADS_TO", "IS_PART_OF"} <= {
        one.name for one in ontology.extracted_relations
    }
    assert all(one.description for one in (*ontology.nodes, *ontology.relations))


def test_no_extractor_is_asked_for_what_the_graph_makes_itself() -> None:
    ontology = load()
    asked = {one.name for one in (*ontology.extracted_nodes, *ontology.extracted_relations)}
    assert not asked & {"Quote", "Episode", "SAID", "ABOUT", "MENTIONED_IN", "CROSS_EPISODE"}
    assert ontology.node("Quote") is not None
    assert ontology.relation("SAID") is not None


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("cognitive_states", "CognitiveState"),
        ("COGNITIVE STATE", "CognitiveState"),
        ("cognitivestate", "CognitiveState"),
        ("organisations", "Organization"),
        ("People", "Person"),
        ("technologies", "Concept"),
        ("Vehicle", None),
    ],
)
def test_a_type_is_known_whatever_its_case_underscores_and_plural(said: str, meant: str | None) -> None:
    node = load().node(said)
    assert (node.name if node else None) == meant


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("leads to", "LEADS_TO"),
        ("leadsTo", "LEADS_TO"),
        ("cause", "CAUSES"),
        ("improves", "OPTIMIZES"),
        ("eats", None),
    ],
)
def test_an_edge_is_known_whatever_its_case_underscores_and_plural(said: str, meant: str | None) -> None:
    relation = load().relation(said)
    assert (relation.name if relation else None) == meant


def test_a_file_of_ones_own_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "zoo.yaml"
    path.write_text(SMALL, "utf-8")
    ontology = load(path)
    assert [one.name for one in ontology.extracted_nodes] == ["Animal", "Food"]
    assert (ontology.fallback_node, ontology.fallback_relation) == ("Animal", None)
    eats = ontology.relation("eats")
    assert eats is not None
    assert eats.joins("Animal", "Food")
    assert not eats.joins("Food", "Animal")
    meal = ontology.node("meals")
    assert meal is not None
    assert meal.name == "Food"


def test_its_hash_follows_what_extractors_are_told_and_not_its_comments() -> None:
    assert parse(SMALL).sha256 == parse(f"# A zoo.\n{SMALL}").sha256
    assert parse(SMALL).sha256 != parse(SMALL.replace("A beast.", "A pet.")).sha256


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("nodes: [", 1, "expected"),
        ("- Animal\n", 1, "mapping"),
        ("nodes:\n  A: x\n", 1, 'lacks "relations"'),
        ("nodes:\n  A: x\nrelations:\n  EATS: y\nedges: {}\n", 5, '"edges"'),
        ("nodes:\n  A: x\nrelations:\n  EATS:\n    description: y\n    sources: [B]\n", 6, '"B" is none'),
        ("nodes:\n  A: x\nrelations:\n  EATS IT: y\n", 4, "no name"),
        ("nodes:\n  A: x\n  A: y\nrelations:\n  EATS: z\n", 3, "twice"),
        ("nodes:\n  A:\nrelations:\n  EATS: z\n", 2, "no description"),
        ("nodes:\n  Quote: x\nrelations:\n  EATS: z\n", 2, "made by the graph"),
        ("nodes:\n  A: x\nrelations:\n  EATS: y\nfallback:\n  node: B\n", 6, '"B" is not listed'),
    ],
)
def test_a_wrong_file_is_told_with_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError) as raised:
        load(path)
    assert f"mine.yaml is wrong in line {line}:" in str(raised.value)
    assert said in str(raised.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.yaml cannot be read"):
        load(tmp_path / "nowhere.yaml")
