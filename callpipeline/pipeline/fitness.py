"""Checks before a recording is sent away and paid for: the machine, the account, the recording, the budgets.

Every check reports, not only the first that fails; those that fail together are one ``NotFit``, and nothing was
sent. What belongs here: what must be true of a recording before a provider gets it. What does not: whether the
file is audio at all (``audio.probe``), and what happens once it is sent (the engine and ``limits``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from callpipeline.audio.probe import findings as audio_findings
from callpipeline.failures import CallPipelineError, NotFit, Recorded
from callpipeline.limits.costs import dollars, fits, over
from callpipeline.limits.ledger import Ledger, Send
from callpipeline.model import AudioInfo, CallMetadata, Finding
from callpipeline.settings import Settings
from callpipeline.speech.engines.base import PlannedCall, RemoteTranscriber, SpeechJob, refused
from callpipeline.store.pressure import free_disk, free_memory

if TYPE_CHECKING:
    from callpipeline.pipeline.workbench import Workbench

LEAST_MEMORY = 500 * 1024**2
LEAST_DISK = 2 * 1024**3
BUSY_LOAD = 2.0
"""Processes that want a core, for each core: from here on a machine is slow."""

HEARING = "hearing"
"""The profile of recordings that are published: they must be whole, and must say what they are."""
HEARING_SECONDS = (5.0, 36_000.0)
HEARING_SAYS = ("title", "committee", "date")

LEAST_DECODED = 0.9
"""Less than this share of the length that its header claims, and a call is fetched again before it is paid for.
A hearing must decode to its end, as the asset check ``duration_matches_claim`` has it."""


@dataclass(frozen=True, slots=True)
class Takes:
    """What a provider takes in one request: seconds of audio, bytes."""

    least_seconds: float
    most_seconds: float
    most_bytes: float


TAKES: Mapping[str, Takes] = {
    # https://www.assemblyai.com/docs/faq: 160 ms to 10 hours, local files up to 2.2 GB.
    "assemblyai": Takes(0.16, 36_000.0, 2.2e9),
    # https://platform.openai.com/docs/guides/speech-to-text: from 0.1 s, up to 25 MB; lengths differ by model.
    "openai": Takes(0.1, inf, 25 * 1024**2),
}


@dataclass(frozen=True)
class Planned:
    """What a recording needs from a provider: ``calls`` that would be made and paid, ``bought`` that need not.

    ``problem``: why its engine cannot send it at all.
    """

    calls: tuple[PlannedCall, ...] = ()
    bought: tuple[PlannedCall, ...] = ()
    problem: str = ""

    @property
    def cost(self) -> float:
        """Dollars."""
        return sum(call.cost for call in self.calls)

    @property
    def seconds(self) -> float:
        """Seconds of audio that are sent and charged."""
        return sum(call.seconds for call in self.calls)

    @property
    def bytes(self) -> int:
        """Bytes on disk while it is sent."""
        return sum(call.bytes for call in self.calls)


@dataclass
class Purse:
    """Budgets, and what is gone of them, in dollars. ``None`` = no limit."""

    per_recording: float | None
    per_run: float | None
    per_day: float | None
    run: float = 0.0
    day: float = 0.0

    @classmethod
    def of(cls, settings: Settings, spent: tuple[float, float] = (0.0, 0.0)) -> Purse:
        """Return the budgets of these settings, with what the run and the day have spent."""
        budgets = settings.budget_per_recording, settings.budget_per_run, settings.budget_per_day
        return cls(*budgets, *spent)

    def findings(self, cost: float) -> tuple[Finding, ...]:
        """Return one finding for each budget that there is: whether ``cost`` still fits."""
        asked = (
            ("recording", "one recording", self.per_recording, 0.0),
            ("run", "this run", self.per_run, self.run),
            ("day", "today (UTC)", self.per_day, self.day),
        )
        return tuple(
            _within(name, whose, budget, spent, cost)
            for name, whose, budget, spent in asked
            if budget is not None
        )

    def take(self, cost: float) -> None:
        """Count something as spent."""
        self.run += cost
        self.day += cost


# --- the machine ----------------------------------------------------------------------------------------


def machine(settings: Settings, *, needed_bytes: int = 0) -> tuple[Finding, ...]:
    """Look at free memory, free disk (2 GiB, or ``needed_bytes`` if that is more) and load.

    Load never fails: a busy machine is slow, but what it sends is right.
    """
    return _memory(), _disk(settings.store, needed_bytes), _load()


def _memory() -> Finding:
    free = free_memory()
    if free is None:
        return Finding(name="free_memory", passed=True, message="unknown on this system")
    passed = free >= LEAST_MEMORY
    return Finding(
        name="free_memory",
        passed=passed,
        message=f"{_gib(free)} of memory free, {os.cpu_count()} cores",
        value=free,
        hint="" if passed else "Free at least 500 MiB, or lower CALLPIPELINE_WORKERS.",
    )


def _disk(store: Path, needed: int) -> Finding:
    free, least = free_disk(store), max(LEAST_DISK, needed)
    if free is None:
        return Finding(name="free_disk", passed=True, message="unknown on this system")
    passed = free >= least
    return Finding(
        name="free_disk",
        passed=passed,
        message=f"{_gib(free)} free at {store}" + ("" if passed else f", {_gib(least)} needed"),
        value=free,
        hint="" if passed else f"Free at least {_gib(least)}, or move CALLPIPELINE_DATA_DIR.",
    )


def _load() -> Finding:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    busy = load > BUSY_LOAD * cores
    return Finding(
        name="cpu_load",
        passed=True,
        message=f"load {load:.1f} on {cores} cores" + (": busy, so it will be slow" if busy else ""),
        value=round(load, 2),
    )


# --- the account ----------------------------------------------------------------------------------------


async def setup(bench: Workbench) -> tuple[Finding, ...]:
    """Look at the engine, its key, and what its provider says of both; asks the provider at most once a run."""
    try:
        engine = bench.transcriber
        where = "sends audio to its provider" if engine.remote else "works on this machine"
        ready = Finding(name="engine", passed=True, message=f"{engine.name}: {where}")
        return ready, *await bench.asked_provider()
    except CallPipelineError as error:  # its set-up is not complete, or its provider does not answer
        return (refused("engine", error),)


# --- the recording --------------------------------------------------------------------------------------


def planned(
    engine: RemoteTranscriber, job: SpeechJob, ledger: Ledger, *, force_paid: bool = False
) -> Planned:
    """Return what a recording needs from the engine's provider. Blocks for a moment, sends nothing."""
    try:
        calls = engine.planned(job)
    except NotFit as error:
        return Planned(problem=str(error))
    anew = [isinstance(ledger.attach(c.request_hash, force_paid=force_paid), Send) for c in calls]
    return Planned(
        tuple(call for call, new in zip(calls, anew, strict=True) if new),
        tuple(call for call, new in zip(calls, anew, strict=True) if not new),
    )


def recording(info: AudioInfo, metadata: CallMetadata, settings: Settings) -> tuple[Finding, ...]:
    """Look at a recording by itself, whatever engine gets it: whole, its length, size, codec and metadata."""
    hearing = (metadata.profile or "").strip().lower() == HEARING
    codec = Finding(name="codec", passed=True, message=f"{info.format} / {info.codec} decodes here")
    return (
        _whole(info, hearing=hearing),
        *([_length_of_hearing(info)] if hearing else []),
        _size(info, settings),
        codec,
        *([metadata_of_hearing(metadata)] if hearing else []),
    )


def errand(wanted: Planned, purse: Purse) -> tuple[Finding, ...]:
    """Look at what would be sent for a recording: what its provider takes, the cost, the budgets."""
    if wanted.problem:
        return (Finding(name="request", passed=False, message=wanted.problem),)
    if not wanted.calls:
        return ()
    cost = f"about ${dollars(wanted.cost)} for {wanted.seconds:.1f} s at {wanted.calls[0].provider}"
    return (
        *(finding for call in wanted.calls if (finding := _refused_by_provider(call)) is not None),
        Finding(name="cost", passed=True, message=cost, value=wanted.cost),
        *purse.findings(wanted.cost),
    )


async def check(bench: Workbench, job: SpeechJob, metadata: CallMetadata, *, name: str) -> None:
    """Let a recording through to the provider of the bench's engine, or say all that is against it.

    What is bought already, or under way, costs nothing more and is let through unseen. ``name`` is what people
    call the recording.

    Raises:
        NotFit: with the messages of all checks that failed.
        Recorded: so too, under the class of what is against every recording, such as a refused key.
        CallPipelineError: the provider does not answer, so nothing is known of the account.
    """
    engine = bench.transcriber
    if not isinstance(engine, RemoteTranscriber):
        return
    supplies = bench.supplies
    wanted = await bench.checks.do(planned, engine, job, supplies.ledger, force_paid=bench.force_paid)
    if not wanted.calls and not wanted.problem:
        return
    account = await bench.asked_provider()

    def look() -> tuple[Finding, ...]:
        spent = supplies.costs.spent(but=[call.request_hash for call in wanted.calls])
        return (
            *machine(bench.settings, needed_bytes=wanted.bytes),
            *recording(job.info, metadata, bench.settings),
            *errand(wanted, Purse.of(bench.settings, spent)),
        )

    let_through(account, await bench.checks.do(look), what=name, provider=engine.name)


def let_through(
    account: Iterable[Finding], others: Iterable[Finding] = (), *, what: str, provider: str
) -> None:
    """Say all that is against sending ``what`` to a provider, if anything is.

    Raises:
        NotFit: with the messages of all checks that failed.
        Recorded: so too, under the class of what its provider has against every call, such as a refused key.
    """
    account = tuple(account)
    if against := failed((*account, *others)):
        reasons = " ".join(f"({number}) {reason}" for number, reason in enumerate(against, 1))
        said = f"{what} was not sent to {provider}: {reasons if len(against) > 1 else against[0]}"
        for finding in account:
            if finding.error_class:
                raise Recorded(finding.error_class, said, permanent=False)
        raise NotFit(said)


def failed(findings: Iterable[Finding]) -> list[str]:
    """Return what the failing findings say, and what to do about each."""
    return [f"{f.message.rstrip('.')}. {f.hint}".strip() for f in findings if not f.passed]


def _whole(info: AudioInfo, *, hearing: bool) -> Finding:
    claim = next(f for f in audio_findings(info) if f.name == "duration_matches_claim")
    claimed = info.claimed_duration or info.duration
    short = info.duration < claimed if hearing else info.duration < LEAST_DECODED * claimed
    passed = claim.passed or not short
    return Finding(
        name="whole",
        passed=passed,
        message=claim.message,
        value=info.duration,
        hint="" if passed else "Fetch or export the file again.",
    )


def _length_of_hearing(info: AudioInfo) -> Finding:
    least, most = HEARING_SECONDS
    passed = least <= info.duration <= most
    return Finding(
        name="duration",
        passed=passed,
        message=f"{info.duration:.1f} s long; a hearing has {least:g} s to {most / 3600:g} h",
        value=info.duration,
        hint=""
        if passed
        else f"If it is no hearing, change its profile; else {_other_length(info.duration < least)}.",
    )


def _other_length(short: bool) -> str:
    return "fetch the whole of it" if short else "cut it into parts"


def _size(info: AudioInfo, settings: Settings) -> Finding:
    passed = info.bytes <= settings.max_bytes
    return Finding(
        name="size",
        passed=passed,
        message=f"{info.bytes / 1e6:.1f} MB"
        + ("" if passed else f", over the limit of {settings.max_bytes / 1e6:g}"),
        value=info.bytes,
        hint="" if passed else "Cut it into parts, or raise CALLPIPELINE_MAX_BYTES.",
    )


def metadata_of_hearing(metadata: CallMetadata) -> Finding:
    """Look whether a hearing says all that it must; what it does not say is named, all of it."""
    missing = [name for name in HEARING_SAYS if not (getattr(metadata, name) or "").strip()]
    if not missing:
        return Finding(name="metadata", passed=True, message=f"says {', '.join(HEARING_SAYS)}")
    return Finding(
        name="metadata",
        passed=False,
        message=f"the metadata of this hearing does not say its {' and '.join(missing)}",
        hint="Add it to manifest.csv or to a NAME.json beside the file.",
    )


def _refused_by_provider(call: PlannedCall) -> Finding | None:
    takes = TAKES.get(call.provider)
    if takes is None:
        return None
    length = f"{call.seconds:.2f} s would be sent, and {call.provider} takes"
    if call.seconds < takes.least_seconds:
        message, hint = f"{length} {takes.least_seconds:g} s at least", "A local engine can listen to it."
    elif call.seconds > takes.most_seconds:
        message, hint = f"{length} {takes.most_seconds / 3600:g} h at most", "Cut it into parts."
    elif call.bytes > takes.most_bytes:
        size = f"{call.bytes / 1e6:.0f} MB would be sent, and {call.provider} takes"
        message, hint = f"{size} {takes.most_bytes / 1e6:.0f} MB at most", "Cut it into parts."
    else:
        return None
    return Finding(name="provider_limits", passed=False, message=message, hint=hint)


def _within(name: str, whose: str, budget: float, spent: float, cost: float) -> Finding:
    passed = fits(budget, spent, cost)
    figures = (dollars(budget), dollars(spent), dollars(cost)) if passed else over(budget, spent, cost)
    limit, gone, needed = figures
    taken = f"${gone} of it taken, " if name != "recording" else ""
    return Finding(
        name=f"budget_{name}",
        passed=passed,
        message=f"the budget for {whose} is ${limit}: {taken}${needed} needed",
        value=budget - spent,
        hint=""
        if passed
        else f"Raise CALLPIPELINE_BUDGET_PER_{name.upper()}{'' if name != 'day' else ', or wait'}.",
    )


def _gib(count: float) -> str:
    return f"{count / 1024**3:.1f} GiB"
