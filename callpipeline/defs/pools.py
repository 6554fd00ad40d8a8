"""Pools on Dagster's side: where their limits are set, and where people see who holds their slots.

Belongs here: reading a pool's limit while a run goes on, giving a pool without one its first, and showing held
slots on the pool's page. Does not: counting. Dagster's own claim is not atomic (docs/adr/005), so ``limits.slots``
counts; what stands in Dagster's tables is for people, may lag behind by a second, and nothing waits for it.

No step of ours carries ``pool=``: its claim would hold one of the provider's slots for the whole run.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import dagster as dg

from callpipeline.limits.slots import Holder, Limit, Slots, open_places
from callpipeline.limits.supplies import POOLS
from callpipeline.settings import Settings

log = logging.getLogger(__name__)

KEEP_LIMIT_SECONDS = 0.25
SHORTEST_PAUSE = 0.25
WORK_SHARE = 0.1
"""Share of its time that the page's thread may be at work: many short calls are not shown one by one."""
LOOK_AGAIN_SECONDS = 5.0
"""Another process may have changed what we show; so often it is put right while slots are held."""
LONGEST_END = 10.0


def prepare(instance: dg.DagsterInstance, settings: Settings) -> list[str]:
    """Make the pools ready for a run; return what its log should say about them."""
    if not instance.event_log_storage.supports_global_concurrency_limits:
        return []
    notes = seed(instance, settings)
    try:
        sweep(instance, settings)
    except Exception as error:  # what is shown is no reason for a run not to start
        notes.append(f"The pages of the pools may show slots of ended runs, which count for nothing: {error}")
    return notes


# --- limits -------------------------------------------------------------------------------------------------


def slot_limit(instance: dg.DagsterInstance) -> Limit:
    """Return what tells a pool's limit now: asked of the instance, at most every quarter of a second.

    ``None`` for a pool that the instance does not know. While the instance does not answer, the last answer holds.
    """
    known: dict[str, int] = {}
    read_at = float("-inf")

    def limit(pool: str) -> int | None:
        nonlocal known, read_at
        if time.monotonic() - read_at > KEEP_LIMIT_SECONDS:
            try:
                known = pool_limits(instance)
            except Exception as error:  # whatever the storage raises; a call must not fail for it
                log.warning("the limits of the pools could not be read, the last known hold: %s", error)
            read_at = time.monotonic()
        return known.get(pool)

    return limit


def pool_limits(instance: dg.DagsterInstance) -> dict[str, int]:
    """Return the limits of all pools that the instance knows."""
    return {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}


def seed(instance: dg.DagsterInstance, settings: Settings) -> list[str]:
    """Give each of our pools that has no limit its first; return what people should be told about the others.

    The first limit is the setting's; the ``default_limit`` of ``dagster.yaml`` comes before a setting that
    nobody made. From then on the pool's limit holds, whatever the setting says.
    """
    storage = instance.event_log_storage
    known = {pool.name: pool for pool in storage.get_pool_limits()}
    default = instance.global_op_concurrency_default_limit
    for pool in POOLS:
        given = f"{pool}_slots" in settings.model_fields_set
        if pool in known and not known[pool].from_default:
            continue
        if default is not None and not given:
            storage.initialize_concurrency_limit_to_default(pool)
        else:
            _first_limit(instance, pool, getattr(settings, f"{pool}_slots"))
    limits = pool_limits(instance)
    return [note for pool in POOLS if (note := _note(settings, pool, limits[pool]))]


def _first_limit(instance: dg.DagsterInstance, pool: str, size: int) -> None:
    try:
        instance.event_log_storage.set_concurrency_slots(pool, size)
    except Exception:  # two runs that start together: one of them is told that the row is there
        if pool not in pool_limits(instance):
            raise


def _note(settings: Settings, pool: str, limit: int) -> str:
    """Say what about a pool may surprise; empty when nothing does."""
    name, wanted = f"{pool}_slots", getattr(settings, f"{pool}_slots")
    how = f"on the page Deployment > Concurrency or with: dagster instance concurrency set {pool}"
    if limit == 0:
        return f"The pool {pool} has 0 slots: its calls wait until somebody raises that, {how} N"
    if name in settings.model_fields_set and wanted != limit:
        return (
            f"CALLPIPELINE_{name.upper()} is {wanted}, but the pool {pool} has {limit} slots, and the pool's "
            f"limit holds. Change it {how} {wanted}"
        )
    return ""


# --- who holds slots ----------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """A line of a pool's page: the recording (or purpose) stands where Dagster has the step."""

    pool: str
    run: str
    name: str


class PoolPage:
    """Shows on the pools' pages which slots a run holds, from a thread of its own, until it is closed.

    It compares what the tables say with who holds slots and mends the difference, so that nothing that goes
    wrong stays wrong. ``changed`` is the hook for ``Slots``.
    """

    def __init__(self, instance: dg.DagsterInstance, run_id: str) -> None:
        self._instance = instance
        self._run = run_id
        self._has_pages = instance.event_log_storage.supports_global_concurrency_limits
        self._slots: Slots | None = None
        self._pools: frozenset[str] = frozenset()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="callpipeline-pools", daemon=True)

    def changed(self, slots: Slots, pool: str) -> None:
        """Note that this process took or gave back a slot of ``pool``; returns at once."""
        if self._ended.is_set() or not self._has_pages:
            return
        self._slots = slots
        self._pools = self._pools | {pool}
        self._wake.set()
        if self._thread.ident is None:
            self._thread.start()

    def close(self) -> None:
        """Take all of the run's lines away and end the thread."""
        self._ended.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(LONGEST_END)

    # --- in the thread --------------------------------------------------------------------------------

    def _keep(self) -> None:
        holds = False
        while self._wake.wait(LOOK_AGAIN_SECONDS if holds else None) or holds:
            self._wake.clear()
            if self._ended.is_set():
                break
            begun = time.monotonic()
            holds = self._in_peace(self._show)
            spent = time.monotonic() - begun
            self._ended.wait(max(SHORTEST_PAUSE, spent * (1 / WORK_SHARE - 1)))
        self._in_peace(self._clear)

    def _in_peace(self, work: Callable[[], bool]) -> bool:
        try:
            return work()
        except Exception as error:  # whatever the storage raises: the page is no reason to disturb a run
            log.warning("the page of the pools could not be brought up to date: %s", error)
            return True

    def _show(self) -> bool:
        """Bring the pages in line with the slots that this run holds; return whether it holds any."""
        assert self._slots is not None  # noqa: S101 - set before the thread was started
        claimed, waiting = _lines(self._instance, sorted(self._pools))
        held = [holder for pool in self._pools for holder in self._slots.holders(pool)]
        mine = {entry for entry in _entries(held) if entry.run == self._run}
        gone = {entry for entry in claimed | waiting if entry.run == self._run} - mine
        _free(self._instance, gone)
        freed = {entry.name for entry in gone}
        blocked = False
        for entry in sorted(entry for entry in mine if entry not in claimed or entry.name in freed):
            status = self._instance.event_log_storage.claim_concurrency_slot(*entry)
            if not status.is_claimed:
                _free(self._instance, [entry])  # it does not wait for Dagster's slot: it has ours
                blocked = True
        if blocked:
            _sweep(self._instance, claimed | waiting, {holder.run for holder in held})
        return bool(mine)

    def _clear(self) -> bool:
        claimed, waiting = _lines(self._instance, sorted(self._pools))
        _free(self._instance, {entry for entry in claimed | waiting if entry.run == self._run})
        return False


def sweep(instance: dg.DagsterInstance, settings: Settings) -> int:
    """Take off the pages what killed runs left there; return how many lines."""
    claimed, waiting = _lines(instance, POOLS)
    if not claimed | waiting:
        return 0
    places = open_places(settings.store, settings.postgres_url)
    try:
        living = {holder.run for pool in POOLS for holder in places.holders(pool)}
    finally:
        places.close()
    return _sweep(instance, claimed | waiting, living)


def _sweep(instance: dg.DagsterInstance, shown: Iterable[Entry], living: Collection[str]) -> int:
    """Free the lines of runs that hold no slot, except those of steps: other code may share a pool with us."""
    dead = [entry for entry in shown if entry.run not in living and not _is_a_step(instance, entry)]
    _free(instance, dead)
    return len(dead)


def _is_a_step(instance: dg.DagsterInstance, entry: Entry) -> bool:
    run = instance.get_run_by_id(entry.run)
    if run is None or run.execution_plan_snapshot_id is None:
        return False
    plan = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
    return entry.name in plan.step_keys_to_execute


def _lines(instance: dg.DagsterInstance, pools: Sequence[str]) -> tuple[set[Entry], set[Entry]]:
    """Return who has a slot and who waits for one, as Dagster's tables say."""
    infos = instance.event_log_storage.get_concurrency_infos(pools)
    claimed = {Entry(p, slot.run_id, slot.step_key) for p, i in infos.items() for slot in i.claimed_slots}
    waiting = {Entry(p, step.run_id, step.step_key) for p, i in infos.items() for step in i.pending_steps}
    return claimed, waiting - claimed


def _free(instance: dg.DagsterInstance, entries: Iterable[Entry]) -> None:
    for run, name in sorted({(entry.run, entry.name) for entry in entries}):
        instance.event_log_storage.free_concurrency_slot_for_step(run, name)


def _entries(holders: Iterable[Holder]) -> set[Entry]:
    """Name the holders; one that holds a second slot for the same thing is numbered."""
    seen: Counter[Entry] = Counter()
    found = set()
    for holder in holders:
        entry = Entry(holder.pool, holder.run, holder.what or holder.key[:12] or f"process {holder.pid}")
        seen[entry] += 1
        found.add(entry if seen[entry] == 1 else entry._replace(name=f"{entry.name} ({seen[entry]})"))
    return found
