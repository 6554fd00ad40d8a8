"""The shipped samples are what their dialogue files say, and show every verdict."""

from __future__ import annotations

import csv
import hashlib
import re
import tomllib
from pathlib import Path

import pytest

from callpipeline.audio.probe import findings, probe
from callpipeline.audio.vad import speech_activity
from callpipeline.failures import BadInput
from callpipeline.intake.catalog import Catalog
from callpipeline.intake.scan import scan
from callpipeline.intake.transcript_files import read_transcript
from callpipeline.model import AudioInfo, Role, SpeakerTurns, Turn
from callpipeline.qa import late_hello, releasing
from callpipeline.qa.opening import Opening
from callpipeline.qa.rollups import reach, rebuttal_flag
from callpipeline.qa.scores import band
from callpipeline.settings import Settings
from callpipeline_tests.samples.conftest import SAMPLES, SOURCE, Truth, truths

MANIFEST = SAMPLES / "manifest.csv"


def probed(path: Path) -> AudioInfo:
    return probe(path, max_duration=600, max_bytes=10_000_000)


def true_turns(truth: Truth) -> SpeakerTurns:
    """Return what is really said, as if an engine had understood every word."""
    turns = [
        Turn(index=i, speaker=line["speaker"], role=Role(line["speaker"]),
             start=line["start"], end=line["end"], text=line["text"])
        for i, line in enumerate(truth["dialogue"])
    ]  # fmt: skip
    return SpeakerTurns(
        turns=tuple(turns), role_confidence=1.0, transcript_engine="truth", diarization_engine="truth"
    )


# --- files ---------------------------------------------------------------------------------------------


def test_every_dialogue_file_has_been_made() -> None:
    made = {path.stem for path in (SOURCE / "expected").glob("*.json")}
    assert made == {path.stem for path in (SOURCE / "calls").glob("*.toml")}


@pytest.mark.parametrize("truth", truths())
def test_a_sample_has_the_bytes_that_its_truth_was_written_for(truth: Truth) -> None:
    data = (SAMPLES / truth["file"]).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (truth["bytes"], truth["sha256"])


@pytest.mark.parametrize("truth", truths("call", "transcript"))
def test_the_truth_has_the_words_of_the_dialogue_file(truth: Truth) -> None:
    script = tomllib.loads((SOURCE / "calls" / f"{truth['name']}.toml").read_text("utf-8"))
    written = re.findall(r"^(agent|customer)(?: \[.*?\])?: (.+)$", script["dialogue"], flags=re.MULTILINE)
    assert sorted((line["speaker"], line["text"]) for line in truth["dialogue"]) == sorted(written)


def test_no_file_lies_among_the_samples_that_no_dialogue_file_makes(all_truths: list[Truth]) -> None:
    made = {SAMPLES / truth["file"] for truth in all_truths} | {MANIFEST}
    beside = {path.with_suffix(extension) for path in made for extension in (".json", ".srt")}
    assert {path for path in SAMPLES.rglob("*") if path.is_file()} <= made | beside


def test_the_samples_stay_small_enough_to_ship(all_truths: list[Truth]) -> None:
    assert sum(truth["bytes"] for truth in all_truths) <= 12_000_000


def test_every_row_of_the_manifest_names_a_sample() -> None:
    with MANIFEST.open(newline="", encoding="utf-8") as table:
        files = [row["file"] for row in csv.DictReader(table)]
    assert files
    assert [name for name in files if not (SAMPLES / name).is_file()] == []


# --- what the pipeline makes of them ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """The samples folder as a scan takes it in."""
    catalog = Catalog(tmp_path_factory.mktemp("store") / "catalog.sqlite")
    report = scan(catalog, SAMPLES, Settings(stable_seconds=0))
    assert report.problems == ()
    return catalog


def test_a_scan_finds_each_recording_once(catalog: Catalog, all_truths: list[Truth]) -> None:
    assert len(catalog.keys()) == len([t for t in all_truths if t["kind"] != "duplicate"])


@pytest.mark.parametrize("truth", truths("call", "broken", "transcript"))
def test_names_folders_manifest_and_sidecar_say_who_called_whom(catalog: Catalog, truth: Truth) -> None:
    row = next(r for r in catalog.rows() if SAMPLES / truth["file"] in r.sources)
    found = row.metadata.model_dump(mode="json")
    roles = found["channel_roles"]
    found["channel_roles"] = roles and {str(channel): role for channel, role in roles.items()}
    assert {name: found[name] for name in truth["metadata"]} == truth["metadata"]


@pytest.mark.parametrize("truth", truths("duplicate"))
def test_a_duplicate_is_a_second_source_of_the_same_recording(catalog: Catalog, truth: Truth) -> None:
    row = next(r for r in catalog.rows() if SAMPLES / truth["file"] in r.sources)
    assert set(row.sources) == {SAMPLES / truth["file"], SAMPLES / truth["duplicate_of"]}


@pytest.mark.parametrize("truth", truths("broken"))
def test_a_broken_sample_is_refused_for_the_right_reason(truth: Truth) -> None:
    with pytest.raises(BadInput) as refusal:
        probed(SAMPLES / truth["file"])
    assert refusal.value.error_class == truth["expected"]["error_class"]


@pytest.mark.parametrize("truth", truths("call"))
def test_a_call_sounds_as_its_truth_says_and_gives_these_verdicts(truth: Truth) -> None:
    path, expected = SAMPLES / truth["file"], truth["expected"]
    info = probed(path)
    assert (info.sample_rate, info.channels) == (truth["sample_rate"], truth["channels"])
    assert info.duration == pytest.approx(truth["duration"], abs=0.15)
    assert [finding.message for finding in findings(info) if not finding.passed] == []
    if info.channels == 1:
        return
    roles = truth["metadata"].get("channel_roles") or {"0": "agent", "1": "customer"}
    activity = speech_activity(path, info, channel_roles={int(c): Role(r) for c, r in roles.items()})
    silent = releasing.detect(activity, min_speech=0.30)
    late = late_hello.detect(activity, silent, after=5.0)
    assert (silent.verdict, late.verdict) == (expected["releasing"], expected["late_hello"])


@pytest.mark.parametrize("truth", truths("call", "transcript"))
def test_the_agent_really_says_what_the_intro_score_expects(truth: Truth) -> None:
    items = truth["expected"].get("intro")
    if items is None:
        assert truth["expected"]["releasing"] == "yes"
        return
    opening = Opening(true_turns(truth))
    heard = {
        "agent_introduces": opening.introduction(),
        "names_owner": opening.owner(),
        "names_property": opening.property(),
    }
    assert {name: evidence is not None for name, evidence in heard.items()} == items


@pytest.mark.parametrize("truth", truths("call"))
def test_a_ready_made_transcript_beside_a_call_has_its_words_and_speakers(truth: Truth) -> None:
    captions = (SAMPLES / truth["file"]).with_suffix(".srt")
    if not captions.is_file():
        return
    read = [(str(s.speaker).lower(), s.text) for s in read_transcript(captions).segments]
    assert read == [(line["speaker"], line["text"]) for line in truth["dialogue"]]


# --- what the whole set shows ----------------------------------------------------------------------------


def test_every_verdict_is_shown(all_truths: list[Truth]) -> None:
    shown = {(name, value) for t in all_truths for name, value in t["expected"].items() if name != "intro"}
    assert shown >= {
        *(("releasing", v) for v in ("yes", "no")),
        *(("late_hello", v) for v in ("yes", "no", "not_applicable")),
        *(("rebuttal", v) for v in ("attempted", "no_attempt", "no_objection", "unusable", "skipped")),
        *(("error_class", v) for v in ("not_audio", "corrupt_audio")),
        *(("flag", v) for v in (True, False)),
        *(("intro_band", v) for v in ("excellent", "good", "needs_training", "critical")),
    }


def test_every_disposition_format_and_rate_is_shown(all_truths: list[Truth]) -> None:
    assert {t["metadata"]["disposition"] for t in all_truths if t["metadata"]} == {
        *("Decision Maker - NYI", "Wrong Number", "Unknown", "Voicemail", "Dead Call", "Spanish Speaker"),
        *("DNC - Decision Maker", "DNC - Unknown", "Influencer", "Sold"),
    }
    calls = [t for t in all_truths if t["kind"] == "call"]
    assert {Path(t["file"]).suffix for t in calls} == {".mp3", ".wav", ".flac", ".m4a", ".ogg"}
    assert {t["sample_rate"] for t in calls} >= {8000, 16000}
    assert sum(t["channels"] == 2 for t in calls) >= 24
    assert sum(t["channels"] == 1 for t in calls) == 4


def test_one_agent_is_flagged_for_rebuttals(all_truths: list[Truth]) -> None:
    judged = [t for t in all_truths if t["kind"] in ("call", "transcript")]
    flagged = set()
    for agent in {t["metadata"]["agent"] for t in judged}:
        verdicts = [t["expected"]["rebuttal"] for t in judged if t["metadata"]["agent"] == agent]
        tried = verdicts.count("attempted")
        if rebuttal_flag(tried + verdicts.count("no_attempt"), tried):
            flagged.add(agent)
    assert flagged == {"Daniel Reed"}


def test_one_of_three_campaigns_has_low_reach(all_truths: list[Truth]) -> None:
    by_campaign: dict[str, list[str]] = {}
    for truth in all_truths:
        if truth["metadata"]:
            by_campaign.setdefault(truth["metadata"]["campaign"], []).append(truth["metadata"]["disposition"])
    assert {name: reach(dispositions)[2] for name, dispositions in by_campaign.items()} == {
        "Maple County Homes": "good",
        "Brightfield Solar": "good",
        "Harbor Insurance": "low",
    }


@pytest.mark.parametrize("truth", truths("call", "transcript"))
def test_flag_and_band_follow_from_the_other_expected_verdicts(truth: Truth) -> None:
    e = truth["expected"]
    flags = e["releasing"] == "yes" or e["late_hello"] == "yes" or e["rebuttal"] == "no_attempt"
    items = [e["releasing"] == "no", *e.get("intro", {}).values()]
    if e["late_hello"] != "not_applicable":
        items.append(e["late_hello"] == "no")
    if e["rebuttal"] in ("attempted", "no_attempt"):
        items.append(e["rebuttal"] == "attempted")
    assert (e["flag"], e["intro_band"]) == (flags, band(100 * sum(items) / len(items)))
