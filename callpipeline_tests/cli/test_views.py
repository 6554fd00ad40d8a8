"""What commands show while they work."""

from __future__ import annotations

import pytest

from callpipeline.cli.views import foreseeable


@pytest.mark.parametrize(
    ("done", "seconds", "told"),
    [(0, 60.0, False), (1, 5.0, False), (2, 9.9, False), (3, 0.5, True), (1, 10.0, True)],
)
def test_what_is_left_is_told_when_there_is_something_to_go_by(done: int, seconds: float, told: bool) -> None:
    assert foreseeable(done, seconds) is told
