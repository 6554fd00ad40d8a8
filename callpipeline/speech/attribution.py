"""Which speaker said which word.

What belongs here: pure functions from segments and speaker spans to words with a speaker. What does not:
joining words into turns (``turns``) and roles (``roles``). No word is ever dropped: one without a time gets
its place in the segment, and one that falls into no span goes to the nearest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby

from callpipeline.model import Diarization, Segment, SpeakerSpan, Transcript, Word

STRAY_WORDS = 2
STRAY_PAUSE = 0.3
"""At most this many words, with no pause this long (s) around them, do not change the speaker inside a
sentence: diarizers of mono recordings are a quarter of a second late or early, which is a word."""

NOBODY = "speaker_0"
"""Name of the only speaker when neither a diarization nor a label knows any."""


@dataclass(frozen=True)
class Spoken:
    """One word, with its own time or its place in the segment, and who said it.

    ``start`` never goes back within a segment, so that words keep their order.
    """

    text: str
    start: float
    end: float
    confidence: float | None
    segment: int
    speaker: str


def spoken_words(transcript: Transcript, diarization: Diarization) -> list[Spoken]:
    """Return every word of the transcript with its speaker, segment by segment.

    The segment's channel decides, else its own label, else the speaker span at the word's time.
    """
    owners = segment_owners(transcript, diarization)
    timeline = Timeline(diarization.spans)
    found: list[Spoken] = []
    for number, (segment, owner) in enumerate(zip(transcript.segments, owners, strict=True)):
        words = _timed(number, segment, owner or NOBODY)
        if owner is None:
            words = [replace(w, speaker=timeline.speaker(w.start, w.end)) for w in words]
            words = [w for sentence in _sentences(words) for w in _realigned(sentence)]
        found += words
    return found


def segment_owners(transcript: Transcript, diarization: Diarization) -> list[str | None]:
    """Return the speaker whom the channel or the label of each segment names, ``None`` where neither does.

    Labels that hold within a chunk only are those speakers of the diarization, which is of the whole, who talk at the
    same times.
    """
    segments = transcript.segments
    channels = _speakers_by_channel(segments, diarization)
    known = _of_the_whole(segments, Timeline(diarization.spans)) if transcript.labels_by_chunk else {}
    return [
        channels.get(segment.channel, f"channel_{segment.channel}")
        if channels and segment.channel is not None
        else known.get(segment.speaker or "", segment.speaker or "").strip() or None
        for segment in segments
    ]


def _of_the_whole(segments: Sequence[Segment], timeline: Timeline) -> dict[str, str]:
    """Return for each label the speaker who talks most of its time."""
    shared: dict[str, Counter[str]] = defaultdict(Counter)
    for segment in segments:
        if segment.speaker:
            shared[segment.speaker].update(timeline.shares(segment.start, segment.end))
    return {label: shares.most_common(1)[0][0] for label, shares in shared.items() if shares}


def _speakers_by_channel(segments: Sequence[Segment], diarization: Diarization) -> dict[int, str]:
    """Map channels to speakers; a speaker without a span and a channel without a speaker belong together."""
    found = {s.channel: s.speaker for s in diarization.spans if s.channel is not None}
    silent = [
        speaker for speaker in diarization.roles if speaker not in {s.speaker for s in diarization.spans}
    ]
    nameless = {s.channel for s in segments if s.channel is not None} - found.keys()
    if found and len(silent) == len(nameless) == 1:
        found[nameless.pop()] = silent[0]
    return found


# --- times --------------------------------------------------------------------------------------------


def _timed(number: int, segment: Segment, speaker: str) -> list[Spoken]:
    words = [w for w in segment.words if w.text.strip()] or [Word(text=t) for t in segment.text.split()]
    places = _places(words, segment.start, segment.end)
    starts = accumulate((start for start, _ in places), max)
    return [
        Spoken(word.text.strip(), start, max(start, end), word.confidence, number, speaker)
        for word, start, (_, end) in zip(words, starts, places, strict=True)
    ]


def _places(words: Sequence[Word], begin: float, finish: float) -> list[tuple[float, float]]:
    """Return start and end of each word; those without share the time between their timed neighbours
    evenly."""
    places: list[tuple[float, float]] = []
    for timed, group in groupby(enumerate(words), key=lambda item: item[1].start is not None):
        run = list(group)
        if timed:
            places += [_own_time(word, begin) for _, word in run]
            continue
        left = places[-1][1] if places else begin
        following = words[run[-1][0] + 1].start if run[-1][0] + 1 < len(words) else None
        step = max(0.0, (finish if following is None else following) - left) / len(run)
        places += [(left + n * step, left + (n + 1) * step) for n in range(len(run))]
    return places


def _own_time(word: Word, begin: float) -> tuple[float, float]:
    start = word.start if word.start is not None else begin
    return start, max(start, word.end if word.end is not None else start)


# --- speakers by time ---------------------------------------------------------------------------------


class Timeline:
    """Speaker spans in order, to be asked who speaks when."""

    def __init__(self, spans: Sequence[SpeakerSpan]) -> None:
        self._spans = sorted(spans, key=lambda s: s.start)
        self._starts = [s.start for s in self._spans]
        self._latest: list[SpeakerSpan] = list(accumulate(self._spans, _later))

    def speaker(self, start: float, end: float) -> str:
        """Return whose spans overlap a word most, else whose is nearest."""
        if not self._spans:
            return NOBODY
        shares = self.shares(start, end)
        if shares:
            return max(shares, key=lambda name: shares[name])
        after = bisect_right(self._starts, end)
        beside = [*self._latest[after - 1 : after], *self._spans[after : after + 1]]
        nearest: SpeakerSpan = min(beside, key=lambda s: max(s.start - end, start - s.end))
        return nearest.speaker

    def shares(self, start: float, end: float) -> dict[str, float]:
        """Return for how long each speaker talks in a stretch."""
        shares: dict[str, float] = defaultdict(float)
        for index in range(bisect_right(self._starts, end) - 1, -1, -1):
            if self._latest[index].end < start:
                break
            span = self._spans[index]
            if span.end >= start:
                # A word of no length still is inside its span.
                shares[span.speaker] += max(min(end, span.end) - max(start, span.start), 1e-9)
        return shares


def _later(a: SpeakerSpan, b: SpeakerSpan) -> SpeakerSpan:
    return a if a.end >= b.end else b


def _sentences(words: Sequence[Spoken]) -> Iterator[list[Spoken]]:
    """Cut where a sentence ends: at its full stop, or at a pause."""
    sentence: list[Spoken] = []
    for word in words:
        if sentence and (
            word.start - sentence[-1].end >= STRAY_PAUSE or sentence[-1].text.endswith((".", "?", "!", "…"))
        ):
            yield sentence
            sentence = []
        sentence.append(word)
    if sentence:
        yield sentence


def _realigned(sentence: list[Spoken]) -> list[Spoken]:
    """Give the stray words of a sentence to the speaker of most of it."""
    (speaker, most), *others = Counter(w.speaker for w in sentence).most_common()
    if not others or others[0][1] == most:
        return sentence
    found: list[Spoken] = []
    for own, group in groupby(sentence, key=lambda w: w.speaker):
        run = list(group)
        stray = own != speaker and len(run) <= STRAY_WORDS
        found += [replace(w, speaker=speaker) for w in run] if stray else run
    return found
