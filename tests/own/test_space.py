"""Which settings a search combines."""

from rtxbench.own.space import asides, combinations, options
from rtxbench.records import Case
from rtxbench.workloads.switches import joined, switches_of
from tests.synthetic import BIG_GPU, CPU_ONLY

TORCH = Case(workload="model:train.build@1a2b3c4d", batch_size=8, engine="torch")


def test_a_machine_offers_what_it_can_run_and_names_what_it_cannot() -> None:
    """What is left out is a case with its reason."""
    able, skipped = options(TORCH, CPU_ONLY, keras=False)
    assert {option.name for option in able if option.axis == "precision"} == {"mixed_bfloat16"}
    assert {case.precision for case, reason in skipped if reason} >= {"tf32", "mixed_float16"}
    on_gpu, _ = options(
        Case(**{**{f: getattr(TORCH, f) for f in TORCH.__struct_fields__}, "placement": "gpu"}), BIG_GPU, keras=False
    )
    assert {option.name for option in on_gpu} >= {
        "tf32",
        "mixed_float16",
        "channels-last",
        "fused-optimizer",
        "inductor",
    }


def test_a_keras_model_has_no_switches_of_the_engine() -> None:
    """Its layers, optimizer and layout are Keras's own."""
    able, _ = options(TORCH, CPU_ONLY, keras=True)
    assert {option.axis for option in able} == {"precision", "compiler", "batch"}


def test_compilers_that_were_asked_for_are_the_only_ones() -> None:
    """``--compiler none`` leaves them out of the search."""
    able, _ = options(TORCH, CPU_ONLY, keras=False, compilers=["none"])
    assert not [option for option in able if option.axis == "compiler"]


def test_combinations_take_one_option_an_axis_and_leave_out_what_only_saves_memory() -> None:
    """Checkpointing never wins a race for speed: its price is told of the winner."""
    able, _ = options(TORCH, CPU_ONLY, keras=False)
    chosen = [
        option for option in able if option.name in ("mixed_bfloat16", "fused-optimizer", "2", "4", "checkpointing")
    ]
    cases = combinations(TORCH, chosen)
    assert len(cases) == len(set(cases)) == 2 * 2 * 3 - 1
    assert TORCH not in cases
    (cheaper,) = asides(cases[-1], chosen)
    assert set(switches_of(cheaper.variant)) == {*switches_of(cases[-1].variant), "checkpointing"}


def test_the_order_of_switches_does_not_matter() -> None:
    """Two cases that train alike are one case."""
    assert joined(["fused-optimizer", "channels-last"]) == joined(["channels-last", "fused-optimizer"])
    assert switches_of(joined(["b", "a", "b"])) == ("a", "b")
