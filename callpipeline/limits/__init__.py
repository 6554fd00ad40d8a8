"""What stands between us and a provider: slots, rates, retries, the ledger of paid work, prices and budgets.

Everything here is shared by all processes: through files and SQLite on one host, through Postgres when a
URL is set. It knows no provider's protocol: callers hand in a coroutine function that makes one request and
raises the classes of ``failures``. It does not know Dagster either: the size of a pool is asked from a
callable.
"""
