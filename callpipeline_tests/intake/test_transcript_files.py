from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callpipeline.failures import BadTranscript, SourceUnavailable
from callpipeline.intake.captions import read_captions
from callpipeline.intake.records import Kind
from callpipeline.intake.transcript_files import read_transcript
from callpipeline.model import Transcript
from callpipeline_tests.intake.conftest import LONG_AGO, Intake

TURNS = [
    {"speaker": "agent", "start": 0.5, "end": 2.0, "text": " hello "},
    {"speaker": "customer", "start": 2.5, "end": 4.0, "text": "who is this"},
]


def read(folder: Path, name: str, content: str | bytes) -> Transcript:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_transcript(path)


def spoken(transcript: Transcript) -> list[tuple[float, float, str | None, str]]:
    return [(s.start, s.end, s.speaker, s.text) for s in transcript.segments]


def test_json_turns_become_segments_with_speakers(tmp_path: Path) -> None:
    found = read(tmp_path, "a.json", json.dumps({"turns": TURNS, "duration_s": 9.5, "language": "en"}))
    assert spoken(found) == [(0.5, 2.0, "agent", "hello"), (2.5, 4.0, "customer", "who is this")]
    assert (found.engine, found.duration, found.language, found.demo) == ("provided", 9.5, "en", False)
    assert read(tmp_path, "a.json", json.dumps({"turns": TURNS[::-1]})).duration == 4.0


def test_srt_with_names_before_colons(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "a.srt",
        "\ufeff1\r\n00:00:01,000 --> 00:00:02,500\r\nAnna: <i>Good</i> morning\r\n\r\n"
        "2\r\n00:00:03,000 --> 00:00:04,000\r\nat 10:30: we start\r\nand go on\r\n\r\n\r\n"
        "3\r\n01:00:05,5 --> 01:00:06,000\r\nMr. Bob Ray: no\r\n",
    )
    assert spoken(found) == [
        (1.0, 2.5, "Anna", "Good morning"),
        (3.0, 4.0, "Anna", "at 10:30: we start and go on"),
        (3605.5, 3606.0, "Mr. Bob Ray", "no"),
    ]


def test_webvtt_with_voices_notes_styles_and_settings(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "a.vtt",
        "WEBVTT - a title\nKind: captions\n\nSTYLE\n::cue { color: red }\n\nNOTE nothing\nto see\n\n"
        "intro\n00:01.000 --> 00:02.000 align:start\n<v.loud Anna Lee>Hi &amp; <b>hello</b></v>\n\n"
        "00:00:03.000 --> 00:00:05.000\n<v Anna>aaaa\n<v Bob>bbbb\n\n"
        "00:06.000 --> 00:07.000\nnobody\n",
    )
    assert spoken(found) == [
        (1.0, 2.0, "Anna Lee", "Hi & hello"),
        (3.0, 4.0, "Anna", "aaaa"),
        (4.0, 5.0, "Bob", "bbbb"),
        (6.0, 7.0, None, "nobody"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '{"turns": [\n{"speaker": "x",\n}]}', "line 3"),
        ("a.json", '{"turns": 5}', 'list "turns"'),
        (
            "a.json",
            '{"turns": [{"start": 0, "end": 1, "text": "x"}, {"start": 2, "end": 1, "text": "x"}]}',
            "turn 1",
        ),
        ("a.json", '{"turns": [{"start": 0, "end": NaN, "text": "x"}]}', "seconds"),
        ("a.json", '{"turns": [{"start": true, "end": 2, "text": "x"}]}', "seconds"),
        ("a.json", '{"turns": [{"start": 0, "end": 1}]}', "no text"),
        ("a.json", '{"turns": ["hello"]}', "not an object"),
        ("a.json", '{"turns": [], "duration_s": "long"}', "duration_s"),
        ("a.json", b"\x80\x81", "JSON"),
        ("a.srt", "", "no captions"),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\nhi\n\n2\nno time here\n", "line 5"),
        ("a.srt", "1\n00:00:01 --> later\nhi\n", "line 2"),
        ("a.srt", "1\n00:00:03,000 --> 00:00:02,000\nhi\n", "line 2"),
        ("a.vtt", "1\n00:00:01.000 --> 00:00:02.000\nhi\n", "WEBVTT"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(BadTranscript, match=message):
        read(tmp_path, name, content)


@given(st.text(max_size=300), st.booleans())
def test_no_text_makes_captions_fail_otherwise(text: str, webvtt: bool) -> None:
    try:
        segments = read_captions(("WEBVTT\n\n" if webvtt else "") + text, "a", webvtt=webvtt)
    except BadTranscript:
        return
    assert all(s.start <= s.end for s in segments)


def test_every_line_of_a_jsonl_file_is_a_recording(intake: Intake) -> None:
    lines = [
        json.dumps({"id": "c 1", "agent": "Ann", "turns": TURNS, "label": "x"}),
        "",
        json.dumps({"turns": TURNS, "duration_s": 8}),
        json.dumps({"id": "c 1", "turns": TURNS[:1]}),
    ]
    path = intake.write("calls.jsonl", "\n".join(lines))
    report = intake.scan()
    assert (len(report.new), report.problems) == (3, ())
    rows = {row.sources[0].name: row for row in intake.catalog.rows()}
    assert set(rows) == {"calls.jsonl#c 1", "calls.jsonl#3", "calls.jsonl#c 1 (line 4)"}
    first = rows["calls.jsonl#c 1"]
    assert (first.recording.kind, first.metadata.agent) == (Kind.TRANSCRIPT, "Ann")
    assert first.metadata.extra == {"id": "c 1", "label": "x"}
    assert first.transcript is not None
    assert len(read_transcript(first.transcript, sha256=first.transcript_sha256).segments) == 2
    third = rows["calls.jsonl#3"].transcript
    assert third is not None
    assert read_transcript(third).duration == 8.0
    assert intake.counts() == (0, 0, 0)

    reordered = [json.dumps(dict(reversed(list(json.loads(lines[0]).items()))), indent=None), lines[3]]
    intake.write("calls.jsonl", "\n".join(reordered), mtime=LONG_AGO + 5)
    assert intake.counts() == (0, 1, 1)  # one line is gone, and another has a new number
    path.unlink()
    assert intake.counts() == (0, 0, 2)
    intake.write("calls.jsonl", "\n".join(reordered), mtime=LONG_AGO + 5)
    assert intake.counts() == (0, 2, 0)


def test_bad_lines_are_a_problem_and_good_ones_recordings(intake: Intake) -> None:
    intake.write("calls.jsonl", json.dumps({"turns": TURNS}) + "\n{broken\n[]\n")
    intake.write("log.jsonl", '{"level": "info"}\n{"level": "error"}\n')
    assert intake.counts() == (1, 0, 0)
    assert "line 2, 3" in intake.problem("calls.jsonl")
    assert len(intake.scan().problems) == 1


def test_a_transcript_that_changed_since_the_scan_is_not_mistaken(intake: Intake) -> None:
    intake.write("calls.jsonl", json.dumps({"id": "a", "turns": TURNS}))
    intake.write("one.json", json.dumps({"turns": TURNS}))
    intake.scan()
    rows = intake.catalog.rows()
    intake.write("calls.jsonl", json.dumps({"id": "a", "turns": TURNS[:1]}), mtime=LONG_AGO + 5)
    intake.write("one.json", json.dumps({"turns": TURNS[:1]}), mtime=LONG_AGO + 5)
    for row in rows:
        assert row.transcript is not None
        with pytest.raises(SourceUnavailable, match="changed"):
            read_transcript(row.transcript, sha256=row.transcript_sha256)
    intake.write("calls.jsonl", "", mtime=LONG_AGO + 6)
    (intake.folder / "one.json").unlink()
    for row in rows:
        assert row.transcript is not None
        with pytest.raises(SourceUnavailable):
            read_transcript(row.transcript)


def test_only_json_with_turns_is_a_recording_on_its_own(intake: Intake) -> None:
    intake.write("settings.json", '{"theme": "dark"}')
    intake.write("broken.json", "{")
    intake.write("call.json", json.dumps({"turns": TURNS, "agent": "Ann"}))
    report = intake.scan()
    assert (len(report.new), report.problems) == (1, ())
    (row,) = intake.catalog.rows()
    assert (row.metadata.agent, row.metadata.source_name) == ("Ann", "call.json")
    assert row.metadata.extra == {}


def test_a_transcript_belongs_to_the_audio_beside_it_while_that_is_there(intake: Intake) -> None:
    intake.write("call.srt", "1\n00:00:01,000 --> 00:00:02,000\nhi\n")
    intake.write("call.json", '{"agent": "Ann"}')
    (alone,) = intake.scan().new
    audio = intake.write("call.mp3", "sound")
    report = intake.scan()
    assert (len(report.new), report.removed) == (1, (alone,))
    (row,) = intake.catalog.rows()
    assert (row.recording.kind, row.metadata.agent) == (Kind.AUDIO, "Ann")
    assert row.transcript == intake.folder / "call.srt"
    audio.unlink()
    assert intake.scan().changed == (alone,)
