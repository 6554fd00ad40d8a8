"""Masking of numbers and addresses that identify a person: phone, e-mail, card, SSN-like.

What belongs here: finding them in text as people write and as recognisers spell it ("five five five oh one
..."), and masking them in transcripts and turns. What does not: deciding when; that is a setting.

The rules prefer masking a harmless number to keeping a real one, except for what calls are full of: prices,
years, dates, street numbers and postal codes stay readable. A number dictated over several segments of one
speaker is found too. Names and street addresses are not masked: that needs a model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from callpipeline.model import SpeakerTurns, Transcript, Word

RULE_VERSION = "redaction-1"

PHONE, EMAIL, CARD, SSN = "[PHONE]", "[EMAIL]", "[CARD]", "[SSN]"

LEAST_SPOKEN_DIGITS = 7
"""Fewer digits in a row are a price, a house number or a year."""

_CONTEXT = 60
"""Characters before a number in which "social" or "card" says what it is."""

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", re.IGNORECASE)
_SPOKEN_EMAIL = re.compile(
    r"(?:(?:\b\w\b[ ]){2,30}|\b[\w.+-]+ )(?:(?:dot|underscore|dash) [\w-]+ )*at "
    r"(?:[\w-]+ ){1,3}(?:dot|\.) ?(?:com|net|org|edu|gov|us|co|io|example)\b",
    re.IGNORECASE,
)
_SSN = re.compile(r"(?<![\d-])\d{3}([- ])\d{2}\1\d{4}(?![\d-])")
_NINE_DIGITS = re.compile(r"(?<![\d-])\d{9}(?![\d-])")
_SOCIAL = re.compile(r"\b(?:social|ssn)\b", re.IGNORECASE)
_CARD = re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])")
_PHONE = re.compile(
    r"(?<![\w$.,/-])(?:"
    r"\+\d(?:[ .-]?\(?\d+\)?){2,6}"  # international, with a plus
    r"|(?:1[ .-]?)?\(?\d{3}\)?[ .-]?\d{3}[ .-]?\d{4}"  # North America, area code and all
    r"|\d{3}[ .-]\d{4}"  # North America, local: only with a separator
    r")(?![\w%]|[.,/-]\d)"
)
_AMOUNT_AFTER = re.compile(
    r"\s*(?:dollars?|bucks|k\b|thousand|million|percent|square|acres?|sq\b)", re.IGNORECASE
)

_DIGIT_WORDS = {
    "zero": "0", "oh": "0", "o": "0", "one": "1", "two": "2", "three": "3", "four": "4",
    "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
}  # fmt: skip
_PAIR_WORDS = {
    "ten": "10", "eleven": "11", "twelve": "12", "thirteen": "13", "fourteen": "14", "fifteen": "15",
    "sixteen": "16", "seventeen": "17", "eighteen": "18", "nineteen": "19", "twenty": "2", "thirty": "3",
    "forty": "4", "fifty": "5", "sixty": "6", "seventy": "7", "eighty": "8", "ninety": "9",
}  # fmt: skip
_REPEATS = {"double": 2, "triple": 3}
_BETWEEN = {"uh", "um", "dash", "hyphen", "area", "code"}
_TOKEN = re.compile(r"[A-Za-z]+|\d+")


class _Span(NamedTuple):
    start: int
    end: int
    label: str


def redact(text: str) -> str:
    """Return ``text`` with ``[PHONE]``, ``[EMAIL]``, ``[CARD]`` and ``[SSN]`` in place of what they name."""
    return _masked([text])[0]


def redact_turns(turns: SpeakerTurns) -> SpeakerTurns:
    """Return the conversation with the text of every turn masked."""
    texts = _masked_by([turn.text for turn in turns.turns], [turn.speaker for turn in turns.turns])
    masked = tuple(t.model_copy(update={"text": text}) for t, text in zip(turns.turns, texts, strict=True))
    return turns.model_copy(update={"turns": masked})


def redact_transcript(transcript: Transcript) -> Transcript:
    """Return the transcript with the text and the words of every segment masked.

    The words of a masked number become one word with the label, from the first one's start to the last one's
    end; no digit of it stays in the word list.
    """
    segments = transcript.segments
    speakers = [(s.channel, s.speaker) for s in segments]
    texts = _masked_by([s.text for s in segments], speakers)
    places = [(index, word) for index, segment in enumerate(segments) for word in segment.words]
    spoken = _masked_by([word.text for _, word in places], [speakers[index] for index, _ in places])
    words: list[list[Word]] = [[] for _ in segments]
    for (index, word), text in zip(places, spoken, strict=True):
        _add_word(words[index], word, text)
    masked = tuple(
        segment.model_copy(update={"text": text, "words": tuple(own)})
        for segment, text, own in zip(segments, texts, words, strict=True)
    )
    return transcript.model_copy(update={"segments": masked})


def _add_word(words: list[Word], word: Word, text: str) -> None:
    """Append the word, or stretch the label before it over it when nothing of it is left."""
    if text.strip():
        words.append(word if text == word.text else word.model_copy(update={"text": text}))
    elif words and word.end is not None:
        words[-1] = words[-1].model_copy(update={"end": word.end})


def _masked_by(texts: Sequence[str], speakers: Sequence[object]) -> list[str]:
    """Mask the texts of each speaker as one, so that a number may go on in the speaker's next piece."""
    out = list(texts)
    for speaker in dict.fromkeys(speakers):
        own = [index for index, other in enumerate(speakers) if other == speaker]
        for index, text in zip(own, _masked([texts[i] for i in own]), strict=True):
            out[index] = text
    return out


def _masked(pieces: Sequence[str]) -> list[str]:
    """Mask pieces of one running text; the label stands in the piece where the number begins."""
    text = " ".join(pieces)
    spans = _spans(text)
    out: list[str] = []
    offset = 0
    for piece in pieces:
        end = offset + len(piece)
        here = [s for s in spans if s.start < end and s.end > offset]
        out.append(_cut(piece, offset, here) if here else piece)
        offset = end + 1
    return out


def _cut(piece: str, offset: int, spans: Iterable[_Span]) -> str:
    out: list[str] = []
    position = 0
    for span in spans:
        out.append(piece[position : max(span.start - offset, 0)])
        if span.start >= offset:
            out.append(span.label)
        position = min(span.end - offset, len(piece))
    return "".join([*out, piece[position:]]).strip()


def _spans(text: str) -> list[_Span]:
    """Return what is to be masked, in order; where rules overlap, the first in this list has its way."""
    finders: tuple[Callable[[str], Iterable[_Span]], ...] = (_emails, _cards, _ssns, _phones, _spoken_numbers)
    taken: list[_Span] = []
    for finder in finders:
        for span in finder(text):
            if all(span.end <= other.start or span.start >= other.end for other in taken):
                taken.append(span)
    return sorted(taken)


def _emails(text: str) -> Iterable[_Span]:
    for pattern in (_EMAIL, _SPOKEN_EMAIL):
        for match in pattern.finditer(text):
            yield _Span(match.start(), match.end(), EMAIL)


def _cards(text: str) -> Iterable[_Span]:
    for match in _CARD.finditer(text):
        named = re.search(r"\bcard\b", _before(text, match.start()), re.IGNORECASE)
        if named or luhn(re.sub(r"\D", "", match.group())):
            yield _Span(match.start(), match.end(), CARD)


def _ssns(text: str) -> Iterable[_Span]:
    for match in _SSN.finditer(text):
        yield _Span(match.start(), match.end(), SSN)
    for match in _NINE_DIGITS.finditer(text):
        if _SOCIAL.search(_before(text, match.start())):
            yield _Span(match.start(), match.end(), SSN)


def _before(text: str, position: int) -> str:
    return text[max(0, position - _CONTEXT) : position]


def _phones(text: str) -> Iterable[_Span]:
    for match in _PHONE.finditer(text):
        digits = re.sub(r"\D", "", match.group())
        if len(digits) >= LEAST_SPOKEN_DIGITS and not _AMOUNT_AFTER.match(text, match.end()):
            yield _Span(match.start(), match.end(), PHONE)


def _spoken_numbers(text: str) -> Iterable[_Span]:
    """Find runs of digits said one by one; pairs ("twenty two") may be among them but not prevail."""
    run: list[tuple[re.Match[str], str]] = []
    for match in _TOKEN.finditer(text):
        word = match.group().lower()
        known = word in _DIGIT_WORDS or word in _PAIR_WORDS or word in _REPEATS or word in _BETWEEN
        if known or word.isdigit():
            run.append((match, word))
            continue
        yield from _number(text, run)
        run = []
    yield from _number(text, run)


def _number(text: str, run: list[tuple[re.Match[str], str]]) -> Iterable[_Span]:
    while run and run[0][1] in _BETWEEN:
        run = run[1:]
    while run and run[-1][1] in {*_BETWEEN, *_REPEATS}:
        run = run[:-1]
    values = [word for _, word in run if word not in _BETWEEN]
    singles = sum(word in _DIGIT_WORDS or word in _REPEATS or len(word) == 1 for word in values)
    digits = _digits(values)
    if len(digits) < LEAST_SPOKEN_DIGITS or 2 * singles < len(values):
        return
    start, end = run[0][0].start(), run[-1][0].end()
    if not _AMOUNT_AFTER.match(text, end):
        yield _Span(start, end, _label(digits, _before(text, start)))


def _digits(words: Sequence[str]) -> str:
    out = ""
    repeat = 1
    for word in words:
        if word in _REPEATS:
            repeat = _REPEATS[word]
            continue
        out += (_DIGIT_WORDS.get(word) or _PAIR_WORDS.get(word) or word) * repeat
        repeat = 1
    return out


def _label(digits: str, before: str) -> str:
    if _SOCIAL.search(before):
        return SSN
    return CARD if 13 <= len(digits) <= 19 and luhn(digits) else PHONE


def luhn(digits: str) -> bool:
    """Return whether the check digit of a card number is right (ISO/IEC 7812-1, annex B)."""
    doubled = [int(d) if i % 2 == 0 else sum(divmod(2 * int(d), 10)) for i, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0
