"""Bells: word that a provider's job has ended, from the process that was told to the one that waits for it.

``store/bells/<job>`` appears when the job's webhook has come. Whoever waits looks for it, which costs a look at the
disk and no request, and removes it. What does not belong here: who may ring (``service.webhooks``).
"""

from __future__ import annotations

import re
from pathlib import Path

from callpipeline.store import files

FOLDER = "bells"
_JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,127}")


def is_job(job_id: str) -> bool:
    """Whether it can be the id of a job, and is no path."""
    return _JOB.fullmatch(job_id) is not None


def ring(root: Path, job_id: str) -> None:
    """Say that a job has ended."""
    files.write_text(root / FOLDER / job_id, "")


def rang(root: Path, job_id: str) -> bool:
    """Tell whether somebody said that a job has ended."""
    return is_job(job_id) and (root / FOLDER / job_id).exists()


def silence(root: Path, job_id: str) -> None:
    """Forget it: whoever waited knows."""
    if is_job(job_id):
        (root / FOLDER / job_id).unlink(missing_ok=True)
