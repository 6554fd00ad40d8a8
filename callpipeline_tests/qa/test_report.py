import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from callpipeline.model import CallMetadata, Role, Verdict
from callpipeline.qa.report import write_html
from callpipeline.qa.rows import call_row
from callpipeline_tests.qa.builders import failure, row, turns

AT = datetime(2026, 11, 20, 18, 30, tzinfo=UTC)
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'


class Page(HTMLParser):
    """What a browser would make of the file, as far as the tests ask."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.calls, self.text, self.urls, self.handlers = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        values = dict(attrs)
        if tag == "details":
            self.calls.append(values)
        self.urls += [v for k, v in attrs if k in ("src", "href")]
        self.handlers += [k for k, _ in attrs if k.startswith("on")]

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def page(tmp_path):
    def render(rows, **more):
        path = tmp_path / "out" / "report.html"
        write_html(rows, path, title=more.pop("title", "Calls"), generated_at=AT, **more)
        return Page(path.read_text("utf-8"))

    return render


def words(page):
    return " ".join(" ".join(page.text).split())


def test_hostile_names_are_shown_and_not_run(page):
    conversation = turns((Role.AGENT, HOSTILE))
    clean = page([row()])
    hostile = page(
        [
            row(
                agent=HOSTILE,
                disposition=HOSTILE,
                campaign=HOSTILE,
                file_name=HOSTILE,
                conversation=conversation,
            )
        ],
        title=HOSTILE,
    )
    assert hostile.tags.count("script") == clean.tags.count("script") == 1
    assert "img" not in hostile.tags
    assert hostile.handlers == []
    assert hostile.calls[0]["data-a"] == HOSTILE


def test_a_waveform_cannot_run_anything(page):
    svg = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    shown = page([row("k")], waveforms={"k": svg})
    assert shown.tags.count("script") == 1
    assert [u[:26] for u in shown.urls] == ["data:image/svg+xml;base64,"]


def test_the_file_asks_nothing_of_any_network(page, tmp_path):
    page([row()])
    text = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert re.findall(r"(?:https?:)?//[a-z]\S+", re.sub(r"^// .*$", "", text, flags=re.M)) == []
    assert "default-src 'none'" in text


def test_flagged_calls_come_first_then_failed_ones(page):
    lost = call_row("c", metadata=CallMetadata(), file_name="a", file_path="a", failures=[failure()])
    shown = page([row("a"), lost, row("b", late_hello=Verdict.YES)])
    assert [call["data-k"] for call in shown.calls] == ["flag", "err", "ok"]


def test_a_call_is_found_by_agent_and_verdict(page):
    (call,) = page([row(agent="Nora", rebuttal=Verdict.NO_ATTEMPT, score=50.0)]).calls
    assert call["data-a"] == "Nora"
    assert "rebuttal:no_attempt" in call["data-v"].split()


def test_an_error_is_shown_with_what_to_do(page):
    lost = call_row("c", metadata=CallMetadata(), file_name="a", file_path="a", failures=[failure()])
    text = words(page([lost]))
    assert "most packets do not decode" in text
    assert "Fetch it again from the dialer" in text


def test_the_demo_engine_is_announced_only_when_it_was_used(page):
    demo = turns((Role.AGENT, "hi"), demo=True, transcript_engine="sphinx")
    assert "Offline demo engine" in words(page([row(conversation=demo)]))
    assert "Offline demo engine" not in words(page([row(conversation=turns((Role.AGENT, "hi")))]))


def test_the_header_says_when_and_with_what(page):
    text = words(page([row(conversation=turns((Role.AGENT, "hi")), date="2026-11-19")]))
    assert "2026-11-20 18:30 UTC" in text
    assert "Transcribed by whisper (1)" in text
    assert "2026-11-19" in text


def test_no_calls_make_a_page_too(page):
    assert "There are no calls yet." in words(page([]))


def test_two_thousand_calls_stay_below_five_megabytes_and_keep_the_flagged_texts(page, tmp_path):
    long = turns(*((Role.AGENT, f"line {i} " + "and some more words of a long call " * 3) for i in range(30)))
    rows = [
        row(
            f"{i:04d}",
            agent=f"Agent {i % 20}",
            conversation=long,
            late_hello=Verdict.YES if i % 5 == 0 else Verdict.NO,
            score=50.0,
        )
        for i in range(2000)
    ]
    shown = page(rows, waveforms={r.key: "<svg>" + "x" * 2500 + "</svg>" for r in rows})
    assert (tmp_path / "out" / "report.html").stat().st_size < 5_000_000
    assert len(shown.calls) == 2000
    text = words(shown)
    assert re.search(r"To keep this file small, \d+ transcripts were left out", text)
    assert text.count("line 29") >= 400


def test_with_far_too_many_calls_only_those_with_nothing_to_listen_to_are_omitted(page):
    rows = [row(f"{i}", late_hello=Verdict.YES if i % 10 == 0 else Verdict.NO) for i in range(200)]
    shown = page(rows, max_bytes=100_000)
    kinds = [call["data-k"] for call in shown.calls]
    assert kinds.count("flag") == 20
    assert 0 < kinds.count("ok") < 180
    assert f"{200 - len(kinds)} calls with nothing to listen to" in words(shown)


def test_a_report_replaces_the_one_before_and_leaves_nothing_beside_it(page, tmp_path):
    page([row(agent="Before")])
    page([row(agent="After")])
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["report.html"]
    assert "Before" not in (tmp_path / "out" / "report.html").read_text("utf-8")
