"""Who said what, in order: words with speakers become turns, and speakers get their roles.

What belongs here: pure functions. What does not: which word is whose (``attribution``), how a text tells the
agent from the customer (``roles``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from callpipeline.model import Diarization, Role, SpeakerTurns, Transcript, Turn
from callpipeline.speech.attribution import Spoken, Timeline, segment_owners, spoken_words
from callpipeline.speech.provided import role_of
from callpipeline.speech.roles import Said, infer_roles

PAUSE = 1.2
"""A silence of the same speaker longer than this (s) begins a new turn. Pauses inside a phrase stay under a
second; after a longer one the speaker begins anew, or has waited for an answer that did not come."""

ANSWER_GAP = 0.2
"""Another speaker who begins in a gap this long (s) has been let in: the turn ends there. In shorter gaps it
is a "mhm" into running speech, which takes the turn from nobody."""


def speaker_turns(
    transcript: Transcript,
    diarization: Diarization,
    *,
    channel_roles: Mapping[int, Role] | None = None,
    parties: bool = True,
) -> SpeakerTurns:
    """Join words and speakers into turns, in order of start. No word is lost.

    Roles come from ``channel_roles``, from labels that name one ("agent"), from the diarization; what these
    leave open is inferred from the text, and ``role_confidence`` says how sure that is. Without ``parties`` (a hearing
    has no agent and no customer) nothing is inferred: what is not told stays unknown.
    """
    grouped = turn_words(transcript, diarization)
    known = _known_roles(transcript, diarization, channel_roles or {})
    told = {name: role for name, (role, _) in known.items()}
    if parties:
        said = [Said(words[0].speaker, " ".join(w.text for w in words)) for words in grouped]
        roles, confidence = infer_roles(said, told)
    else:
        roles, confidence = told, 1.0 if told else 0.0
    sure = [known[name][1] for name in roles if name in known]
    return SpeakerTurns(
        turns=tuple(_turn(index, words, roles) for index, words in enumerate(grouped)),
        role_confidence=min([confidence, *sure]),
        transcript_engine=transcript.engine,
        diarization_engine=diarization.engine,
        demo=transcript.demo,
        notes=tuple(dict.fromkeys((*transcript.notes, *diarization.notes))),
    )


def turn_words(transcript: Transcript, diarization: Diarization) -> list[list[Spoken]]:
    """Return the words of each turn of ``speaker_turns``, with their times; a turn's index is its place here."""
    return _grouped(spoken_words(transcript, diarization))


def _turn(index: int, words: Sequence[Spoken], roles: Mapping[str, Role]) -> Turn:
    confidences = [w.confidence for w in words if w.confidence is not None]
    return Turn(
        index=index,
        speaker=words[0].speaker,
        role=roles.get(words[0].speaker, Role.UNKNOWN),
        start=round(words[0].start, 3),
        end=round(max(w.end for w in words), 3),
        text=" ".join(w.text for w in words),
        confidence=round(sum(confidences) / len(confidences), 3) if confidences else None,
    )


# --- words to turns -----------------------------------------------------------------------------------


def _grouped(words: Sequence[Spoken]) -> list[list[Spoken]]:
    """Return the words of each turn, turns in order of start.

    Each speaker's words are followed on their own, so that people who talk at the same time do not chop each
    other's sentences.
    """
    turns: list[list[Spoken]] = []
    current: dict[str, list[Spoken]] = {}
    between: dict[str, Spoken | None] = {}
    for word in sorted(words, key=lambda w: (w.start, w.segment)):
        turn = current.get(word.speaker)
        if turn is None or _ends(turn[-1], word, between[word.speaker]):
            turn = current[word.speaker] = []
            turns.append(turn)
        turn.append(word)
        between |= dict.fromkeys(current, word)
        between[word.speaker] = None
    return turns


def _ends(last: Spoken, word: Spoken, between: Spoken | None) -> bool:
    """Tell whether ``word`` begins a new turn after its speaker's ``last``; others last said ``between``."""
    gap = word.start - last.end
    if gap > PAUSE:
        return True
    if between is None or between.start < last.end:
        return False
    # Inside one segment of a mono transcript, or between segments, the order alone says who had the turn.
    in_order = between.segment == word.segment or last.segment != word.segment
    return gap >= ANSWER_GAP or in_order


# --- roles --------------------------------------------------------------------------------------------


def _known_roles(
    transcript: Transcript, diarization: Diarization, channel_roles: Mapping[int, Role]
) -> dict[str, tuple[Role, float]]:
    """Return the role of each speaker of whom it is told, and how sure that is."""
    known: dict[str, tuple[Role, float]] = {
        name: (role, diarization.role_confidence)
        for name, role in diarization.roles.items()
        if role is not Role.UNKNOWN
    }
    owners = segment_owners(transcript, diarization)
    labels = {owner for owner in owners if owner is not None} - diarization.roles.keys()
    known |= _roles_by_overlap(transcript, diarization, labels)
    known |= {name: (role_of(name), 1.0) for name in labels if role_of(name) is not Role.UNKNOWN}
    for span in diarization.spans:
        role = channel_roles.get(span.channel) if span.channel is not None else None
        if role is not None:
            known[span.speaker] = (role, 1.0)
    return known


def _roles_by_overlap(
    transcript: Transcript, diarization: Diarization, labels: set[str]
) -> dict[str, tuple[Role, float]]:
    """Give labels such as "A" the role of the diarization's speaker who talks at the same times, if one does.

    Only when it separates the labels: two labels with one role say that the times do not tell.
    """
    sides = {name: role for name, role in diarization.roles.items() if role is not Role.UNKNOWN}
    shared: dict[str, dict[Role, float]] = {label: defaultdict(float) for label in labels}
    timeline = Timeline(diarization.spans)
    for segment in transcript.segments if sides else ():
        label, speaker = (segment.speaker or "").strip(), timeline.speaker(segment.start, segment.end)
        if label in shared and speaker in sides:
            shared[label][sides[speaker]] += segment.end - segment.start
    best = {label: max(by_role, key=lambda r: by_role[r]) for label, by_role in shared.items() if by_role}
    if len(set(best.values())) < len(best):
        return {}
    return {label: (role, diarization.role_confidence) for label, role in best.items()}
