from __future__ import annotations

from pathlib import Path

import pytest

from callpipeline.failures import DatabaseUnavailable
from callpipeline.limits.ledger import Reuse, Send, open_ledger
from callpipeline.limits.ledger_rows import Order, request_hash
from callpipeline.limits.postgres import AdvisoryLocks, libpq_url, lock_name
from callpipeline.limits.rates import RateLimit, open_rates
from callpipeline.limits.slots import open_slots

pytestmark = pytest.mark.anyio

ORDER = Order(request_hash(a=1), "provider", "pool", "m")


def hang_up(url: str) -> int:
    """End all connections of ours as a restart of the server would; return how many there were."""
    import psycopg2

    connection = psycopg2.connect(libpq_url(url))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'callpipeline' AND pid <> pg_backend_pid()"
        )
        ended = len(cursor.fetchall())
    connection.close()
    return ended


async def test_all_limits_go_on_after_the_server_hung_up(tmp_path: Path, own_postgres: str) -> None:
    slots = open_slots(tmp_path, own_postgres, lambda _: 2)
    rates = open_rates(tmp_path, own_postgres, lambda _: RateLimit(requests=1000))
    ledger = open_ledger(tmp_path, own_postgres)

    async def use() -> object:
        async with slots.holding("p"):
            (await rates.reserve("p", 10)).settle(5)
        async with ledger.claim(ORDER) as claim:
            await claim.sending()
            await claim.finish("text")
            return claim.decision

    assert await use() == Send()
    assert hang_up(own_postgres) >= 5
    assert isinstance(await use(), Reuse)
    for opened in (slots, rates, ledger):
        opened.close()


def test_a_lock_that_was_held_when_the_server_hung_up_is_taken_again(own_postgres: str) -> None:
    holder, other = AdvisoryLocks(own_postgres), AdvisoryLocks(own_postgres)
    held, free = lock_name("held"), lock_name("free")
    assert holder.try_take(held)
    hang_up(own_postgres)
    assert holder.try_take(free)
    assert not other.try_take(held)
    holder.give_back(held)
    assert other.try_take(held)
    holder.close()
    other.close()


def test_a_process_does_not_get_its_own_lock_twice(own_postgres: str) -> None:
    locks = AdvisoryLocks(own_postgres)
    assert locks.try_take(lock_name("a"))
    assert not locks.try_take(lock_name("a"))
    locks.give_back(lock_name("a"))
    locks.give_back(lock_name("never taken"))
    assert locks.try_take(lock_name("a"))
    locks.close()


def test_a_server_that_is_not_there_is_told_with_what_to_check(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path, f"postgresql+psycopg2://nobody@/none?host={tmp_path}")
    with pytest.raises(DatabaseUnavailable, match="CALLPIPELINE_POSTGRES_URL"):
        ledger.call(ORDER.request_hash)
    ledger.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+psycopg2://u:p%2B@h/d", "postgresql://u:p%2B@h/d"),
        ("postgresql://h/d?options=-c+a", "postgresql://h/d?options=-c+a"),
        ("host=h dbname=d+e", "host=h dbname=d+e"),
    ],
)
def test_the_driver_name_is_taken_out_of_a_url(url: str, expected: str) -> None:
    assert libpq_url(url) == expected
