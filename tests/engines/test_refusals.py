"""What an engine cannot train truthfully is refused, and everything else passes."""

import pytest
from msgspec.structs import replace

from rtxbench.engines.refusals import COMPILERS, REFUSALS, default_compiler, refuse
from rtxbench.errors import UnavailableError
from rtxbench.placement import PLACEMENTS
from rtxbench.records import Case

MIRRORED = {"placement": "mirrored", "device_count": 2}


def case(**changes: object) -> Case:
    return Case(**{"workload": "mlp", "batch_size": 32, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (MIRRORED | {"variant": "gradient-accumulation"}, "keras#20582"),
        (MIRRORED | {"variant": "global-clipnorm"}, "before the all-reduce"),
        (MIRRORED | {"variant": "jit-replica-step"}, "keras#19005"),
        (MIRRORED | {"variant": "steps-per-execution"}, "steps_per_execution"),
        (MIRRORED | {"variant": "optimizer-outside-scope"}, "once per replica"),
        ({"engine": "torch", "placement": "ddp", "device_count": 2, "compiler": "inductor"}, "DistributedDataParallel"),
        (MIRRORED | {"variant": "native"}, "native form is PyTorch's"),
        ({"engine": "jax", "placement": "model-parallel", "compiler": "xla"}, "fewer than two"),
    ],
)
def test_every_known_broken_form_is_refused_with_its_reason(changes: dict[str, object], words: str) -> None:
    """One row of the table each; the reason names what goes wrong."""
    with pytest.raises(UnavailableError, match=words):
        refuse(case(**changes))
    with pytest.raises(UnavailableError, match=words):  # the functional check is no better than the real thing
        refuse(case(**changes | {"placement": f"{changes['placement']}-logical"}))


def test_a_model_of_ones_own_is_not_carried_to_other_nodes() -> None:
    """Its file lies on one machine: refused on every placement over a network, and run on one machine."""
    own = case(workload="model:train.build@1a2b3c4d", engine="torch")
    refuse(own)
    for placement in ("ddp-nodes", "ddp-nodes-cpu"):
        with pytest.raises(UnavailableError, match="not carried to other nodes"):
            refuse(replace(own, placement=placement, device_count=2))


@pytest.mark.parametrize("placement", ["multi-worker", "multi-worker-cpu"])
def test_what_one_mirrored_strategy_trains_wrongly_the_one_over_workers_does_too(placement: str) -> None:
    """The same loop and the same strategy, over a network."""
    with pytest.raises(UnavailableError, match="before the all-reduce"):
        refuse(case(placement=placement, device_count=2, variant="global-clipnorm"))


def test_every_row_of_the_table_is_tested_above() -> None:
    """A new refusal needs its case here."""
    assert len(REFUSALS) == 9


@pytest.mark.parametrize("engine", COMPILERS)
def test_every_engine_runs_on_one_device_with_its_own_compilers(engine: str) -> None:
    """The plain forms pass, with the compiler users get by default and with the others."""
    assert default_compiler(engine) in COMPILERS[engine]
    for compiler in COMPILERS[engine]:
        for placement in ("cpu", "gpu"):
            refuse(case(engine=engine, compiler=compiler, placement=placement))


@pytest.mark.parametrize("placement", [name for name, row in PLACEMENTS.items() if len(row.engines) == 1])
def test_a_placement_of_one_engine_is_refused_elsewhere(placement: str) -> None:
    """MirroredStrategy is TensorFlow's, keras.distribution JAX's, DDP PyTorch's."""
    (owner,) = PLACEMENTS[placement].engines
    for engine in COMPILERS:
        wanted = case(engine=engine, compiler=default_compiler(engine), placement=placement, device_count=2)
        if engine == owner:
            refuse(wanted)
        else:
            with pytest.raises(UnavailableError, match=f"a way of {owner}, not of {engine}"):
                refuse(wanted)
