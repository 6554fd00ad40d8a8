"""Transcripts of invented podcasts, made so that it is known how many text chunks they become.

What belongs here: the words, and the files. Each chunk is a passage of turns of 1,880 to 1,990 characters, so that the
chunker's best place to cut (between turns, within 2,000 characters) is the end of the passage. Imports nothing of the
product; the simulated provider answers from the same words.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


CONCEPTS = tuple(
    """deep sleep|morning light|caffeine|cold exposure|dopamine|chronic stress|working memory|visual focus|strength training
    |intermittent fasting|blood sugar|gut bacteria|inflammation|heart rate variability|breath work|meditation|attention
    |procrastination|motivation|habit formation|social isolation|loneliness|gratitude|learning speed|neuroplasticity
    |testosterone|cortisol|melatonin|body temperature|alcohol|nicotine|magnesium|omega three|protein intake|hydration
    |screen time|blue light|night shifts|jet lag|naps|anxiety|burnout|sleep debt|reaction time|decision fatigue
    |creative thinking|problem solving|language learning|skill practice|deliberate rest|walking outdoors|endurance
    |muscle growth|joint pain|back pain|posture|eyesight|hearing loss|tinnitus|migraine|appetite|cravings|weight loss
    |insulin resistance|cholesterol|blood pressure|immune response|vaccination|recovery|injury risk|flexibility|balance
    |coordination|music practice|reading speed|mind wandering|boredom|curiosity|optimism|grief|anger|trust|empathy
    |parenting style|screen addiction|gaming|gambling|impulse control|delayed reward|goal setting|time pressure
    |perfectionism|self talk|public speaking|stage fright|team work|leadership|feedback|remote work|commuting
    |air pollution|noise|green space|flooding|soil erosion|crop yield|river levels|snow melt|dam safety|ground water
    |water rights|drought|irrigation|hydropower|wind power|grid stability|energy prices|home insulation|heat pumps"""
    .replace("\n    ", "").split("|")
)  # fmt: skip
PEOPLE = (
    *("Andrew Hale", "Lex Bergman", "Maria Ortiz", "Susan Whitfield", "Peter Adler", "Elena Petrova"),
    *("David Lindgren", "Ruth Okafor", "Omar Haddad", "Ingrid Solberg", "Carlos Mendez", "Mei Tanaka"),
)
PLACES = ("Boston", "Oslo", "Nairobi", "Lisbon", "Denver", "Kyoto", "Minot", "Lima", "Toronto", "Fargo")
BODIES = (
    "Harvard Medical School",
    "the Red River Commission",
    "Stanford University",
    "the World Health Organization",
    "the Army Corps of Engineers",
    "Mayo Clinic",
    "the Max Planck Institute",
    "the National Sleep Foundation",
    "the Water Board",
    "Karolinska Institute",
)
VERBS = {
    "causes": "CAUSES",
    "leads to": "LEADS_TO",
    "reduces": "REDUCES",
    "improves": "OPTIMIZES",
    "requires": "REQUIRES",
    "enables": "ENABLES",
    "influences": "INFLUENCES",
    "is part of": "IS_PART_OF",
}
_CLAIMS = (
    "What the data show is that {a} {verb} {b}, at least over the first {n} weeks.",
    "I would say {a} {verb} {b}, and people underestimate by how much.",
    "We measured it in {n} people, and {a} {verb} {b} in nearly all of them.",
    "My colleague {who} at {body} found that {a} {verb} {b}.",
    "Now {a} {verb} {b} because the body has no other way to respond.",
)
_FILLERS = (
    "{Who} {did} the {how} {what} {where} the {how2} {what2}, and we never got to the {what3}.",
    "So the {how} {what} {did} my {what2} {where} {n} {how2} {what3}s.",
    "In {place} every {what} {where} the {what2} is {how}, or at least {how2} like a {what3}.",
    "I still have that {how} {what} {where} the {what2}, next to a {how2} {what3} from {place}.",
    "{Who} said a {what} that {did} the {what2} must be {how}, which I find {how2} for a {what3}.",
    "There were {n} {how} {what}s {where} a {what2} and nobody {did} the {how2} {what3}.",
    "At {body} a {how} {what} {did} us {where} the {what2} for {n} {what3}s.",
)
_HOW = _words(
    """
    quiet strange narrow early heavy honest simple broken gentle careful local foreign private public sudden
    silent bitter clever curious decent distant eager faint formal fragile frozen generous golden hollow humble
    hungry jealous lively lonely loyal mellow modern modest noisy patient plain polite proper proud rapid rough
    secret serious shallow sharp slow solid steady stubborn subtle tender thick tidy tired vague vivid wooden
    yellow ancient annual basic blind
    """
)
_WHAT = _words(
    """
    letter kitchen bridge number student teacher window garden picture market ticket engine bottle castle corner
    village winter summer station journal library doctor farmer driver sister brother neighbour manager meeting
    method minute mirror moment monkey morning mountain museum needle notebook office orange palace paper parcel
    partner pencil people pepper person phone piano pillow planet pocket poem police potato powder prison
    project purse puzzle rabbit record report result reward ribbon river robot rocket saddle salad sample school
    screen season shadow shelter shirt signal silver singer sketch sleeve soldier spider spoon square stable
    statue stream street string studio supper table tailor target temple theatre thread throat timber tongue
    towel tower tractor treaty trumpet tunnel uncle valley vehicle vessel violin visitor voyage wagon wallet
    weapon wheel whistle witness worker writer yard
    """
)
_DID = _words(
    """
    followed answered borrowed carried changed climbed counted covered crossed defended described discussed
    doubted drew dropped entered escaped explored finished forgot gathered guarded handled ignored invented
    joined kicked lifted located managed measured mentioned missed moved noticed opened ordered painted planned
    praised printed promised pulled pushed raised reached recalled refused repaired replaced rescued returned
    searched served shared signed solved studied supplied taught tested touched traded trusted visited wanted
    warned washed watched welcomed wrapped
    """
)
_WHERE = (
    "behind",
    "beside",
    "under",
    "above",
    "inside",
    "near",
    "across from",
    "far from",
    "without",
    "beyond",
)
_LEAST, _MOST = 1880, 1990
_SHORTEST_TURN = 140


def write(folder: Path, transcripts: int, chunks: int) -> None:
    """Write so many transcripts, which become so many chunks of 2,000 characters."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(transcripts):
        share = chunks * (number + 1) // transcripts - chunks * number // transcripts
        _save(folder / f"Episode {number + 1:03d}.json", [_passage(f"{number}/{n}") for n in range(share)])


def texts(count: int) -> Iterator[str]:
    """Yield so many passages as a prompt has them: a line for each turn."""
    for n in range(count):
        yield "\n".join(f"{turn['speaker']}: {turn['text']}" for turn in _passage(f"usual/{n}"))


def change(folder: Path, share: float) -> int:
    """Write other words for this share of all passages, spread over the files; return how many."""
    changed = 0
    position = 0
    every = round(1 / share)
    for path in sorted(folder.glob("*.json")):
        passages = json.loads(path.read_text())["passages"]
        here = [at for at in range(len(passages)) if (position + at) % every == every // 2]
        position += len(passages)
        for at in here:
            passages[at] = _passage(f"{path.stem} anew {at}")
        if here:
            _save(path, passages)
        changed += len(here)
    return changed


def _save(path: Path, passages: list[list[Json]]) -> None:
    """Write a transcript; times follow from the lengths. ``passages`` lies beside the turns, for ``change``."""
    clock, turns = 0.0, []
    for turn in (turn for passage in passages for turn in passage):
        seconds = round(len(turn["text"]) / 15, 2)
        turns.append({**turn, "start": round(clock, 2), "end": round(clock + seconds, 2)})
        clock += seconds + 0.3
    path.write_text(json.dumps({"language": "en", "turns": turns, "passages": passages}))


def _passage(seed: str) -> list[Json]:
    """Return the turns of one chunk, of two who take turns; the first never says the last one.

    Neighbouring turns of the same voice would be taken for one.
    """
    chance = random.Random(seed)
    while True:
        turns = list(_turns(chance))
        if len(turns) % 2 == 0 and _LEAST <= sum(len(turn["text"]) + 1 for turn in turns) <= _MOST:
            return turns


def _turns(chance: random.Random) -> Iterator[Json]:
    left = _MOST
    for number in count():
        wanted = chance.randint(_SHORTEST_TURN, 900)
        if left - wanted < _SHORTEST_TURN + 260:
            wanted = left - 60
        text = _said(chance, wanted)
        yield {"speaker": "AB"[number % 2], "text": text}
        left -= len(text) + 1
        if left < _SHORTEST_TURN + 60:
            return


def _said(chance: random.Random, length: int) -> str:
    """Return sentences that together are about this long, one in four of them a claim."""
    said: list[str] = []
    while (missing := length - sum(len(one) + 1 for one in said)) > 60 or not said:
        said.append(_sentence(chance))
        if len(said) > 1 and missing < len(said[-1]) - 40:
            said.pop()
            break
    return " ".join(said)


def _sentence(chance: random.Random) -> str:
    a, b = chance.sample(CONCEPTS, 2)
    pattern = chance.choice(_CLAIMS if chance.random() < 0.27 else _FILLERS)
    how, what = chance.sample(_HOW, 2), chance.sample(_WHAT, 3)
    sentence = pattern.format(
        **dict(zip(("how", "how2", "what", "what2", "what3"), how + what, strict=True)),
        a=a,
        b=b,
        verb=chance.choice(tuple(VERBS)),
        did=chance.choice(_DID),
        where=chance.choice(_WHERE),
        who=chance.choice(PEOPLE),
        Who=chance.choice((chance.choice(PEOPLE), "My neighbour", "A friend", "She", "He", "They")),
        place=chance.choice(PLACES),
        body=chance.choice(BODIES),
        n=chance.randint(3, 98),
    )
    return sentence[0].upper() + sentence[1:]
