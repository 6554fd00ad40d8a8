"""The ledger: every provider job and paid call, written down before it is sent, so that none is paid twice.

``store/ledger.sqlite`` (or Postgres) holds one row for each request hash, ``store/paid/<hash>.json`` what
was bought. Whoever wants a result claims its hash first: one process at a time holds it, by a lock that
dies with it. What a killed holder left is taken over by the next:

- done: the result is reused;
- submitted: the provider's job id is known, the job is fetched;
- sending: the request may or may not have reached the provider. A job that carried a ``reference`` (the URL
  of its upload, say) can be looked for in the provider's list before it is sent again. For a call that
  answers at once (chat, OpenAI transcriptions) nobody can know: send ``idempotency_key`` with it; a
  provider that does not heed that is paid twice for at most the one call that was under way in the killed
  process. Its first charge is kept as unsure, so that budgets count it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from callpipeline.failures import CallPipelineError, UsageError, describe
from callpipeline.limits import costs
from callpipeline.limits.claims import Claim, Decision, Resume, Reuse, Send
from callpipeline.limits.database import Database, Session, open_database
from callpipeline.limits.ledger_rows import (
    ADDED,
    SCHEMA,
    VERSION,
    CallState,
    Order,
    Paid,
    ProviderCall,
    Usage,
    insert,
    new_row,
    select,
    update,
)
from callpipeline.limits.owners import Owners, open_owners
from callpipeline.limits.worker import Worker
from callpipeline.store import files

__all__ = [
    "FILE",
    "FOLDER",
    "Claim",
    "Decision",
    "Ledger",
    "Resume",
    "Reuse",
    "Send",
    "open_ledger",
    "open_tables",
]

log = logging.getLogger(__name__)

FILE = "ledger.sqlite"
FOLDER = "paid"
_HASH = re.compile(r"[0-9a-f]{16,128}")
_FIRST_WAIT, _LONGEST_WAIT = 0.02, 0.25
_UNFINISHED = (CallState.SENDING, CallState.SUBMITTED)


class Ledger:
    """The ledger of one run. Use one object a process, from any number of tasks."""

    def __init__(self, root: Path, database: Database, owners: Owners, *, run: str = "") -> None:
        self.root = root
        self.database = database
        self.run = run
        self._owners = owners
        self._worker = Worker("ledger")
        self._tokens = count()
        self._held: dict[int, Callable[[], None]] = {}

    @asynccontextmanager
    async def claim(self, order: Order, *, force_paid: bool = False) -> AsyncIterator[Claim]:
        """Hold ``order`` for a block, waiting while another process or task does.

        ``force_paid``: buy again what was bought. A failure that leaves the block is written down. An order that
        did not go out, or was refused, is closed by it, and what was reserved for it is given back, also when the
        block is cancelled. Anything else stays as it is, for the next holder to go on from.
        """
        token = next(self._tokens)
        wait = _FIRST_WAIT
        try:
            while (claim := await self._worker.do(self._take, token, order, force_paid)) is None:
                await asyncio.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
            try:
                yield claim
            except CallPipelineError as error:
                await self._worker.surely(self._fail, order, error, claim.unsent)
                raise
            except BaseException:
                self._worker.later(self._give_up, order, claim.unsent)
                raise
        finally:
            self._worker.later(self._let_go, token)

    def attach(self, of: str, *, force_paid: bool = False) -> Decision:
        """Say what is to do about a request, without claiming it: for estimates."""
        return self._decide(of, self.call(of), force_paid)

    def call(self, of: str) -> ProviderCall | None:
        """Return the row of a request hash."""
        with self.database.reading() as session:
            return next(iter(select(session, "WHERE request_hash = ?", of)), None)

    def by_job(self, provider: str, job_id: str) -> ProviderCall | None:
        """Return the row of a provider's job: where a webhook starts from."""
        with self.database.reading() as session:
            calls = select(session, "WHERE job_id = ?", job_id)
        return next((call for call in calls if call.provider == provider), None)

    def calls(self, since: float = 0.0) -> list[ProviderCall]:
        """Return the rows changed at or after ``since`` (seconds since 1970), oldest change first."""
        with self.database.reading() as session:
            return select(session, "WHERE updated >= ? ORDER BY updated", since)

    def unfinished(self) -> list[ProviderCall]:
        """Return the calls that were sent, or may have been, and whose answers are not here."""
        with self.database.reading() as session:
            sent = [select(session, "WHERE state = ?", state) for state in _UNFINISHED]
        return [call for calls in sent for call in calls]

    def finished(self, pool: str, most: int) -> list[ProviderCall]:
        """Return the latest finished calls of a pool of which it is known when they went out."""
        with self.database.reading() as session:
            return select(
                session,
                f"WHERE state = 'done' AND sent > 0 AND pool = ? ORDER BY updated DESC LIMIT {most:d}",
                pool,
            )

    def running(self, pool: str) -> Iterable[str]:
        """Return the hashes of jobs that are, as far as anybody knows, under way at the provider."""
        with self.database.reading() as session:
            rows = session.execute(
                "SELECT request_hash FROM provider_calls WHERE pool = ? AND busy_until > ?",
                (pool, session.now()),
            )
        return [of for (of,) in rows]

    def paid_path(self, of: str) -> Path:
        """Return where the result of a request hash lies or would lie."""
        if not _HASH.fullmatch(of):
            raise UsageError(f"{of!r} is not a request hash.")
        return self.root / FOLDER / f"{of}.json"

    def close(self) -> None:
        """Give claims back, end the thread and close the database."""
        self._worker.close()
        self._owners.close()
        self.database.close()

    # --- in the thread --------------------------------------------------------------------------------

    def _take(self, token: int, order: Order, force_paid: bool) -> Claim | None:
        of = order.request_hash
        self.paid_path(of)
        release = self._owners.try_take(of)
        if release is None:
            return None
        self._held[token] = release
        row = self.call(of)
        decision = self._decide(of, row, force_paid)
        if isinstance(decision, Reuse):
            if row is None or row.state is not CallState.DONE:
                self._drop(row, decision.paid)
                self._record_paid(decision.paid)
            return Claim(self, order, decision, already_running=False)
        with self.database.changing(costs.TURN) as session:
            running = self._take_over(session, order, row, decision)
        return Claim(self, order, decision, running)

    def _take_over(
        self, session: Session, order: Order, row: ProviderCall | None, decision: Resume | Send
    ) -> bool:
        """Bring the row in line with what its new holder will do; return whether the job may be running."""
        of, now = order.request_hash, session.now()
        if row is None:
            insert(session, new_row(order, self.run, now))
            return False
        if isinstance(decision, Resume):
            update(session, of, now, state=CallState.SUBMITTED)
        elif decision.reference is None:
            update(session, of, now, state=CallState.CLAIMED, run=self.run)
            if row.state is CallState.SENDING:
                costs.doubt(session, of)
        running = row.busy_until > now
        if running:  # counts as under way for as long as this holder may need to fetch it
            update(session, of, now, busy_until=now + row.busy_seconds)
        return running

    def _drop(self, row: ProviderCall | None, paid: Paid) -> None:
        """Settle what another try to buy has left, now that an earlier purchase is good enough."""
        if row is None or (row.sends == paid.sends and row.state in _UNFINISHED):
            return
        with self.database.changing(costs.TURN) as session:
            if row.state is CallState.SENDING:
                costs.doubt(session, row.request_hash)
            else:
                costs.take_back(session, row.request_hash)

    def _decide(self, of: str, row: ProviderCall | None, force_paid: bool) -> Decision:
        if not force_paid or (row is not None and row.state in _UNFINISHED):
            paid = self._paid(of)
            if paid and (row is None or _holds(paid, row, force_paid)):
                return Reuse(paid)
        if row is None:
            return Send()
        fetchable = row.state is CallState.SUBMITTED or (row.state is CallState.DONE and not force_paid)
        if row.job_id and fetchable:
            return Resume(row.job_id, row.reference)
        return Send(row.sends, row.reference if row.state is CallState.SENDING else None)

    def _paid(self, of: str) -> Paid | None:
        path = self.paid_path(of)
        try:
            return Paid.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            log.warning("%s is damaged and does not count", path)
            return None

    def _sending(self, order: Order, reference: str | None, busy_seconds: float) -> None:
        of = order.request_hash
        with self.database.changing(of) as session:
            now = session.now()
            session.execute("UPDATE provider_calls SET sends = sends + 1 WHERE request_hash = ?", (of,))
            update(
                session,
                of,
                now,
                state=CallState.SENDING,
                job_id=None,
                reference=reference,
                sent=now,
                busy_seconds=busy_seconds,
                busy_until=now + busy_seconds if busy_seconds else 0.0,
                error_class=None,
                message=None,
            )

    def _submitted(self, order: Order, job_id: str) -> None:
        with self.database.changing(order.request_hash) as session:
            update(session, order.request_hash, session.now(), state=CallState.SUBMITTED, job_id=job_id)

    def _finish(
        self, order: Order, result: Any, usage: Usage, shares: dict[str, float], recovered: bool
    ) -> Paid:
        row = self.call(order.request_hash)
        with self.database.reading() as session:
            now = session.now()
        paid = Paid(
            request_hash=order.request_hash,
            provider=order.provider,
            pool=order.pool,
            model=order.model,
            recording=order.recording,
            purpose=order.purpose,
            run=self.run,
            job_id=row.job_id if row else None,
            sends=row.sends if row else 0,
            usage=usage,
            at=now,
            result=result,
            shares=shares,
        )
        self._keep(paid)
        self._record_paid(paid, recovered)
        return paid

    def _keep(self, paid: Paid) -> Paid:
        files.write_text(self.paid_path(paid.request_hash), paid.model_dump_json())
        return paid

    def _record_paid(self, paid: Paid, recovered: bool = False) -> None:
        """Make the row say what the file says; the file is the truth, whoever wrote it."""
        order = Order(paid.request_hash, paid.provider, paid.pool, paid.model, paid.recording, paid.purpose)
        with self.database.changing(costs.TURN) as session:
            now = session.now()
            insert(session, new_row(order, paid.run, now))
            update(
                session,
                paid.request_hash,
                now,
                state=CallState.DONE,
                job_id=paid.job_id,
                sends=paid.sends,
                busy_until=0.0,
                result=f"{FOLDER}/{paid.request_hash}.json",
                error_class=None,
                message=None,
                **paid.usage.model_dump(),
            )
            if recovered:
                costs.reopen(session, paid.request_hash)
            costs.settle(session, paid)

    def _not_sent(self, order: Order) -> None:
        with self.database.changing(order.request_hash) as session:
            now = session.now()
            update(session, order.request_hash, now, state=CallState.CLAIMED, busy_until=0.0)

    def _lost(self, order: Order) -> None:
        with self.database.changing(costs.TURN) as session:
            update(session, order.request_hash, session.now(), state=CallState.CLAIMED)
            costs.doubt(session, order.request_hash)

    def _give_up(self, order: Order, unsent: tuple[CallState, ...]) -> None:
        """Take back what was reserved for an order that did not go out."""
        with self.database.changing(costs.TURN) as session:
            row = next(iter(select(session, "WHERE request_hash = ?", order.request_hash)), None)
            if row is None or row.state not in unsent:
                return
            if row.state is CallState.SENDING:
                update(session, order.request_hash, session.now(), state=CallState.CLAIMED, busy_until=0.0)
            costs.take_back(session, order.request_hash)

    def _fail(self, order: Order, error: BaseException, closes: tuple[CallState, ...]) -> None:
        """Write a failure down.

        In a state that it ``closes``, nothing was done and the charge is taken back.
        """
        of = order.request_hash
        error_class, message, _ = describe(error)
        with self.database.changing(costs.TURN) as session:
            now = session.now()
            row = next(iter(select(session, "WHERE request_hash = ?", of)), None)
            if row is None or row.state is CallState.DONE:
                return
            if row.state is CallState.FAILED:
                costs.take_back(session, of)
                return
            update(session, of, now, error_class=error_class, message=message)
            if row.state in closes:
                update(session, of, now, state=CallState.FAILED, busy_until=0.0)
                costs.take_back(session, of)

    def _let_go(self, token: int) -> None:
        if token in self._held:
            self._held.pop(token)()


def _holds(paid: Paid, row: ProviderCall, force_paid: bool) -> bool:
    """Whether what was bought answers the request, whatever was tried since.

    Not while a later purchase is under way that can be gone on with: that one was asked for on purpose.
    """
    if row.state not in _UNFINISHED or paid.sends == row.sends:
        return True
    return not force_paid and row.state is CallState.SENDING and row.reference is None


def open_ledger(root: Path, postgres_url: str | None, *, run: str = "") -> Ledger:
    """Open the ledger in Postgres when there is a URL, else in ``ledger.sqlite`` of the store ``root``."""
    return Ledger(root, open_tables(root, postgres_url), open_owners(root, postgres_url), run=run)


def open_tables(root: Path, postgres_url: str | None) -> Database:
    """Open the tables alone, for those who only read."""
    return open_database(postgres_url, root / FILE, f"{SCHEMA}; {costs.SCHEMA}", version=VERSION, added=ADDED)
