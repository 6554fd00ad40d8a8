"""A folder of recordings and its catalogue."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from callpipeline.intake.catalog import Catalog
from callpipeline.intake.scan import ScanReport, scan
from callpipeline.settings import Settings

LONG_AGO = time.time() - 1000


class Intake:
    """A folder that is scanned, with files that count as fully written unless a test says otherwise."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder / "uploads"
        self.folder.mkdir()
        self.settings = settings
        self.catalog = Catalog(folder / "store" / "catalog.sqlite")

    def write(self, name: str, content: str | bytes, *, mtime: float = LONG_AGO) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, (mtime, mtime))
        return path

    def scan(self, folder: Path | None = None, **options: object) -> ScanReport:
        return scan(self.catalog, folder or self.folder, self.settings, **options)  # type: ignore[arg-type]

    def problem(self, name: str) -> str:
        (found,) = [p.problem for p in self.catalog.problems() if p.path.name == name]
        return found

    def counts(self) -> tuple[int, int, int]:
        """Scan and return how many recordings are (new, changed, removed)."""
        report = self.scan()
        return len(report.new), len(report.changed), len(report.removed)


@pytest.fixture
def intake(tmp_path: Path, settings: Settings) -> Iterator[Intake]:
    made = Intake(tmp_path, settings.model_copy(update={"stable_seconds": 5.0}))
    yield made
    made.catalog.close()
