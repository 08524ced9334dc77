"""What to type to decide an open verdict."""

from msgspec.structs import replace

from rtxbench.records import Case, RatioRecord
from rtxbench.verdicts.next_steps import measure_again
from tests.judged_runs import paired
from tests.verdicts.test_stopping import CLAIM


def command(baseline: Case) -> str | None:
    record = paired(baseline, replace(baseline, precision="mixed_bfloat16"), 1.1, spread=(-0.01, 0.0, 0.01))[-1]
    assert isinstance(record, RatioRecord)
    return measure_again(replace(CLAIM, kind="claim"), record, "quick")


def test_the_suites_model_is_measured_by_its_name() -> None:
    """One profile longer, on the engine it was measured on."""
    assert command(Case(workload="mlp", batch_size=32)) == "rtxbench run --workload mlp --profile standard"


def test_a_users_own_model_is_measured_by_its_file() -> None:
    """Its workload's name is no option of any command: the file and function are, with the batch that was measured."""
    own = Case(workload="model:train.v2.build@1a2b3c4d", batch_size=48, engine="torch")
    assert command(own) == "rtxbench run --model train.v2.py:build --batch-size 48 --profile standard --engine torch"
