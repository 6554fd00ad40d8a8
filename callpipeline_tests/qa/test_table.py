import csv

import pytest

from callpipeline.model import CallMetadata, Role, Verdict
from callpipeline.qa.report import write_csv
from callpipeline.qa.rows import call_row
from callpipeline.qa.table import LONGEST_CELL, phone, safe
from callpipeline_tests.qa.builders import failure, row, turns

HEADER = (
    "Agent Name,Phone Number,Timestamp,Disposition,Releasing Detection,Late Hello Detection,"
    "Rebuttal Detection,Confidence,Transcription,Dialer Name,Agent Intro,Owner Name,Reason for calling,"
    "Intro Score,Status,File Name,File Path"
)


def written(tmp_path, *rows):
    path = tmp_path / "out" / "calls.csv"
    write_csv(rows, path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_the_columns_are_the_agreed_ones_in_order(tmp_path):
    path = tmp_path / "calls.csv"
    write_csv([], path)
    assert path.read_text("utf-8-sig").strip() == HEADER


def test_excel_sees_utf_8(tmp_path):
    path = tmp_path / "calls.csv"
    write_csv([row(agent="José Ñandú")], path)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert "José Ñandú".encode() in path.read_bytes()


def test_a_judged_call(tmp_path):
    conversation = turns((Role.AGENT, 'hi "there", this is nora'), (Role.CUSTOMER, "no"))
    (line,) = written(
        tmp_path,
        row(
            conversation=conversation,
            score=83.0,
            rebuttal=Verdict.NO_ATTEMPT,
            agent="Nora",
            phone="+15550100199",
            timestamp="2026-11-20 10:32",
            disposition="Unknown",
            dialer="D1",
        ),
    )
    assert line["Phone Number"] == "+1 555 010 0199"
    assert (line["Releasing Detection"], line["Rebuttal Detection"]) == ("No", "No attempt")
    assert line["Transcription"] == '[0:00] Agent: hi "there", this is nora\n[0:05] Customer: no'
    assert line["Agent Intro"].startswith("Yes: ")
    assert line["Owner Name"] == "No"
    assert (line["Intro Score"], line["Confidence"], line["Status"]) == ("83", "0.90", "ok")


def test_a_failed_call_has_no_no_in_it(tmp_path):
    lost = call_row("k", metadata=CallMetadata(), file_name="a", file_path="b/a", failures=[failure()])
    (line,) = written(tmp_path, lost)
    for column in ("Releasing Detection", "Late Hello Detection", "Rebuttal Detection"):
        assert line[column] == "Error"
    assert line["Agent Intro"] == ""
    assert "most packets do not decode" in line["Status"]


def test_a_waiting_call_is_blank(tmp_path):
    (line,) = written(tmp_path, call_row("k", metadata=CallMetadata(), file_name="a", file_path="b/a"))
    assert line["Releasing Detection"] == ""
    assert line["Status"] == "pending"


@pytest.mark.parametrize(
    "cell",
    ['=HYPERLINK("http://x")', "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", " =1", "＝1", "+1-555-0100"],
)
def test_a_formula_is_text(tmp_path, cell):
    (line,) = written(tmp_path, row(agent=cell.strip(), file_name=cell))
    assert line["File Name"] == f"'{cell}"
    assert line["Agent Name"].startswith("'")


@pytest.mark.parametrize("cell", ["-12", "3.5", "+1 555 010 0199", "a=b", "", "Omar"])
def test_what_is_no_formula_stays(cell):
    assert safe(cell) == cell


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+1-555-010-0199", "+1 555 010 0199"),
        ("+15550100199", "+1 555 010 0199"),
        ("+44 (20) 7946-0958", "+44 20 7946 0958"),
        ("555-010-0199", "555-010-0199"),
        ("(555) 010-0199", "(555) 010-0199"),
        ("+1 555 CALL NOW", "+1 555 CALL NOW"),
    ],
)
def test_phone_numbers_stay_phone_numbers(number, shown):
    assert phone(number) == shown


def test_a_cell_fits_into_excel(tmp_path):
    (line,) = written(tmp_path, row(conversation=turns((Role.AGENT, "word " * 20_000))))
    assert LONGEST_CELL < len(line["Transcription"]) < 32_767
    assert "cut here" in line["Transcription"]
