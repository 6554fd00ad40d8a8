"""A hearing of hours through OpenAI's API: three chunks in flight against one, memory, files, and every word.

The whole product (``walk_batch`` with the engine ``openai``) in a process of its own, against a simulator that knows
what is said in any piece of the recording, and answers as slowly as the real one: 2 s and 0.02 s for each second of
audio (at the small scale as much less as the chunks are shorter). One run has three in flight, one has one; the
speedup is of the stage ``transcripts``. Memory is of all processes of the run, above what it was after a short
recording. A second recording has no silences, so that every seam is an overlap. Ten recordings at once share the
slots, the memory and the disk.

Peers, for cutting alone: pydub with the whole file in memory, and ffmpeg's segmenter, which copies packets or makes
what we send (PyAV copies them where there is no ffmpeg).
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.hearing_peers import encoded_by_ffmpeg, with_av, with_ffmpeg, with_pydub
from bench.hearing_worker import Place, Report, work
from bench.long_recordings import divided, make
from bench.result import Result, Scale
from bench.watching import Seen, Watch
from callpipeline_tests.simulators import OpenAISimulator, RateLimit, SpokenTurn
from callpipeline_tests.simulators.timeline import Timeline
from callpipeline_tests.simulators.words import words_of

SLOTS = 3
LOOK_AHEAD = 2
AT_ONCE = 10
CUT_AT_ONCE = 2
"""Of recordings of one process so many have chunks that wait (``engines.openai_long``)."""
PER_MINUTE = 20
SHORT = 45.0
ABOUT = {"profile": "hearing", "title": "A hearing", "committee": "Works", "date": "2026-03-02"}
PEER_SECONDS = 600.0
MOST_MEMORY_MB = 150.0
NEAR = 0.25
"""A word is in its place when it is this near (s) to it."""

Words = Sequence[tuple[str, float, float]]


@dataclass(frozen=True)
class Plan:
    """Sizes of a scale; times in seconds. ``shorter``: how much shorter than in truth chunks and answers are."""

    seconds: float
    bit_rate: int
    shorter: float
    dense: float
    speedup: float
    each: float
    longest: float = 0.0

    @property
    def chunk(self) -> float:
        """Length of chunks."""
        return 600.0 / self.shorter

    @property
    def latency(self) -> str:
        """How long an answer takes."""
        return f"audio:0.02,{2 / self.shorter:.4f}"


PLANS = {
    Scale.SMALL: Plan(seconds=240, bit_rate=128_000, shorter=20, dense=60, speedup=2.0, each=22),
    # 121 MB.
    Scale.FULL: Plan(
        seconds=7560, bit_rate=128_000, shorter=1, dense=1800, speedup=2.95, each=1800, longest=36_000 - 60
    ),
}


@dataclass(frozen=True)
class Hearing:
    """A recording with its sidecar in a folder of its own, and its timeline."""

    path: Path
    timeline: Path
    turns: Sequence[SpokenTurn]


@dataclass(frozen=True)
class Measured:
    """One run: what it says, what it took, what the simulator counted."""

    report: Report
    idle_mb: float
    transcribed: Seen
    cut: Seen
    after: Seen
    provider: dict[str, Any]

    @property
    def makespan(self) -> float:
        """Seconds of the stage ``transcripts``."""
        return self.report.seconds["transcripts"]

    @property
    def memory(self) -> float:
        """MB above the idle process while it transcribed."""
        return self.transcribed.memory_mb - self.idle_mb


def run(scale: Scale) -> Result:
    plan = PLANS[scale]
    with tempfile.TemporaryDirectory(prefix="bench-hearing-", ignore_cleanup_errors=True) as name:
        root = Path(name)
        short = _recorded(root / "short", SHORT, 7)
        hearing = _recorded(root / "hearing", plan.seconds, 1, bit_rate=plan.bit_rate)
        details: dict[str, Any] = {
            "recording": _about(hearing.path, plan.seconds),
            "answers": f"{plan.latency} of simulated latency, {PER_MINUTE * plan.shorter:g} requests a minute",
        }

        def tell(name: str, figures: dict[str, Any]) -> None:
            """Keep figures, and show them now: the full scale takes half an hour."""
            details[name] = figures
            sys.stderr.write(f"{name}: {figures}\n")

        three = _measured(root, short, hearing, plan, slots=SLOTS, cut=True, everything=True)
        tell("three in flight", _figures(three, hearing, plan))
        one = _measured(root, short, hearing, plan, slots=1)
        tell("one at a time", _figures(one, hearing, plan))
        measured = [three, one]
        words = [_compared(three, hearing), _compared(one, hearing)]
        dense = _recorded(root / "dense", plan.dense, 3, pauses=(0.03, 0.1))
        # Small, so that there are many seams.
        often = replace(plan, shorter=max(2 * plan.shorter, 10.0))
        seams = _measured(root, short, dense, often, slots=SLOTS)
        tell("no silences", _figures(seams, dense, often))
        words.append(_compared(seams, dense))
        tell("cutting alone", _peers(root, hearing.path, three, plan))
        long_one = hearing
        if plan.longest:
            day = long_one = _recorded(root / "day", plan.longest, 4, bit_rate=64_000, layout="mono")
            long = _measured(root, short, day, plan, slots=SLOTS, everything=True)
            tell("ten hours", {"recording": _about(day.path, plan.longest), **_figures(long, day, plan)})
            measured.append(long)
            words.append(_compared(long, day))
        ten = _ten_at_once(root, short, long_one, plan)
        tell("ten at once", _figures_of_ten(ten, long_one, plan))
    speedup = one.makespan / three.makespan
    memory = max(each.memory for each in (*measured, ten))
    files = max(each.transcribed.files for each in measured)
    wrong = sum(each["lost"] + each["doubled"] + each["added"] for each in words)
    details["in all"] = {"memory_mb": round(memory, 1), "files": files, "words lost, doubled, added": wrong}
    few_files = files <= SLOTS + LOOK_AHEAD and ten.transcribed.files <= SLOTS + CUT_AT_ONCE * LOOK_AHEAD
    holds = speedup >= plan.speedup and memory <= MOST_MEMORY_MB and few_files and not wrong
    return Result(
        "hearing",
        round(speedup, 3),
        f"3 in flight >= {plan.speedup} x as fast as one, <= {MOST_MEMORY_MB:.0f} MB above idle, "
        f"<= {SLOTS + LOOK_AHEAD} chunk files ({SLOTS + CUT_AT_ONCE * LOOK_AHEAD} of ten recordings at once), "
        "no word lost or doubled",
        holds,
        details,
    )


# --- recordings --------------------------------------------------------------------------------------------


def _recorded(folder: Path, seconds: float, seed: int, **how: Any) -> Hearing:
    path = folder / "hearing.mp3"
    turns = make(path, seconds, seed=seed, **how)
    timeline = folder.with_suffix(".npz")
    Timeline.of(path, turns).save(timeline)
    path.with_suffix(".words.json").replace(folder.with_suffix(".words.json"))
    path.with_suffix(".json").write_text(json.dumps(ABOUT), encoding="utf-8")
    return Hearing(path, timeline, turns)


def _about(path: Path, seconds: float) -> str:
    return f"{path.stat().st_size / 1e6:.0f} MB, {seconds / 60:.0f} min"


# --- our runs ----------------------------------------------------------------------------------------------


def _measured(
    root: Path, short: Hearing, hearing: Hearing, plan: Plan, *, slots: int, **more: bool
) -> Measured:
    """Let a process of its own work on the recording, from nothing, and watch it. ``more``: see ``Place``."""
    store = root / "store"
    shutil.rmtree(store, ignore_errors=True)
    scratch = root / "tmp"
    scratch.mkdir(exist_ok=True)
    per_minute = round(PER_MINUTE * plan.shorter)
    limits = {"audio": RateLimit(requests=per_minute)}
    with OpenAISimulator(
        timeline=hearing.timeline, latency=plan.latency, limits=limits, child=True
    ) as provider:
        variables = {
            **provider.environment(),
            "TMPDIR": str(scratch),
            "CALLPIPELINE_TRANSCRIBER": "openai",
            "CALLPIPELINE_STABLE_SECONDS": "0",
            "CALLPIPELINE_OPENAI_AUDIO_SLOTS": str(slots),
            "CALLPIPELINE_OPENAI_AUDIO_REQUESTS_PER_MINUTE": str(per_minute),
            "CALLPIPELINE_CHUNK_SECONDS": str(plan.chunk),
            "CALLPIPELINE_CHUNK_LOOK_AHEAD": str(LOOK_AHEAD),
        }
        place = Place(short.path.parent, hearing.path.parent, store, variables, **more)
        with _process(work, place) as (connection, pid), Watch(pid, store / "sending", scratch) as watch:
            provider.reset()
            idle = watch.memory_now()
            watch.since()
            seen: list[Seen] = []
            report = Report()
            for _ in range(3):
                connection.send("go")
                report = connection.recv()
                seen.append(watch.since())
        stats = provider.stats
    figures = {
        "requests": stats.paid.calls,
        "audio_seconds": round(stats.paid.audio_seconds),
        "most in flight": stats.routes["transcriptions"].in_flight_max,
        "paid twice": stats.paid.duplicates,
        "refused for the rate": stats.all.statuses.get("429", 0),
    }
    return Measured(report, idle, seen[0], seen[1], seen[2], figures)


def _ten_at_once(root: Path, short: Hearing, long_one: Hearing, plan: Plan) -> Measured:
    """Transcribe stretches of a recording, each a recording of its own, all at the same time."""
    folder = root / "ten"
    divided(long_one.path, folder, AT_ONCE, plan.each)
    for path in folder.glob("*.mp3"):
        path.with_suffix(".json").write_text(json.dumps(ABOUT), encoding="utf-8")
    many = replace(long_one, path=folder / "00.mp3")
    return _measured(root, short, many, _shorter(plan), slots=SLOTS)


def _shorter(plan: Plan) -> Plan:
    """Return a plan under which even stretches of a short recording have several chunks."""
    return replace(plan, shorter=60.0) if plan.shorter > 1 else plan


def _figures_of_ten(ten: Measured, long_one: Hearing, plan: Plan) -> dict[str, Any]:
    seen, end = ten.transcribed, AT_ONCE * plan.each
    said = sum(w.end / 1000 <= end for turn in long_one.turns for w in words_of(turn))
    return {
        "recordings": f"{AT_ONCE} of {plan.each / 60:.1f} min",
        "wall_s": round(ten.report.wall, 2),
        "chunks": len(ten.report.chunks),
        "memory_mb": round(ten.memory, 1),
        "most chunk files": seen.files,
        "temp_mb": round(seen.disk_mb, 2),
        "provider": ten.provider,
        "gaps": ten.report.gaps,
        # Words that are cut in two where one recording ends and the next begins may be heard by both, or by none.
        "words said, heard": (said, len(ten.report.words)),
    }


@contextmanager
def _process(target: Callable[..., None], *arguments: object) -> Iterator[tuple[Connection, int]]:
    """Start a process with nothing of ours in it, wait until it is warm, and see that it ends."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *arguments))
    process.start()
    theirs.close()
    try:
        if ours.recv() != "warm" or process.pid is None:
            raise RuntimeError("the process did not get ready")
        yield ours, process.pid
        process.join(30)
    finally:
        if process.is_alive():
            process.kill()
        process.join()
        ours.close()


def _figures(measured: Measured, hearing: Hearing, plan: Plan) -> dict[str, Any]:
    report, seen = measured.report, measured.transcribed
    answers = 0.02 * measured.provider["audio_seconds"] + 2 / plan.shorter * measured.provider["requests"]
    return {
        "makespan_s": round(measured.makespan, 2),
        "all answers (s)": round(answers, 2),
        "away on average": round(answers / measured.makespan, 2),
        "chunks": len(report.chunks),
        "longest, shortest chunk (s)": [max(report.chunks), min(report.chunks)],
        "seams": {kind: report.seams.count(kind) for kind in ("silence", "overlap")},
        "seconds": report.seconds,
        **({"seconds of later stages": report.later, "speakers": report.speakers} if report.later else {}),
        "idle_mb": round(measured.idle_mb, 1),
        "memory_mb": round(measured.memory, 1),
        **(
            {"memory_mb of later stages": round(measured.after.memory_mb - measured.idle_mb, 1)}
            if report.later
            else {}
        ),
        "most chunk files": seen.files,
        "temp_mb": round(seen.disk_mb, 2),
        "temp_mb over time": seen.over_time(),
        "provider": measured.provider,
        "gaps": report.gaps,
        "words": _compared(measured, hearing),
    }


# --- every word --------------------------------------------------------------------------------------------


def _compared(measured: Measured, hearing: Hearing) -> dict[str, Any]:
    """Look for each word that was said, and for those that nobody said, or that are there twice."""
    said = [(_plain(w.text), w.start / 1000, w.end / 1000) for t in hearing.turns for w in words_of(t)]
    heard = sorted(
        ((_plain(text), start, end) for text, start, end in measured.report.words), key=lambda word: word[1]
    )
    used = [False] * len(heard)
    begin, lost, worst = 0, 0, 0.0
    for text, start, _ in said:
        while begin < len(heard) and heard[begin][1] < start - NEAR:
            begin += 1
        near = range(begin, bisect_right(heard, start + NEAR, key=lambda word: word[1]))
        same = [index for index in near if heard[index][0] == text and not used[index]]
        if not same:
            lost += 1
            continue
        best = min(same, key=lambda index: abs(heard[index][1] - start))
        worst = max(worst, abs(heard[best][1] - start))
        used[best] = True
    known = {text for text, _, _ in said}
    free = [index for index, taken in enumerate(used) if not taken]
    doubled = sum(heard[index][0] in known for index in free)
    return {
        "said": len(said),
        "lost": lost,
        "doubled": doubled,
        "added": len(free) - doubled,
        "worst_time_s": round(worst, 3),
    }


def _plain(text: str) -> str:
    return re.sub(r"[^\w']", "", text).lower()


# --- peers -------------------------------------------------------------------------------------------------


def _peers(root: Path, recording: Path, ours: Measured, plan: Plan) -> dict[str, Any]:
    piece = min(PEER_SECONDS, plan.chunk)
    found: dict[str, Any] = {
        "callpipeline": {
            "seconds": round(ours.report.cutting, 2),
            "memory_mb": round(ours.cut.memory_mb - ours.idle_mb, 1),
            "temp_mb": round(ours.cut.disk_mb, 2),
            "how": "streamed, 16 kHz mono Opus, cut at silences",
        },
        "pydub": _peer(with_pydub, root, recording, piece),
    }
    if shutil.which("ffmpeg"):
        found["ffmpeg -f segment -c copy"] = _peer(with_ffmpeg, root, recording, piece)
        found["ffmpeg -f segment -c libopus"] = _peer(encoded_by_ffmpeg, root, recording, piece)
    else:
        found["PyAV, packets copied"] = _peer(with_av, root, recording, piece)
    return found


def _peer(target: Callable[..., None], root: Path, recording: Path, piece: float) -> dict[str, Any]:
    folder = root / "pieces"
    folder.mkdir()
    with _process(target, recording, folder, piece) as (connection, pid), Watch(pid, folder) as watch:
        idle = watch.memory_now()
        connection.send("go")
        seconds, how = connection.recv()
        seen = watch.since()
    shutil.rmtree(folder)
    return {
        "seconds": round(seconds, 2),
        "memory_mb": round(seen.memory_mb - idle, 1),
        "temp_mb": round(seen.disk_mb, 2),
        "how": how,
    }
