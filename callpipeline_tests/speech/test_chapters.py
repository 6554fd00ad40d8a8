from __future__ import annotations

import re
from itertools import pairwise

import pytest

from callpipeline.model import Chapter, Role, SpeakerTurns, Turn
from callpipeline.speech import topics
from callpipeline.speech.agenda import LONGEST_TITLE, announcements
from callpipeline.speech.chapters import chapters
from callpipeline_tests.speech.hearings import NAMES, hearing

NEAR = 1
"""Turns that a border may be off."""


def turn(index: int, start: float, end: float, text: str) -> Turn:
    return Turn(index=index, speaker="A", role=Role.UNKNOWN, start=start, end=end, text=text)


def conversation(*texts: str, seconds: float = 30.0) -> SpeakerTurns:
    turns = tuple(turn(n, n * seconds, (n + 1) * seconds - 1, text) for n, text in enumerate(texts))
    return SpeakerTurns(turns=turns, role_confidence=1.0, transcript_engine="x", diarization_engine="x")


def found_in(name: str, *, bare: bool = False) -> tuple[tuple[Chapter, ...], tuple[int, ...]]:
    whole = hearing(name)
    turns = whole.turns
    if bare:
        turns = turns.model_copy(
            update={
                "turns": tuple(
                    t.model_copy(update={"text": re.sub(r"[^a-z' ]", "", t.text.lower())})
                    for t in turns.turns
                )
            }
        )
    return chapters(turns, duration=whole.transcript.duration), whole.borders


def hits(found: list[int], truth: list[int]) -> int:
    left = list(truth)
    for border in found:
        near = [t for t in left if abs(t - border) <= NEAR]
        if near:
            left.remove(min(near, key=lambda t: abs(t - border)))
    return len(truth) - len(left)


@pytest.mark.parametrize("bare", [False, True], ids=["written", "no punctuation"])
def test_chapters_of_hearings_begin_where_a_person_would_cut(bare: bool) -> None:
    correct = total = 0
    for name in NAMES:
        found, truth = found_in(name, bare=bare)
        borders = [chapter.turn for chapter in found[1:]]
        correct += hits(borders, list(truth[1:]))
        total += len(borders) + len(truth) - 1
    assert 2 * correct / total >= 0.85


@pytest.mark.parametrize("name", NAMES)
def test_chapters_cover_the_recording_and_say_why_they_begin(name: str) -> None:
    found, _ = found_in(name)
    whole = hearing(name)
    assert (found[0].start, found[-1].end) == (0.0, whole.transcript.duration)
    assert all(before.end == after.start for before, after in pairwise(found))
    for chapter in found:
        assert 0 < len(chapter.title) <= LONGEST_TITLE
        (evidence,) = chapter.evidence
        first = whole.turns.turns[chapter.turn]
        assert first.start <= evidence.start <= first.end
        assert evidence.note.startswith("announced: ") == chapter.announced


def test_titles_come_from_the_agenda_or_from_the_words_that_set_a_chapter_apart() -> None:
    titles = [chapter.title for chapter in found_in("transport_committee")[0]]
    assert "Item one: Rehabilitation of the Mill Street bridge" in titles
    assert "Public comment" in titles
    by_topic = [chapter.title.lower() for chapter in found_in("hospital_inquiry")[0] if not chapter.announced]
    assert any("ambulance" in title for title in by_topic)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("I call this meeting of the Planning Board to order.", "Call to order"),
        ("Item 7b, the lease of the old depot.", "Item 7b: Lease of the old depot"),
        ("All right. Next is item number twelve. Street lights.", "Item twelve: Street lights"),
        ("next up item four the annual audit", "Item four: Annual audit"),
        ("Thank you. We'll move on to the next item, the harbour fees.", "Harbour fees"),
        ("Now we will open the floor for public comment.", "Public comment"),
        ("We will now hear from Dr. Ann Lee of the university.", "Dr. Ann Lee of the university"),
        ("Our next witness is Mr. Poe.", "Mr. Poe"),
        ("I would like to invite the second panel to come forward.", "Second panel"),
        ("Let us take a ten minute break.", "Recess"),
        ("We are back on the record.", "Resumed"),
        ("Is there a motion to adjourn?", "Adjournment"),
    ],
)
def test_what_a_chair_announces_is_understood(text: str, title: str) -> None:
    opening = [a for a in announcements(turn(0, 0.0, 10.0, text)) if a.opens]
    assert [a.title for a in opening] == [title]


@pytest.mark.parametrize(
    "text",
    [
        "As I said about item two, the cost is too high.",
        "In the public comment last week a man asked the same.",
        "There was a break in the water main on Elm.",
        "He was called to the principal and ordered to stay.",
        "I heard from my neighbours that the panel of experts disagreed.",
        "The next item on my shopping list was bread.",
    ],
)
def test_mentions_announce_nothing(text: str) -> None:
    assert [a for a in announcements(turn(0, 0.0, 10.0, text)) if a.opens] == []


def test_a_chapter_begins_with_the_sentence_that_announces_it() -> None:
    text = "The motion carries. " * 10 + "Item five, the library roof."
    turns = conversation("We talked about it.", text, "The roof leaks.", seconds=60.0)
    first, second = chapters(turns, duration=180.0)
    assert second.turn == 1
    assert first.end == second.start == pytest.approx(60 + 59 * 200 / len(text), abs=0.1)


def test_short_items_of_a_consent_calendar_are_chapters_and_repeated_words_are_not() -> None:
    turns = conversation(
        "Item one, minutes.", "Item two, bills.", "Item three, leases.", "Item three, as I said.", seconds=5.0
    )
    assert [chapter.title for chapter in chapters(turns, duration=20.0)] == [
        "Item one: Minutes",
        "Item two: Bills",
        "Item three: Leases",
    ]


def test_a_conversation_about_one_thing_is_one_chapter() -> None:
    lines = ("The roof leaks above the reading room.", "Slate for the roof costs more than tin.") * 12
    (only,) = chapters(conversation(*lines), duration=720.0)
    assert (only.start, only.end, only.announced) == (0.0, 720.0, False)


def test_a_change_of_words_is_a_change_of_topic() -> None:
    roof = [
        text.split()
        for text in ("roof slate leak gutter rain", "slate tin roof beam", "rain gutter beam leak")
    ]
    bus = [
        text.split() for text in ("bus stop driver fare", "timetable bus driver", "fare stop timetable bus")
    ]
    assert topics.borders([*roof * 4, *bus * 4], [0.0] * 24) == [12]


def test_nobody_speaks() -> None:
    assert chapters(conversation(), duration=60.0) == ()
