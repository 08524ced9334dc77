"""Which cases a user's own model is measured in, and how its file is read without being run."""

from pathlib import Path

import pytest

from rtxbench.errors import UsageError
from rtxbench.own.plan import plan_own_model, target_of
from rtxbench.workloads.own import is_own
from tests.synthetic import BIG_GPU, CPU_ONLY

TORCH = "import torch\nraise SystemExit\ndef build(batch_size=6): ..."


def file_of(tmp_path: Path, source: str) -> str:
    path = tmp_path / "train.py"
    path.write_text(source, encoding="utf-8")
    return f"{path}:build"


@pytest.mark.parametrize(
    ("source", "engine"),
    [
        (TORCH, "torch"),
        ("def build(n):\n    from transformers import AutoModel", "torch"),
        ("import flax.linen\ndef build(n): ...", "jax"),
        ("import keras\ndef build(n): ...", "tensorflow"),
        ("import keras\nimport jax\nbuild = print", "jax"),
    ],
)
def test_the_engine_is_the_framework_the_file_imports(tmp_path: Path, source: str, engine: str) -> None:
    """Nobody has to say what the file says already, and the file is not run to find out."""
    assert target_of(file_of(tmp_path, source), None, None).engine == engine


def test_the_batch_is_the_functions_default_unless_asked(tmp_path: Path) -> None:
    """The batch size its author trains at is the one to measure."""
    text = file_of(tmp_path, TORCH)
    assert target_of(text, None, None).batch_size == 6
    assert target_of(text, None, 3).batch_size == 3


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import torch\ndef biuld(n): ...", "no function 'build'. Did you mean biuld"),
        ("import torch\ndef build(:", "no Python file"),
        ("import torch, tensorflow\ndef build(n): ...", "frameworks of tensorflow and torch. Say which: --engine"),
        ("def build(n): ...", "no framework rtxbench knows"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, source: str, said: str) -> None:
    """The refusal comes before any worker is started."""
    with pytest.raises(UsageError) as caught:
        target_of(file_of(tmp_path, source), None, None)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["train.py", "no/such/file.py:build", "train.py:not a name"])
def test_a_name_that_is_none_is_refused(text: str) -> None:
    """The sentence shows the form to write."""
    with pytest.raises(UsageError):
        target_of(text, None, None)


def test_a_cpu_measures_precisions_and_compilers_and_sets_the_rest_aside(tmp_path: Path) -> None:
    """What the machine cannot run stays in the plan with its reason."""
    precision, compiler = plan_own_model(target_of(file_of(tmp_path, TORCH), None, None), CPU_ONLY)
    assert [case.precision for case in precision.cases] == ["float32", "mixed_bfloat16"]
    assert {case.precision for case, _ in precision.skipped} >= {"tf32", "mixed_float16"}
    assert {case.compiler for case in compiler.candidates} == {"inductor"}
    assert all(is_own(case.workload) for case in precision.cases)
    assert precision.baseline == compiler.baseline


def test_several_gpus_are_held_against_one(tmp_path: Path) -> None:
    """Once at the same global batch, once at the same batch per GPU."""
    *_, devices = plan_own_model(target_of(file_of(tmp_path, TORCH), None, None), BIG_GPU)
    assert [(case.placement, case.batch_size) for case in devices.candidates] == [("ddp", 6), ("ddp", 12)]
