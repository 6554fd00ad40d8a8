"""The words with which a chair leads through a hearing: calls to order, items, witnesses, votes, the end.

What belongs here: finding such words in turns, and the title that they give. What does not: where chapters begin
(``chapters``), and shifts of topic that nobody announces (``topics``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from callpipeline.model import Turn

LONGEST_TITLE = 70
"""In characters; a longer one is cut at a word."""

_NUMBER = (
    r"\d+\w?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen"
    r"|seventeen|eighteen|nineteen|twenty(?: (?:one|two|three|four|five|six|seven|eight|nine))?|[a-h]"
)
_LEAD = r"(?:so|now|and|ok|okay|all right|right|well|then|thank you|thanks|next up|next)"
_WE = r"(?:we|we'll|we're|i|i'll|i'd|let us|let's|let me|may i|will|would|shall|like to|now|then|also)"
_GO = r"(?:move|moving|go|going|turn|turning|come|coming|proceed|proceeding|pass|brings us|takes us|get)"
_TO = r"(?:(?: on| back| over| along)? to| into)"


@dataclass(frozen=True)
class Wording:
    """A way to announce something. ``title`` is fixed, or ``None`` where the words that follow give it."""

    pattern: re.Pattern[str]
    title: str | None = None
    opens: bool = True
    """Begins a chapter; otherwise it only makes a shift of topic likelier."""


@dataclass(frozen=True)
class Announcement:
    """One such wording in a turn: ``at`` is its time in seconds, ``item`` the item's number if it names one."""

    turn: int
    at: float
    words: str
    title: str | None
    opens: bool
    item: str | None = None


def _wording(pattern: str, title: str | None = None, *, opens: bool = True) -> Wording:
    return Wording(re.compile(pattern), title, opens)


_WORDINGS = (
    _wording(
        r"\b(?:call(?:ed|ing)?|come|comes) (?:(?:this|the|today's|our) )?(?:\w+ ){0,6}to order\b",
        "Call to order",
    ),
    _wording(r"\bwelcome to (?:this|the|our|today's) (?:\w+ ){0,5}(?:session|meeting|hearing)\b", "Welcome"),
    _wording(
        rf"^(?:{_LEAD} )*(?:our |the )?(?:next |first |last |final |agenda )*item (?:number |no )?"
        rf"(?P<item>{_NUMBER})\b"
    ),
    _wording(
        rf"\b(?:{_GO}{_TO}|take up|takes up|consider|hear|next(?: is)?|now(?: is)?|call) (?:\w+ ){{0,3}}"
        rf"item (?:number |no )?(?P<item>{_NUMBER})\b"
    ),
    _wording(
        rf"\b(?:{_GO}{_TO}|take up) (?:our|the) (?:next|last|final) (?:agenda )?(?:item|topic|matter|order)\b"
    ),
    _wording(
        r"\b(?:our|the) (?:next|last|final) (?:agenda )?(?:item|order of business)(?: \w+){0,4}? (?:is|will be)\b"
    ),
    _wording(
        rf"\b(?:{_GO}{_TO}|open|opening|opened|begin|start|now|next is)(?: \w+){{0,4}}? public "
        r"(?:comments?|testimony|participation)\b",
        "Public comment",
    ),
    _wording(r"\bopen(?:ing|ed)? (?:up )?the public hearing\b", "Public hearing"),
    _wording(
        r"\b(?:(?:we|we'll|let us|let's|committee) (?:(?:will|now|also|then|going to) )*|like to )hear (?:now )?from\b"
    ),
    _wording(
        r"\b(?:our|the) (?:next|first|second|third|last|final) (?:witness|speaker|presenter)(?: today)? (?:is|will be)\b"
    ),
    _wording(
        r"\b(?:call|invite|welcome|recognize) (?:up )?(?:our|the) (?:next|first|last|final) (?:witness|presenter)\b"
    ),
    _wording(
        r"\b(?:introduce|invite|call|welcome|turn to|hear from|have|begin with|start with) (?:up )?(?:our|the) "
        r"(?P<panel>next|first|second|third|fourth|last|final) panel\b",
        "{panel} panel",
    ),
    _wording(
        rf"\b(?:{_GO}{_TO} (?:the |a )?(?:roll call )?vote|(?:call|take) the roll on|put the question)\b",
        "Vote",
    ),
    _wording(
        r"\b(?:take|for) an? (?:\w+ ){0,2}(?:break|recess)\b|\b(?:in|into) recess\b|\brecess (?:for|until)\b",
        "Recess",
    ),
    _wording(
        r"\b(?:reconvene|back in session|back on the record|resume (?:the|this|our) (?:hearing|meeting|session))\b",
        "Resumed",
    ),
    _wording(r"\b(?:any|for|some) announcements\b", "Announcements"),
    _wording(
        r"\b(?:motion to adjourn|(?:is|are|stands?|stand) adjourned|move(?: that)? (?:we|to) adjourn)\b",
        "Adjournment",
    ),
    _wording(
        r"\b(?:concludes|close|conclude|ends) (?:(?:our|this|today's|the) )+(?:session|hearing|meeting|inquiry)\b",
        "Close",
    ),
    _wording(r"\ball (?:that )?we have time for\b", "Close"),
    # What only hints at another topic.
    _wording(rf"\b{_WE} (?:\w+ ){{0,3}}{_GO}{_TO}\b", opens=False),
    _wording(r"\b(?:ask|question|questions|talk|hear) (?:\w+ ){0,3}?(?:about|on)\b", opens=False),
    _wording(
        r"\b(?:different|another|other|separate|new) (?:topic|subject|matter|issue|question|end|point)\b",
        opens=False,
    ),
    _wording(
        r"\b(?:must|have to|should|let us|let's|to) move on\b|\bmoving on\b|\bchange (?:the )?(?:topic|subject)\b",
        opens=False,
    ),
)

_SENTENCE_END = re.compile(
    r"(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bMrs)(?<!\bSt)(?<!\bNo)(?<!\bProf)(?<!\bRep)(?<!\bSen)[.?!]+[\"')]*\s+"
)
_DROPPED = frozenset(
    re.findall(
        r"\w+", "is are was will be the a an our on of about to for and your that up now here today agenda"
    )
)


def announcements(turn: Turn) -> Iterator[Announcement]:
    """Yield what a turn announces, at most one thing a sentence."""
    sentences = list(_sentences(turn.text))
    length = max(1, len(turn.text))
    for number, (offset, sentence) in enumerate(sentences):
        words = sentence.split()
        plain = [re.sub(r"[^a-z0-9']", "", word.lower()) for word in words]
        line = " ".join(plain)
        found = next(((w, m) for w in _WORDINGS if (m := w.pattern.search(line))), None)
        if found is None:
            continue
        wording, match = found
        named = match.groupdict()
        following = sentences[number + 1][1] if number + 1 < len(sentences) else ""
        yield Announcement(
            turn=turn.index,
            at=round(turn.start + (turn.end - turn.start) * offset / length, 3),
            words=sentence,
            title=_title(wording, named, words[line[: match.end()].count(" ") + 1 :], following),
            opens=wording.opens,
            item=named.get("item"),
        )


def _sentences(text: str) -> Iterator[tuple[int, str]]:
    """Yield sentences with their offsets."""
    begin = 0
    for end in _SENTENCE_END.finditer(text):
        yield begin, text[begin : end.end()].strip()
        begin = end.end()
    if text[begin:].strip():
        yield begin, text[begin:].strip()


def _title(wording: Wording, named: dict[str, str | None], rest: list[str], following: str) -> str | None:
    if not wording.opens:
        return None
    if wording.title is not None:
        return wording.title.format(panel=(named.get("panel") or "").capitalize())
    subject = _subject(rest) or _subject(following.split())
    if item := named.get("item"):
        label = f"Item {item.upper() if len(item) == 1 else item}"
        return shortened(f"{label}: {subject}") if subject else label
    return shortened(subject) if subject else None


def _subject(words: list[str]) -> str:
    """Return what is announced: without the small words before it, up to the end of its sentence."""
    while words and re.sub(r"\W", "", words[0].lower()) in _DROPPED | {""}:
        words = words[1:]
    subject = " ".join(words).rstrip(" .,;:?!")
    return subject[:1].upper() + subject[1:]


def shortened(title: str) -> str:
    """Cut a title at a word."""
    if len(title) <= LONGEST_TITLE:
        return title
    return title[: LONGEST_TITLE - 1].rpartition(" ")[0].rstrip(" ,;:") + "…"
