"""Each row of the precisions carries everything that depends on the precision."""

import re

import pytest

from rtxbench.catalog.cards import Card, load_cards
from rtxbench.errors import UsageError
from rtxbench.precision import PRECISIONS, reduced_precision_of, why_not
from rtxbench.report.drawing.style import PRECISION_COLORS


@pytest.mark.parametrize("name", PRECISIONS)
def test_a_row_is_complete(name: str) -> None:
    """Its colour is one, its term a sentence, and its peak a figure that the catalogue holds for a current card."""
    row = PRECISIONS[name]
    assert re.fullmatch(r"#[0-9a-f]{6}", row.color) and row.term.endswith(".") and row.format
    assert row.peak in Card.__struct_fields__
    assert load_cards()["GeForce RTX 4090"].peak_flop_per_s(name)
    assert PRECISION_COLORS[name] == row.color


def test_no_two_precisions_look_alike() -> None:
    """A colour tells which precision a mark is."""
    assert len(set(PRECISION_COLORS.values())) == len(PRECISIONS)


def test_each_kind_of_device_has_one_usual_reduced_precision_that_it_runs() -> None:
    """float16 on a GPU, bfloat16 on a CPU; a device is never sent to a precision it cannot run."""
    for kind in ("cpu", "gpu"):
        assert len([row for row in PRECISIONS.values() if row.usual_on == kind]) == 1
        assert why_not(reduced_precision_of(kind).name, device_kind=kind, compiler="none") is None


@pytest.mark.parametrize(
    ("name", "capability", "words"),
    [
        ("tf32", 7.5, "TF32 Tensor Cores need compute capability 8.0 (Ampere) or newer; this GPU has 7.5."),
        ("mixed_bfloat16", 7.5, "bfloat16 Tensor Cores need compute capability 8.0"),
        ("mixed_float16", 6.1, "float16 Tensor Cores need compute capability 7.0 (Volta)"),
    ],
)
def test_a_gpu_without_the_format_is_told_so(name: str, capability: float, words: str) -> None:
    """The reason names what is needed and what the GPU has; a newer GPU, or an unknown one, is not held back."""
    reason = why_not(name, device_kind="gpu", compiler="none", compute_capability=capability)
    assert reason is not None and words in reason
    assert why_not(name, device_kind="gpu", compiler="none", compute_capability=12.0) is None
    assert why_not(name, device_kind="gpu", compiler="none") is None


def test_a_cpu_runs_float16_only_through_a_compiler_and_never_tf32() -> None:
    """The slow path is not waited for, the missing one not tried; an unknown precision is an error, not a pass."""
    assert why_not("tf32", device_kind="cpu", compiler="xla")
    assert why_not("mixed_float16", device_kind="cpu", compiler="none")
    assert why_not("mixed_float16", device_kind="cpu", compiler="xla") is None
    with pytest.raises(UsageError):
        why_not("float8", device_kind="cpu", compiler="none")
