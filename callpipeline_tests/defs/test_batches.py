"""Which recordings a run takes."""

from __future__ import annotations

from callpipeline.defs.batches import LONGEST_GAP, batches

ORDER = [f"r{number:03d}" for number in range(100)]


def runs(wanted: list[str], size: int = 50, along: set[str] | None = None) -> list[list[str]]:
    return [list(batch.keys) for batch in batches(wanted, ORDER, size, along=along or set())]


def test_neighbours_share_a_run_and_strangers_do_not() -> None:
    assert runs(["r005", "r004", "r010"]) == [["r004", "r005"], ["r010"]]


def test_a_run_takes_no_more_than_it_may() -> None:
    assert [len(run) for run in runs(ORDER, size=40)] == [40, 40, 20]


def test_a_few_that_are_done_are_taken_along() -> None:
    assert runs(["r004", "r007"], along={"r005", "r006"}) == [["r004", "r005", "r006", "r007"]]


def test_one_that_failed_for_good_is_not_taken_along() -> None:
    assert runs(["r004", "r007"], along={"r005"}) == [["r004"], ["r007"]]


def test_long_stretches_that_are_done_are_not_walked_again() -> None:
    near, far = ORDER[5 + LONGEST_GAP], ORDER[6 + LONGEST_GAP]
    assert len(runs(["r004", near], along=set(ORDER))) == 1
    assert runs(["r004", far], along=set(ORDER)) == [["r004"], [far]]


def test_what_is_taken_along_counts_for_the_size() -> None:
    assert [len(run) for run in runs(ORDER[::4], size=10, along=set(ORDER))] == [9] * 8 + [1]
