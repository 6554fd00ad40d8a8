"""Whether a text chunk is worth looking into, and how much there may be to find.

What belongs here: rules over words. What does not: cutting texts (``text_chunks``), and finding things in them
(``extractors``). Careful: a chunk is left out only where nobody could find anything; every reason has a name that is
counted. The words are English: of texts in other languages little more than empty ones and mere repetition is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

RULE_VERSION = "worth-1"

EMPTY = "no words"
NO_CONTENT = "no content words"
GREETINGS = "greetings and small talk only"
RECORDED = "voicemail or a menu"
REPEATED = "the same words over and over"

RECORDED_MOST = {1: 2, 2: 6}
"""By how many phrases of an announcement a text has (two: or more), the different content words beside its own, up to
which it is nothing else. People speak of messages too, so one phrase alone does not tell."""

REPEATED_WORDS = 40
REPEATED_SHARE = 0.1
"""Of so many words fewer than this share are different ones: music, or an engine that heard things."""

RICH_WORDS = 120
"""Different content words from which on a text of 2,000 characters is as rich as they come."""

_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|['’-](?=[^\W\d_]))*|\d[\d.,:%]*")


def _words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STOP_WORDS = _words_of(
    """
    a about above after again against ah ain't all almost alright also although always am an and another any anybody
    anyone anything anyway are aren't around as at away back be because been before behind being below between both
    but by came can can't cannot come comes coming could couldn't did didn't do does doesn't doing don't done down
    each either else enough er erm even ever every everybody everyone everything few for from get gets getting give
    gives go goes going gone gonna got gotta had hadn't has hasn't have haven't having he he'd he'll he's her here
    here's hers herself him himself his hm hmm how how's however huh i i'd i'll i'm i've if in instead into is isn't
    it it'd it'll it's its itself just keep kind kinda know knows last least less let let's like little look lot lots
    made make makes making many may maybe me mean means mhm might mine mm more most much must my myself need needs
    neither never no nobody none nope nor not nothing now of off often oh ok okay on once one ones only onto or other
    others our ours ourselves out over own perhaps pretty put quite rather really right said same saw say saying says
    see seem seems seen shall she she'd she'll she's should shouldn't since so some somebody someone something
    sometimes somewhere sorry sort still such sure take takes taking tell than that that'd that'll that's the their
    theirs them themselves then there there's these they they'd they'll they're they've thing things think this those
    though through thus to together too toward try trying uh uh-huh um under until up upon us use used very wanna want
    wanted wants was wasn't way we we'd we'll we're we've well went were weren't what what's when where where's
    whether which while who who's whole whom whose why will wish with within without won't would wouldn't yeah yep yes
    yet you you'd you'll you're you've your yours yourself
    """
)
"""Words that say nothing of what a text is about."""

_GREETING_WORDS = _words_of(
    """
    afternoon awesome bless bye cool day days dear doing evening everybody excellent fine folks friday friend glad
    good goodbye goodnight great hear hello help hey hi hold honey lovely ma'am madam man meet minute moment monday
    morning name nice night okey-doke perfect please pleasure ready saturday second sir sounds speak speaking sunday
    talk talking thank thanks thursday today tomorrow tonight tuesday wait weather wednesday week weekend welcome
    wonderful worries
    """
)

_EMPTY_WORDS = _STOP_WORDS | _GREETING_WORDS

_RECORDED_WORDS = _words_of(
    """
    again agent answer answered assistance associate automatic automatically available beep busy button call called
    caller calling calls connected contact customer delivery dial dialed dialled directory disconnected eight enter
    extension finish finished five forwarded four full greeting hang hash hear hold hours important key leave leaving
    line listen longer mail mailbox menu message messages moment monitored name nine number numbers office operator
    option options order pause person phone pound presently press purposes quality reach reached reaching receptionist
    record recorded recording remain repeat representative representatives return returned selection service seven
    short shortly simply six soon speak star stay system three time tone training transferred two unable unavailable
    voice voicemail zero
    """
)

_RECORDED_PHRASE = re.compile(
    r"""\b(?:
      (?:after|at|following|hear)\s+the\s+(?:tone|beep)
    | leave\s+(?:\w+\s+){0,3}?(?:message|voicemail)
    | press\s+(?:one|two|three|four|five|six|seven|eight|nine|zero|pound|star|hash|\d)
    | (?:mail\s?box|voicemail)\s+(?:is\s+full|system|of|has\s+not)
    | (?:is|are)\s+(?:not|currently\s+not|presently\s+not)\s+available
    | number\s+you\s+(?:have\s+)?(?:dialed|dialled|called|reached|are\s+calling)
    | (?:no\s+longer\s+in|not\s+in|out\s+of)\s+service
    | call\s+is\s+(?:very\s+)?important\s+to\s+us
    | forwarded\s+to\s+(?:an?\s+)?(?:automat\w+|voice)
    | (?:next|first)\s+available\s+(?:agent|representative|operator)
    | remain\s+on\s+the\s+line
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)

_CUE = re.compile(
    r"\b(?:because|causes?|caused|causing|leads?\s+to|led\s+to|results?\s+in|so\s+that|in\s+order\s+to|due\s+to"
    r"|therefore|which\s+means|reduc\w+|increas\w+|improv\w+|prevent\w*|enabl\w+|requir\w+|depends?\s+on|affects?"
    r"|influenc\w+|helps?\s+(?:you|us|people|to)|if\s+you|the\s+more)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<=[a-z,;:] )[A-Z][a-z]+")


def low_value(text: str) -> str | None:
    """Say why nothing is looked for in a text, ``None`` if it is worth it."""
    words = [word.lower().replace("’", "'") for word in _WORD.findall(text)]
    if not words:
        return EMPTY
    if len(words) >= REPEATED_WORDS and len(set(words)) < REPEATED_SHARE * len(words):
        return REPEATED
    content = content_words(words)
    if any(not word.isascii() for word in content):
        return None
    if not content:
        return NO_CONTENT if _GREETING_WORDS.isdisjoint(words) else GREETINGS
    phrases = len(set(_RECORDED_PHRASE.findall(text.lower())))
    if phrases and len(content - _RECORDED_WORDS) <= RECORDED_MOST[min(phrases, 2)]:
        return RECORDED
    return None


def priority(text: str) -> float:
    """Say how much there may be to find in a text, 0-1: content, causes and effects, names and figures."""
    words = _WORD.findall(text)
    content = content_words(word.lower() for word in words)
    telling: int = len(_NAME.findall(text)) + sum(word[0].isdigit() for word in words)
    rich = min(1.0, len(content) / RICH_WORDS)
    return round(0.6 * rich + 0.25 * min(1.0, len(_CUE.findall(text)) / 5) + 0.15 * min(1.0, telling / 10), 3)


def content_words(words: Iterable[str]) -> set[str]:
    """Return the different words, in small letters, that say what a text is about."""
    return {word for word in words if len(word) > 1 and word not in _EMPTY_WORDS}
