"""The search of the largest batch, against a memory that is known."""

import pytest

from rtxbench.errors import MeasurementError
from rtxbench.own.largest_batch import LargestBatch, Try, largest_batch
from rtxbench.records import Case

FIRST = Case(workload="model:train.build@1a2b3c4d", batch_size=32)
WEIGHTS, EXAMPLE = 1e9, 1e7


def search(limit_bytes: float, *, known: bool = True, fails_safely: bool = True, budget_s: float = 1e9) -> LargestBatch:
    """Search on a device of so much memory, where a step of n examples takes n seconds."""

    def attempt(case: Case) -> Try:
        peak = WEIGHTS + EXAMPLE * case.batch_size
        seconds = float(case.batch_size)
        return Try(case.batch_size, peak <= limit_bytes, peak, seconds, seconds / 4, "out of memory")

    return largest_batch(FIRST, limit_bytes if known else None, budget_s, attempt, fails_safely=fails_safely)


@pytest.mark.parametrize("limit_gb", [1.1, 1.5, 4, 24, 80])
@pytest.mark.parametrize("known", [True, False])
def test_the_largest_batch_is_found_within_an_eighth(limit_gb: float, known: bool) -> None:
    """Whether or not the memory's size is known, by few tries, and from above as well as from below."""
    found = search(limit_gb * 1e9, known=known)
    true = (limit_gb * 1e9 - WEIGHTS) / EXAMPLE
    assert found.ended == "memory"
    assert found.best is not None
    assert true * 7 / 8 - 1 <= found.best.batch_size <= true
    assert len(found.tries) <= 15


def test_host_memory_is_never_overrun() -> None:
    """A try that does not fit would take the machine with it, so none is made; the answer is an eighth below."""
    found = search(24e9, fails_safely=False)
    assert all(t.fits for t in found.tries)
    assert found.best is not None
    assert found.best.batch_size >= (24e9 - WEIGHTS) / EXAMPLE * 3 / 4


def test_time_that_is_up_is_said() -> None:
    """Then the answer is what fitted, and that larger ones were not tried."""
    found = search(24e9, budget_s=100)
    assert found.ended == "time"
    assert found.best is not None
    assert found.best.batch_size == 32


def test_a_model_that_does_not_fit_at_all_has_no_largest_batch() -> None:
    """The search goes down to a single example before it says so."""
    found = search(0.5e9)
    assert (found.best, found.ended, found.tries[-1].batch_size) == (None, "memory", 1)


def test_another_failure_ends_the_search_with_its_reason() -> None:
    """Shapes that do not match at another batch are no lack of memory."""

    def attempt(case: Case) -> Try:
        if case.batch_size > 32:
            raise MeasurementError("shapes differ.", next_step="Mend it.")
        return Try(32, fits=True, peak_bytes=1e9, seconds=1.0)

    found = largest_batch(FIRST, 24e9, 1e9, attempt)
    assert found.best is not None
    assert "shapes differ" in found.ended


def test_a_batch_that_is_paged_to_the_host_does_not_fit() -> None:
    """Fault 17: on WSL2 a peak above the card's memory is no failure; it is called one."""

    def attempt(case: Case) -> Try:
        return Try(case.batch_size, fits=True, peak_bytes=WEIGHTS + EXAMPLE * case.batch_size, seconds=1.0)

    found = largest_batch(FIRST, 8e9, 1e9, attempt)
    assert found.best is not None
    assert found.best.peak_bytes is not None
    assert found.best.peak_bytes <= 8e9
    assert any("paged" in t.reason for t in found.tries)


def test_starting_a_process_does_not_count_against_a_larger_batch() -> None:
    """Only the steps grow with it: a model that takes long to start and not to train is searched all the same."""

    def attempt(case: Case) -> Try:
        peak = WEIGHTS + EXAMPLE * case.batch_size
        return Try(case.batch_size, peak <= 24e9, peak, seconds=10.0, step_s=0.001, reason="out of memory")

    assert largest_batch(FIRST, 24e9, 120.0, attempt).ended == "memory"
