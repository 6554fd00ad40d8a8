"""Dagster's own storage: SQLite in the project by default, Postgres when ``CALLPIPELINE_POSTGRES_URL`` is set.

Named in ``dagster.yaml``. Runs, events and sensor ticks land under ``DAGSTER_HOME`` if that is set, else under
``.dagster/`` of the project, so that ``dagster dev`` keeps its history with no set-up at all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster import Field, StringSource
from dagster._config import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from callpipeline.defs.event_log import Storage
from callpipeline.settings import Settings, project_root
from callpipeline.store.locks import holding

FOLDER = ".dagster"
PLANNED_TOGETHER = "1000"
LONGEST_OPENING = 120.0
"""Seconds to wait for another process that opens the storage."""


class InstanceStorage(DagsterStorage, ConfigurableClass):
    """Gives back one of Dagster's own storages; never lives itself."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """``base_dir``: where the SQLite files go, if neither default fits."""
        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(  # type: ignore[override] # Dagster's own docs return another storage here
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> DagsterStorage:
        """Open the storage that the environment asks for."""
        # Dagster's own switch: what a run plans is then written together, not in a transaction for each recording.
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", PLANNED_TOGETHER)
        url = Settings().postgres_url
        if url:
            from dagster_postgres.storage import DagsterPostgresStorage

            return DagsterPostgresStorage(postgres_url=psycopg2_url(url), inst_data=inst_data)
        base = Path(config_value.get("base_dir") or default_base())
        # Two processes that make the tables at the same moment fail each other.
        with holding(base.parent / "opening.lock", timeout=LONGEST_OPENING):
            if not base.exists():
                _make(base)
            return Storage(base_dir=str(base), inst_data=inst_data)


def _make(base: Path) -> None:
    """Make the files beside their place: Dagster takes a file as made that a killed process left without tables."""
    making = base.with_name(f"{base.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    Storage(base_dir=str(making)).dispose()
    making.rename(base)


def default_base() -> Path:
    """Where SQLite files go when nothing else is said."""
    home = os.environ.get("DAGSTER_HOME")
    return (Path(home).expanduser() if home else project_root()) / FOLDER / "storage"


def psycopg2_url(url: str) -> str:
    """Name the driver: SQLAlchemy 2.1 takes psycopg 3 for a bare URL, with which Dagster's NOTIFY fails."""
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            return "postgresql+psycopg2://" + url.removeprefix(scheme)
    return url
