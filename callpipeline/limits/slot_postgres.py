"""Slots of many hosts: advisory locks of one connection a process, which Postgres frees with the connection.

The first number of a lock stands for the pool, the second is the place. The table ``slot_holders`` says who
held a place last; it only counts while the lock is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from callpipeline.limits.database import PostgresDatabase
from callpipeline.limits.postgres import AdvisoryLocks, LockName, lock_name
from callpipeline.limits.slots import Holder

_SCHEMA = """
CREATE TABLE IF NOT EXISTS slot_holders (
    pool TEXT NOT NULL,
    number BIGINT NOT NULL,
    holder TEXT NOT NULL,
    PRIMARY KEY (pool, number)
)
"""
_HEAD = 2**31 - 1
_WAITING = 2**31 - 2
_LOCKS = (
    "FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid::bigint = %s"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class PostgresPlaces:
    """Places as advisory locks; for one thread, ``holders`` and ``pools`` for any."""

    def __init__(self, url: str) -> None:
        self._locks = AdvisoryLocks(url)
        self._table = PostgresDatabase(url, _SCHEMA, durable=False)
        self._heads: set[str] = set()

    def enter(self, pool: str) -> bool:
        """Try to become the head."""
        if pool in self._heads:
            return True
        if self._locks.try_take(_name(pool, _HEAD)):
            self._heads.add(pool)
            self._locks.give_back(_name(pool, _WAITING))
            return True
        self._locks.try_share(_name(pool, _WAITING))
        return False

    def leave(self, pool: str) -> bool:
        """Stop being the head; sessions that share the waiting lock are seen in ``pg_locks``."""
        self._locks.give_back(_name(pool, _WAITING))
        sql = f"SELECT count(*) {_LOCKS} AND objid::bigint = %s"
        with self._locks.cursor(sql, _name(pool, _WAITING)) as cursor:
            ((others,),) = cursor.fetchall()
        self._heads.discard(pool)
        self._locks.give_back(_name(pool, _HEAD))
        return bool(others)

    def busy(self, pool: str, running: Callable[[], Iterable[str]]) -> int:
        """Count held places, then add the running jobs that none of them is for (see ``slot_files``)."""
        held = self._numbers(pool)
        jobs = set(running())
        if jobs:
            jobs -= {holder.key for holder in self._rows(pool) if holder.number in held}
        return len(held) + len(jobs)

    def take(self, holder: Holder) -> int:
        """Lock the free place with the lowest number and say who did."""
        held = self._numbers(holder.pool)
        number = 0
        while number in held or not self._locks.try_take(_name(holder.pool, number)):
            number += 1
        info = holder.model_copy(update={"number": number}).model_dump_json()
        try:
            with self._table.changing(f"slots {holder.pool}") as session:
                session.execute(
                    "INSERT INTO slot_holders VALUES (?, ?, ?)"
                    " ON CONFLICT (pool, number) DO UPDATE SET holder = excluded.holder",
                    (holder.pool, number, info),
                )
        except BaseException:
            self._locks.give_back(_name(holder.pool, number))
            raise
        return number

    def free(self, pool: str, number: int) -> None:
        """Unlock a place."""
        self._locks.give_back(_name(pool, number))

    def holders(self, pool: str) -> list[Holder]:
        """Read the rows of places that are locked."""
        held = self._numbers(pool)
        return [holder for holder in self._rows(pool) if holder.number in held]

    def pools(self) -> list[str]:
        """List the pools in the table."""
        with self._table.reading() as session:
            return [
                pool for (pool,) in session.execute("SELECT DISTINCT pool FROM slot_holders ORDER BY pool")
            ]

    def close(self) -> None:
        """Close both connections."""
        self._locks.close()
        self._table.close()

    def _numbers(self, pool: str) -> set[int]:
        place, _ = _name(pool, 0)
        sql = f"SELECT objid::bigint {_LOCKS} AND objid::bigint < {_WAITING}"
        with self._locks.cursor(sql, (place,)) as cursor:
            return {int(number) for (number,) in cursor.fetchall()}

    def _rows(self, pool: str) -> list[Holder]:
        with self._table.reading() as session:
            rows = session.execute("SELECT holder FROM slot_holders WHERE pool = ? ORDER BY number", (pool,))
        return [Holder.model_validate_json(text) for (text,) in rows]


def _name(pool: str, number: int) -> LockName:
    return lock_name("slots", pool)[0], number
