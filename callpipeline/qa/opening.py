"""What the agent says first: their own name, the owner's name, the property, the reason for calling.

What belongs here: finding these four things in the opening turns of imperfect transcripts (no punctuation,
no capitals, 15-30 % of the words wrong). What does not: judging them; that is ``scores``.

The patterns were written against openings of outbound real-estate calls, American telephone English as
recognisers render it. They look for the frame of a sentence ("is this ...", "my name is ...") and take
whatever word fills it for a name unless it is a common word, because names are what recognisers get wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

from rapidfuzz import fuzz

from callpipeline.model import Evidence, Role, SpeakerTurns, Turn

OPENING_SECONDS = 60.0
"""Introductions later than this after the agent's first words are no opening."""
OPENING_TURNS = 6
"""How many turns of the agent count as the opening."""

_BREAK = "|"
"""Stands between sentences where the transcript has punctuation, so that no pattern reaches over it."""
_QUOTE_WORDS_BEFORE = 4
_QUOTE_WORDS_AFTER = 12
_SIMILAR = 85.0
_HEARD_AS = ("property", "calling", "speaking", "regarding", "reaching", "looking")
"""Words that carry a pattern and that accents and telephone lines distort: ``proberty`` is ``property``."""

_WORD = r"[a-zà-ÿ][\w'-]*"
_HONORIFIC = r"(?:mr|mister|mrs|missus|misses|missis|ms|miss|doctor|dr)"
_FILLER = r"(?:(?:uh|um|uhm|er|like|so|and|well|okay|ok|just|yes|yeah) )*"
_NUMBER = (
    r"(?:\d[\d-]*[a-z]?|one|two|three|four|five|six|seven|eight|nine|ten|oh|eleven|twelve|thirteen|fourteen"
    r"|fifteen|sixteen|seventeen|eighteen|nineteen|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)"
    r"(?:-\w+)?|hundred|thousand)"
)
_STREET = (
    r"(?:street|st|road|rd|avenue|ave|lane|ln|drive|dr|court|ct|boulevard|blvd|circle|place|terrace|trail|way"
    r"|parkway|highway|pike|alley|square|crescent|row|loop|bend|ridge|hollow|hill|point|run|path|close|bank"
    r"|cove|creek|view|walk|wharf|mill|slip|rest|end)"
)
_SURE_STREET = r"(?:street|road|avenue|lane|boulevard|terrace|parkway|highway|pike|drive|court|circle|trail)"
_HOLDING = (
    r"(?:property|properties|house|home|land|lot|place|condo|condominium|townhouse|townhome|duplex|fourplex"
    r"|bungalow|cabin|cottage|farm|farmhouse|ranch|acres|acreage|apartment|unit|parcel|trailer|craftsman"
    r"|bedroom|story|split level)"
)

_INTRODUCTION = (
    rf"\bmy names? (?:is |was )?{_FILLER}(?P<name>{_WORD})",
    rf"\b(?:the |my )?name's (?P<name>{_WORD})",
    rf"\bthis is {_FILLER}(?P<name>{_WORD})",
    (
        rf"\b(?:it's|it is|i'm|i am|you're speaking with|you are speaking with) (?P<name>(?!\w+ing\b){_WORD})"
        rf"(?: {_WORD})? (?:with|from|calling|again|about|and i|i|over at|i'm|i am)\b"
    ),
    rf"\b(?:hi|hello|hey) (?:{_WORD} )?(?:it's|i'm) (?P<name>(?!\w+ing\b){_WORD})(?: \||\s*$)",
    rf"\b(?P<name>{_WORD}) here (?:(?:with|from|calling|again)\b|$|\|)",
    rf"\b(?:i'm|i am|we're|we are) (?:with|from) (?:the )?(?P<company>{_WORD})",
    (
        rf"(?:^|\| |\bhi |\bhello |\bhey |\b{_HONORIFIC} {_WORD} )"
        rf"(?P<name>{_WORD}) (?:with|from) (?P<company>{_WORD})"
    ),
    rf"\bi work (?:with|for|at) (?P<company>{_WORD})",
    rf"\bcalling (?:you )?(?:from|on behalf of) (?P<company>{_WORD})",
)
_OWNER = (
    rf"\b{_HONORIFIC} (?P<name>{_WORD})",
    rf"\b(?:speak|speaking|talk|talking|chat|word|minute|moment) (?:with|to) {_FILLER}(?P<name>{_WORD})",
    rf"\bis (?:this|that) {_FILLER}(?P<name>{_WORD})",
    rf"\b(?:looking for|reach|asking for|calling for|get (?:a )?hold of) {_FILLER}(?P<name>{_WORD})",
    rf"\b(?:message|call) is for (?P<name>{_WORD})",
    rf"\bis (?P<name>{_WORD})(?: {_WORD})? (?:there|home|available|around|in)\b",
    (
        rf"(?:^|\| )(?:uh |um |yes |yeah )*(?:hi|hello|hey|good morning|good afternoon|good evening) "
        rf"(?:uh |um )?(?P<name>{_WORD})"
    ),
)
_PROPERTY = (
    (
        rf"\b(?:your|the|that|this|his|her|their|a) (?:{_WORD} ){{0,3}}{_HOLDING} (?:{_WORD} ){{0,4}}?"
        rf"(?:on|in|at|of|over|up|down|there|located|for|behind|near)\b"
    ),
    rf"\byour (?:{_WORD} ){{0,3}}{_HOLDING}\b|\babout the (?:{_WORD} ){{0,3}}{_HOLDING}\b",
    (
        rf"\b(?:{_HOLDING}|one) (?:{_WORD} ){{0,5}}?(?:on|in|at|of) (?:the )?"
        rf"(?:{_NUMBER}|(?:{_WORD} ){{1,3}}{_STREET}\b)"
    ),
    rf"\b{_NUMBER}(?: {_NUMBER})* (?:{_WORD} ){{1,3}}?{_STREET}\b",
    rf"\b(?:on|at|of) (?:the )?(?:{_WORD} ){{1,2}}?{_SURE_STREET}\b",
)
_REASON = (
    (
        r"\b(?:calling|call|phoning|reaching out|checking|ringing)(?: you)?(?: today)? "
        r"(?:about|regarding|in regards?|with regards?|concerning|because|on (?:the|your)|for (?:the|your)"
        r"|to (?:see|ask|know|check|speak|find|buy))\b"
    ),
    rf"\b(?:about|regarding|concerning|for) (?:the|your) (?:{_WORD} ){{0,3}}{_HOLDING}\b",
    r"\b(?:it's|this is|it is) (?:\w+ )?(?:about|regarding|in regards?|concerning)\b",
    r"\bin (?:regards?|reference) to\b|\bregarding (?:the|your|a)\b",
    r"\bwant(?:ed)? to (?:ask|see|know|check|talk|speak|make|find|buy)\b",
    r"\b(?:was|am|i'm) (?:just )?wondering\b|\blike to (?:buy|know|purchase|make|ask)\b",
    r"\binterest(?:ed|ing) (?:in|to|on) (?:\w+ )?(?:it|buy|buying|sell|selling|purchas\w+|your|the)\b",
    r"\bwe(?:'re| are)? (?:buy|buying|purchase|purchasing) (?:\w+ )?(?:houses|homes|land|propert\w+)\b",
    r"\b(?:sell|selling|buy|buying|purchas\w+) (?:\w+ )?(?:it|us|your|the|that|this)\b",
    r"\b(?:wanna|want to|wish to|like to|willing to|if you|would you|do you) (?:\w+ ){0,2}(?:sell|buy)\b",
    r"\b(?:an|cash|the|one) offers?\b|\boffers? (?:on|for)\b",
    r"\b(?:about|of|thinking|possibly|considering) (?:\w+ )?(?:selling|buying|purchasing)\b",
    r"\bmaking a purchase\b|\b(?:trying|looking) to buy\b",
)


class _Line(NamedTuple):
    """A turn ready for matching: its words as said, and as one normalised text with each word's offset."""

    turn: Turn
    words: tuple[str, ...]
    text: str
    word_at: tuple[int, ...]
    """For each character of ``text``: the index of its word."""


class Opening:
    """The agent's opening of one call, searched for the four things that it should contain.

    Every question is answered by the ``Evidence`` with the quoted words, or ``None`` when they are not there.
    ``heard`` is ``False`` when the transcript has no words of a known agent: then nothing can be said.
    """

    def __init__(self, turns: SpeakerTurns) -> None:
        self._lines = [_line(turn) for turn in opening_turns(turns.turns)]

    @property
    def heard(self) -> bool:
        """Whether there are words of the agent to search."""
        return any(line.text for line in self._lines)

    def introduction(self) -> Evidence | None:
        """Return where the agent gives their name or company."""
        return self._find(_INTRODUCTION)

    def owner(self) -> Evidence | None:
        """Return where the agent says the owner's name; "the owner" is no name."""
        return self._find(_OWNER)

    def property(self) -> Evidence | None:
        """Return where the agent says which property it is about: an address, or "your house"."""
        return self._find(_PROPERTY)

    def reason(self) -> Evidence | None:
        """Return where the agent says why they call."""
        return self._find(_REASON)

    def _find(self, patterns: Sequence[str]) -> Evidence | None:
        for line in self._lines:
            match = next(_matches(line.text, patterns), None)
            if match is not None:
                return Evidence(
                    start=line.turn.start,
                    end=line.turn.end,
                    note=_quote(line, match),
                    turn=line.turn.index,
                )
        return None


def opening_turns(turns: Sequence[Turn]) -> list[Turn]:
    """Return the agent's first ``OPENING_TURNS`` turns, if begun within ``OPENING_SECONDS`` of the first."""
    agent = [turn for turn in turns if turn.role is Role.AGENT and turn.text.strip()]
    return [t for t in agent[:OPENING_TURNS] if t.start <= agent[0].start + OPENING_SECONDS]


@cache
def common_words() -> frozenset[str]:
    """Return the words that are no names: what fills "this is ..." when nobody is introduced."""
    text = resources.files("callpipeline.qa").joinpath("data/common_words.txt").read_text("utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


def _matches(text: str, patterns: Sequence[str]) -> Iterator[re.Match[str]]:
    for pattern in patterns:
        for match in re.finditer(pattern, text):
            if all(_may_be_name(name) for name in match.groupdict().values() if name):
                yield match


def _may_be_name(word: str) -> bool:
    return len(word) > 1 and word not in common_words() and not word.endswith("in'")


def _line(turn: Turn) -> _Line:
    words = tuple(turn.text.split())
    pieces: list[str] = []
    word_at: list[int] = []
    for index, word in enumerate(words):
        plain = re.sub(r"[^\w'-]", "", word.lower().replace("’", "'")).strip("-'")
        if not plain:
            continue
        ends = word[-1] in ".?!" and plain not in _ABBREVIATED
        piece = f"{_canonical(plain)} {_BREAK} " if ends else f"{_canonical(plain)} "
        pieces.append(piece)
        word_at.extend([index] * len(piece))
    return _Line(turn, words, "".join(pieces), tuple(word_at))


_ABBREVIATED = frozenset({"mr", "mrs", "ms", "dr", "st"})


@cache
def _canonical(word: str) -> str:
    if len(word) < 6:
        return word
    return next((known for known in _HEARD_AS if fuzz.ratio(word, known) >= _SIMILAR), word)


def _quote(line: _Line, match: re.Match[str]) -> str:
    """Return the words of the match with a little around them, not beyond the sentence."""
    first, last = line.word_at[match.start()], line.word_at[min(match.end(), len(line.word_at)) - 1]
    start = first
    while start > max(0, first - _QUOTE_WORDS_BEFORE) and line.words[start - 1][-1] not in ".?!":
        start -= 1
    end = last
    limit = min(len(line.words) - 1, last + _QUOTE_WORDS_AFTER)
    while end < limit and line.words[end][-1] not in ".?!":
        end += 1
    before, after = "… " if start else "", " …" if end < len(line.words) - 1 else ""
    return f"{before}{' '.join(line.words[start : end + 1])}{after}"
