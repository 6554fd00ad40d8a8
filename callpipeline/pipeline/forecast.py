"""What a run would send away and pay for, worked out before it does: for each recording, and in all.

Nothing is sent here. What belongs here: fates, sums and times. What does not: the checks themselves
(``fitness``), and how any of it is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

from callpipeline.failures import CallPipelineError
from callpipeline.intake.formats import display
from callpipeline.intake.records import CatalogRow, State
from callpipeline.model import AudioInfo, ChannelSpeech, Region, Role, SpeechActivity
from callpipeline.pipeline.case import HEARING, Case, Inputs, profile_of
from callpipeline.pipeline.fitness import Planned, Purse, errand, failed, planned, recording
from callpipeline.pipeline.stages import BY_ASSET, nothing_to_transcribe
from callpipeline.pipeline.walk import cache_key_of, plan, stored_result
from callpipeline.pipeline.workbench import Workbench
from callpipeline.speech.engines.base import PlannedCall, RemoteTranscriber, SpeechJob

LOCAL_STAGES = ("raw_audio", "speech_activity", "audio_chunks")
"""What must be known of a recording before its transcription can be planned; made on this machine, for nothing."""

_NOTHING = Planned()

Progress = Callable[[int, int | None], None]


class Fate(StrEnum):
    """What a run would do with a recording's transcript."""

    SEND = "to send"
    PAID = "already paid"
    """Bought before, or under way at the provider: it costs nothing more."""
    NO_NEED = "no need"
    """Nobody speaks, or the agent never does."""
    READY_MADE = "ready-made"
    NOT_FIT = "not fit"
    HERE = "on this machine"
    """An engine of this machine transcribes it, or has done so."""
    UNKNOWN = "not looked at"
    """The local stages have not seen it."""


@dataclass(frozen=True)
class Prospect:
    """One recording's fate. ``seconds`` is its length, 0 if that is not known; ``reasons`` are for people."""

    key: str
    name: str
    fate: Fate
    reasons: tuple[str, ...] = ()
    seconds: float = 0.0
    wanted: Planned = _NOTHING


@dataclass(frozen=True)
class Forecast:
    """What a run would do with some recordings."""

    prospects: tuple[Prospect, ...]

    @property
    def counts(self) -> dict[Fate, int]:
        """How many there are of each fate, in the order of ``Fate``."""
        found = Counter(prospect.fate for prospect in self.prospects)
        return {fate: found[fate] for fate in Fate}

    @property
    def calls(self) -> list[PlannedCall]:
        """The requests that would be sent and paid."""
        return list(chain.from_iterable(prospect.wanted.calls for prospect in self.of(Fate.SEND)))

    @property
    def seconds(self) -> float:
        """Length of the recordings that would be sent, in seconds."""
        return sum(prospect.seconds for prospect in self.of(Fate.SEND))

    @property
    def seconds_sent(self) -> float:
        """Seconds of audio that would be sent and charged."""
        return sum(call.seconds for call in self.calls)

    @property
    def cost(self) -> float:
        """Dollars."""
        return sum(call.cost for call in self.calls)

    @property
    def cost_of_all(self) -> float:
        """Dollars for these, and for those that are not fit to be sent now."""
        return sum(prospect.wanted.cost for prospect in self.of(Fate.SEND, Fate.NOT_FIT))

    @property
    def most_for_one(self) -> float:
        """Dollars for the most expensive of all these."""
        return max((prospect.wanted.cost for prospect in self.of(Fate.SEND, Fate.NOT_FIT)), default=0.0)

    def bytes_at_once(self, in_flight: int) -> int:
        """Return how many bytes may lie on disk while so many recordings are sent."""
        sizes = sorted((prospect.wanted.bytes for prospect in self.of(Fate.SEND)), reverse=True)
        return sum(sizes[:in_flight])

    def of(self, *fates: Fate) -> list[Prospect]:
        """Return the recordings with these fates."""
        return [prospect for prospect in self.prospects if prospect.fate in fates]


def forecast(
    bench: Workbench,
    keys: Sequence[str],
    *,
    closed: bool = False,
    retry_failed: bool = False,
    on_progress: Progress = lambda done, total: None,
) -> Forecast:
    """Work out what a run would do with these recordings, in the order in which it would take them.

    Needs the results of ``LOCAL_STAGES``. ``closed``: something keeps all of them from being sent now; it is said
    once for all, and is no reason of a recording. Budgets count: what the recordings before would spend is gone,
    with a new run's budget every ``settings.batch_size``.
    """
    view = _View(bench, plan(bench), closed, retry_failed)
    purse = Purse.of(bench.settings)
    if view.remote:
        purse.day = bench.supplies.costs.spent()[1]
    prospects = []
    taken = 0
    for number, key in enumerate(keys, 1):
        prospect = view.prospect(key, purse)
        prospects.append(prospect)
        if prospect.fate is Fate.SEND:
            purse.take(prospect.wanted.cost)
            taken += 1
            if taken % bench.settings.batch_size == 0:
                purse.run = 0.0
        on_progress(number, len(keys))
    return Forecast(tuple(prospects))


def most(
    bench: Workbench, keys: Sequence[str], *, on_progress: Progress = lambda done, total: None
) -> Forecast:
    """Work out quickly the most that a run could send of recordings, many of which nobody has listened to yet.

    Of those their header is believed, and that all of it is speech. Budgets and checks do not count here.
    """
    view = _View(bench, plan(bench), closed=False, retry_failed=True)
    prospects = []
    for number, key in enumerate(keys, 1):
        prospect = view.prospect(key, None)
        prospects.append(view.guess(key) if prospect.fate is Fate.UNKNOWN else prospect)
        on_progress(number, len(keys))
    return Forecast(tuple(prospects))


def bought_before(bench: Workbench, keys: Iterable[str]) -> Iterator[str]:
    """Yield those of these recordings whose transcript was bought from a provider."""
    from callpipeline.limits.ledger_rows import CallState

    done = {call.recording for call in bench.supplies.ledger.calls() if call.state is CallState.DONE}
    return (key for key in keys if key in done)


@dataclass(frozen=True)
class _View:
    """How a run would look at recordings."""

    bench: Workbench
    plan: str
    closed: bool
    retry_failed: bool

    @property
    def remote(self) -> RemoteTranscriber | None:
        """The engine, if it sends audio away."""
        engine = self.bench.transcriber
        return engine if isinstance(engine, RemoteTranscriber) else None

    def prospect(self, key: str, purse: Purse | None) -> Prospect:
        """Return the fate of one recording; without a ``purse`` neither checks nor budgets count."""
        case = Case(key, self.bench)
        if case.row.transcript is not None:
            return Prospect(key, case.name, Fate.READY_MADE)
        inputs = Inputs()
        for asset in LOCAL_STAGES:
            if not BY_ASSET[asset].applies(case, inputs):
                continue
            stored = stored_result(case, asset)
            if stored is None:
                return self._not_known(case, asset)
            inputs.stored[asset] = stored
        seconds = inputs.get("raw_audio", AudioInfo).duration
        reason = nothing_to_transcribe(case, inputs)
        if reason is not None:
            return Prospect(key, case.name, Fate.NO_NEED, (reason,), seconds)
        if self.remote is None:
            return Prospect(key, case.name, Fate.HERE, (), seconds)
        if self._is_there(case, inputs):
            return Prospect(key, case.name, Fate.PAID, (), seconds)
        return self._at_provider(self.remote, case, inputs, purse)

    def guess(self, key: str) -> Prospect:
        """Return what a recording would need at most, by its header."""
        from callpipeline.audio.decode import open_recording

        row = self.bench.catalog.get(key)
        if self.remote is None or row is None or not row.sources:
            return Prospect(key, key, Fate.UNKNOWN)
        path = row.sources[0]
        try:
            with open_recording(path) as opened:
                seconds = (opened.container.duration or 0) / 1e6
                info = _claimed(seconds, opened.sample_rate, opened.channels, opened.bytes)
        except CallPipelineError:
            return Prospect(key, display(path.name), Fate.UNKNOWN)
        job = SpeechJob(
            key=key,
            path=path,
            info=info,
            activity=_all_speech(info),
            language=row.metadata.language or self.bench.settings.language,
            sha256=row.recording.sha256,
            hearing=profile_of(row.metadata, seconds, self.bench.settings) == HEARING,
            speakers=row.metadata.speakers,
        )
        wanted = self._planned(self.remote, job)
        return Prospect(key, display(path.name), _fate(wanted), (), seconds, wanted)

    def _not_known(self, case: Case, asset: str) -> Prospect:
        failure = self.bench.store.failure(asset, case.key)
        if failure is None:
            return Prospect(case.key, case.name, Fate.UNKNOWN)
        return Prospect(case.key, case.name, Fate.NOT_FIT, (failure.message,))

    def _is_there(self, case: Case, inputs: Inputs) -> bool:
        """Whether the stored transcript is the one that a run would make, so that it makes none."""
        stage = BY_ASSET["transcripts"]
        header = self.bench.store.header(stage.asset, case.key)
        if header is None or stage.anew(self.bench) or self._lacks_something(stage.asset, case):
            return False
        return header.cache_key == cache_key_of(stage, case, inputs)

    def _lacks_something(self, asset: str, case: Case) -> bool:
        """Whether a stored result is there in part only. Such a one stands beside its failure."""
        return self.bench.store.failure(asset, case.key) is not None

    def _at_provider(
        self, engine: RemoteTranscriber, case: Case, inputs: Inputs, purse: Purse | None
    ) -> Prospect:
        info = inputs.get("raw_audio", AudioInfo)
        try:
            wanted = self._planned(engine, case.job(inputs))
        except CallPipelineError as error:
            return Prospect(case.key, case.name, Fate.NOT_FIT, (str(error),), info.duration)
        against: list[str] = []
        shut = False
        if purse is not None and (wanted.calls or wanted.problem):
            looks = (*recording(info, case.metadata, self.bench.settings), *errand(wanted, purse))
            against = [*self._given_up(case.row), *failed(looks)]
            shut = self.closed
        fate = Fate.NOT_FIT if against or shut else _fate(wanted)
        return Prospect(case.key, case.name, fate, tuple(against), info.duration, wanted)

    def _planned(self, engine: RemoteTranscriber, job: SpeechJob) -> Planned:
        return planned(engine, job, self.bench.supplies.ledger, force_paid=self.bench.force_paid)

    def _given_up(self, row: CatalogRow) -> list[str]:
        """Return why a run would not try a recording again without --retry-failed."""
        if self.retry_failed or self.bench.force_paid or not given_up(row, self.plan):
            return []
        return [f"{row.recording.message} It is tried again with --retry-failed."]


def given_up(row: CatalogRow, plan: str) -> bool:
    """Tell whether a recording failed for good with this plan: a run leaves it alone."""
    found = row.recording
    return found.state is State.FAILED and found.permanent and found.plan == plan


def _fate(wanted: Planned) -> Fate:
    if wanted.problem:
        return Fate.NOT_FIT
    return Fate.SEND if wanted.calls else Fate.PAID


def _claimed(seconds: float, rate: int, channels: int, size: int) -> AudioInfo:
    return AudioInfo(
        format="",
        codec="",
        sample_rate=rate,
        channels=channels,
        duration=seconds,
        claimed_duration=seconds,
        bytes=size,
        bit_rate=None,
        levels=(),
        loudness_lufs=None,
        silences=(),
        decode_errors=0,
    )


def _all_speech(info: AudioInfo) -> SpeechActivity:
    speech = (Region(start=0.0, end=info.duration),)
    channels = tuple(ChannelSpeech(channel=c, role=Role.UNKNOWN, speech=speech) for c in range(info.channels))
    return SpeechActivity(duration=info.duration, channels=channels, source="header", detector="none")
