from __future__ import annotations

import pytest

from callpipeline.intake.metadata import from_folder, from_name
from callpipeline.model import CallMetadata, Role
from callpipeline.settings import DEFAULT_FOLDER_PATTERN, DEFAULT_NAME_PATTERN
from callpipeline_tests.intake.conftest import LONG_AGO, Intake


def only(intake: Intake) -> CallMetadata:
    intake.scan()
    (row,) = intake.catalog.rows()
    return row.metadata


@pytest.mark.parametrize(
    ("stem", "agent", "timestamp", "phone", "disposition"),
    [
        (
            "Ann Lee _ 10_30 AM _ 5551234567 _ Wrong Number",
            "Ann Lee",
            "10_30 AM",
            "5551234567",
            "Wrong Number",
        ),
        ("Ann Lee _ 5551234567", "Ann Lee", None, "5551234567", None),
        ("Ann _ (555) 123-4567", "Ann", None, "(555) 123-4567", None),
        (
            "ann_lee _ 2026-01-02 10.30 _ +1 555 123 4567 _ Decision Maker - NYI",
            "ann_lee",
            "2026-01-02 10.30",
            "+1 555 123 4567",
            "Decision Maker - NYI",
        ),
        ("Ann _ 5551234567 _ DNC - Unknown", "Ann", None, "5551234567", "DNC - Unknown"),
        ("Ann _ 5551234567 (1)", "Ann", None, "5551234567", None),
        ("Ann _ 9 AM _ 5551234567 _ Sold (12)", "Ann", "9 AM", "5551234567", "Sold"),
        ("call0001", None, None, None, None),
        ("Ann _ Bob", None, None, None, None),
    ],
)
def test_the_usual_file_names_say_who_when_and_how(
    stem: str, agent: str | None, timestamp: str | None, phone: str | None, disposition: str | None
) -> None:
    found = from_name(stem, DEFAULT_NAME_PATTERN)
    expected = {"agent": agent, "timestamp": timestamp, "phone": phone, "disposition": disposition}
    assert found == {name: value for name, value in expected.items() if value is not None}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "/x/Recordings/Solar/jo/Ann Lee-20260102_001 Dialer 2/c.mp3",
            ("Solar", "jo", "20260102", "Dialer 2"),
        ),
        (
            "/x/Recordings/Ann Lee/jo/Ann-Lou-2026-01-02_117 V1.5/c.mp3",
            ("Ann Lee", "jo", "2026-01-02", "V1.5"),
        ),
        ("/x/Recordings/Solar/jo/Ann-01-02-2026_001 Main.mp3", ("Solar", "jo", "01-02-2026", "Main")),
        ("/x/Recordings/Solar/jo/Ann-20260102_001/c.mp3", ("Solar", "jo", "20260102", None)),
        ("/x/Recordings/Solar/jo/c.mp3", None),
        ("/x/OldRecordings/Solar/jo/Ann-20260102_001 D/c.mp3", None),
    ],
)
def test_the_usual_folders_say_which_campaign_and_dialer(
    path: str, expected: tuple[str | None, ...] | None
) -> None:
    found = from_folder(path, DEFAULT_FOLDER_PATTERN)
    names = ("campaign", "user", "date", "dialer")
    assert found == {k: v for k, v in zip(names, expected or (), strict=False) if v is not None}


def test_the_nearer_and_the_more_deliberate_source_wins_field_by_field(intake: Intake) -> None:
    folder = "Recordings/Solar/jo/Ann-20260102_001 Main"
    intake.write(f"{folder}/Ann _ 5551234567 _ Sold.mp3", "one")
    intake.write(
        "manifest.csv", f"file,agent,campaign,title,committee\n{folder}/Ann _ 5551234567 _ Sold.mp3,A,B,C,D\n"
    )
    intake.write(
        f"{folder}/manifest.csv", "File Name,title,committee\nAnn _ 5551234567 _ Sold.mp3,near,near\n"
    )
    intake.write(f"{folder}/Ann _ 5551234567 _ Sold.json", '{"committee": "own", "Shift": "late"}')
    found = only(intake)
    assert (found.phone, found.disposition) == ("5551234567", "Sold")
    assert (found.user, found.dialer, found.date) == ("jo", "Main", "20260102")
    assert (found.agent, found.campaign, found.title, found.committee) == ("A", "B", "near", "own")
    assert found.extra == {"Shift": "late"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_manifests_of_spreadsheets_are_understood(intake: Intake, encoding: str, delimiter: str) -> None:
    rows = [
        ("FILE NAME", "Agent Name", "Phone Number", "Dialer Name", "channel_0", "Channel 1", "Team"),
        ("a.mp3", "  Zoë ", "555", "D", "Customer", "agent", "red"),
    ]
    intake.write("a.mp3", "one")
    intake.write("manifest.csv", "\r\n".join(delimiter.join(row) for row in rows).encode(encoding))
    found = only(intake)
    assert (found.agent, found.phone, found.dialer) == ("Zoë", "555", "D")
    assert found.channel_roles == {0: Role.CUSTOMER, 1: Role.AGENT}
    assert found.extra == {"Team": "red"}


def test_an_empty_cell_overrides_nothing_and_windows_paths_match(intake: Intake) -> None:
    intake.write("in/Ann _ 5551234567.mp3", "one")
    intake.write("manifest.csv", "file,agent,date\nin\\Ann _ 5551234567.mp3,,2026-01-02\n")
    found = only(intake)
    assert (found.agent, found.date) == ("Ann", "2026-01-02")


def test_a_manifest_makes_recordings_of_files_with_other_extensions(intake: Intake) -> None:
    intake.write("call.dat", "one")
    intake.write("other.dat", "two")
    assert intake.scan().new == ()
    intake.write("manifest.csv", "file,agent\ncall.dat,Ann\n")
    assert only(intake).agent == "Ann"
    (intake.folder / "manifest.csv").unlink()
    assert len(intake.scan().removed) == 1


def test_a_changed_manifest_changes_only_the_recordings_it_changes(intake: Intake) -> None:
    intake.write("a.mp3", "one")
    intake.write("b.mp3", "two")
    intake.write("manifest.csv", "file,agent\na.mp3,Ann\nb.mp3,Bob\n")
    assert intake.counts() == (2, 0, 0)
    assert intake.counts() == (0, 0, 0)
    intake.write("manifest.csv", "file,agent\na.mp3,Ann\nb.mp3,Bea\n", mtime=LONG_AGO + 5)
    assert intake.counts() == (0, 1, 0)
    assert sorted(row.metadata.agent or "" for row in intake.catalog.rows()) == ["Ann", "Bea"]


def test_a_manifest_above_counts_when_only_a_sub_folder_is_scanned(intake: Intake) -> None:
    intake.write("deep/a.mp3", "one")
    intake.write("manifest.csv", "file,agent\ndeep/a.mp3,Ann\n")
    assert only(intake).agent == "Ann"
    assert intake.scan(intake.folder / "deep").changed == ()
    assert only(intake).agent == "Ann"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.json", "{not json", "line 1"),
        ("a.json", "[1, 2]", "object"),
        ("a.json", b"\xff\xfe\x00", "JSON"),
        ("a.json", "[" * 100_000, "JSON"),
        ("manifest.csv", "", "empty"),
        ("manifest.csv", "name,agent\na.mp3,Ann\n", "column"),
        ("manifest.csv", 'file,agent\na.mp3,"Ann\n', "table"),
    ],
)
def test_bad_metadata_is_a_problem_of_its_file_and_no_error_of_the_recording(
    intake: Intake, name: str, content: str | bytes, problem: str
) -> None:
    intake.write("a.mp3", "one")
    intake.write(name, content)
    assert only(intake).agent is None
    assert problem in intake.problem(name)
    intake.scan()
    assert problem in intake.problem(name)
    (intake.folder / name).unlink()
    assert intake.scan().problems == ()


def test_fields_of_the_wrong_kind_are_left_blank_and_said(intake: Intake) -> None:
    intake.write("a.mp3", "one")
    intake.write(
        "a.json",
        '{"agent": {"first": "Ann"}, "phone": 5551234567, "title": null, "channel_roles": {"0": "boss"}}',
    )
    found = only(intake)
    assert (found.agent, found.phone, found.title, found.channel_roles) == (None, "5551234567", None, None)
    assert "agent must be text" in intake.problem("a.mp3")
    assert "channel_roles" in intake.problem("a.mp3")


@pytest.mark.parametrize(
    ("said", "speakers"), [("5", 5), ('"5"', 5), ('"0"', None), ("2.5", None), ('"a few"', None)]
)
def test_how_many_speak_is_a_number(intake: Intake, said: str, speakers: int | None) -> None:
    intake.write("a.mp3", "one")
    intake.write("a.json", '{"speakers": ' + said + "}")
    assert only(intake).speakers == speakers
    if speakers is None:
        assert "speakers must be a number from 1 to 20" in intake.problem("a.mp3")


def test_a_column_says_how_many_speak(intake: Intake) -> None:
    intake.write("a.mp3", "one")
    intake.write("manifest.csv", "File Name,Number of speakers\na.mp3,4\n")
    assert (only(intake).speakers, only(intake).extra) == (4, {})


def test_any_text_in_metadata_can_be_stored(intake: Intake) -> None:
    intake.write("a.mp3", "one")
    intake.write("a.json", r'{"agent": "A\ud800\u0000n\nn", "note": ["\udfff", {"x": NaN}]}')
    found = only(intake)
    assert found.agent is not None
    assert found.agent.startswith("A?")
    assert found.model_dump_json()


def test_patterns_are_configuration_and_unknown_groups_are_kept(intake: Intake) -> None:
    intake.settings = intake.settings.model_copy(update={"name_pattern": r"^(?P<team>\w+)-(?P<agent>\w+)$"})
    intake.write("red-Ann.mp3", "one")
    found = only(intake)
    assert (found.agent, found.extra) == ("Ann", {"team": "red"})
    intake.settings = intake.settings.model_copy(update={"name_pattern": r"^(?P<agent>\w+)-"})
    assert intake.counts() == (0, 1, 0)
    (row,) = intake.catalog.rows()
    assert row.metadata.agent == "red"
